//! Incidents and policy become plans; a separate checker admits or refuses each.
//!
//! Reading path: [`decision`] (what can come out), [`planner`] (the way of one incident through the
//! stages), [`case`] (what is known about it), [`select`] (which playbook), [`history`] and `ladder` (where
//! on its ladder), [`sick`] and [`kubelet`] (which pod, and what the kubelet will do about it by itself),
//! [`evict`], [`quiet`] and `ahead` (is the step due), `room` and `taken_back` (what speaks against it),
//! [`mod@check`] (the second opinion), [`report`] (for people). Sizes by forecast take the same way from
//! [`sizes`] on (what was done before: [`acted`]), those that an autoscaler owns through its [`bounds`]. Steps on nodes are in `nodes`, what only a drain
//! does in `drain`.
//!
//! Nothing in here does I/O, reads a clock or draws a random number: the same input gives the same plan.

pub mod acted;
pub mod advice;
mod ahead;
pub mod bounds;
pub mod case;
mod changes;
pub mod check;
pub mod decision;
mod drain;
pub mod evict;
pub mod history;
pub mod kubelet;
mod ladder;
mod nodes;
pub mod planner;
pub mod quiet;
mod release;
pub mod report;
mod resize;
mod room;
pub mod select;
pub mod sick;
pub mod sizes;
pub mod standing;
mod taken_back;

pub use check::{Checker, Objection, ObjectionSeverity, check};
pub use decision::Decision;
pub use planner::plan;
pub use report::describe;
