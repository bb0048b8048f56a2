//! The subcommands.

pub mod cluster;
pub mod demo;
pub mod image;
pub mod piece;
pub mod proof;

use std::error::Error;

/// What a subcommand ends with.
pub type Outcome = Result<std::process::ExitCode, Box<dyn Error>>;

/// A runtime for a subcommand that waits for many things at once.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
