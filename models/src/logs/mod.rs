//! Templates of log lines, mined from an endless stream, and what their counts tell.
//!
//! [`Miner`] gives every line the id of its template; [`severity_of`] reads level words.

mod cluster;
mod header;
pub mod mask;
mod miner;
mod severity;

pub use header::{Head, Header};
pub use miner::{Mined, Miner, MinerConfig, MinerError};
pub use severity::{Severity, severity_of};
