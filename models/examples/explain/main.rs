//! Draws what the models say of one file of public data, and why, at one row.
//!
//! `cargo run --release -p homeostat-models --example explain -- SUITE FILE ROW [PAGE]`
//!
//! Writes one HTML page without anything from outside (`PAGE`, by default in `target/explain/`): the series, the band in
//! which it was expected, the score, the alarms, and the reason in words at ROW (counted from 0). Labels, where the suite
//! has some, are drawn and nothing else; the models never see them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../score/data.rs"]
#[allow(dead_code, reason = "shared with the suites that write dumps")]
mod data;
mod draw;
mod judge;
mod page;
mod read;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How a suite's files are read.
type Read = fn(&Path) -> Result<read::Table, data::Error>;

/// Every suite whose files are columns of numbers.
const SUITES: &[(&str, Read)] =
    &[("nab", read::nab), ("kpi", read::kpi), ("smd", read::columns), ("asd", read::columns)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (suite, file, row, page) = match arguments.as_slice() {
        [suite, file, row] => (suite, PathBuf::from(file), row, None),
        [suite, file, row, page] => (suite, PathBuf::from(file), row, Some(PathBuf::from(page))),
        _ => return usage("explain takes three or four arguments"),
    };
    let Some((_, read)) = SUITES.iter().find(|(name, _)| name == suite) else {
        return usage(&format!("there is no suite `{suite}`"));
    };
    let Ok(row) = row.parse::<usize>() else { return usage(&format!("ROW is `{row}`, not a number")) };
    let name = format!("{suite}-{}-{row}.html", data::stem(&file));
    let page = page.unwrap_or_else(|| PathBuf::from("target/explain").join(name));
    match explain(*read, suite, &file, row, &page) {
        Ok(reason) => {
            println!("{reason}\n{}", page.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(what: &str) -> ExitCode {
    let names: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
    eprintln!("{what}\nusage: explain SUITE FILE ROW [PAGE]   (suites: {})", names.join(", "));
    ExitCode::from(2)
}

fn explain(read: Read, suite: &str, file: &Path, row: usize, page: &Path) -> Result<String, data::Error> {
    let table = read(file)?;
    if row >= table.at.len() {
        let message = format!("there is no row {row}, the last one is {}", table.at.len().saturating_sub(1));
        return Err(data::Error::Content { path: file.to_owned(), message });
    }
    let judged = judge::judge(&table, row);
    let title = format!("{suite}: {}, row {row}", data::stem(file));
    let mut out = data::create(page)?;
    out.write_all(page::page(&title, &table, &judged, row).as_bytes())
        .and_then(|()| out.flush())
        .map_err(data::at(page))?;
    Ok(judged.reason)
}
