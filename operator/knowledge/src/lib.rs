//! The vocabulary of Homeostat and the immutable [`Snapshot`] that every stage of the loop reads.
//!
//! Nothing in here knows Kubernetes clients, an async runtime, a clock or a random source: time and
//! ids come in as values ([`Timestamp`], [`IdSource`]), so the same input always gives the same
//! decision and a recorded run can be replayed.
//!
//! Reading path: [`observation`] (what the world said), [`finding`] (what is abnormal),
//! [`incident`] (what belongs together, and why), [`plan`] (what may be done), [`action`] (what was
//! done), [`snapshot`] (all of it at one instant).

pub mod action;
pub mod ahead;
pub mod clock;
pub mod entity;
pub mod fight;
pub mod finding;
pub mod forecast;
pub mod guard;
pub mod half_done;
pub mod ids;
pub mod incident;
pub mod kubelet;
pub mod observation;
pub mod plan;
pub mod policy;
pub mod records;
pub mod restraint;
pub mod runs;
pub mod snapshot;

pub use action::{
    ActionKind, ActionOutcome, ActionRecord, ActionState, Approval, ApprovalDecision, Before, Origin,
    Parameters, Request, Target, UnreadAction,
};
pub use ahead::Ahead;
pub use clock::Clock;
pub use entity::{Entity, Name, ObjectKey, TenantName, WorkloadKey};
pub use fight::Fight;
pub use finding::{Evidence, EvidenceSource, Finding, FindingKind};
pub use forecast::{ForecastRecord, ForecastSkill, SizeAdvice, SizeEffect};
pub use guard::{GuardName, GuardReport, GuardResult};
pub use half_done::{HalfDone, Stands, half_done};
pub use ids::{ActionId, EvidenceId, FindingId, IdSource, IncidentId, PlanId, SeededIds, Uid};
pub use incident::{Cause, Incident, IncidentState, Instants, Severity, TimelineEntry};
pub use jiff::{SignedDuration, Timestamp};
pub use observation::{CallOutcome, Observation, Signal, Span, SpanKind};
pub use plan::{Admitted, Draft, Plan, PlaybookRef, Step, Verification};
pub use policy::{ControlPolicy, GuardLimits, Level, TenantPolicy, WorkloadPolicy};
pub use records::{ContainerRecord, ContainerState, ControllerKind, ControllerRecord, PodRecord};
pub use restraint::{Restraint, RestraintKind};
pub use runs::{LateRun, RunsReport};
pub use snapshot::{Snapshot, SnapshotSource, WorkloadHealth};
