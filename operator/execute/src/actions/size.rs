//! What scaling up and scaling down have in common: bounds, steps, and how a size is recognised.

use super::{Landed, Unfit, Verdict, owners, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerKind, ControllerRecord, Origin, Parameters, Snapshot, Timestamp,
};

/// Replicas to have.
pub(super) fn wanted(record: &ActionRecord) -> Option<i32> {
    match record.parameters {
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => Some(replicas),
        _ => None,
    }
}

/// Wanted and present size, both known and within what people and the step limits allow.
pub(super) fn allowed(
    record: &ActionRecord,
    snapshot: &Snapshot,
    controller: &ControllerRecord,
) -> Result<(i32, i32), Unfit> {
    let key = &record.target.key;
    let scaled = match controller.key.kind {
        ControllerKind::Deployment | ControllerKind::StatefulSet => true,
        // It is known only by its scale subresource.
        ControllerKind::Other => controller.api.is_some(),
        _ => false,
    };
    if !scaled {
        return Err(Unfit::Protected(format!("{key} is of a kind that is not scaled")));
    }
    if controller.paused {
        return Err(Unfit::Protected(format!("the rollout of {key} is paused by a person")));
    }
    let (Some(wanted), Some(before)) = (wanted(record), record.before.replicas) else {
        return Err(Unfit::Changed(format!("the size of {key} before, or the wanted one, is not known")));
    };
    if controller.replicas == wanted {
        return Err(Unfit::Done(format!("{key} has {wanted} replicas already")));
    }
    if controller.replicas != before {
        return Err(Unfit::Changed(format!(
            "{key} has {} replicas now, decided on {before}",
            controller.replicas
        )));
    }
    let policy = snapshot.workloads.get(&record.workload);
    let bounds = policy.and_then(|policy| policy.permits.replicas);
    if (before < 1 || wanted < 1) && !zero_allowed(record, bounds) {
        return Err(Unfit::Protected(format!(
            "{key} would be scaled from {before} to {wanted}: zero is for people"
        )));
    }
    let up = record.kind() == ActionKind::ScaleUp;
    if up != (wanted > before) {
        return Err(Unfit::Protected(format!("{} of {key} from {before} to {wanted}", record.kind())));
    }
    if record.undo_of.is_some() {
        return Ok((wanted, before)); // Back to what people had; their own size needs no permit.
    }
    if let Some(rivals) = policy.and_then(|policy| snapshot.rival_scalers(policy)) {
        return Err(Unfit::Protected(format!("{rivals} size {key} against each other; keep one of them")));
    }
    if record.origin != Origin::Forecast {
        target::scaled_by_nobody_else(record, snapshot)?;
    }
    let Some(bounds) = bounds else {
        return Err(Unfit::Protected(format!(
            "workload {} has no bounds to scale within; set spec.scaling.replicas",
            record.workload
        )));
    };
    // What has fewer than people want comes nearer to them with each step.
    let least = if up && record.origin != Origin::Forecast { 0 } else { bounds.min };
    if u64::try_from(wanted).map_or(true, |wanted| wanted < least || wanted > bounds.max) {
        return Err(Unfit::Protected(format!(
            "{wanted} replicas of {key} are outside of its bounds {bounds}"
        )));
    }
    if record.origin == Origin::Forecast {
        return sized(record, snapshot, before, wanted);
    }
    let Some(tenant) = snapshot.tenants.get(&record.tenant) else {
        return Err(Unfit::Changed(format!(
            "tenant {} is not known; its steps are not known",
            record.tenant
        )));
    };
    let step = tenant.limits.replica_step;
    let percent = if up { step.up() } else { step.down() };
    let change = i64::from(wanted) - i64::from(before);
    if change.abs() * 100 > i64::from(before) * i64::from(percent) {
        return Err(Unfit::Protected(format!(
            "{key} from {before} to {wanted} is more than {percent} % in one step (Tenant.spec.replicaStep)"
        )));
    }
    Ok((wanted, before))
}

/// Zero is for people, unless a forecast decides and the Workload's own bounds begin at zero.
fn zero_allowed(record: &ActionRecord, bounds: Option<Bounds>) -> bool {
    record.origin == Origin::Forecast && bounds.is_some_and(|bounds| bounds.min == 0)
}

/// Steps of sizes by forecast, from the tenant's limits.
fn sized(record: &ActionRecord, snapshot: &Snapshot, before: i32, wanted: i32) -> Result<(i32, i32), Unfit> {
    let limits = snapshot.tenants.get(&record.tenant).map(|tenant| &tenant.limits.scaling);
    let Some(limits) = limits else {
        return Err(Unfit::Changed(format!(
            "tenant {} is not known; its steps are not known",
            record.tenant
        )));
    };
    let replicas = before.unsigned_abs();
    let most = if wanted > before { limits.most_up(replicas) } else { limits.most_down(replicas) };
    if before.abs_diff(wanted) > most {
        return Err(Unfit::Protected(format!(
            "{} from {before} to {wanted} is more than {most} replicas in one step",
            record.target.key
        )));
    }
    Ok((wanted, before))
}

/// The size is still the one that was decided on, and nobody else's.
pub(super) fn fresh(record: &ActionRecord, fresh: &FreshTarget) -> Result<(), Unfit> {
    let controller = target::fresh_controller(record, fresh)?;
    let key = &record.target.key;
    if Some(controller.replicas) == wanted(record) {
        return Err(Unfit::Done(format!("{key} has {} replicas already", controller.replicas)));
    }
    if Some(controller.replicas) != record.before.replicas {
        return Err(Unfit::Changed(format!("{key} was scaled to {} meanwhile", controller.replicas)));
    }
    owners::undisturbed(record, fresh, Field::Replicas)
}

/// The size tells whether it was done, and its field manager by whom.
pub(super) fn landed(record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
    let same = fresh.filter(|fresh| fresh.uid == record.target.uid);
    let size = same.and_then(|fresh| fresh.controller.as_ref()).map(|controller| controller.replicas);
    match (same, size, wanted(record)) {
        (Some(fresh), Some(size), Some(wanted)) if size == wanted => {
            if owners::set_by_us(record, fresh, Field::Replicas) {
                Landed::Yes(format!("it has {wanted} replicas, set by Homeostat"))
            } else {
                Landed::There(format!("it has {wanted} replicas, and who set them is not known"))
            }
        }
        (_, Some(size), _) => target::absent(record, fresh, &format!("it has {size} replicas")),
        (_, None, _) => target::absent(record, fresh, "the fresh read shows no size"),
    }
}

/// The new size is there, its pods are ready, and the workload does well.
pub(super) fn judge(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    let size = snapshot.controller_of(&record.workload).map(|controller| controller.replicas);
    if size != wanted(record) {
        return verify::until(record, now, "the new size is not seen");
    }
    if record.verification.expect == Expectation::Nothing {
        return Verdict::Helped("it has the new size".to_owned());
    }
    if record.origin == Origin::Forecast {
        return judge_sized(record, snapshot, now);
    }
    if let Some(verdict) = verify::pods_ready(record, snapshot, now) {
        return verdict;
    }
    match record.verification.expect {
        Expectation::Nothing | Expectation::RolloutComplete => {
            Verdict::Helped("all replicas of the new size are ready".to_owned())
        }
        Expectation::ObjectivesMet => verify::objectives_met(record, snapshot, now),
    }
}

/// More replicas are there once they are asked for: whether they suffice the next decision says. Fewer replicas must not
/// hurt while they are watched; when more are wanted again meanwhile, that need not wait for the end of the watch.
fn judge_sized(record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    if record.kind() == ActionKind::ScaleUp {
        return Verdict::Helped("it has the new size".to_owned());
    }
    fewer(record, snapshot, now, wanted(record).and_then(|wanted| u32::try_from(wanted).ok()))
}

/// Judges that there are only `present` replicas, or as many as an autoscaler makes of it.
pub(super) fn fewer(
    record: &ActionRecord,
    snapshot: &Snapshot,
    now: Timestamp,
    present: Option<u32>,
) -> Verdict {
    if snapshot.overloaded(&record.workload) {
        return Verdict::NotHelped("the objective is missed with fewer replicas".to_owned());
    }
    let size = snapshot.sizes.get(&record.workload).and_then(|size| size.wanted);
    if let (Some(size), Some(present)) = (size, present)
        && size > present
    {
        return Verdict::Helped(format!("nothing was missed; {size} replicas are wanted by now"));
    }
    if now < verify::deadline(record, now) {
        return Verdict::Wait("watched whether fewer replicas hurt".to_owned());
    }
    Verdict::Helped(format!("nothing was missed for {} s", record.verification.within.as_secs()))
}
