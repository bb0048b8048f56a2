//! Programs with one defect each, made of the honest ones by what they see and what they send. None of this is in the
//! product; it is here to show that the simulator notices.

use crate::client::Client;
use crate::process::{View, in_flight};
use crate::situations::EffectRequest;
use homeostat_execute::ports::{
    Acknowledged, Actuator, EffectError, FreshTarget, Ledger, LedgerStoreError, ReadError, Refusal,
};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Approval, Name, ObjectKey, Parameters, Snapshot,
    SnapshotSource, Target, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// One deliberate defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// The budget guard is dropped.
    NoBudgets,
    /// The guard of freeze windows is dropped.
    NoWindows,
    /// The target is not read fresh but taken from the cache.
    NoFreshRead,
    /// The effect is sent before its intent is stored.
    ActsBeforeIntent,
    /// The kill switch is not asked.
    IgnoresKillSwitch,
    /// The eviction carries no UID and no version.
    NoPrecondition,
    /// After an unknown outcome the effect is sent again without reading.
    SendsAgainBlindly,
    /// A claim of an earlier run is taken for an intent, so the effect is sent again.
    ForgetsClaim,
    /// An approval that was given once is taken for every later action.
    ReusesApproval,
    /// Changes that are under way are not counted.
    ForgetsPending,
    /// No budget is reserved between a decision and its intent.
    NothingReserved,
    /// What ended is written again as undone.
    UndoesTwice,
    /// Evidence never grows old.
    TrustsOldEvidence,
    /// Every tenant is taken to own every namespace, and decides for the workloads of others.
    IgnoresTenants,
    /// A size is sent as a difference to whatever is there, not as a number.
    RelativeTarget,
    /// What takes back is sent a second time.
    UndoesAgain,
    /// What is held is never released.
    NeverReleases,
    /// An effect that is not seen is taken never to have come, whatever others changed since.
    TakesAbsenceForProof,
    /// The time in the API server's answers is not looked at.
    TrustsItsClock,
    /// What the effect needs is read when the kill switch was asked already.
    ReadsAfterTheSwitch,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::NoBudgets,
        Self::NoWindows,
        Self::NoFreshRead,
        Self::ActsBeforeIntent,
        Self::IgnoresKillSwitch,
        Self::NoPrecondition,
        Self::SendsAgainBlindly,
        Self::ForgetsClaim,
        Self::ReusesApproval,
        Self::ForgetsPending,
        Self::NothingReserved,
        Self::UndoesTwice,
        Self::TrustsOldEvidence,
        Self::IgnoresTenants,
        Self::RelativeTarget,
        Self::UndoesAgain,
        Self::NeverReleases,
        Self::TakesAbsenceForProof,
        Self::TrustsItsClock,
        Self::ReadsAfterTheSwitch,
    ];
}

impl Defect {
    /// The action in whose plans it must show, where that is known; drawn histories are not tried then.
    pub fn shows_with(self) -> Option<ActionKind> {
        match self {
            Self::NeverReleases => Some(ActionKind::Cordon),
            Self::RelativeTarget => Some(ActionKind::ScaleUp),
            _ => None,
        }
    }
}

/// The snapshot as a program with this defect sees it.
pub fn see(defect: Defect, snapshot: Arc<Snapshot>, now: Timestamp) -> Arc<Snapshot> {
    let mut seen = Snapshot::clone(&snapshot);
    match defect {
        Defect::NoBudgets => {
            tenants(&mut seen, |tenant| {
                let limits = &mut tenant.limits;
                limits.in_flight_per_workload = u32::MAX;
                limits.in_flight_per_tenant = u32::MAX;
                limits.per_workload_hour = u32::MAX;
                limits.per_tenant_hour = u32::MAX;
                limits.percent_per_10_minutes = u32::MAX;
            });
            let mut control = (*seen.control).clone();
            (control.in_flight, control.per_hour) = (u32::MAX, u32::MAX);
            seen.control = Arc::new(control);
        }
        Defect::NoWindows => tenants(&mut seen, |tenant| tenant.freezes.clear()),
        Defect::ReusesApproval => {
            let old = seen.actions.values().find_map(|action| action.approval.clone());
            let waiting: Vec<ActionRecord> = seen
                .actions
                .values()
                .filter(|action| action.state == ActionState::AwaitingApproval && action.approval.is_none())
                .map(|action| (**action).clone())
                .collect();
            for record in waiting {
                let record = approved(record, old.as_ref());
                seen.actions.insert_mut(record.id.clone(), Arc::new(record));
            }
        }
        Defect::ForgetsPending => {
            let pending: Vec<ActionId> = seen
                .actions
                .values()
                .filter(|action| in_flight(action))
                .map(|action| action.id.clone())
                .collect();
            for id in pending {
                seen.actions.remove_mut(&id);
            }
        }
        Defect::TrustsOldEvidence => {
            let all: Vec<_> = seen.incidents.values().map(|incident| (**incident).clone()).collect();
            for mut incident in all {
                for finding in &mut incident.findings {
                    finding.last_seen = now;
                    finding.active = true;
                }
                seen.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
            }
        }
        Defect::IgnoresTenants => {
            let all: BTreeSet<Name> =
                seen.tenants.values().flat_map(|tenant| tenant.namespaces.iter().cloned()).collect();
            tenants(&mut seen, |tenant| tenant.namespaces.clone_from(&all));
        }
        Defect::NoFreshRead
        | Defect::ActsBeforeIntent
        | Defect::IgnoresKillSwitch
        | Defect::NoPrecondition
        | Defect::SendsAgainBlindly
        | Defect::ForgetsClaim
        | Defect::NothingReserved
        | Defect::UndoesTwice
        | Defect::RelativeTarget
        | Defect::UndoesAgain
        | Defect::NeverReleases
        | Defect::TakesAbsenceForProof
        | Defect::TrustsItsClock
        | Defect::ReadsAfterTheSwitch => return snapshot,
    }
    Arc::new(seen)
}

fn tenants(snapshot: &mut Snapshot, change: impl Fn(&mut homeostat_knowledge::TenantPolicy)) {
    let all: Vec<_> = snapshot.tenants.values().map(|tenant| (**tenant).clone()).collect();
    for mut tenant in all {
        change(&mut tenant);
        snapshot.tenants.insert_mut(tenant.name.clone(), Arc::new(tenant));
    }
}

fn approved(mut record: ActionRecord, old: Option<&Approval>) -> ActionRecord {
    if record.state == ActionState::AwaitingApproval && record.approval.is_none() {
        let evidence = record.evidence.id.clone();
        record.approval =
            old.map(|old| Approval { evidence, at: record.evidence.taken_at.max(old.at), ..old.clone() });
    }
    record
}

/// What a defective program remembers.
#[derive(Default)]
struct Notes {
    /// Records that are not stored yet although the driver believes so.
    pending: BTreeMap<ActionId, ActionRecord>,
    /// Versions of those that were stored late.
    versions: BTreeMap<ActionId, Name>,
    /// Actions that this process claimed itself.
    claimed: BTreeSet<ActionId>,
    /// The last approval that was seen.
    approval: Option<Approval>,
}

/// The ports of one process: the honest client, or the same with a defect.
#[derive(Clone)]
pub struct Hands {
    client: Client,
    view: Arc<View>,
    defect: Option<Defect>,
    notes: Arc<Mutex<Notes>>,
}

impl Hands {
    /// Hands that use `client` and see `view`.
    pub fn new(client: Client, view: Arc<View>, defect: Option<Defect>) -> Self {
        Self { client, view, defect, notes: Arc::default() }
    }

    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size that a program sends which adds to what is there now what it wanted to add when it decided.
    fn relative(&self, target: &Target, parameters: &Parameters) -> Parameters {
        let kind = homeostat_knowledge::ControllerKind::from_kind(&target.kind);
        let key = crate::objects::controller_key(kind, &target.key);
        let cached = self.view.current().controllers.get(&key).map(|controller| controller.replicas);
        let present = self.client.size(target);
        match (parameters, cached, present) {
            (Parameters::ScaleUp { replicas }, Some(cached), Some(present)) => {
                Parameters::ScaleUp { replicas: present + replicas - cached }
            }
            (Parameters::ScaleDown { replicas }, Some(cached), Some(present)) => {
                Parameters::ScaleDown { replicas: present + replicas - cached }
            }
            (other, ..) => other.clone(),
        }
    }

    /// The version of this target that an action was decided on which another process has claimed.
    fn decided_on(&self, target: &Target) -> Option<Name> {
        let claimed = self.client.claimed(target);
        let notes = self.notes();
        let another = claimed.iter().find(|record| !notes.claimed.contains(&record.id));
        another.map(|record| record.target.resource_version.clone())
    }

    /// What a program takes a fresh read for.
    fn believed(&self, target: &Target, mut fresh: Option<FreshTarget>) -> Option<FreshTarget> {
        if self.has(Defect::TakesAbsenceForProof)
            && let Some(fresh) = &mut fresh
            && let Some(version) = self.decided_on(target)
        {
            fresh.resource_version = version;
        }
        fresh
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

impl Ledger for Hands {
    async fn create(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        if self.has(Defect::ActsBeforeIntent) {
            self.notes().pending.insert(record.id.clone(), record.clone());
            return Ok(Name::from("0"));
        }
        self.client.create(record).await
    }

    async fn update(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        let late = {
            let mut notes = self.notes();
            if let Some(pending) = notes.pending.get_mut(&record.id) {
                *pending = record.clone();
                return Ok(Name::from("0"));
            }
            notes.versions.get(&record.id).cloned()
        };
        if record.state == ActionState::Claimed {
            self.notes().claimed.insert(record.id.clone());
        }
        let mut record = record.clone();
        if let Some(version) = late {
            record.resource_version = version;
        }
        let version = self.client.update(&record).await?;
        if self.notes().versions.contains_key(&record.id) {
            self.notes().versions.insert(record.id.clone(), version.clone());
        }
        if self.has(Defect::UndoesTwice) && record.state.ended() && record.instants.sent.is_some() {
            let undone =
                ActionRecord { state: ActionState::Undone, resource_version: version, ..record.clone() };
            return self.client.update(&undone).await;
        }
        Ok(version)
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<ActionRecord>, LedgerStoreError> {
        let mut stored = self.client.read(key).await?;
        if self.has(Defect::ReusesApproval)
            && let Some(record) = stored.take()
        {
            let mut notes = self.notes();
            if record.approval.is_some() {
                notes.approval.clone_from(&record.approval);
            }
            stored = Some(approved(record, notes.approval.as_ref()));
        }
        if self.has(Defect::ForgetsClaim)
            && let Some(record) = &mut stored
            && record.state == ActionState::Claimed
        {
            record.state = ActionState::Admitted;
            record.instants.claimed = None;
        }
        Ok(stored)
    }
}

impl Actuator for Hands {
    type Prepared = EffectRequest;

    async fn kill_switch(&self) -> Result<KillSwitch, ReadError> {
        Ok(self.kill_switch_and_time().await?.0)
    }

    async fn kill_switch_and_time(&self) -> Result<(KillSwitch, Option<Timestamp>), ReadError> {
        let read = self.client.kill_switch_and_time().await;
        match self.defect {
            Some(Defect::IgnoresKillSwitch) => Ok((KillSwitch::Off, None)),
            Some(Defect::TrustsItsClock) => Ok((read?.0, None)),
            _ => read,
        }
    }

    async fn fresh_target(&self, target: &Target) -> Result<Option<FreshTarget>, ReadError> {
        if self.has(Defect::NoFreshRead) {
            let snapshot = self.view.current();
            let kind = homeostat_knowledge::ControllerKind::from_kind(&target.kind);
            let key = crate::objects::controller_key(kind, &target.key);
            let pod = snapshot.pods.get(&target.key).map(|pod| (**pod).clone());
            let controller = snapshot.controllers.get(&key).map(|controller| (**controller).clone());
            let node = snapshot.nodes.get(&target.key.name).filter(|_| target.is_node());
            return Ok(crate::objects::cached(pod, controller, node.map(|node| (**node).clone())));
        }
        let fresh = self.client.fresh_target(target).await?;
        Ok(self.believed(target, fresh))
    }

    async fn fresh_for(
        &self,
        target: &Target,
        parameters: &Parameters,
    ) -> Result<Option<FreshTarget>, ReadError> {
        if self.has(Defect::NoFreshRead) {
            return self.fresh_target(target).await;
        }
        let fresh = self.client.fresh_for(target, parameters).await?;
        Ok(self.believed(target, fresh))
    }

    async fn dry_run(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> Result<(), Refusal> {
        self.client.dry_run(target, parameters, action).await
    }

    async fn prepare(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        resource_version: &Name,
    ) -> Result<EffectRequest, EffectError> {
        let bare = self.has(Defect::NoPrecondition) || self.has(Defect::RelativeTarget);
        let request = self.client.prepare(target, parameters, action, resource_version).await?;
        Ok(if bare { EffectRequest { uid: None, version: None, ..request } } else { request })
    }

    async fn send(&self, mut request: EffectRequest) -> Result<Acknowledged, EffectError> {
        if self.has(Defect::RelativeTarget) {
            request.parameters = self.relative(&request.target, &request.parameters);
        }
        if self.has(Defect::ReadsAfterTheSwitch) {
            self.client.look(&request).await?;
        }
        let mut answer = self.client.request(&request).await;
        if self.has(Defect::SendsAgainBlindly) && matches!(answer, Err(EffectError::Unknown(_))) {
            answer = self.client.request(&request).await;
        }
        let takes_back = request.action.as_str().ends_with("-undo");
        if self.has(Defect::UndoesAgain) && takes_back && answer.is_ok() {
            answer = self.client.request(&request).await.or(answer);
        }
        let pending = self.notes().pending.remove(&request.action);
        if let Some(record) = pending
            && let Ok(version) = self.client.create(&record).await
        {
            self.notes().versions.insert(request.action.clone(), version);
        }
        answer
    }
}
