//! `e2e piece …`

use std::process::ExitCode;

use clap::Args;
use homeostat_e2e::progress::Progress;
use homeostat_e2e::toolchain::{self, Piece, Tools};

use super::Outcome;

/// Which pieces.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Names of pieces, or `all` that a cluster needs.
    #[arg(required = true)]
    names: Vec<String>,
}

/// Finds, unpacks or builds pieces and prints their folders.
pub fn run(arguments: &Arguments) -> Outcome {
    let progress = Progress::default();
    for name in &arguments.names {
        if name == "all" {
            for folder in Tools::ensure(&progress)?.folders() {
                println!("{}", folder.display());
            }
            continue;
        }
        let Some(piece) = Piece::ALL.iter().find(|piece| piece.to_string() == *name) else {
            let known: Vec<String> = Piece::ALL.iter().map(Piece::to_string).collect();
            return Err(format!("there is no piece `{name}`; pieces are {}", known.join(", ")).into());
        };
        println!("{}", toolchain::ensure(*piece, &progress)?.display());
    }
    Ok(ExitCode::SUCCESS)
}
