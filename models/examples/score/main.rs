//! Writes what the models say of public data, for a scorer to judge.
//!
//! `cargo run --release -p homeostat-models --example score -- SUITE DATA_DIR DUMP_DIR`
//!
//! One file per suite reads that suite's layout and hands plain numbers to the models, row by row, with their default
//! settings. Nothing of a suite's name, labels or files reaches the crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod data;
mod forecast;
mod logs;
mod multivariate;
#[allow(dead_code, reason = "the explain example uses more of it")]
mod nezha;
mod petshop;
mod series;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a suite is run by: data folder and dump folder in, number of files written out.
type Run = fn(&Path, &Path) -> Result<usize, data::Error>;

/// Every suite.
const SUITES: &[(&str, Run)] = &[
    ("nab", series::nab),
    ("kpi", series::kpi),
    ("smd", multivariate::run),
    ("asd", multivariate::run),
    ("logs", logs::run),
    ("petshop", petshop::run),
    ("nezha", nezha::run),
    ("forecast", forecast::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [suite, data, dump] = arguments.as_slice() else {
        eprintln!("usage: score SUITE DATA_DIR DUMP_DIR   (suites: {})", names());
        return ExitCode::from(2);
    };
    let Some((_, run)) = SUITES.iter().find(|(name, _)| name == suite) else {
        eprintln!("there is no suite `{suite}`; suites are {}", names());
        return ExitCode::from(2);
    };
    let (data, dump) = (PathBuf::from(data), PathBuf::from(dump));
    match run(&data, &dump) {
        Ok(files) => {
            println!("{suite}: {files} files in {}", dump.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{suite}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn names() -> String {
    SUITES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}
