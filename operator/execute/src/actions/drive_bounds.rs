//! Move the bounds of the `HorizontalPodAutoscaler` that sizes a workload.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, owners, size, target, verify};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::AutoscalerRecord;
use homeostat_knowledge::{
    ActionKind, ActionRecord, FindingKind, Level, Origin, Parameters, Snapshot, Timestamp, WorkloadPolicy,
};

/// Sets `minReplicas`, and `maxReplicas` where the floor would not fit under it, together with our own mark: the
/// action's id, until when it holds, and people's own bounds. Only where a Workload says `whenOwned: DriveBounds`, only
/// by forecast, never below people's own floor and never above `spec.scaling.replicas.max`.
///
/// Repeat-safe because bounds and mark are absolute and written in one patch under the version that was read. It ends by
/// itself as [`super::Cordon`] does: people's own bounds come back when its time is over, when no Workload asks for it
/// any more, and when Homeostat is removed. An autoscaler of KEDA or of a GitOps tool is never driven: both would set it
/// back.
#[derive(Clone, Copy, Debug)]
pub struct DriveBounds;

/// Autoscalers are listed to find who sizes what; of the vertical ones nothing else is needed.
const RIGHTS: &[Right] = &[
    Right {
        api_group: "autoscaling",
        resource: "horizontalpodautoscalers",
        verbs: &["get", "list", "patch"],
    },
    target::SEES_VPA,
    target::SEES_KEDA,
];

impl ActionSpec for DriveBounds {
    fn kind(&self) -> ActionKind {
        ActionKind::DriveBounds
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::ActBounded
    }

    fn rights(&self) -> &'static [Right] {
        RIGHTS
    }

    fn undo(&self) -> Undo {
        Undo::Restore
    }

    fn restore(&self, record: &ActionRecord) -> Option<Parameters> {
        let Parameters::DriveBounds { until, .. } = record.parameters else { return None };
        record.before.bounds.map(|bounds| Parameters::DriveBounds { bounds, until })
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Bounds)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        protected.refuse(&record.target.key.namespace)?;
        let Some(workload) = snapshot.workloads.get(&record.workload) else {
            return Err(Unfit::Changed(format!("workload {} is not known", record.workload)));
        };
        if record.undo_of.is_none() && !(workload.drives_bounds() && record.origin == Origin::Forecast) {
            return Err(Unfit::Protected(format!(
                "the autoscaler of workload {} is people's own; spec.scaling with mode Auto and whenOwned DriveBounds \
                 lets forecasts move its bounds",
                record.workload
            )));
        }
        if let Some(controller) = snapshot.controllers.get(&workload.target) {
            protected.refuse_labels(controller)?;
        }
        let autoscaler = found(record, snapshot, workload)?;
        let bounds = wanted(record, autoscaler)?;
        if record.undo_of.is_none() {
            within(record, snapshot, workload, autoscaler, bounds)?;
        }
        Ok(())
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        target::same_object(record, fresh)?;
        let key = &record.target.key;
        let Some(autoscaler) = &fresh.autoscaler else {
            return Err(Unfit::Changed(format!("the fresh read of {key} shows no autoscaler")));
        };
        if let Some(name) = &autoscaler.keda {
            return Err(Unfit::Protected(format!(
                "{key} belongs to ScaledObject {name} of KEDA, which would set it back; change it there"
            )));
        }
        if let Some(owner) = &autoscaler.gitops_owner {
            return Err(Unfit::Protected(format!(
                "{key} belongs to {owner}, which would set it back; change {} there",
                Field::Bounds.path()
            )));
        }
        let bounds = wanted(record, autoscaler)?;
        let peoples = autoscaler.peoples();
        // Somebody may have changed one bound since the decision and left the other.
        if record.undo_of.is_none() && bounds.min < peoples.min {
            return Err(Unfit::Changed(format!(
                "people want {key} to have at least {} replicas",
                peoples.min
            )));
        }
        owners::undisturbed(record, fresh, Field::Bounds)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        let same = fresh.filter(|fresh| fresh.uid == record.target.uid);
        let autoscaler = same.and_then(|fresh| fresh.autoscaler.as_ref());
        match (autoscaler, &record.parameters) {
            (Some(autoscaler), _) if marked(record, autoscaler) => {
                Landed::Yes("the autoscaler carries this action's mark".to_owned())
            }
            // Back at people's own bounds there is no mark.
            (Some(autoscaler), Parameters::DriveBounds { bounds, .. }) if autoscaler.bounds == *bounds => {
                let text = format!("its bounds are {bounds}");
                match same.filter(|fresh| owners::set_by_us(record, fresh, Field::Bounds)) {
                    Some(_) => Landed::Yes(format!("{text}, set by Homeostat")),
                    None => Landed::There(format!("{text}, and who set them is not known")),
                }
            }
            _ => target::absent(record, fresh, "the autoscaler does not carry this action's mark"),
        }
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        let Parameters::DriveBounds { bounds, .. } = record.parameters else {
            return Verdict::NotHelped("it has no bounds to set".to_owned());
        };
        let workload = snapshot.workloads.get(&record.workload);
        let autoscaler =
            workload.and_then(|workload| snapshot.autoscaler_named(workload, &record.target.key));
        let seen = autoscaler.filter(|autoscaler| {
            autoscaler.uid == record.target.uid
                && autoscaler.bounds == bounds
                && (marked(record, autoscaler) || autoscaler.drive.is_none())
        });
        if seen.is_none() {
            return verify::until(record, now, "the new bounds are not seen");
        }
        if record.verification.expect == Expectation::Nothing || !record.lowers_floor() {
            return Verdict::Helped(format!("the autoscaler keeps {bounds} replicas"));
        }
        size::fewer(record, snapshot, now, u32::try_from(bounds.min).ok())
    }
}

/// Our mark of this very action.
fn marked(record: &ActionRecord, autoscaler: &AutoscalerRecord) -> bool {
    autoscaler.drive.as_ref().is_some_and(|drive| drive.hold.is_of(&record.id))
}

/// The autoscaler that sizes the workload, still the one that was decided on.
fn found<'a>(
    record: &ActionRecord,
    snapshot: &'a Snapshot,
    workload: &WorkloadPolicy,
) -> Result<&'a AutoscalerRecord, Unfit> {
    let (target, key) = (&record.target, &record.target.key);
    // What we did is taken back also where somebody put another autoscaler beside it since.
    let known = match record.undo_of {
        None => snapshot.autoscaler_of(workload),
        Some(_) => snapshot.autoscaler_named(workload, key).or_else(|| snapshot.autoscaler_of(workload)),
    };
    let Some(autoscaler) = known else {
        return Err(match snapshot.rival_scalers(workload) {
            Some(rivals) => Unfit::Protected(format!(
                "{rivals} size workload {} against each other; keep one of them",
                workload.key
            )),
            None => Unfit::Changed(format!(
                "no HorizontalPodAutoscaler of people's own sizes workload {}",
                workload.key
            )),
        });
    };
    let own = Snapshot::autoscaler_target(autoscaler);
    if (&own.api_version, &own.kind, &own.key) != (&target.api_version, &target.kind, key) {
        return Err(Unfit::Protected(format!(
            "{} {key} does not size workload {}",
            target.kind, workload.key
        )));
    }
    if own.uid != target.uid {
        return Err(Unfit::Changed(format!("another {} is called {key} now", target.kind)));
    }
    Ok(autoscaler)
}

/// The bounds to have: not there yet, and those before are as they were decided on.
fn wanted(record: &ActionRecord, autoscaler: &AutoscalerRecord) -> Result<Bounds, Unfit> {
    let key = &record.target.key;
    let (Parameters::DriveBounds { bounds, until }, Some(before)) =
        (&record.parameters, record.before.bounds)
    else {
        return Err(Unfit::Changed(format!("the bounds of {key} before, or the wanted ones, are not known")));
    };
    target::bounded_hold(record, *until)?;
    if bounds.min > bounds.max || bounds.max == 0 {
        return Err(Unfit::Protected(format!("{bounds} are no bounds of an autoscaler")));
    }
    if autoscaler.bounds == *bounds && !renews(autoscaler, *until) {
        return Err(Unfit::Done(format!("{key} has the bounds {bounds} already")));
    }
    if autoscaler.bounds != before {
        return Err(Unfit::Changed(format!(
            "{key} has the bounds {} now, decided on {before}",
            autoscaler.bounds
        )));
    }
    Ok(*bounds)
}

/// The bounds are ours already, and would be held for longer.
fn renews(autoscaler: &AutoscalerRecord, until: Timestamp) -> bool {
    autoscaler.drive.as_ref().is_some_and(|drive| drive.hold.until.is_none_or(|present| present < until))
}

/// Within what people say, and in steps as other sizes by forecast.
fn within(
    record: &ActionRecord,
    snapshot: &Snapshot,
    workload: &WorkloadPolicy,
    autoscaler: &AutoscalerRecord,
    bounds: Bounds,
) -> Result<(), Unfit> {
    let key = &record.target.key;
    let peoples = autoscaler.peoples();
    let Some(permitted) = workload.permits.replicas else {
        return Err(Unfit::Protected(format!(
            "workload {} has no bounds to scale within; set spec.scaling.replicas",
            workload.key
        )));
    };
    if bounds.min < peoples.min {
        return Err(Unfit::Protected(format!(
            "people want {key} to have at least {} replicas, not {}",
            peoples.min, bounds.min
        )));
    }
    if bounds.min > peoples.min.max(permitted.max) {
        return Err(Unfit::Protected(format!(
            "{} replicas at least are outside of the bounds {permitted} of workload {}",
            bounds.min, workload.key
        )));
    }
    if bounds.max != peoples.max.max(bounds.min) {
        return Err(Unfit::Protected(format!(
            "people want {key} to have at most {} replicas, and a floor of {} needs no {}",
            peoples.max, bounds.min, bounds.max
        )));
    }
    let limits = snapshot.tenants.get(&record.tenant).map(|tenant| &tenant.limits.scaling);
    let (Some(limits), Some(controller)) = (limits, snapshot.controllers.get(&workload.target)) else {
        return Err(Unfit::Changed(format!(
            "tenant {} or what workload {} targets is not known; how far a step may go is not known",
            record.tenant, workload.key
        )));
    };
    let whole = |replicas: u64| u32::try_from(replicas).unwrap_or(u32::MAX);
    let (floor, next) = (whole(autoscaler.bounds.min), whole(bounds.min));
    // What runs already is no step: the autoscaler went there by itself.
    let from = if next > floor { floor.max(u32::try_from(controller.replicas).unwrap_or(0)) } else { floor };
    let most = if next > floor { limits.most_up(from) } else { limits.most_down(from) };
    if (next > from && next - from > most) || (next < floor && floor - next > most) {
        return Err(Unfit::Protected(format!(
            "a floor of {next} replicas for {key}, from {from}, is more than {most} replicas in one step"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
