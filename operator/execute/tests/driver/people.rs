//! Levels at which people have the last word: recommending, and asking for approval.

use crate::api::{Api, Lease};
use crate::world::{Fault, World};
use crate::{check, states};
use homeostat_execute::driver::PROPOSAL_RAISED;
use homeostat_execute::{ExecuteError, Executor};
use homeostat_knowledge::policy::{KillSwitch, ProtectedPolicy};
use homeostat_knowledge::{
    ActionKind, ActionState, ApprovalDecision, FindingKind, GuardName, Level, Name, Parameters,
    SignedDuration,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn at_level_recommend_it_is_dry_run_and_proposed_once() {
    let world = World::new(FindingKind::Hung);
    world.lock().set_tenant(|policy| policy.levels.clear());
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let proposed = executor.run(&plan, Some(finding.clone())).await.expect("proposed");
    assert_eq!(proposed.state, ActionState::Proposed);
    assert!(proposed.message.contains("would EvictPod"), "{}", proposed.message);
    assert_eq!(proposed.guards.last().map(|report| report.name), Some(GuardName::DryRun));
    assert!(matches!(executor.run(&plan, Some(finding)).await, Err(ExecuteError::AlreadyProposed { .. })));
    {
        let inner = world.lock();
        assert_eq!(inner.requests, ["kill switch", "dry run", "create", "update Proposed"]);
        assert_eq!(inner.effects.len(), 0);
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    // When the incident is over, nobody follows the recommendation any more.
    assert_eq!(executor.close_proposals().await, 0);
    {
        let mut inner = world.lock();
        let mut snapshot = (*inner.snapshot).clone();
        snapshot.incidents.remove_mut(&plan.incident);
        inner.snapshot = Arc::new(snapshot);
    }
    assert_eq!(executor.close_proposals().await, 1);
    assert_eq!(states(&world), [ActionState::Cancelled]);
}

#[tokio::test(start_paused = true)]
async fn a_recommendation_gives_way_when_people_raise_the_level() {
    let world = World::new(FindingKind::Hung);
    world.lock().set_tenant(|policy| policy.levels.clear());
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    executor.run(&plan, Some(finding.clone())).await.expect("proposed");
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.lock().set_tenant(|policy| {
        policy.levels.insert(ActionKind::EvictPod, Level::ActBounded);
    });
    assert_eq!(executor.close_proposals().await, 1);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let done = executor.run(&plan, Some(finding)).await.expect("done");
    assert_eq!(done.state, ActionState::Verified, "{}", done.message);
    assert_eq!(states(&world), [ActionState::Cancelled, ActionState::Verified]);
    assert_eq!(world.lock().effects.len(), 1);
}

/// A question of a process that died, taken up by the next one, which has not seen its finding yet.
async fn asked_before_a_restart() -> (Arc<World>, Executor<Api, Api, Lease>) {
    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    world.lock().faults = BTreeMap::from([(5, Fault::CrashBefore)]);
    executor.start(&plan, Some(finding)).expect("begun");
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.lock().life += 1;
    world.restart();
    let now = world.now();
    world.lock().begin_anew(now);
    world.refresh();
    let next = world.executor();
    let open = world.lock().open_actions();
    assert_eq!(next.resume(open), 1);
    world.lock().faults.clear();
    (world, next)
}

fn asking() -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    world.lock().set_tenant(|policy| {
        policy.levels.insert(ActionKind::EvictPod, Level::Approve);
    });
    world
}

#[tokio::test(start_paused = true)]
async fn an_approval_lets_it_go_on_and_only_the_right_one() {
    for (decision, evidence, state, effects) in [
        (ApprovalDecision::Approve, "evidence", ActionState::Verified, 1),
        (ApprovalDecision::Approve, "older evidence", ActionState::Refused, 0),
        (ApprovalDecision::Deny, "evidence", ActionState::Cancelled, 0),
    ] {
        let world = asking();
        let executor = world.executor();
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let person = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert_eq!(states(&world), [ActionState::AwaitingApproval]);
            world.approve(decision, evidence);
        };
        let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding)), person);
        let ended = ended.expect("it ends");
        assert_eq!(ended.state, state, "{}", ended.message);
        assert_eq!(world.lock().effects.len(), effects);
        check(&world, "approval");
        assert_eq!(executor.breaches(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_approves_in_time_and_the_wait_survives_a_restart() {
    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let begun = tokio::time::Instant::now();
    let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::HandedOver, "{}", ended.message);
    assert_eq!(begun.elapsed().as_secs(), 15 * 60);

    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    world.lock().faults = BTreeMap::from([(5, Fault::CrashBefore)]);
    let waiting = executor.start(&plan, Some(finding)).expect("begun");
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.lock().life += 1;
    world.restart();
    let next = world.executor();
    let open = world.lock().open_actions();
    assert_eq!(next.resume(open.clone()), 1);
    assert_eq!(next.resume(open), 0, "taken up once");
    world.lock().faults.clear();
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.approve(ApprovalDecision::Approve, "evidence");
    next.drain().await;
    assert_eq!(states(&world), [ActionState::Verified]);
    assert!(world.lock().effects.iter().all(|effect| effect.action == waiting));
    check(&world, "approved after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_question_outlives_a_restart_after_which_its_finding_is_not_seen_yet() {
    let (world, next) = asked_before_a_restart().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(states(&world), [ActionState::AwaitingApproval]);
    world.approve(ApprovalDecision::Approve, "evidence");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(states(&world), [ActionState::AwaitingApproval], "whether it still holds is not known");
    world.lock().fall_sick(FindingKind::Hung);
    world.refresh();
    next.drain().await;
    assert_eq!(states(&world), [ActionState::Verified]);
    check(&world, "approved before the finding was seen again");
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_wait_for_ever_for_a_finding_that_is_not_seen_after_a_restart() {
    let (world, _next) = asked_before_a_restart().await;
    world.approve(ApprovalDecision::Approve, "evidence");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(states(&world), [ActionState::AwaitingApproval]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(states(&world)[0].ended(), "{:?}", states(&world));
    assert!(world.lock().effects.is_empty(), "on what nobody saw since");
}

#[tokio::test(start_paused = true)]
async fn a_question_gives_way_when_people_raise_the_level() {
    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let person = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        world.lock().set_tenant(|policy| {
            policy.levels.insert(ActionKind::EvictPod, Level::ActBounded);
        });
        world.refresh();
    };
    let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding.clone())), person);
    let ended = ended.expect("it ends");
    assert_eq!((ended.state, &*ended.message), (ActionState::Cancelled, PROPOSAL_RAISED));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let done = executor.run(&plan, Some(finding)).await.expect("done");
    assert_eq!(done.state, ActionState::Verified, "{}", done.message);
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_and_people_take_over() {
    let world = asking();
    world.lock().set_tenant(|policy| {
        policy.approval_timeout = SignedDuration::from_mins(60);
        policy.owners = vec![(Name::from("Group"), Name::from("store-owners"))];
    });
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let watching = async {
        for (more, said) in [(10, "needs approval until"), (15, "still needs approval"), (20, "store-owners")]
        {
            tokio::time::sleep(Duration::from_mins(more)).await;
            let message = world.lock().actions.values().next().map(|record| record.message.clone());
            let message = message.expect("waiting");
            assert!(message.contains(said), "{message}");
        }
    };
    let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding)), watching);
    let ended = ended.expect("it ends");
    assert_eq!(ended.state, ActionState::HandedOver);
    assert!(ended.message.contains("people must take over"), "{}", ended.message);
    assert_eq!(world.lock().effects.len(), 0);
    check(&world, "nobody answered");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_a_person_marked_is_left_alone_until_then() {
    for (mark, state) in [
        ("2999-01-01T00:00:00Z", ActionState::Cancelled),
        ("tomorrow", ActionState::Cancelled),
        ("2001-01-01T00:00:00Z", ActionState::Verified),
    ] {
        let world = World::new(FindingKind::Hung);
        world.lock().do_not_touch = Some(Name::from(mark));
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
        assert_eq!(ended.state, state, "{mark}: {}", ended.message);
        assert_eq!(world.lock().effects.len(), usize::from(state == ActionState::Verified));
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_carries_every_other_pod_by_the_labels_of_the_fresh_read_is_left_alone() {
    let world = World::new(FindingKind::Hung);
    let (plan, finding) = world.plan(Parameters::RollingRestart);
    // No watch has told of it yet.
    world.lock().controller.template_labels =
        BTreeMap::from([(Name::from("k8s-app"), Name::from("kube-dns"))]);
    let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Cancelled, "{}", ended.message);
    assert!(ended.message.contains("serves the cluster's DNS and is never touched"), "{}", ended.message);
    assert_eq!(world.lock().effects.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_people_protect_is_left_alone_and_their_rule_is_named() {
    let label = vec![(Name::from("app"), Some(Name::from("webhook")))];
    let by_namespace =
        ProtectedPolicy { namespaces: [Name::from("shop")].into(), ..ProtectedPolicy::default() };
    let by_label = ProtectedPolicy { labels: label, ..ProtectedPolicy::default() };
    for (rule, state, named) in [
        (by_namespace, ActionState::Refused, "spec.protected.namespaces"),
        // No watch has told of the label yet, so only the fresh read shows it.
        (by_label, ActionState::Cancelled, "spec.protected.labels"),
    ] {
        let world = World::new(FindingKind::Hung);
        let (plan, finding) = world.plan(Parameters::RollingRestart);
        {
            let mut inner = world.lock();
            let snapshot = Arc::make_mut(&mut inner.snapshot);
            Arc::make_mut(&mut snapshot.control).protected = rule;
            inner.controller.template_labels = BTreeMap::from([(Name::from("app"), Name::from("webhook"))]);
        }
        let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
        assert_eq!(ended.state, state, "{named}: {}", ended.message);
        let told =
            ended.message.contains(named) || ended.guards.iter().any(|one| one.message.contains(named));
        assert!(told, "{named}: {} {:?}", ended.message, ended.guards);
        assert_eq!(world.lock().effects.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asked_may_not_approve() {
    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let person = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        let asked = world.lock().actions.values().next().map(|record| record.request.by.clone());
        world.approve_as(&asked.expect("waiting"), ApprovalDecision::Approve, "evidence");
    };
    let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding)), person);
    assert_eq!(ended.expect("it ends").state, ActionState::Refused);
    assert_eq!(world.lock().effects.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_healed_by_itself_needs_no_approval_any_more() {
    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let healing = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.lock().replace_pod_under_the_same_name();
        world.refresh();
    };
    let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding)), healing);
    let ended = ended.expect("it ends");
    assert_eq!(ended.state, ActionState::Cancelled, "{}", ended.message);
    assert_eq!(world.lock().effects.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_unanswered_read_does_not_throw_an_approval_away() {
    for (silent, state, effects) in [
        (Duration::from_millis(300), ActionState::Verified, 1),
        (Duration::from_hours(1), ActionState::Refused, 0),
    ] {
        let world = asking();
        let executor = world.executor();
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let person = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            world.lock().kill_switch = KillSwitch::Unreadable;
            world.approve(ApprovalDecision::Approve, "evidence");
            tokio::time::sleep(silent).await;
            world.lock().kill_switch = KillSwitch::Off;
        };
        let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding)), person);
        let ended = ended.expect("it ends");
        assert_eq!(ended.state, state, "silent for {silent:?}: {}", ended.message);
        assert_eq!(world.lock().effects.len(), effects);
        check(&world, "an unanswered read");
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_a_person_deleted_ends() {
    let world = asking();
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let begun = tokio::time::Instant::now();
    let person = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        let gone: Vec<_> = {
            let mut inner = world.lock();
            std::mem::take(&mut inner.actions).into_values().map(|record| record.id).collect()
        };
        for action in gone {
            let mut inner = world.lock();
            Arc::make_mut(&mut inner.snapshot).actions.remove_mut(&action);
        }
        world.refresh();
    };
    let (ended, ()) = tokio::join!(executor.run(&plan, Some(finding)), person);
    assert!(ended.is_err(), "{ended:?}");
    assert_eq!(begun.elapsed().as_secs(), 60, "not only at the next reminder");
    assert_eq!((world.lock().effects.len(), executor.under_way()), (0, 0));
}
