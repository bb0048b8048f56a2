//! From the size that a workload should have to a plan for it. There is no incident: the decision itself, which is made
//! anew every 15 s, is the evidence.

use homeostat_knowledge::action::{Before, EvidenceRef};
use homeostat_knowledge::forecast::occasion;
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, Draft, EvidenceId, IdSource, Level, Name, Origin, Parameters,
    Plan, PlanId, PlaybookRef, SignedDuration, SizeAdvice, SizeEffect, Snapshot, Step, TenantPolicy,
    Timestamp, Verification, WorkloadKey, WorkloadPolicy,
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

/// Plans the change from the present size to the wanted one, or as far as one step may go. Pure.
pub fn size(
    workload: &WorkloadPolicy,
    advice: &SizeAdvice,
    snapshot: &Snapshot,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> SizeDecision {
    let wait = |why: String| SizeDecision::Wait(why);
    let wanted = match (advice.effect, advice.wanted) {
        (SizeEffect::Scale, Some(wanted)) => wanted,
        (SizeEffect::DriveBounds { min, max }, _) => {
            return wait(format!(
                "the autoscaler's bounds would be {min} to {max}; this version does not move them: set them by hand, or \
                 remove the autoscaler"
            ));
        }
        _ => return SizeDecision::Nothing,
    };
    let Some(controller) = snapshot.controller_of(&workload.key) else {
        return wait(format!("what workload {} targets is not there", workload.key));
    };
    let Ok(present) = u32::try_from(controller.replicas) else {
        return wait(format!("the size of {} is not known", controller.key.object));
    };
    if wanted == present {
        return SizeDecision::Nothing;
    }
    let Some(tenant) = snapshot.tenant_of_namespace(&workload.key.namespace) else {
        return wait(format!("namespace {} belongs to no Tenant", workload.key.namespace));
    };
    let kind = if wanted > present { ActionKind::ScaleUp } else { ActionKind::ScaleDown };
    if let Some(why) = stopped(workload, tenant, snapshot, kind, now) {
        return wait(why);
    }
    let history = of_workload(workload, snapshot);
    if let Some(why) = not_yet(&history, kind, now) {
        return wait(why);
    }
    let Some(target) = Snapshot::controller_target(controller) else {
        return wait(format!("a {:?} has no size to set", controller.key.kind));
    };
    let limits = &tenant.limits.scaling;
    let next = match kind {
        ActionKind::ScaleUp => wanted.min(present.saturating_add(limits.most_up(present))),
        _ => wanted.max(present.saturating_sub(limits.most_down(present))),
    };
    let Ok(replicas) = i32::try_from(next) else {
        return wait(format!("{next} replicas are more than any workload can have"));
    };
    let up = kind == ActionKind::ScaleUp;
    let step = Step {
        target,
        parameters: if up { Parameters::ScaleUp { replicas } } else { Parameters::ScaleDown { replicas } },
        before: Before {
            replicas: Some(controller.replicas),
            ready: Some(controller.ready),
            ..Before::default()
        },
        verification: Verification {
            within: if up { tenant.verification } else { tenant.verification.max(WATCHED) },
            expect: Expectation::ObjectivesMet,
        },
        undo: if up { Undo::None } else { Undo::Restore },
        evidence: EvidenceRef {
            id: EvidenceId::new(format!("size-{}-{wanted}", advice.decided.as_second())),
            taken_at: advice.decided,
            summary: advice.why.chars().take(256).collect(),
        },
    };
    let stage = if next == wanted { String::new() } else { format!(", of {wanted} wanted") };
    let plan = Plan::draft(
        PlanId::new(format!("{}-{}", occasion(&workload.key), ids.suffix(5))),
        occasion(&workload.key),
        tenant.name.clone(),
        workload.key.clone(),
        snapshot.generation,
        PlaybookRef { name: Name::from(PLAYBOOK), version: 0, step: 1 },
        vec![step],
        vec![format!("{kind} from {present} to {next} replicas{stage}: {}", advice.why)],
    );
    SizeDecision::Act(Box::new(plan.by_forecast()))
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
fn of_workload<'a>(workload: &WorkloadPolicy, snapshot: &'a Snapshot) -> Vec<&'a Arc<ActionRecord>> {
    let mut found: Vec<&Arc<ActionRecord>> = snapshot
        .actions
        .values()
        .filter(|action| action.workload == workload.key && action.undo_of.is_none())
        .filter(|action| action.origin == Origin::Forecast || action.state.in_flight())
        .collect();
    found.sort_by_key(|action| action.evidence.taken_at);
    found
}

/// Something is under way, or the same was tried a moment ago and not done.
fn not_yet(history: &[&Arc<ActionRecord>], kind: ActionKind, now: Timestamp) -> Option<String> {
    if let Some(open) = history.iter().find(|action| !action.state.ended()) {
        return Some(format!("{} {} is {:?}", open.kind(), open.id, open.state));
    }
    let undone = |action: &&&Arc<ActionRecord>| {
        matches!(action.state, ActionState::Refused | ActionState::Cancelled)
            || (action.state == ActionState::Failed && action.instants.sent.is_none())
    };
    let same = || history.iter().rev().filter(|action| action.kind() == kind);
    let last = same().next()?;
    let tries = same().take_while(undone).count();
    let doublings = u32::try_from(tries.checked_sub(1)?).unwrap_or(u32::MAX).min(6);
    let wait = AGAIN.checked_mul(1 << doublings).unwrap_or(AGAIN_MOST).min(AGAIN_MOST);
    let until = last.evidence.taken_at.checked_add(wait).ok()?;
    (now < until).then(|| format!("{}; tried again after {until:.0}", reason(last)))
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

/// The newest change of size by forecast of each workload.
pub fn newest(snapshot: &Snapshot) -> BTreeMap<&WorkloadKey, &ActionRecord> {
    let mut newest: BTreeMap<&WorkloadKey, &ActionRecord> = BTreeMap::new();
    let sized = |action: &&Arc<ActionRecord>| action.origin == Origin::Forecast && action.undo_of.is_none();
    for action in snapshot.actions.values().filter(sized) {
        let known = newest.entry(&action.workload).or_insert(action);
        if known.evidence.taken_at < action.evidence.taken_at {
            *known = action;
        }
    }
    newest
}

/// What a change of size came to, in a sentence.
pub fn told(action: &ActionRecord) -> String {
    let from = action.before.replicas.unwrap_or_default();
    let to = match action.parameters {
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => replicas,
        _ => from,
    };
    let why = match action.state {
        ActionState::Refused | ActionState::Cancelled | ActionState::Failed => reason(action),
        _ => action.outcome.as_ref().map(|outcome| outcome.reason.clone()).unwrap_or_default(),
    };
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    format!(
        "{} from {from} to {to} at {:.0}: {:?}{why}",
        action.kind(),
        action.evidence.taken_at,
        action.state
    )
}
