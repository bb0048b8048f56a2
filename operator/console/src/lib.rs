//! Reports, probes and metrics endpoints: everything that people and scrapers see besides the resources.
//!
//! Reads snapshots, changes nothing. Reading path: [`http`] (the pages and probes), [`metrics`] (the one
//! facade of all metrics), [`report`] (pure renderers for one incident and for a period or run).

pub mod archive;
pub mod forecasts;
pub mod http;
pub mod metrics;
pub mod recent;
pub mod report;

mod filter;
mod status;

pub use archive::{Archive, ArchiveSource};
pub use forecasts::ForecastSource;
pub use http::{Console, Heartbeat, Readiness, ReadyGate, router, serve};
pub use metrics::Metrics;
pub use recent::RecentIncidents;
pub use report::{IncidentReport, ReportError, RunReport};
