//! Templates of log lines, mined from an endless stream, and what their counts tell.
//!
//! [`Folder`] joins the lines of a stack trace, [`Miner`] gives every record's first line the id of its template and
//! its level, [`Watch`] counts per template and interval and raises findings. All four take bytes or counts, keep a
//! bounded state that can be saved, and never panic.

mod cluster;
mod findings;
mod fold;
mod header;
pub mod mask;
mod miner;
mod severity;

pub use findings::{LogFinding, LogFindingKind, Watch, WatchConfig, WatchConfigError};
pub use fold::{FoldConfig, FoldConfigError, Folder, Record};
pub use header::{Head, Header};
pub use miner::{Mined, Miner, MinerConfig, MinerError};
pub use severity::{Severity, severity_of, severity_of_field};
