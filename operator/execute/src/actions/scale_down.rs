//! Fewer replicas, through the scale subresource.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, size, target};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ControllerRecord, FindingKind, Level, Parameters, Snapshot, Timestamp,
};

/// Those of a larger size, and to see which disruption budgets want so many pods.
const RIGHTS: &[Right] = &[
    Right { api_group: "apps", resource: "deployments", verbs: &["get"] },
    Right { api_group: "apps", resource: "statefulsets", verbs: &["get"] },
    Right { api_group: "apps", resource: "deployments/scale", verbs: &["patch"] },
    Right { api_group: "apps", resource: "statefulsets/scale", verbs: &["patch"] },
    Right { api_group: "autoscaling", resource: "horizontalpodautoscalers", verbs: &["list"] },
    Right { api_group: "policy", resource: "poddisruptionbudgets", verbs: &["list"] },
    target::SEES_VPA,
    target::SEES_KEDA,
];

/// Sets `spec.replicas` to an absolute, smaller number: at most a fifth less than it was, never zero, within
/// `spec.scaling.replicas` of the Workload, only while all replicas are ready and nothing else is wrong with it, and never
/// below what a disruption budget wants.
///
/// Repeat-safe as [`super::ScaleUp`]. Undone by the number before.
#[derive(Clone, Copy, Debug)]
pub struct ScaleDown;

impl ActionSpec for ScaleDown {
    fn kind(&self) -> ActionKind {
        ActionKind::ScaleDown
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::ActFull
    }

    fn rights(&self) -> &'static [Right] {
        RIGHTS
    }

    fn undo(&self) -> Undo {
        Undo::Restore
    }

    fn restore(&self, record: &ActionRecord) -> Option<Parameters> {
        record.before.replicas.map(|replicas| Parameters::ScaleUp { replicas })
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Replicas)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let controller = target::controller(record, snapshot, protected)?;
        size::allowed(record, snapshot, controller)?;
        if record.undo_of.is_none() {
            calm(record, snapshot, controller)?;
        }
        Ok(())
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        if record.undo_of.is_none()
            && let Some(controller) = &fresh.controller
        {
            all_ready(controller)?;
        }
        size::fresh(record, fresh)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        size::landed(record, fresh)
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        size::judge(record, snapshot, now)
    }
}

/// Capacity is taken from what does well only.
fn calm(record: &ActionRecord, snapshot: &Snapshot, controller: &ControllerRecord) -> Result<(), Unfit> {
    let other = snapshot.incidents.values().find(|incident| {
        incident.id != record.incident
            && incident.workload.as_ref() == Some(&record.workload)
            && !incident.state.closed()
    });
    if let Some(incident) = other {
        return Err(Unfit::Protected(format!(
            "incident {} of workload {} is open; nothing is taken away from it",
            incident.id, record.workload
        )));
    }
    all_ready(controller)
}

fn all_ready(controller: &ControllerRecord) -> Result<(), Unfit> {
    if controller.ready < controller.replicas {
        return Err(Unfit::Changed(format!(
            "only {} of {} replicas of {} are ready",
            controller.ready, controller.replicas, controller.key.object
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        change, controller, fresh_controller, incident, permit, pod_entity, put_controller, snapshot,
    };
    use homeostat_knowledge::policy::{Bounds, ReplicaStep};
    use homeostat_knowledge::{ActionId, ControllerKind};
    use std::sync::Arc;

    fn scaled(replicas: i32) -> ControllerRecord {
        let mut deployment = controller(ControllerKind::Deployment, "order");
        (deployment.replicas, deployment.current, deployment.ready, deployment.updated) =
            (replicas, replicas, replicas, replicas);
        deployment
    }

    fn down(before: i32, wanted: i32) -> ActionRecord {
        let mut record = change("order-1-1", Parameters::ScaleDown { replicas: wanted });
        record.before.replicas = Some(before);
        record
    }

    fn world(replicas: i32) -> Snapshot {
        let mut snapshot = snapshot();
        permit(&mut snapshot, |permits| permits.replicas = Some(Bounds { min: 0, max: 100 }));
        put_controller(&mut snapshot, scaled(replicas));
        snapshot
    }

    fn allowed(record: &ActionRecord, snapshot: &Snapshot) -> Result<(), Unfit> {
        ScaleDown.check(record, snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn at_most_a_fifth_goes_and_never_the_last_one() {
        for (before, wanted, expected) in
            [(10, 8, true), (10, 7, false), (5, 4, true), (4, 3, false), (1, 0, false), (5, 6, false)]
        {
            let result = allowed(&down(before, wanted), &world(before));
            assert_eq!(result.is_ok(), expected, "{before} to {wanted}: {result:?}");
        }
    }

    #[test]
    fn a_tenant_lowers_the_step_and_at_nothing_none_is_taken() {
        for (percent, wanted, expected) in
            [(10, 18, true), (10, 17, false), (0, 19, false), (100, 16, true), (100, 15, false)]
        {
            let mut snapshot = world(20);
            let name = down(20, wanted).tenant;
            let mut tenant = (**snapshot.tenants.get(&name).expect("a tenant")).clone();
            tenant.limits.replica_step = ReplicaStep::new(100, percent);
            snapshot.tenants.insert_mut(name, Arc::new(tenant));
            assert_eq!(
                allowed(&down(20, wanted), &snapshot).is_ok(),
                expected,
                "{percent} %, 20 to {wanted}"
            );
        }
    }

    #[test]
    fn nothing_is_taken_from_what_is_not_well() {
        let mut half = scaled(10);
        half.ready = 9;
        let mut snapshot = world(10);
        put_controller(&mut snapshot, half.clone());
        assert!(allowed(&down(10, 8), &snapshot).is_err());
        assert!(ScaleDown.check_fresh(&down(10, 8), None, &fresh_controller(half)).is_err());
        let mut snapshot = world(10);
        let other = incident("order-9", pod_entity(), FindingKind::Slow, -1);
        snapshot.incidents.insert_mut(other.id.clone(), Arc::new(other));
        assert!(allowed(&down(10, 8), &snapshot).is_err());
    }

    #[test]
    fn as_an_undo_it_only_asks_whether_anybody_changed_it_since() {
        let mut undo = down(6, 3);
        undo.undo_of = Some(ActionId::new("order-1-0"));
        let mut sick = scaled(6);
        sick.ready = 1;
        let mut snapshot = world(6);
        put_controller(&mut snapshot, sick.clone());
        assert_eq!(allowed(&undo, &snapshot), Ok(()));
        assert_eq!(ScaleDown.check_fresh(&undo, None, &fresh_controller(sick)), Ok(()));
        assert!(matches!(
            ScaleDown.check_fresh(&undo, None, &fresh_controller(scaled(7))),
            Err(Unfit::Changed(_))
        ));
    }
}
