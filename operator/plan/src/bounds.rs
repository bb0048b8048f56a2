//! From the size that a workload should have to the bounds of the autoscaler that owns it: its floor follows, and its
//! ceiling stays where people put it as long as the floor fits under it.

use crate::sizes::{Change, Place, SizeDecision};
use homeostat_knowledge::action::Before;
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::records::AutoscalerRecord;
use homeostat_knowledge::{ActionKind, IdSource, Parameters, SignedDuration, Snapshot};

/// Bounds are held for so long when nothing drives them anew. Whoever decides anew does so every 15 s, so this is for
/// when all is stopped: a pause, a freeze or a lower level that lasts.
pub const HOLD: SignedDuration = SignedDuration::from_hours(24);
/// Bounds that stay as they are are held anew when less than this is left.
pub const RENEW: SignedDuration = SignedDuration::from_hours(12);

/// Moves the bounds to these, or as far as one step may go.
pub(crate) fn drive(place: &Place<'_>, min: u32, max: u32, ids: &mut dyn IdSource) -> SizeDecision {
    let Some(autoscaler) = place.snapshot.autoscaler_of(place.workload) else {
        let key = &place.workload.key;
        let gone =
            || format!("the autoscaler of workload {key} is not there; it is looked for once a minute");
        return SizeDecision::Wait(place.rivals().unwrap_or_else(gone));
    };
    let wanted = Bounds { min: u64::from(min), max: u64::from(max) };
    if autoscaler.bounds == wanted {
        return SizeDecision::Nothing;
    }
    move_to(place, autoscaler, wanted, ids)
}

/// Holds bounds of ours that are still wanted for longer.
pub(crate) fn renew(place: &Place<'_>, ids: &mut dyn IdSource) -> SizeDecision {
    let Some(autoscaler) =
        place.snapshot.autoscaler_of(place.workload).filter(|_| place.workload.drives_bounds())
    else {
        return SizeDecision::Nothing;
    };
    let ends = autoscaler.drive.as_ref().is_some_and(|drive| {
        drive.hold.until.is_none_or(|until| until.duration_since(place.advice.decided) < RENEW)
    });
    if !ends {
        return SizeDecision::Nothing;
    }
    move_to(place, autoscaler, autoscaler.bounds, ids)
}

fn move_to(
    place: &Place<'_>,
    autoscaler: &AutoscalerRecord,
    wanted: Bounds,
    ids: &mut dyn IdSource,
) -> SizeDecision {
    let (controller, present) = match place.controller() {
        Ok(known) => known,
        Err(why) => return SizeDecision::Wait(why),
    };
    let now = autoscaler.bounds;
    let down = wanted.min < now.min;
    let tenant = match place.open(ActionKind::DriveBounds, down) {
        Ok(tenant) => tenant,
        Err(why) => return SizeDecision::Wait(why),
    };
    let limits = &tenant.limits.scaling;
    let floor = u32::try_from(now.min).unwrap_or(u32::MAX);
    let min = if down {
        wanted.min.max(u64::from(floor.saturating_sub(limits.most_down(floor))))
    } else {
        // What runs already is no step: the autoscaler went there by itself.
        let from = floor.max(present);
        wanted.min.min(u64::from(from.saturating_add(limits.most_up(from))))
    };
    let next = Bounds { min, max: autoscaler.peoples().max.max(min) };
    let decided = place.advice.decided;
    let stage = if min == wanted.min { String::new() } else { format!(", of {} wanted", wanted.min) };
    let change = Change {
        target: Snapshot::autoscaler_target(autoscaler),
        parameters: Parameters::DriveBounds {
            bounds: next,
            until: decided.checked_add(HOLD).unwrap_or(decided),
        },
        before: Before {
            replicas: Some(controller.replicas),
            ready: Some(controller.ready),
            bounds: Some(now),
            ..Before::default()
        },
        down,
        what: format!("of HorizontalPodAutoscaler {}, {}{stage}", autoscaler.key, words(now, next)),
    };
    place.act(tenant, change, ids)
}

/// What changes of the bounds, for people.
pub fn words(before: Bounds, after: Bounds) -> String {
    let part = |name: &str, before: u64, after: u64| {
        (before != after).then(|| format!("{name} from {before} to {after}"))
    };
    let parts = [part("minReplicas", before.min, after.min), part("maxReplicas", before.max, after.max)];
    let changed: Vec<String> = parts.into_iter().flatten().collect();
    if changed.is_empty() { format!("held at {after} replicas") } else { changed.join(", ") }
}
