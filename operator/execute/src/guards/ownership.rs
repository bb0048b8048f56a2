//! Ownership: nobody else owns what is changed, and nothing else is under way on the target.

use super::{GuardInput, Ruling};
use crate::ports::Field;
use homeostat_knowledge::{ActionKind, Origin};

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let limit = "nobody else on the target";
    let action = &input.action;
    let facts = &input.ownership;
    if let Some(reason) = &facts.unfit {
        return Ruling::refused("target not to be touched", limit, reason.clone());
    }
    if let Some(other) = input
        .history
        .iter()
        .filter(|entry| entry.id != action.id && Some(&entry.id) != action.undo_of.as_ref())
        .find(|entry| entry.in_flight() && entry.target == action.target.uid)
    {
        return match &other.unread {
            Some(advice) => Ruling::refused(format!("{} may be under way", other.id), limit, advice.clone()),
            None => Ruling::refused(
                format!("{} {} is under way", other.kind, other.id),
                limit,
                "another action changes the same target; it must end first",
            ),
        };
    }
    // Time, not the epoch, tells across restarts: the generation begins anew with each process.
    let newest = input
        .history
        .iter()
        .filter(|entry| entry.id != action.id && entry.workload == action.workload && entry.effect)
        // Runs of one workload begin one after the other or at once; only the same object is in the way.
        .filter(|entry| action.origin != Origin::Schedule || entry.target == action.target.uid)
        .filter_map(|entry| entry.at)
        .max();
    let old_epoch = facts.newest_epoch.is_some_and(|newest| action.epoch < newest);
    if action.undo_of.is_none()
        && (old_epoch || newest.is_some_and(|newest| action.evidence_taken_at < newest))
    {
        return Ruling::refused(
            format!("decided at epoch {}", action.epoch),
            "newer than the last effect on the workload",
            "a newer plan was carried out meanwhile; the situation is judged anew",
        );
    }
    // Taking back a size or a suspension does not wait for the rollout that it may have caused, and a roll back
    // takes back the very rollout that is under way.
    let takes_back = action.undo_of.is_some() || action.kind == ActionKind::RollBack;
    // New pods of a growing workload look like a rollout until they run; more of them do no harm to a real one.
    let grows = action.origin == Origin::Forecast && !action.goes_down();
    if facts.rolling_out && !takes_back && !grows {
        return Ruling::refused(
            "a rollout is under way",
            limit,
            "somebody is rolling the workload out; it must end first",
        );
    }
    let field = crate::actions::spec(action.kind).and_then(crate::actions::ActionSpec::field);
    if let (Some(field @ (Field::Template | Field::Replicas | Field::Suspend | Field::Bounds)), Some(owner)) =
        (field, &facts.gitops_owner)
    {
        return Ruling::refused(
            format!("spec owned by {owner}"),
            limit,
            format!("{owner} would undo a change of {}; change it there", field.path()),
        );
    }
    Ruling::passed("nobody else", limit)
}

#[cfg(test)]
mod tests {
    use crate::guards::testing::{first_refusal, input, past};
    use homeostat_knowledge::{ActionKind, ActionState, GuardName, Name, SignedDuration};

    #[test]
    fn others_on_the_target_are_respected() {
        let mut case = input();
        case.ownership.unfit = Some("namespace kube-system belongs to the system".to_owned());
        assert_eq!(first_refusal(&case), Some(GuardName::Ownership));
        case = input();
        case.ownership.rolling_out = true;
        assert_eq!(first_refusal(&case), Some(GuardName::Ownership));
        case = input();
        case.ownership.gitops_owner = Some(Name::from("Argo CD"));
        assert_eq!(first_refusal(&case), None, "an eviction changes no spec");
        for kind in [
            ActionKind::RollingRestart,
            ActionKind::ScaleUp,
            ActionKind::ScaleDown,
            ActionKind::Suspend,
            ActionKind::DriveBounds,
        ] {
            case.action.kind = kind;
            let tenant = case.tenant.as_mut().expect("tenant");
            tenant.levels.insert(kind, homeostat_knowledge::Level::ActFull);
            assert_eq!(first_refusal(&case), Some(GuardName::Ownership), "{kind}");
        }
    }

    #[test]
    fn the_operator_of_a_custom_resource_keeps_its_spec_and_its_pods_may_go() {
        let mut case = input();
        case.ownership.gitops_owner = Some(Name::from("Kafka orders"));
        assert!(super::judge(&case).result.permits(), "an eviction changes no spec");
        for kind in [
            ActionKind::RollingRestart,
            ActionKind::RollBack,
            ActionKind::ScaleUp,
            ActionKind::ScaleDown,
            ActionKind::Suspend,
        ] {
            case.action.kind = kind;
            let ruling = super::judge(&case);
            assert!(!ruling.result.permits(), "{kind}");
            assert!(ruling.message.contains("Kafka orders would undo"), "{kind}: {}", ruling.message);
        }
    }

    #[test]
    fn runs_of_one_workload_are_in_each_others_way_on_the_same_object_only() {
        let mut case = input();
        case.action.origin = homeostat_knowledge::Origin::Schedule;
        let mut before = past(&case, "run-1", 0, true);
        before.at = case.now.checked_add(SignedDuration::from_secs(1)).ok();
        case.history = vec![before];
        assert!(super::judge(&case).result.permits(), "another run began meanwhile");
        case.history[0].target = case.action.target.uid.clone();
        assert!(!super::judge(&case).result.permits(), "this run was changed meanwhile");
    }

    #[test]
    fn one_action_at_a_time_on_a_target() {
        let mut case = input();
        let mut other = past(&case, "other-1", 1, true);
        other.workload.name = Name::from("cart");
        other.state = ActionState::Admitted;
        other.effect = false;
        other.closed = None;
        other.target = case.action.target.uid.clone();
        case.history = vec![other];
        assert_eq!(first_refusal(&case), Some(GuardName::Ownership));
    }

    #[test]
    fn a_plan_from_before_the_last_effect_is_refused() {
        let mut case = input();
        case.ownership.newest_epoch = Some(case.action.epoch + 1);
        assert_eq!(first_refusal(&case), Some(GuardName::Ownership));
        case.ownership.newest_epoch = Some(case.action.epoch);
        assert_eq!(first_refusal(&case), None);
        // Across a restart: by time.
        let mut entry = past(&case, "order-1-0", 0, true);
        entry.incident = case.action.incident.clone();
        entry.playbook.name = Name::from("another");
        entry.at = case.action.evidence_taken_at.checked_add(SignedDuration::from_millis(1)).ok();
        case.history = vec![entry];
        assert_eq!(first_refusal(&case), Some(GuardName::Ownership));
    }

    type Change = fn(&mut crate::history::ActionHistory, &crate::guards::GuardInput);

    #[test]
    fn what_is_decided_in_the_very_moment_of_the_last_effect_is_not_too_old() {
        let mut case = input();
        let mut entry = past(&case, "order-1-1", 0, false);
        entry.incident = case.action.incident.clone();
        entry.at = Some(case.action.evidence_taken_at);
        case.history = vec![entry.clone()];
        assert_eq!(first_refusal(&case), None);
        // What had no effect, what was done elsewhere and the action itself make no plan older.
        let later = case.action.evidence_taken_at.checked_add(SignedDuration::from_secs(1)).ok();
        let harmless: [Change; 3] = [
            |entry, _| (entry.effect, entry.state) = (false, ActionState::Refused),
            |entry, _| {
                entry.workload.name = Name::from("cart");
                entry.tenant = homeostat_knowledge::TenantName::new("another");
            },
            |entry, case| entry.id = case.action.id.clone(),
        ];
        for (index, change) in harmless.into_iter().enumerate() {
            let mut other = entry.clone();
            other.at = later;
            change(&mut other, &case);
            case.history = vec![other];
            assert_eq!(first_refusal(&case), None, "case {index}");
        }
    }

    #[test]
    fn a_rollout_is_waited_for_except_by_what_takes_it_back_or_grows_with_a_load() {
        use homeostat_knowledge::Origin;
        let mut case = input();
        case.ownership.rolling_out = true;
        for (kind, origin, undo, passes) in [
            (ActionKind::EvictPod, Origin::Incident, false, false),
            (ActionKind::ScaleUp, Origin::Incident, false, false),
            (ActionKind::ScaleDown, Origin::Forecast, false, false),
            (ActionKind::ScaleUp, Origin::Forecast, false, true),
            (ActionKind::RollBack, Origin::Incident, false, true),
            (ActionKind::ScaleDown, Origin::Incident, true, true),
        ] {
            case.action.kind = kind;
            case.action.origin = origin;
            case.action.undo_of = undo.then(|| homeostat_knowledge::ActionId::new("order-1-1"));
            assert_eq!(super::judge(&case).result.permits(), passes, "{kind} by {origin:?}, undo {undo}");
        }
        (case.action.kind, case.action.origin, case.action.undo_of) =
            (ActionKind::DriveBounds, Origin::Forecast, None);
        assert!(super::judge(&case).result.permits(), "a higher floor");
        case.action.lowers_floor = true;
        assert!(!super::judge(&case).result.permits(), "a lower one waits for the end of the rollout");
    }
}
