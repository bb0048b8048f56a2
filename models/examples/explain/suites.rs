//! Every suite, and what its FILE and ROW are.

use std::path::Path;

use crate::{causes, data, forecasts, lines, series};

/// What was said of a row: the reason in words, and the page that shows it.
pub struct Told {
    /// The reason.
    pub reason: String,
    /// A self-contained HTML page.
    pub page: String,
}

/// How a row of a file is explained: suite, file, row.
type Explain = fn(&str, &Path, usize) -> Result<Told, data::Error>;

/// One suite.
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// What FILE is.
    pub file: &'static str,
    /// What ROW is.
    pub row: &'static str,
    /// Explains one row.
    pub explain: Explain,
}

/// Every suite.
pub const SUITES: &[Suite] = &[
    Suite { name: "nab", file: "a series", row: "row, from 0", explain: series::nab },
    Suite { name: "kpi", file: "a series", row: "row, from 0", explain: series::kpi },
    Suite {
        name: "smd",
        file: "a machine's train or test part",
        row: "row, from 0",
        explain: series::columns,
    },
    Suite {
        name: "asd",
        file: "a server's train or test part",
        row: "row, from 0",
        explain: series::columns,
    },
    Suite { name: "logs", file: "a system's log", row: "line, from 0", explain: lines::logs },
    Suite {
        name: "petshop",
        file: "target.json of an issue",
        row: "place in the ranking, from 0",
        explain: causes::petshop,
    },
    Suite { name: "nezha", file: "faults.csv of a day", row: "fault, from 0", explain: causes::nezha },
    Suite {
        name: "forecast",
        file: "a workload",
        row: "5-minute step from which an hour is forecast",
        explain: forecasts::forecast,
    },
];

/// A file's name for titles; with its folder where the name alone says nothing.
pub fn name(file: &Path) -> String {
    let stem = data::stem(file);
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match (stem.as_str(), folder) {
        ("target" | "faults", Some(folder)) => folder,
        _ => stem,
    }
}

/// There is no such row.
pub fn no_row(file: &Path, row: usize, rows: usize) -> data::Error {
    let message = format!("there is no row {row}, the last one is {}", rows.saturating_sub(1));
    data::Error::Content { path: file.to_owned(), message }
}
