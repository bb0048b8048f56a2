//! Writes the definitions of all kinds to `crds/generated`, or to the folder given.

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("generated"), PathBuf::from);
    match homeostat_crds::write_all(&folder) {
        Ok(files) => {
            for file in files {
                println!("{}", file.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
