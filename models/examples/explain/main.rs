//! Draws what the models say of one file of public data, and why, at one row.
//!
//! `cargo run --release -p homeostat-models --example explain -- SUITE FILE ROW [PAGE]`
//!
//! Writes one HTML page without anything from outside (`PAGE`, by default in `target/explain/`). What FILE and ROW are for
//! each suite is listed in `suites.rs`. Labels, where the suite has some, are drawn and nothing else; the models never see
//! them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod causes;
#[path = "../score/data.rs"]
#[allow(dead_code, reason = "shared with the suites that write dumps")]
mod data;
mod draw;
mod forecasts;
mod judge;
mod lines;
mod page;
mod read;
mod series;
mod suites;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use suites::SUITES;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (suite, file, row, page) = match arguments.as_slice() {
        [suite, file, row] => (suite, PathBuf::from(file), row, None),
        [suite, file, row, page] => (suite, PathBuf::from(file), row, Some(PathBuf::from(page))),
        _ => return usage("explain takes three or four arguments"),
    };
    let Some(known) = SUITES.iter().find(|known| known.name == suite) else {
        return usage(&format!("there is no suite `{suite}`"));
    };
    let Ok(row) = row.parse::<usize>() else { return usage(&format!("ROW is `{row}`, not a number")) };
    let name = format!("{suite}-{}-{row}.html", suites::name(&file));
    let path = page.unwrap_or_else(|| PathBuf::from("target/explain").join(name));
    let written = (known.explain)(suite, &file, row).and_then(|told| {
        let mut out = data::create(&path)?;
        out.write_all(told.page.as_bytes()).and_then(|()| out.flush()).map_err(data::at(&path))?;
        Ok(told.reason)
    });
    match written {
        Ok(reason) => {
            println!("{reason}\n{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}\nusage: explain SUITE FILE ROW [PAGE]");
    for suite in SUITES {
        eprintln!("  {:<9} FILE: {}; ROW: {}", suite.name, suite.file, suite.row);
    }
    ExitCode::from(2)
}
