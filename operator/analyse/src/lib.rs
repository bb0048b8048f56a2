//! Observations become findings, findings become incidents with ranked causes.
//!
//! Pure and replayable: no I/O, no clock, no runtime. The driver hands in observations and "now";
//! [`Analyser::evaluate`] returns what is abnormal, [`Correlator::update`] groups it by fault.
//!
//! The way of a failed call: [`calls`] charges it to the deepest workload that failed in its trace,
//! [`pods`] adds what the kubelet says (`setup` of pods that do not begin), [`golden`] what is slower than usual or, by `at_once`, wrong throughout, [`replicas`] which one
//! differs from its siblings, [`objects`] what nodes and Jobs show, [`signals`] what a
//! workload's own queries say, `heartbeat` what no longer comes, [`logs`] and [`causes`] what lines and spans add to the evidence;
//! `redact` keeps what looks like a secret out of it.
//! [`senders`] knows how late what is told comes,
//! [`waits`] how long calls wait between their two ends, `breach` what Homeostat finds wrong with itself. [`correlate`] makes one incident per root, `ranking` orders its causes,
//! `shelf` keeps those whose release may be made again.

mod analyser;
mod at_once;
mod breach;
pub mod calls;
pub mod causes;
pub mod correlate;
pub mod golden;
mod growth;
mod heartbeat;
mod histogram;
pub mod logs;
pub mod objects;
pub mod pods;
mod ranking;
mod redact;
pub mod replicas;
pub mod senders;
mod setup;
mod shelf;
pub mod signals;
pub mod waits;

pub use analyser::{Analyser, Evaluation};
pub use correlate::{Correlator, CorrelatorConfig};
pub use shelf::TAKEN_UP;
