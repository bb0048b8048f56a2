//! From the size that a workload should have to a plan for it. There is no incident: the decision itself, which is made
//! anew every 15 s, is the evidence.

use crate::acted::Acted;
use crate::{bounds, standing};
use homeostat_knowledge::action::{Before, EvidenceRef};
use homeostat_knowledge::forecast::occasion;
use homeostat_knowledge::guard::REFUSAL_STANDS;
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, ControllerRecord, Draft, EvidenceId, IdSource, Level, Name,
    Origin, Parameters, Plan, PlanId, PlaybookRef, SignedDuration, SizeAdvice, SizeEffect, Snapshot, Step,
    Target, TenantPolicy, Timestamp, Verification, WorkloadKey, WorkloadPolicy,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands where a repair names its playbook.
pub const PLAYBOOK: &str = "size-by-forecast";
/// Fewer replicas are watched for so long, or for the tenant's verification window where that is longer.
pub const WATCHED: SignedDuration = SignedDuration::from_secs(120);
/// First wait after a change that was not made; doubles with each in a row.
const AGAIN: SignedDuration = SignedDuration::from_secs(15);
/// Longest wait.
const AGAIN_MOST: SignedDuration = SignedDuration::from_mins(15);
/// A way up that waits for a guard which passes by itself is asked for again so often, in seconds.
const ASKED_EVERY: i64 = 30;

/// What is to be done about a size.
#[derive(Clone, Debug, PartialEq)]
pub enum SizeDecision {
    /// Nothing: it has the size, or the mode does not ask for more than to say it.
    Nothing,
    /// Not now; why, and what people can do.
    Wait(String),
    /// This.
    Act(Box<Plan<Draft>>),
}

/// Plans the change from the present size to the wanted one, or as far as one step may go, by what was done before. Pure.
pub fn size(
    workload: &WorkloadPolicy,
    advice: &SizeAdvice,
    snapshot: &Snapshot,
    acted: &Acted,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> SizeDecision {
    let place = Place { workload, advice, snapshot, acted, now };
    match (advice.effect, advice.wanted) {
        (SizeEffect::Scale, Some(wanted)) => scale(&place, wanted, ids),
        (SizeEffect::DriveBounds { min, max }, Some(_)) => bounds::drive(&place, min, max, ids),
        (SizeEffect::Keep, Some(_)) => bounds::renew(&place, ids),
        _ => SizeDecision::Nothing,
    }
}

/// What is decided about.
pub(crate) struct Place<'a> {
    pub workload: &'a WorkloadPolicy,
    pub advice: &'a SizeAdvice,
    pub snapshot: &'a Snapshot,
    pub acted: &'a Acted,
    pub now: Timestamp,
}

/// One change, as far as it goes now.
pub(crate) struct Change {
    pub target: Target,
    pub parameters: Parameters,
    pub before: Before,
    /// It takes capacity away: it is watched, and taken back when that hurts.
    pub down: bool,
    /// In words.
    pub what: String,
}

impl<'a> Place<'a> {
    /// What sizes the workload's target against each other, in words.
    pub fn rivals(&self) -> Option<String> {
        let key = &self.workload.key;
        let rivals = self.snapshot.rival_scalers(self.workload)?;
        Some(format!("{rivals} size workload {key} against each other; keep one of them"))
    }

    /// What the workload targets, with its replicas.
    pub fn controller(&self) -> Result<(&'a ControllerRecord, u32), String> {
        let Some(controller) = self.snapshot.controller_of(&self.workload.key) else {
            return Err(format!("what workload {} targets is not there", self.workload.key));
        };
        let present = u32::try_from(controller.replicas)
            .map_err(|_| format!("the size of {} is not known", controller.key.object))?;
        Ok((controller, present))
    }

    /// The tenant, when nothing that is known without a request stops such a change now.
    pub fn open(&self, kind: ActionKind, down: bool) -> Result<&'a TenantPolicy, String> {
        let Some(tenant) = self.snapshot.tenant_of_namespace(&self.workload.key.namespace) else {
            return Err(format!("namespace {} belongs to no Tenant", self.workload.key.namespace));
        };
        if let Some(why) = stopped(self.workload, tenant, self.snapshot, kind, self.now) {
            return Err(why);
        }
        match not_yet(&of_workload(self.workload, self.acted), kind, down, self.now) {
            Some(why) => Err(why),
            None => Ok(tenant),
        }
    }

    /// The plan of one change.
    pub fn act(&self, tenant: &TenantPolicy, change: Change, ids: &mut dyn IdSource) -> SizeDecision {
        let Self { workload, advice, snapshot, .. } = self;
        let Change { target, parameters, before, down, what } = change;
        let kind = parameters.kind();
        let step = Step {
            target,
            parameters,
            before,
            verification: Verification {
                within: if down { tenant.verification.max(WATCHED) } else { tenant.verification },
                expect: Expectation::ObjectivesMet,
            },
            undo: if down { Undo::Restore } else { Undo::None },
            evidence: EvidenceRef {
                id: EvidenceId::new(format!(
                    "size-{}-{}",
                    advice.decided.as_second(),
                    advice.wanted.unwrap_or_default()
                )),
                taken_at: advice.decided,
                summary: advice.why.chars().take(256).collect(),
            },
        };
        let plan = Plan::draft(
            PlanId::new(format!("{}-{}", occasion(&workload.key), ids.suffix(5))),
            occasion(&workload.key),
            tenant.name.clone(),
            workload.key.clone(),
            snapshot.generation,
            PlaybookRef { name: Name::from(PLAYBOOK), version: 0, step: 1 },
            vec![step],
            vec![format!("{kind} {what}: {}", advice.why)],
        );
        SizeDecision::Act(Box::new(plan.by_forecast()))
    }
}

/// Another number of replicas.
fn scale(place: &Place<'_>, wanted: u32, ids: &mut dyn IdSource) -> SizeDecision {
    let (controller, present) = match place.controller() {
        Ok(known) => known,
        Err(why) => return SizeDecision::Wait(why),
    };
    if wanted == present {
        return SizeDecision::Nothing;
    }
    if let Some(why) = place.rivals() {
        return SizeDecision::Wait(why);
    }
    let down = wanted < present;
    let tenant = match place.open(if down { ActionKind::ScaleDown } else { ActionKind::ScaleUp }, down) {
        Ok(tenant) => tenant,
        Err(why) => return SizeDecision::Wait(why),
    };
    let Some(target) = Snapshot::controller_target(controller) else {
        return SizeDecision::Wait(format!("a {:?} has no size to set", controller.key.kind));
    };
    let limits = &tenant.limits.scaling;
    let next = if down {
        wanted.max(present.saturating_sub(limits.most_down(present)))
    } else {
        wanted.min(present.saturating_add(limits.most_up(present)))
    };
    let Ok(replicas) = i32::try_from(next) else {
        return SizeDecision::Wait(format!("{next} replicas are more than any workload can have"));
    };
    let before =
        Before { replicas: Some(controller.replicas), ready: Some(controller.ready), ..Before::default() };
    let stage = if next == wanted { String::new() } else { format!(", of {wanted} wanted") };
    let change = Change {
        target,
        parameters: if down { Parameters::ScaleDown { replicas } } else { Parameters::ScaleUp { replicas } },
        before,
        down,
        what: format!("from {present} to {next} replicas{stage}"),
    };
    place.act(tenant, change, ids)
}

/// What people said that stops it, known without a request. The guards ask again, and ask more.
fn stopped(
    workload: &WorkloadPolicy,
    tenant: &TenantPolicy,
    snapshot: &Snapshot,
    kind: ActionKind,
    now: Timestamp,
) -> Option<String> {
    if snapshot.control.kill_switch != KillSwitch::Off {
        return Some("the kill switch is engaged or not readable".to_owned());
    }
    if tenant.paused_at(now) {
        return Some(format!("a person paused automation for tenant {}", tenant.name));
    }
    if workload.paused || workload.do_not_touch_until.is_some_and(|until| now < until) {
        return Some(format!("a person asked to leave workload {} alone", workload.key));
    }
    let level = tenant.level(kind).min(snapshot.control.ceiling);
    (level <= Level::Recommend).then(|| {
        format!(
            "the level of {kind} is {}: recommended only; raise it in the Tenant's automation list",
            level.name()
        )
    })
}

/// Changes of this workload's size by forecast, oldest first, and whatever else is under way on it.
fn of_workload<'a>(workload: &WorkloadPolicy, acted: &'a Acted) -> Vec<&'a Arc<ActionRecord>> {
    acted
        .on(&workload.key)
        .iter()
        .filter(|action| action.undo_of.is_none())
        .filter(|action| action.origin == Origin::Forecast || action.state.in_flight())
        .collect()
}

/// Something is under way, or the same was tried a moment ago and not done.
fn not_yet(history: &[&Arc<ActionRecord>], kind: ActionKind, down: bool, now: Timestamp) -> Option<String> {
    if let Some(open) = history.iter().find(|action| !action.state.ended()) {
        return Some(format!("{} {} is {:?}", open.kind(), open.id, open.state));
    }
    let undone = |action: &&&Arc<ActionRecord>| {
        matches!(action.state, ActionState::Refused | ActionState::Cancelled)
            || (action.state == ActionState::Failed && action.instants.sent.is_none())
    };
    let same = || history.iter().rev().filter(|action| action.kind() == kind && action.goes_down() == down);
    let last = same().next()?;
    if last.waits_for().is_some() {
        return rests(last, now).then(|| format!("{}; asked again within {ASKED_EVERY} s", reason(last)));
    }
    let tries = same().take_while(|action| undone(action) && action.waits_for().is_none()).count();
    let doublings = u32::try_from(tries.checked_sub(1)?).unwrap_or(u32::MAX).min(6);
    let wait = AGAIN.checked_mul(1 << doublings).unwrap_or(AGAIN_MOST).min(AGAIN_MOST);
    let until = last.evidence.taken_at.checked_add(wait).ok()?;
    (now < until).then(|| format!("{}; tried again after {until:.0}", reason(last)))
}

/// Whether a way up that waits is not asked for at this step. Its refusal is stored seldom, so that the steps are counted from
/// the one that is: the first one asks, then every other one.
fn rests(last: &ActionRecord, now: Timestamp) -> bool {
    let age = now.duration_since(last.evidence.taken_at);
    let step = AGAIN.as_secs();
    let steps = (age.as_secs() + step / 2).div_euclid(step);
    age < AGAIN || (age < REFUSAL_STANDS && steps % (ASKED_EVERY / step) != 1)
}

/// Why an action was not done.
fn reason(action: &ActionRecord) -> String {
    let refusal = action.guards.iter().find(|guard| !guard.result.permits());
    match refusal {
        Some(guard) if guard.message.is_empty() => format!("{}: {}", guard.name.name(), guard.observed),
        Some(guard) => format!("{}: {}", guard.name.name(), guard.message),
        None => action.message.clone(),
    }
}

/// The newest change of replicas, or of the bounds of its autoscaler, of each workload by forecast.
pub fn newest(snapshot: &Snapshot) -> BTreeMap<&WorkloadKey, &ActionRecord> {
    newest_of(snapshot, false)
}

/// The newest change of what a pod asks for of each workload, other than repairs.
pub fn newest_of_pods(snapshot: &Snapshot) -> BTreeMap<&WorkloadKey, &ActionRecord> {
    newest_of(snapshot, true)
}

fn newest_of(snapshot: &Snapshot, of_pods: bool) -> BTreeMap<&WorkloadKey, &ActionRecord> {
    let mut newest: BTreeMap<&WorkloadKey, &ActionRecord> = BTreeMap::new();
    for action in snapshot.actions.values().filter(|action| sized(action, of_pods)) {
        let known = newest.entry(&action.workload).or_insert(action);
        if known.evidence.taken_at < action.evidence.taken_at {
            *known = action;
        }
    }
    newest
}

/// A change of size by forecast, of pods or of their number, that takes nothing back.
pub(crate) fn sized(action: &ActionRecord, of_pods: bool) -> bool {
    action.origin == Origin::Forecast
        && action.undo_of.is_none()
        && (action.kind() == ActionKind::ResizePod) == of_pods
}

/// What a change of size came to, in a sentence.
pub fn told(action: &ActionRecord) -> String {
    let from = action.before.replicas.unwrap_or_default();
    let what = match (&action.parameters, action.before.bounds) {
        (Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas }, _) => {
            format!("from {from} to {replicas}")
        }
        (Parameters::DriveBounds { bounds, .. }, Some(before)) => bounds::words(before, *bounds),
        (Parameters::ResizePod { .. }, _) => {
            format!("of {}: {}", action.target.key.name, standing::words(&action.parameters, &action.before))
        }
        _ => format!("at {from}"),
    };
    let why = match action.state {
        ActionState::Refused | ActionState::Cancelled | ActionState::Failed => reason(action),
        _ => action.outcome.as_ref().map(|outcome| outcome.reason.clone()).unwrap_or_default(),
    };
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    format!("{} {what} at {:.0}: {:?}{why}", action.kind(), action.evidence.taken_at, action.state)
}
