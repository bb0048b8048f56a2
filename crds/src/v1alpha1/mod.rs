//! Version `v1alpha1`: one file per kind.

pub mod action;
pub mod control_plane;
pub mod forecast;
pub mod incident;
pub mod playbook;
pub mod report;
pub mod tenant;
pub mod workload;

pub use action::{Action, ActionSpec, ActionStatus};
pub use control_plane::{ControlPlane, ControlPlaneSpec, ControlPlaneStatus};
pub use forecast::{Forecast, ForecastSpec, ForecastStatus};
pub use incident::{Incident, IncidentSpec, IncidentStatus};
pub use playbook::{Playbook, PlaybookSpec, PlaybookStatus};
pub use report::{Report, ReportSpec, ReportStatus};
pub use tenant::{Tenant, TenantSpec, TenantStatus};
pub use workload::{Workload, WorkloadSpec, WorkloadStatus};
