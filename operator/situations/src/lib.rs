//! Recorded decision situations with their right answers: what was known at one instant, and what an
//! experienced person would have done. They are decided again by the planner, the checker and the guards as they
//! ship, and the answers are compared. `docs/situations.md` describes every field.
//!
//! Reading path: [`given`] (the fields of a situation), [`world`] (fields to snapshot and incident, with what
//! was done before), [`file`](mod@file)
//! (files with variants, positions of errors), [`mod@decide`] (planner, checker, guards), [`score`] (right and wrong,
//! totals), [`command`] (what the binary prints).
//!
//! Everything but reading files is pure: the same files give the same score.

pub mod command;
pub mod decide;
pub mod file;
pub mod given;
mod past;
pub mod score;
pub mod words;
pub mod world;

pub use command::{Checked, CommandError, replay_folder, test_playbooks};
pub use decide::{Decided, Verdict, decide};
pub use file::{SituationError, SituationFile, read_file, read_folder};
pub use given::*;
pub use score::{Outcome, Score, judge, run};
pub use world::{ago, now, order, tenant};
