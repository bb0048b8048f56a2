//! A simulated API server and cluster in virtual time, in which the real executor runs: ledger, guards, actions and
//! driver of the product, unchanged, on one thread, with crashes, API faults, stale reads and missed events at chosen
//! or drawn places.
//!
//! Reading path: [`plans`] (what is disturbed, and what must hold), [`oracle`] (how it is judged), [`histories`]
//! (drawn disturbances), [`drills`] and [`storms`] (replicas that stand still, the kill switch,
//! wrong clocks, much failing at once), [`defects`] (programs that must be noticed), then the world from the outside in: [`world`],
//! [`server`], [`kubernetes`], [`situations`], and one process of the product in it: [`process`],
//! [`client`], [`election`].
//!
//! No crate of the product uses this one.

#![allow(clippy::disallowed_methods, reason = "the virtual clock of the simulator's paused runtime")]

pub mod audit;
pub mod client;
pub mod defects;
pub mod drills;
pub mod election;
pub mod faults;
pub mod histories;
pub mod kubernetes;
pub mod mutations;
pub mod objects;
pub mod oracle;
pub mod plans;
pub mod process;
pub mod run;
pub mod server;
pub mod situations;
pub mod storms;
pub mod telemetry;
pub mod world;
