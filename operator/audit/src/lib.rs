//! The record of every decision, refusals too, kept so that a later change of it is found.
//!
//! Reading path: [`decision`] (what is recorded, and which part of it is personal), [`chain`] (how records hang
//! together), [`verify()`] (what a change breaks), [`reconcile`] (what the API server's own log says of it), [`repeats`] (the
//! same refusal a thousand times), [`store`] (files of a bounded size, on a [`disk`]) and [`journal`] (all of it, with a
//! bounded backlog while the disk fails).
//!
//! Everything but the store is pure: times and salts come in as arguments.

pub mod chain;
pub mod decision;
pub mod digest;
pub mod disk;
pub mod journal;
pub mod reconcile;
pub mod repeats;
pub mod store;
mod verify;

pub use chain::{Anchor, Chain, Checkpoint, Entry, Line};
pub use decision::Decision;
pub use digest::{Digest, Salt, Sealed};
pub use journal::{Journal, JournalCounts};
pub use store::{Store, StoreError, StoreLimits};
pub use verify::{Check, Flaw, Report, verify};
