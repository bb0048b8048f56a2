//! The only code that talks to the API server.
//!
//! Reading path: [`watches`] (what the cluster holds becomes observations), [`validate`] (resources of people
//! become policies, or a reason why not), [`incidents`] and [`status`] (what people see), [`forecasts`] (what is
//! expected of workloads), [`scalers`] (what else scales them), [`external`] (metrics that
//! adapters serve), [`ledger`] (actions:
//! stored, sent, read back), [`elector`] (which replica acts), [`mod@recorder`] (Kubernetes Events), [`janitor`]
//! (what is over goes away), [`release`] (what is held is let go), [`reports`] (figures that people ask for), [`people`] (what people
//! ask for on the command line), [`requests`] (how many there were), [`credentials`] (when they end), [`error`] (what to do
//! about an error).
//!
//! Nothing is decided here. Whole objects are never kept; writes are conditional, bounded in time, never sent
//! again when their outcome is unknown, and left out when nothing changed.

pub mod anchors;
mod audit_id;
mod autoscaler;
pub mod client;
pub mod credentials;
pub mod elector;
pub mod error;
pub mod external;
pub mod forecasts;
pub mod incidents;
pub mod install;
pub mod janitor;
pub mod kueue;
pub mod ledger;
pub mod people;
pub mod projection;
pub mod recorder;
pub mod release;
pub mod reports;
pub mod requests;
pub mod scalers;
pub mod status;
pub mod validate;
pub mod watches;

pub use client::{ConnectOptions, connect};
pub use elector::lease::KubeLease;
pub use elector::machine::Timing;
pub use elector::{Elector, Leadership, Term};
pub use error::{Category, ClusterError};
pub use forecasts::ForecastWriter;
pub use incidents::{IncidentQueue, IncidentStore};
pub use janitor::Janitor;
pub use ledger::{ApiActuator, ApiLedger};
pub use people::People;
pub use recorder::{EventReason, EventRecorder, Fact, recorder};
pub use reports::ReportWriter;
pub use status::{SelfFacts, StatusWriter};
pub use validate::Catalogue;
pub use watches::{WatchOptions, Watches};
