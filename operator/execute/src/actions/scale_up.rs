//! More replicas, through the scale subresource.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict, size, target};
use crate::ports::{Field, FreshTarget};
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{ActionKind, ActionRecord, FindingKind, Level, Parameters, Snapshot, Timestamp};

/// Sets `spec.replicas` to an absolute, larger number: at most twice what it was, within `spec.scaling.replicas`
/// of the Workload, and never when something else scales the same object.
///
/// Repeat-safe because the number is absolute and the write is conditioned on the version that was read: sent
/// twice it is one change, and a read tells whether it is there. Undone by the number before.
#[derive(Clone, Copy, Debug)]
pub struct ScaleUp;

/// A size is read from the object and written through its scale subresource.
const RIGHTS: &[Right] = &[
    Right { api_group: "apps", resource: "deployments", verbs: &["get"] },
    Right { api_group: "apps", resource: "statefulsets", verbs: &["get"] },
    Right { api_group: "apps", resource: "deployments/scale", verbs: &["patch"] },
    Right { api_group: "apps", resource: "statefulsets/scale", verbs: &["patch"] },
    Right { api_group: "autoscaling", resource: "horizontalpodautoscalers", verbs: &["list"] },
    target::SEES_VPA,
    target::SEES_KEDA,
];

impl ActionSpec for ScaleUp {
    fn kind(&self) -> ActionKind {
        ActionKind::ScaleUp
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
        record.before.replicas.map(|replicas| Parameters::ScaleDown { replicas })
    }

    fn field(&self) -> Option<Field> {
        Some(Field::Replicas)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    fn check(&self, record: &ActionRecord, snapshot: &Snapshot, protected: &Protected) -> Result<(), Unfit> {
        let controller = target::controller(record, snapshot, protected)?;
        size::allowed(record, snapshot, controller).map(drop)
    }

    fn check_fresh(
        &self,
        record: &ActionRecord,
        _cause: Option<FindingKind>,
        fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        size::fresh(record, fresh)
    }

    fn landed(&self, record: &ActionRecord, fresh: Option<&FreshTarget>) -> Landed {
        size::landed(record, fresh)
    }

    fn verify(&self, record: &ActionRecord, snapshot: &Snapshot, now: Timestamp) -> Verdict {
        size::judge(record, snapshot, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, change, controller, edit, fresh_controller, permit, put_controller, snapshot};
    use homeostat_knowledge::policy::{Bounds, ReplicaStep};
    use homeostat_knowledge::{ActionId, ControllerKind, ControllerRecord, Uid};

    fn scaled(replicas: i32) -> ControllerRecord {
        let mut deployment = controller(ControllerKind::Deployment, "order");
        (deployment.replicas, deployment.current, deployment.ready, deployment.updated) =
            (replicas, replicas, replicas, replicas);
        deployment
    }

    fn up(before: i32, wanted: i32) -> ActionRecord {
        let mut record = change("order-1-1", Parameters::ScaleUp { replicas: wanted });
        record.before.replicas = Some(before);
        record
    }

    fn allowed(record: &ActionRecord, present: i32, bounds: Option<(u64, u64)>) -> Result<(), Unfit> {
        let mut snapshot = snapshot();
        permit(&mut snapshot, |permits| {
            permits.replicas = bounds.map(|(min, max)| Bounds { min, max });
        });
        put_controller(&mut snapshot, scaled(present));
        ScaleUp.check(record, &snapshot, &Protected::with_own_namespace("homeostat"))
    }

    #[test]
    fn it_at_most_doubles_within_explicit_bounds() {
        let bounds = Some((1, 10));
        assert_eq!(allowed(&up(3, 6), 3, bounds), Ok(()));
        assert!(matches!(allowed(&up(3, 7), 3, bounds), Err(Unfit::Protected(_))), "more than double");
        assert!(matches!(allowed(&up(6, 11), 6, bounds), Err(Unfit::Protected(_))), "above the bound");
        assert!(matches!(allowed(&up(3, 6), 3, None), Err(Unfit::Protected(_))), "no bounds: not scaled");
        assert!(matches!(allowed(&up(0, 1), 0, bounds), Err(Unfit::Protected(_))), "somebody stopped it");
        assert!(matches!(allowed(&up(3, 2), 3, bounds), Err(Unfit::Protected(_))), "that is down");
        assert!(matches!(allowed(&up(3, 6), 6, bounds), Err(Unfit::Done(_))));
        assert!(matches!(allowed(&up(3, 6), 4, bounds), Err(Unfit::Changed(_))));
    }

    #[test]
    fn a_tenant_lowers_the_step_and_at_nothing_none_is_added() {
        let within = |percent: u32, wanted: i32| {
            let mut snapshot = snapshot();
            permit(&mut snapshot, |permits| permits.replicas = Some(Bounds { min: 1, max: 100 }));
            put_controller(&mut snapshot, scaled(10));
            let name = up(10, wanted).tenant;
            let mut tenant = (**snapshot.tenants.get(&name).expect("a tenant")).clone();
            tenant.limits.replica_step = ReplicaStep::new(percent, 20);
            snapshot.tenants.insert_mut(name, std::sync::Arc::new(tenant));
            ScaleUp.check(&up(10, wanted), &snapshot, &Protected::with_own_namespace("homeostat")).is_ok()
        };
        for (percent, wanted, allowed) in
            [(50, 15, true), (50, 16, false), (0, 11, false), (1_000, 20, true), (1_000, 21, false)]
        {
            assert_eq!(within(percent, wanted), allowed, "{percent} %, 10 to {wanted}");
        }
    }

    #[test]
    fn fewer_than_the_least_may_become_more_step_by_step() {
        assert_eq!(allowed(&up(2, 4), 2, Some((5, 10))), Ok(()), "nearer to what people want");
        assert!(matches!(allowed(&up(2, 5), 2, Some((5, 10))), Err(Unfit::Protected(_))), "more than double");
    }

    #[test]
    fn what_an_autoscaler_sizes_is_left_to_it() {
        use homeostat_knowledge::forecast::Scaler;
        let mut snapshot = snapshot();
        permit(&mut snapshot, |permits| permits.replicas = Some(Bounds { min: 1, max: 10 }));
        put_controller(&mut snapshot, scaled(3));
        let check = |snapshot: &homeostat_knowledge::Snapshot| {
            ScaleUp.check(&up(3, 5), snapshot, &Protected::with_own_namespace("homeostat"))
        };
        assert_eq!(check(&snapshot), Ok(()));
        let target = snapshot.workloads.values().next().expect("a workload").target.clone();
        for (scaler, free) in
            [(Scaler::Keda { name: "rush".into() }, false), (Scaler::Vpa { name: "fit".into() }, true)]
        {
            snapshot.scalers = std::sync::Arc::new([(target.clone(), scaler)].into());
            assert_eq!(check(&snapshot).is_ok(), free, "a vertical one sets no replicas");
        }
    }

    #[test]
    fn an_undo_goes_back_to_what_it_was_whatever_the_bounds() {
        let mut undo = up(4, 20);
        undo.undo_of = Some(ActionId::new("order-1-0"));
        assert_eq!(allowed(&undo, 4, Some((1, 10))), Ok(()));
        assert!(matches!(allowed(&undo, 5, Some((1, 10))), Err(Unfit::Changed(_))), "somebody changed it");
        assert_eq!(ScaleUp.restore(&up(3, 6)), Some(Parameters::ScaleDown { replicas: 3 }));
    }

    #[test]
    fn the_number_tells_whether_it_was_done_and_others_are_respected() {
        let record = up(3, 6);
        assert_eq!(ScaleUp.check_fresh(&record, None, &fresh_controller(scaled(3))), Ok(()));
        assert!(matches!(
            ScaleUp.check_fresh(&record, None, &fresh_controller(scaled(6))),
            Err(Unfit::Done(_))
        ));
        assert!(matches!(
            ScaleUp.check_fresh(&record, None, &fresh_controller(scaled(5))),
            Err(Unfit::Changed(_))
        ));
        let mut edited = fresh_controller(scaled(3));
        edited.marks.edits = vec![edit(Field::Replicas, "kubectl-scale", -30)];
        assert!(matches!(ScaleUp.check_fresh(&record, None, &edited), Err(Unfit::Protected(_))));
    }

    #[test]
    fn a_size_is_ours_only_when_its_field_says_so() {
        let mut record = up(3, 6);
        record.instants.claimed = Some(at(1));
        let mut done = fresh_controller(scaled(6));
        assert!(matches!(ScaleUp.landed(&record, Some(&done)), Landed::There(_)), "by whom?");
        done.marks.edits =
            vec![edit(Field::Replicas, "kubectl-scale", 1), edit(Field::Template, "homeostat", 2)];
        assert!(matches!(ScaleUp.landed(&record, Some(&done)), Landed::There(_)), "a person's");
        done.marks.edits = vec![edit(Field::Replicas, "homeostat", 1), edit(Field::Template, "kubectl", 2)];
        assert!(matches!(ScaleUp.landed(&record, Some(&done)), Landed::Yes(_)));
        record.instants.claimed = Some(at(60));
        assert!(matches!(ScaleUp.landed(&record, Some(&done)), Landed::There(_)), "an earlier action's");
        record.instants.claimed = Some(at(1));
        done.uid = Uid::new("another");
        assert!(matches!(ScaleUp.landed(&record, Some(&done)), Landed::Unclear(_)));
        let mut before = fresh_controller(scaled(3));
        assert!(matches!(ScaleUp.landed(&record, Some(&before)), Landed::No(_)), "nobody wrote it since");
        before.resource_version = "written since".into();
        assert!(matches!(ScaleUp.landed(&record, Some(&before)), Landed::Unclear(_)), "set and set back?");
        assert!(matches!(ScaleUp.landed(&record, None), Landed::Unclear(_)));
    }

    #[test]
    fn it_helped_when_the_new_pods_are_ready() {
        let mut record = up(1, 2);
        record.instants.sent = Some(at(0));
        let mut snapshot = snapshot();
        assert!(matches!(ScaleUp.verify(&record, &snapshot, at(1)), Verdict::Wait(_)), "not seen yet");
        put_controller(&mut snapshot, scaled(2));
        assert!(matches!(ScaleUp.verify(&record, &snapshot, at(2)), Verdict::Wait(_)), "one of two ready");
        assert!(matches!(ScaleUp.verify(&record, &snapshot, at(30)), Verdict::NotHelped(_)));
        let mut second = crate::testing::pod();
        second.key.name = "order-def".into();
        second.uid = Uid::new("second");
        crate::testing::put_pod(&mut snapshot, second);
        assert!(matches!(ScaleUp.verify(&record, &snapshot, at(3)), Verdict::Helped(_)));
    }
}
