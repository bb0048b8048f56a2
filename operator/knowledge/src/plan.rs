//! What may be done: an ordered list of steps, first drafted, then admitted by a separate checker.

use crate::action::{
    ActionInstants, ActionRecord, ActionState, Before, EvidenceRef, Origin, Parameters, Request, Target,
};
use crate::entity::{Name, TenantName, WorkloadKey};
use crate::ids::{ActionId, IncidentId, PlanId};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// Type-level mark of a plan that nobody has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft;

/// Type-level mark of a plan that the checker admitted; only such plans can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted;

/// Ordered steps for one incident, made from one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<Phase> {
    /// Identifier.
    pub id: PlanId,
    /// Incident that it serves; for the others what stands for one, see [`crate::forecast::occasion`] and
    /// [`crate::runs::occasion`].
    pub incident: IncidentId,
    /// What asks for it.
    pub origin: Origin,
    /// Tenant whose rules apply.
    pub tenant: TenantName,
    /// Workload that it serves.
    pub workload: WorkloadKey,
    /// Generation of the snapshot that it was made from.
    pub epoch: u64,
    /// Playbook that it follows.
    pub playbook: PlaybookRef,
    /// Steps, one target each. Execution takes them one at a time.
    pub steps: Vec<Step>,
    /// The ended action of the same incident that its one step takes back.
    pub undo_of: Option<ActionId>,
    /// Why this and not something else, for people.
    pub explanation: Vec<String>,
    phase: PhantomData<Phase>,
}

impl Plan<Draft> {
    /// A plan that still has to pass the checker.
    #[allow(clippy::too_many_arguments, reason = "every field is mandatory; a builder could forget one")]
    pub fn draft(
        id: PlanId,
        incident: IncidentId,
        tenant: TenantName,
        workload: WorkloadKey,
        epoch: u64,
        playbook: PlaybookRef,
        steps: Vec<Step>,
        explanation: Vec<String>,
    ) -> Self {
        let origin = Origin::Incident;
        Self {
            id,
            incident,
            origin,
            tenant,
            workload,
            epoch,
            playbook,
            steps,
            undo_of: None,
            explanation,
            phase: PhantomData,
        }
    }

    /// The same plan, which takes back what this action did.
    #[must_use]
    pub fn taking_back(self, action: ActionId) -> Self {
        Self { undo_of: Some(action), ..self }
    }

    /// The same plan, asked for by a forecast.
    #[must_use]
    pub fn by_forecast(self) -> Self {
        Self { origin: Origin::Forecast, ..self }
    }

    /// The same plan, asked for by the order of runs.
    #[must_use]
    pub fn by_schedule(self) -> Self {
        Self { origin: Origin::Schedule, ..self }
    }

    /// Turns the draft into an admitted plan. Called by `plan::check` alone (a test holds that).
    pub fn admit(self) -> Plan<Admitted> {
        let Self {
            id,
            incident,
            origin,
            tenant,
            workload,
            epoch,
            playbook,
            steps,
            undo_of,
            explanation,
            phase: _,
        } = self;
        Plan {
            id,
            incident,
            origin,
            tenant,
            workload,
            epoch,
            playbook,
            steps,
            undo_of,
            explanation,
            phase: PhantomData,
        }
    }
}

impl Plan<Admitted> {
    /// The first step as an action that was decided and nothing more, asked for by this requester; `None` without a step.
    pub fn record(&self, id: ActionId, by: Name) -> Option<ActionRecord> {
        let step = self.steps.first()?;
        Some(ActionRecord {
            id,
            namespace: self.workload.namespace.clone(),
            resource_version: Name::from(""),
            incident: self.incident.clone(),
            origin: self.origin,
            tenant: self.tenant.clone(),
            workload: self.workload.clone(),
            playbook: self.playbook.clone(),
            target: step.target.clone(),
            parameters: step.parameters.clone(),
            before: step.before.clone(),
            epoch: self.epoch,
            evidence: step.evidence.clone(),
            verification: step.verification.clone(),
            undo: step.undo,
            undo_of: self.undo_of.clone(),
            request: Request { by, ..Request::default() },
            state: ActionState::Proposed,
            guards: Vec::new(),
            instants: ActionInstants::default(),
            outcome: None,
            approval: None,
            message: "decided".to_owned(),
        })
    }
}

/// Which playbook, version and step asked for something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlaybookRef {
    /// Name of the playbook.
    pub name: Name,
    /// Its generation; 0 for a shipped one.
    pub version: i64,
    /// Step of its ladder, from 1.
    pub step: u32,
}

/// One step: one action on one target with absolute values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The one object that it changes.
    pub target: Target,
    /// What exactly is done.
    pub parameters: Parameters,
    /// The target before.
    pub before: Before,
    /// What counts as success, by when.
    pub verification: Verification,
    /// How it is taken back.
    pub undo: Undo,
    /// The evidence that it stands on.
    pub evidence: EvidenceRef,
}

/// What counts as success, by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Window after the effect.
    pub within: SignedDuration,
    /// What must hold.
    pub expect: Expectation,
}

/// What must hold after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expectation {
    /// The workload answers well and its pods are ready.
    ObjectivesMet,
    /// The rollout ended and all replicas are ready.
    RolloutComplete,
    /// Nothing to expect (telling people).
    Nothing,
}

/// How a step is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Undo {
    /// Cannot or need not be undone: a replaced pod stays replaced.
    None,
    /// Restore the before-image.
    Restore,
}
