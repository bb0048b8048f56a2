//! The driver against a world that fails at every request: crashes before and after each durable step, lost
//! replies, 409, 429, 500, time-outs, the kill switch, pauses, other pods under the same name, lost leadership.

#![allow(clippy::expect_used, clippy::panic, reason = "tests say what went wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

mod api;
mod bounds;
mod drains;
mod elsewhere;
mod late;
mod neighbours;
mod overtaken;
mod people;
mod proved;
mod sizes;
mod things;
mod traces;
mod undo;
mod unknown;
mod world;

use api::{Api, Lease};
use homeostat_execute::{ExecuteError, Executor};
use homeostat_knowledge::IdSource;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, FindingKind, GuardName, IncidentId, Level, Name, Parameters,
    SeededIds, SignedDuration,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::{Fault, World};

type Exec = Executor<Api, Api, Lease>;

/// One process: takes up what is open, and decides anew as long as the pod is sick and nothing is under way.
/// Ends when the world is quiet, or after `patience`.
async fn live(world: &Arc<World>, executor: &Exec, parameters: &Parameters, patience: Duration) {
    let deadline = tokio::time::Instant::now() + patience;
    while tokio::time::Instant::now() < deadline {
        let open = world.lock().open_actions();
        executor.resume(open);
        let (idle, sick) = {
            let inner = world.lock();
            (inner.open_actions().is_empty(), inner.sick())
        };
        if idle && executor.under_way() == 0 {
            if !sick {
                return;
            }
            let (plan, finding) = world.plan(parameters.clone());
            match executor.run(&plan, Some(finding)).await {
                Ok(_) => {}
                Err(ExecuteError::AlreadyProposed { .. }) => return,
                Err(error) => tracing::debug!(%error, "tried again"),
            }
        }
        // As the planner does after a refusal.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Lives, crashes, restarts, until the world is quiet.
async fn run_with(faults: BTreeMap<usize, Fault>, parameters: Parameters) -> Arc<World> {
    let world = World::new(FindingKind::Hung);
    world.lock().faults = faults;
    settle(&world, &parameters).await;
    world
}

async fn settle(world: &Arc<World>, parameters: &Parameters) {
    for _ in 0..30 {
        let executor = world.executor();
        let life = world.lock().life;
        let crashed = tokio::select! {
            () = live(world, &executor, parameters, Duration::from_mins(2)) => false,
            () = world.crashed(life) => true,
        };
        if !crashed {
            assert_eq!(executor.breaches(), [], "no invariant was broken");
            let leads = world.lock().leader == life;
            if leads {
                return;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.restart();
    }
    panic!("the world did not come to rest: {:?}", world.lock().requests);
}

/// What must hold after any disturbance.
fn check(world: &World, context: &str) {
    let inner = world.lock();
    let record = |id: &homeostat_knowledge::ActionId| -> Option<&ActionRecord> {
        inner.actions.values().find(|record| record.id == *id)
    };
    for effect in &inner.effects {
        let same_action = inner.effects.iter().filter(|other| other.action == effect.action).count();
        let same_object = inner.effects.iter().filter(|other| other.uid == effect.uid).count();
        assert_eq!((same_action, same_object), (1, 1), "{context}: double effect {:?}", inner.effects);
        assert_eq!(effect.stored, Some(ActionState::Claimed), "{context}: S1, claimed before the effect");
        assert_eq!(effect.kill_switch, KillSwitch::Off, "{context}: S4");
        assert!(!effect.paused, "{context}: S4");
        let record = record(&effect.action).expect("every effect has its action");
        assert!(record.instants.sent.is_some(), "{context}: lost effect {record:?}");
    }
    for record in inner.actions.values() {
        let still = record.state == ActionState::Proposed;
        assert!(record.state.ended() || still, "{context}: {} is left {:?}", record.id, record.state);
        assert!(!record.message.is_empty());
        if record.instants.acknowledged.is_some() && record.kind() != ActionKind::Notify {
            let effects = inner.effects.iter().filter(|effect| effect.action == record.id).count();
            assert_eq!(effects, 1, "{context}: {} says it was done, and was not", record.id);
        }
        if record.state == ActionState::Verified {
            // After a crash the ones asked last are lost with the reply; those before the intent are not.
            assert!(record.guards.len() >= 13, "{context}: the guards left their results");
        }
    }
}

fn states(world: &World) -> Vec<ActionState> {
    world.lock().actions.values().map(|record| record.state).collect()
}

/// The requests of one undisturbed eviction; every fault below strikes at each of them.
const REQUESTS: usize = 11;

#[tokio::test(start_paused = true)]
async fn undisturbed_it_takes_five_round_trips_to_the_effect_and_is_verified() {
    let world = run_with(BTreeMap::new(), Parameters::EvictPod { grace_seconds: None }).await;
    check(&world, "undisturbed");
    assert_eq!(states(&world), [ActionState::Verified]);
    let inner = world.lock();
    assert_eq!(inner.effects.len(), 1);
    assert_eq!(
        inner.requests,
        [
            "kill switch",
            "dry run",
            "create",
            "update Admitted",
            "update Claimed",
            "kill switch",
            "fresh",
            "effect",
            "update Sent",
            "update Verifying",
            "update Verified"
        ]
    );
    assert_eq!(inner.requests.len(), REQUESTS);
    // Five round trips of 3 ms: switch and dry run; create; its state; claim, switch and read; effect.
    let record = inner.actions.values().next().expect("one action");
    let taken = inner.effects[0].at.duration_since(record.evidence.taken_at);
    assert!(taken <= SignedDuration::from_millis(5 * 3 + 5), "{taken:?}");
    assert_eq!(record.guards.len(), GuardName::ORDER.len(), "every guard left its result");
    // What the guards saw is kept: once before the intent, once before the effect.
    assert_eq!(inner.recorded.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn crashes_and_errors_at_every_request_neither_repeat_nor_lose_an_effect() {
    let faults = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::Timeout { done: true },
        Fault::Timeout { done: false },
        Fault::Conflict,
        Fault::TooManyRequests,
        Fault::ServerError,
    ];
    for parameters in [Parameters::EvictPod { grace_seconds: None }, Parameters::RollingRestart] {
        for fault in &faults {
            for number in 1..=REQUESTS {
                let context = format!("{fault:?} at request {number} of {parameters:?}");
                let faults = BTreeMap::from([(number, fault.clone())]);
                let world = run_with(faults, parameters.clone()).await;
                check(&world, &context);
                let inner = world.lock();
                assert!(!inner.sick(), "{context}: not healed: {:?}", inner.requests);
                assert_eq!(inner.effects.len(), 1, "{context}: {:?}", inner.requests);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_state_did_not_arrive_is_finished_by_its_own_process() {
    // The fourth request stores the first state of what the third created.
    let world = run_with(
        BTreeMap::from([(4, Fault::Timeout { done: false })]),
        Parameters::EvictPod { grace_seconds: None },
    )
    .await;
    check(&world, "the state did not arrive");
    assert_eq!(states(&world), [ActionState::Verified], "one action, no second one beside a dead one");
}

#[tokio::test(start_paused = true)]
async fn two_crashes_in_any_two_places_are_survived_too() {
    let pairs = [
        (Fault::CrashBefore, Fault::CrashAfter),
        (Fault::CrashAfter, Fault::CrashAfter),
        (Fault::CrashAfter, Fault::Timeout { done: true }),
        (Fault::Timeout { done: true }, Fault::CrashAfter),
    ];
    for first in 1..=REQUESTS {
        for distance in 1..=8 {
            // Each distance with one pair, so that all meet over the ten places.
            for (one, other) in [pairs[(first + distance) % pairs.len()].clone()] {
                let second = first + distance;
                let context = format!("{one:?} at {first}, {other:?} at {second}");
                let faults = BTreeMap::from([(first, one), (second, other)]);
                let world = run_with(faults, Parameters::EvictPod { grace_seconds: None }).await;
                check(&world, &context);
                assert!(!world.lock().sick(), "{context}: not healed");
                assert_eq!(world.lock().effects.len(), 1, "{context}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn random_histories_of_faults_end_and_keep_the_books() {
    let faults = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::Timeout { done: true },
        Fault::Timeout { done: false },
        Fault::Conflict,
        Fault::TooManyRequests,
        Fault::ServerError,
        Fault::Denied,
        Fault::Meanwhile(|inner| inner.leader = 0),
    ];
    for seed in 0..60_u64 {
        let mut draw = SeededIds::new(seed);
        let mut pick =
            |below: usize| draw.suffix(4).bytes().map(usize::from).fold(0, |sum, b| sum * 31 + b) % below;
        let chosen: BTreeMap<usize, Fault> =
            (0..5).map(|_| (1 + pick(30), faults[pick(faults.len())].clone())).collect();
        let context = format!("seed {seed}: {chosen:?}");
        let world = run_with(chosen, Parameters::EvictPod { grace_seconds: None }).await;
        check(&world, &context);
        assert!(world.lock().effects.len() <= 1, "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_stops_at_every_step() {
    for number in 1..=REQUESTS {
        for unreadable in [false, true] {
            let flip: fn(&mut world::Inner) = if unreadable {
                |inner| inner.kill_switch = KillSwitch::Unreadable
            } else {
                |inner| {
                    inner.kill_switch = KillSwitch::Engaged { reason: Name::from("drill"), by: None };
                }
            };
            let world = World::new(FindingKind::Hung);
            world.lock().faults = BTreeMap::from([(number, Fault::Meanwhile(flip))]);
            let executor = world.executor();
            let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
            let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
            // The switch is read together with the claim; from the effect request on it is too late.
            let effects = world.lock().effects.len();
            if number <= 6 {
                assert_eq!((effects, ended.state), (0, ActionState::Refused), "flipped at {number}");
                let last = ended.guards.last().expect("guards are recorded");
                assert_eq!(last.name, GuardName::KillSwitch);
            } else {
                assert!(effects <= 1);
                assert!(ended.state.ended());
            }
            assert_eq!(executor.breaches(), []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_switch_that_cannot_be_read_is_a_stop() {
    for fault in [Fault::Denied, Fault::ServerError, Fault::Timeout { done: false }] {
        for number in [1, 6] {
            let world = World::new(FindingKind::Hung);
            world.lock().faults = BTreeMap::from([(number, fault.clone())]);
            let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
            let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
            assert_eq!(ended.state, ActionState::Refused, "{fault:?} at {number}");
            assert_eq!(world.lock().effects.len(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_who_steps_in_wins_at_every_step() {
    type Step = (&'static str, fn(&mut world::Inner));
    let steps: [Step; 6] = [
        ("workload paused", |inner| inner.set_workload(|policy| policy.paused = true)),
        ("tenant paused", |inner| inner.set_tenant(|policy| policy.paused = true)),
        ("level lowered", |inner| {
            inner.set_tenant(|policy| {
                policy.levels.insert(ActionKind::EvictPod, Level::Recommend);
            });
        }),
        ("workload deleted", world::Inner::delete_workload),
        ("other pod under the same name", world::Inner::replace_pod_under_the_same_name),
        ("other pod, and the caches do not know", world::Inner::replace_pod_unseen),
    ];
    for (what, step) in steps {
        for number in 1..=REQUESTS {
            let world = World::new(FindingKind::Hung);
            world.lock().faults = BTreeMap::from([(number, Fault::Meanwhile(step))]);
            let executor = world.executor();
            let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
            let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
            let context = format!("{what} at {number}: {:?} {}", ended.state, ended.message);
            assert!(ended.state.ended(), "{context}");
            // The fresh read and the last look at the policies come with request 7.
            if number <= 7 {
                assert_eq!(world.lock().effects.len(), 0, "{context}");
                let stopped = matches!(ended.state, ActionState::Refused | ActionState::Cancelled);
                assert!(stopped, "{context}");
            }
            assert_eq!(executor.breaches(), [], "{context}");
            assert!(world.lock().effects.iter().all(|effect| effect.uid == plan.steps[0].target.uid));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_pod_under_the_same_name_at_the_effect_itself_is_not_touched() {
    let world = World::new(FindingKind::Hung);
    world.lock().faults =
        BTreeMap::from([(8, Fault::Meanwhile(world::Inner::replace_pod_under_the_same_name))]);
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
    assert!(matches!(ended.state, ActionState::Cancelled | ActionState::Refused), "{}", ended.message);
    assert_eq!(world.lock().effects.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn leadership_lost_at_every_request_leaves_the_rest_to_the_next_leader() {
    for number in 1..=REQUESTS {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::Meanwhile(|inner| inner.leader = 0))]);
        let old = world.executor();
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let sent_before = number > 8;
        let result = old.run(&plan, Some(finding)).await;
        if number < REQUESTS {
            assert!(matches!(result, Err(ExecuteError::NotLeading { .. })), "lost at {number}: {result:?}");
        }
        if number < 8 {
            assert_eq!(world.lock().effects.len(), 0, "lost at {number}: no effect without the lease");
        } else if sent_before {
            assert_eq!(world.lock().effects.len(), 1);
        }
        // The old process lives on; the next one leads and finishes or cancels.
        world.depose();
        tokio::time::sleep(Duration::from_secs(1)).await;
        {
            let mut inner = world.lock();
            inner.leader = inner.life;
        }
        world.restart();
        settle(&world, &Parameters::EvictPod { grace_seconds: None }).await;
        check(&world, &format!("leadership lost at {number}"));
        assert!(!world.lock().sick(), "lost at {number}");
        assert_eq!(world.lock().effects.len(), 1, "lost at {number}");
        assert!(old.start(&plan, None).is_err(), "the old one begins nothing");
        assert_eq!(old.breaches(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn two_leaders_at_once_make_one_effect() {
    for offset in 0..20 {
        let world = World::new(FindingKind::Hung);
        let one = world.executor();
        let other = world.executor();
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let (first, second) = tokio::join!(one.run(&plan, Some(finding.clone())), async {
            tokio::time::sleep(Duration::from_millis(offset)).await;
            other.run(&plan, Some(finding)).await
        });
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        check(&world, &format!("two leaders, {offset} ms apart"));
        assert_eq!(world.lock().effects.len(), 1);
    }
    // Also when both resume the same stored intent.
    for number in [5, 8] {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::CrashBefore)]);
        let executor = world.executor();
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        tokio::select! {
            _ = executor.run(&plan, Some(finding)) => {}
            () = world.crashed(1) => {}
        }
        world.restart();
        let (one, other) = (world.executor(), world.executor());
        let open = world.lock().open_actions();
        assert_eq!(open.len(), 1);
        assert_eq!((one.resume(open.clone()), other.resume(open)), (1, 1));
        tokio::join!(one.drain(), other.drain());
        check(&world, &format!("two resume after a crash at {number}"));
        assert!(world.lock().effects.len() <= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disruption_budget_is_told_and_never_worked_around() {
    // At the dry run: refused before anything is claimed. At the effect: failed, and said why.
    for (number, state) in [(2, ActionState::Refused), (8, ActionState::Failed)] {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::TooManyRequests)]);
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
        assert_eq!(ended.state, state);
        assert!(ended.message.contains("PodDisruptionBudget"), "{}", ended.message);
        let effects = world.lock().requests.iter().filter(|request| *request == "effect").count();
        assert_eq!(effects, usize::from(number == 8), "never tried a second time");
        assert!(ended.instants.sent.is_none(), "nothing was done, nothing counts against the budgets");
    }
}

#[tokio::test(start_paused = true)]
async fn missing_rights_end_the_action_with_advice() {
    for (number, ends) in [(2, true), (7, true), (8, true), (3, false), (4, false), (5, false)] {
        let world = World::new(FindingKind::Hung);
        world.lock().faults = BTreeMap::from([(number, Fault::Denied)]);
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let result = world.executor().run(&plan, Some(finding)).await;
        assert_eq!(world.lock().effects.len(), 0, "403 at {number}");
        match result {
            Ok(ended) => assert!(ends && ended.state.ended(), "403 at {number}: {:?}", ended.state),
            Err(ExecuteError::Store { .. }) => assert!(!ends, "403 at {number}"),
            Err(error) => panic!("403 at {number}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_help_is_failed_at_the_end_of_its_window() {
    let world = World::new(FindingKind::Hung);
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    // No pod event reaches the snapshot after the effect, so nothing ever shows that it helped.
    world.lock().faults = BTreeMap::from([(9, Fault::Meanwhile(|inner| inner.watching = false))]);
    let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Failed);
    assert_eq!(ended.outcome.as_ref().map(|outcome| outcome.helped), Some(false));
    let window = ended.instants.closed.expect("closed").duration_since(ended.instants.sent.expect("sent"));
    assert!(window >= SignedDuration::from_secs(30) && window < SignedDuration::from_secs(33), "{window:?}");
}

#[tokio::test(start_paused = true)]
async fn a_workload_deleted_while_it_is_watched_is_handed_over() {
    let world = World::new(FindingKind::Hung);
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    world.lock().faults = BTreeMap::from([(10, Fault::Meanwhile(world::Inner::delete_workload))]);
    let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::HandedOver, "{}", ended.message);
}

#[tokio::test(start_paused = true)]
async fn deleting_actions_gives_no_budget_back_and_breaks_nothing() {
    let world = World::new(FindingKind::Hung);
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Verified);
    {
        let mut inner = world.lock();
        inner.actions.clear();
        let mut snapshot = (*inner.snapshot).clone();
        snapshot.actions = homeostat_knowledge::Snapshot::default().actions;
        inner.snapshot = Arc::new(snapshot);
    }
    let again = {
        let mut sick = world.plan(Parameters::EvictPod { grace_seconds: None });
        sick.1.active = true;
        sick
    };
    let refused = executor.run(&again.0, Some(again.1)).await.expect("it ends");
    assert_eq!(refused.state, ActionState::Refused);
    assert_eq!(executor.breaches(), []);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_is_verified_by_its_own_rollout_only() {
    let world = World::new(FindingKind::Crashed);
    world.lock().replace_pod_under_the_same_name(); // Healed: calm from here on.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::RollingRestart);
    let ended = executor.run(&plan, Some(finding)).await.expect("it ends");
    assert_eq!(ended.state, ActionState::Verified, "{}", ended.message);
    let inner = world.lock();
    assert_eq!(inner.restarted_by.as_deref(), Some(ended.id.as_str()));
    // Not before the new pod was ready, although the old rollout looked complete all the time.
    let taken = ended.instants.verified.expect("verified").duration_since(inner.effects[0].at);
    assert!(taken >= SignedDuration::from_millis(2_500), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn telling_people_hands_over_and_is_repeated_until_it_is_told() {
    let tell = || Parameters::Notify { message: "the configuration is broken".to_owned() };
    for faults in [BTreeMap::new(), BTreeMap::from([(6, Fault::Timeout { done: true })])] {
        let world = World::new(FindingKind::CrashLoop);
        world.lock().faults = faults;
        let (plan, finding) = world.plan(tell());
        let ended = world.executor().run(&plan, Some(finding)).await.expect("it ends");
        assert_eq!(ended.state, ActionState::HandedOver, "{}", ended.message);
        let inner = world.lock();
        assert!(!inner.notified.is_empty() && inner.notified.iter().all(|id| *id == ended.id));
        assert!(inner.effects.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_invariant_stops_every_later_effect() {
    let world = World::new(FindingKind::Hung);
    world.lock().faults = BTreeMap::from([(5, Fault::CrashBefore)]);
    let first = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    tokio::select! {
        _ = first.run(&plan, Some(finding)) => {}
        () = world.crashed(1) => {}
    }
    world.restart();
    // Somebody writes an end into the stored action that says neither when nor why.
    let open = world.lock().open_actions();
    assert_eq!(open.len(), 1);
    for record in world.lock().actions.values_mut() {
        record.state = ActionState::Failed;
        record.message.clear();
    }
    let executor = world.executor();
    executor.resume(open);
    executor.drain().await;
    assert_eq!(executor.breaches().len(), 1);
    for _ in 0..3 {
        let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
        let refused = executor.run(&plan, Some(finding)).await.expect("it ends");
        let last = refused.guards.last().expect("guards are recorded");
        assert_eq!((refused.state, last.name), (ActionState::Refused, GuardName::Invariants));
        assert!(last.message.contains("S8"), "{}", last.message);
        tokio::time::sleep(Duration::from_mins(30)).await;
    }
    assert_eq!(world.lock().effects.len(), 0);
    assert!(!executor.breaches().is_empty(), "it stays broken until the restart");
}

#[tokio::test(start_paused = true)]
async fn one_action_at_a_time_per_incident_and_no_more_tasks_than_allowed() {
    let world = World::new(FindingKind::Hung);
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let id = executor.start(&plan, Some(finding.clone())).expect("begun");
    assert_eq!(id.as_str(), "order-x-1");
    assert!(matches!(executor.start(&plan, Some(finding)), Err(ExecuteError::AlreadyRunning { .. })));
    executor.drain().await;
    assert_eq!(executor.under_way(), 0);
    assert_eq!(states(&world), [ActionState::Verified]);
}

#[tokio::test(start_paused = true)]
async fn two_decisions_from_one_snapshot_do_not_share_a_budget() {
    let world = World::new(FindingKind::Hung);
    {
        let mut inner = world.lock();
        let mut snapshot = (*inner.snapshot).clone();
        let first = snapshot.incidents.values().next().expect("one incident").clone();
        let mut second = (*first).clone();
        second.id = IncidentId::new("order-y");
        snapshot.incidents.insert_mut(second.id.clone(), Arc::new(second));
        inner.snapshot = Arc::new(snapshot);
    }
    let executor = world.executor();
    let (plan, finding) = world.plan(Parameters::EvictPod { grace_seconds: None });
    let (mut other, _) = world.plan(Parameters::EvictPod { grace_seconds: None });
    other.incident = IncidentId::new("order-y");
    let (one, two) =
        tokio::join!(executor.run(&plan, Some(finding.clone())), executor.run(&other, Some(finding)));
    let mut states = [one.expect("it ends").state, two.expect("it ends").state];
    states.sort_unstable();
    assert_eq!(states, [ActionState::Refused, ActionState::Verified]);
    assert_eq!(world.lock().effects.len(), 1);
    assert_eq!(executor.breaches(), []);
}
