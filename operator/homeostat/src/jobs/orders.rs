//! The plan that starts a run, and the plan that sizes the next ones.

use super::declared::{Asked, size};
use super::desk::{Desk, Start};
use super::largest::Largest;
use super::seen::{Phase, Seen};
use homeostat_execute::guards::{Mode, mode};
use homeostat_knowledge::action::EvidenceRef;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::plan::{Draft, Expectation, Undo};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::Amounts;
use homeostat_knowledge::runs::{OCCASION, occasion};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Before, ControllerKind, EvidenceId, GuardName, IdSource,
    IncidentId, Name, Origin, Parameters, Plan, PlanId, PlaybookRef, SignedDuration, Snapshot, Step,
    Timestamp, Verification, WorkloadKey,
};
use homeostat_scale::jobs::Size;
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::learned::JobHistory;
use homeostat_scale::size::MemorySettings;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Its pods must be there by then.
const PODS_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// A template's size must be seen by then.
const SIZE_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// Time between two sizes of one template.
const SIZE_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// The same where the template has the size that was asked for last, and more is needed by now: what is made next is made
/// any moment.
const MORE_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// A template keeps its size while less than this share of it would be freed.
const SPARE: f64 = 0.2;
/// Runs that must have been seen before a size is made smaller.
const FEW: usize = 3;
const MEBIBYTE: u64 = 1 << 20;

/// What stands where a repair names its playbook.
const PLAYBOOK: &str = "order-of-runs";

/// What is known of how sizes can be set.
#[derive(Debug, Default)]
pub struct Sizing {
    /// The API server does not take sizes of a suspended Job, so templates of `CronJob`s are sized instead.
    fixed: bool,
    /// When the template of a workload was sized last, and how many bytes of memory it was to have.
    sized: BTreeMap<WorkloadKey, (Timestamp, u64)>,
}

/// Actions that were made for an order, oldest first.
pub(super) fn actions_of<'a>(
    snapshot: &'a Snapshot,
    order: &IncidentId,
) -> impl Iterator<Item = &'a ActionRecord> {
    let order = order.clone();
    let first = ActionId::new(order.as_str());
    snapshot
        .actions
        .range((Bound::Included(first), Bound::Unbounded))
        .take_while({
            let order = order.clone();
            move |(id, _)| id.as_str().starts_with(order.as_str())
        })
        .map(|(_, record)| &**record)
        .filter(move |record| record.incident == order)
}

impl Sizing {
    /// The plan that lets a run begin.
    pub fn start(
        &mut self,
        start: &Start,
        asked: &Asked,
        job: &Seen,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Option<Plan<Draft>> {
        let target = Snapshot::controller_target(&job.record)?;
        let order = occasion(&target);
        let work = job.record.work.as_ref()?;
        let waits = job.phase == Phase::Waiting;
        if waits && !self.fixed && actions_of(snapshot, &order).any(refused_for_size) {
            self.fixed = true;
        }
        let pods = start.pods.map_or_else(|| work.at_once(), |(pods, _)| pods);
        let mut wanted = within((start.size, u64::from(pods)), start.seen, asked, work.requests);
        if actions_of(snapshot, &order).any(|record| refused_with_more(record, work.requests.cpu_millis)) {
            wanted.cpu_millis = work.requests.cpu_millis;
        }
        let sized = self.writes(asked, job, snapshot) && wanted != work.requests;
        let sizes = if sized { wanted } else { Amounts::default() };
        let parallelism =
            start.pods.filter(|(pods, chosen)| *chosen && *pods != work.pods).map(|(pods, _)| pods);
        let parameters = Parameters::StartJob {
            cpu_millis: sizes.cpu_millis,
            memory_bytes: sizes.memory_bytes,
            parallelism,
        };
        let before = Before {
            suspended: Some(job.record.paused),
            cpu_millis: work.requests.cpu_millis,
            memory_bytes: work.requests.memory_bytes,
            parallelism: parallelism.map(|_| work.pods),
            ..Before::default()
        };
        let step = Step {
            target,
            parameters,
            before,
            // The Job itself tells whether it began.
            verification: Verification { within: PODS_WITHIN, expect: Expectation::Nothing },
            undo: Undo::None,
            evidence: evidence(ids, now, &start.why),
        };
        Some(plan(asked, &start.workload, step, snapshot, &start.why, ids))
    }

    /// Where no start can write more CPU than Jobs ask for, their runs are planned with no more; nowhere with more CPU or memory
    /// than the largest node has for one pod.
    pub fn bound(&self, asked: &mut BTreeMap<WorkloadKey, Asked>, largest: &Largest, snapshot: &Snapshot) {
        let largest = largest.most();
        for one in asked.values_mut() {
            let pods = if one.job.pods.is_some() { 1 } else { one.pods };
            let memory = largest.mebibytes.saturating_mul(pods);
            one.job.most_mebibytes = (memory > 0).then_some(memory);
            if let Some(most) = &mut one.job.most_millicores {
                *most = (*most).min(largest.millicores.saturating_mul(pods));
            }
            let ours = matches!(one.orderer, Orderer::Homeostat { .. }) && sized_by(one, snapshot).is_none();
            if self.fixed || !ours || one.work.container.is_none() {
                one.job.most_millicores = None;
            }
        }
    }

    /// Whether a start can write another size. A second try is a new Job, and can have any.
    fn writes(&self, asked: &Asked, job: &Seen, snapshot: &Snapshot) -> bool {
        let one = job.record.work.as_ref().is_some_and(|work| work.container.is_some());
        one && !(self.fixed && job.phase == Phase::Waiting) && sized_by(asked, snapshot).is_none()
    }

    /// What a run asks for at least, whatever it is planned with, as its start does not write less; of one pod, where each
    /// run is given its own number of them.
    pub fn least(&self, asked: &Asked, job: &Seen, snapshot: &Snapshot) -> Size {
        let writes = self.writes(asked, job, snapshot);
        let written = match &job.record.work {
            Some(work) if asked.job.pods.is_some() => size(work.requests, 1),
            _ => job.size,
        };
        let cpu = writes && asked.policy.permits.cpu_millis.is_some();
        Size {
            millicores: if cpu { 0 } else { written.millicores },
            mebibytes: if writes { 0 } else { written.mebibytes },
        }
    }

    /// Plans that size templates, where sizes of Jobs cannot be set.
    pub fn templates(
        &mut self,
        acting: &BTreeMap<WorkloadKey, Asked>,
        desk: &Desk,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Vec<Plan<Draft>> {
        self.sized.retain(|key, _| acting.contains_key(key));
        if !self.fixed {
            return Vec::new();
        }
        let mut plans = Vec::new();
        for (key, asked) in acting {
            let last = self.sized.get(key).copied();
            let passed = last.map_or(SignedDuration::MAX, |(at, _)| now.duration_since(at));
            let learnt = desk.history(key).is_some_and(|history| !history.peaks.is_empty());
            if passed < MORE_EVERY || !learnt {
                continue;
            }
            let Some((wanted, present, container)) = template(key, asked, desk, snapshot) else { continue };
            let more = wanted > present && last.is_some_and(|(_, bytes)| bytes == present);
            if (passed >= SIZE_EVERY || more)
                && let Some(plan) = sizes(key, asked, (wanted, present, container), snapshot, now, ids)
            {
                self.sized.insert(key.clone(), (now, wanted));
                plans.push(plan);
            }
        }
        plans
    }
}

/// Whether the last order to let a Job begin came to nothing, as an action says that was made since then.
pub fn in_vain(job: &Seen, since: Timestamp, snapshot: &Snapshot) -> bool {
    let Some(target) = Snapshot::controller_target(&job.record) else { return false };
    let last = actions_of(snapshot, &occasion(&target)).max_by_key(|action| action.evidence.taken_at);
    last.is_some_and(|last| {
        let stopped = matches!(
            last.state,
            ActionState::Refused | ActionState::Cancelled | ActionState::Failed | ActionState::HandedOver
        );
        stopped && last.evidence.taken_at >= since && !refused_for_size(last)
    })
}

/// Why the last order of runs was not carried out, as its action says, of each workload where that is so.
pub fn refused(snapshot: &Snapshot) -> BTreeMap<WorkloadKey, String> {
    let first = ActionId::new(OCCASION);
    let orders = snapshot.actions.range((Bound::Included(first), Bound::Unbounded));
    let mut last: BTreeMap<&WorkloadKey, &ActionRecord> = BTreeMap::new();
    for (_, record) in orders.take_while(|(id, _)| id.as_str().starts_with(OCCASION)) {
        // What pods that run are given holds no run up.
        if record.origin != Origin::Schedule || &*record.target.kind == "Pod" {
            continue;
        }
        let newest = last.entry(&record.workload).or_insert(record);
        if record.evidence.taken_at >= newest.evidence.taken_at {
            *newest = record;
        }
    }
    let failed = |last: &ActionRecord| {
        matches!(last.state, ActionState::Refused | ActionState::Failed | ActionState::HandedOver)
    };
    last.into_iter()
        .filter(|(_, last)| failed(last) && !refused_for_size(last))
        .map(|(key, last)| (key.clone(), format!("{} {}: {}", last.kind(), last.id, last.message)))
        .collect()
}

/// The `VerticalPodAutoscaler` that sets the size of a workload's runs; its runs are ordered all the same.
pub fn sized_by<'a>(asked: &Asked, snapshot: &'a Snapshot) -> Option<&'a Name> {
    snapshot.scalers.get(&asked.policy.target).and_then(Scaler::vertical)
}

/// The dry run said that sizes of a suspended Job cannot be set.
fn refused_for_size(record: &ActionRecord) -> bool {
    let sized = matches!(
        record.parameters,
        Parameters::StartJob { cpu_millis: Some(_), .. } | Parameters::StartJob { memory_bytes: Some(_), .. }
    );
    sized
        && record.state == ActionState::Refused
        && record.guards.last().is_some_and(|guard| {
            guard.name == GuardName::DryRun
                && (guard.message.contains("immutable") || guard.observed.contains("immutable"))
        })
}

/// It was refused, for whatever reason, with more CPU than the Job asks for by itself.
fn refused_with_more(record: &ActionRecord, present: Option<u64>) -> bool {
    matches!(record.parameters, Parameters::StartJob { cpu_millis, .. } if cpu_millis > present)
        && record.state == ActionState::Refused
}

/// What one pod should ask for: what was learnt, within the bounds, only where it differs enough.
fn within((size, pods): (Size, u64), seen: usize, asked: &Asked, present: Amounts) -> Amounts {
    let permits = &asked.policy.permits;
    let clamp = |value: u64, bounds: Option<Bounds>| {
        bounds.map_or(value, |bounds| value.clamp(bounds.min, bounds.max.max(bounds.min)))
    };
    let differs = |wanted: u64, present: Option<u64>| {
        // One small run does not say that the next one is small too.
        let less = |present: u64| seen >= FEW && (wanted as f64) < present as f64 * (1.0 - SPARE);
        present.is_none_or(|present| wanted > present || less(present))
    };
    let memory = clamp((size.mebibytes / pods).saturating_mul(MEBIBYTE), permits.memory_bytes);
    let memory = if differs(memory, present.memory_bytes) { Some(memory) } else { present.memory_bytes };
    // CPU only where people say between what: less of it makes a run longer than was learnt.
    let cpu = permits.cpu_millis.map(|bounds| clamp(size.millicores / pods, Some(bounds)));
    let cpu = match cpu {
        Some(cpu) if differs(cpu, present.cpu_millis) => Some(cpu),
        _ => present.cpu_millis,
    };
    Amounts { cpu_millis: cpu, memory_bytes: memory }
}

/// Sizes of the workload's pods are Homeostat's to change, in its `CronJob` and in the pods themselves.
pub(super) fn may_size(asked: &Asked, snapshot: &Snapshot) -> bool {
    let tenant = snapshot.tenants.get(&asked.tenant);
    tenant.is_some_and(|tenant| mode(ActionKind::ResizePod, tenant, &snapshot.control) == Mode::Act)
        && sized_by(asked, snapshot).is_none()
        && asked.policy.permits.memory_bytes.is_some()
}

/// Memory that the template should ask for and asks for, in bytes, and of which container; `None` while that is the same.
fn template(key: &WorkloadKey, asked: &Asked, desk: &Desk, snapshot: &Snapshot) -> Option<(u64, u64, Name)> {
    let found = snapshot.controllers.get(&asked.policy.target)?;
    let work = found.work.as_ref()?;
    if found.key.kind != ControllerKind::CronJob || !may_size(asked, snapshot) {
        return None;
    }
    let (container, present) = (work.container.clone()?, work.requests.memory_bytes?);
    // Of one pod, where each run has its own number of them; else of the whole run.
    let (size, pods) = match desk.pod_of(key) {
        Some(pod) => (pod, 1),
        None => (desk.expects(key)?.1, asked.pods),
    };
    let seen = desk.history(key).map_or(0, |history| history.peaks.len());
    // The next Job is made with this size, and begins after those that are there; one more may be made meanwhile.
    let (waiting, running) = desk.counts(key);
    let grown = desk
        .history(key)
        .and_then(|history| history.grows_to(waiting + running + 1, &MemorySettings::default()));
    // What its runs are known to need is not cut: they wait for a node that has it.
    let known = desk.history(key).and_then(JobHistory::needs).unwrap_or(0);
    let most = asked.job.most_mebibytes.map_or(u64::MAX, |most| most.max(known));
    let size = Size { mebibytes: size.mebibytes.max(grown.unwrap_or(0)).min(most), ..size };
    let wanted = within((size, pods), seen, asked, work.requests).memory_bytes?;
    // As the action allows it in one step: doubled at most, four fifths at least.
    let wanted = wanted.clamp(present.saturating_mul(4).div_ceil(5), present.saturating_mul(2));
    (wanted != present).then_some((wanted, present, container))
}

fn sizes(
    key: &WorkloadKey,
    asked: &Asked,
    (wanted, present, container): (u64, u64, Name),
    snapshot: &Snapshot,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Option<Plan<Draft>> {
    let why = format!(
        "the next runs of {} get {} MiB instead of {}, by the peaks of its runs",
        key.name,
        wanted / MEBIBYTE,
        present / MEBIBYTE
    );
    let step = Step {
        target: Snapshot::controller_target(snapshot.controllers.get(&asked.policy.target)?)?,
        parameters: Parameters::ResizePod {
            container,
            cpu_millis: None,
            cpu_limit_millis: None,
            memory_bytes: Some(wanted),
            memory_limit_bytes: None,
        },
        before: Before { memory_bytes: Some(present), ..Before::default() },
        verification: Verification { within: SIZE_WITHIN, expect: Expectation::RolloutComplete },
        undo: Undo::None,
        evidence: evidence(ids, now, &why),
    };
    Some(plan(asked, key, step, snapshot, &why, ids))
}

pub(super) fn evidence(ids: &mut dyn IdSource, now: Timestamp, why: &str) -> EvidenceRef {
    EvidenceRef { id: EvidenceId::new(ids.suffix(8)), taken_at: now, summary: why.to_owned() }
}

pub(super) fn plan(
    asked: &Asked,
    workload: &WorkloadKey,
    step: Step,
    snapshot: &Snapshot,
    why: &str,
    ids: &mut dyn IdSource,
) -> Plan<Draft> {
    Plan::draft(
        PlanId::new(ids.suffix(12)),
        occasion(&step.target),
        asked.tenant.clone(),
        workload.clone(),
        snapshot.generation,
        PlaybookRef { name: Name::from(PLAYBOOK), version: 0, step: 1 },
        vec![step],
        vec![why.to_owned()],
    )
    .by_schedule()
}
