//! Incidents in the API server: written at once when they open, adopted after a restart.

mod mapping;
mod queue;
mod store;

pub use mapping::{UnknownWord, spec, status, stored};
pub use queue::{IncidentQueue, QueueCounts};
pub use store::{IncidentStore, Written};
