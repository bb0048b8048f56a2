//! What must hold in every world, however odd.

#![allow(clippy::panic, clippy::expect_used, clippy::assigning_clones, reason = "tests")]

mod common;

use common::{Given, GivenAction, GivenIncident, GivenNode, GivenOther, GivenPod, GivenWorkload, now, order};
use homeostat_knowledge::{ActionKind, FindingKind, IncidentState, Parameters, SeededIds, Snapshot};
use homeostat_plan::{Decision, check, describe, plan};
use homeostat_playbooks::shipped;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Instants from a fraction of a second to an hour ago, most of them recent.
fn seconds() -> impl Strategy<Value = f64> {
    prop_oneof![3 => 0.0..5.0, 2 => 5.0..70.0, 1 => 70.0..4000.0]
}

fn words(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(of).prop_map(str::to_owned)
}

const PODS: &[&str] = &["order-a", "order-b", "stock-b"];
const UIDS: &[&str] = &["uid-order-a", "uid-order-b", "uid-stock-b", "uid-other"];

fn pod() -> impl Strategy<Value = GivenPod> {
    (
        (words(PODS), option::weighted(0.2, words(UIDS)), seconds(), any::<bool>()),
        (proptest::bool::weighted(0.15), 0_u32..4, option::of(seconds()), option::of(seconds())),
        words(&[
            "Running",
            "Running",
            "Terminated",
            "CrashLoopBackOff",
            "ImagePullBackOff",
            "ContainerCreating",
        ]),
        words(&["Running", "Running", "Running", "Pending", "Failed", "Succeeded"]),
        (option::of(seconds()), words(&["node-1", "node-2"]), any::<bool>()),
    )
        .prop_map(
            |((name, uid, created, ready), (deleting, restarts, since, end), state, phase, rest)| {
                let (started, node, local_data) = rest;
                let of = if name.starts_with("order") { "order".to_owned() } else { "stock".to_owned() };
                GivenPod {
                    name,
                    uid,
                    created,
                    phase,
                    ready,
                    deleting,
                    restarts,
                    state,
                    state_since: since,
                    started,
                    last_end: end,
                    node: Some(node),
                    local_data,
                    of,
                    ..GivenPod::default()
                }
            },
        )
}

fn action() -> impl Strategy<Value = GivenAction> {
    (
        words(&["EvictPod", "EvictPod", "RollingRestart"]),
        words(UIDS),
        words(&[
            "Proposed",
            "AwaitingApproval",
            "Admitted",
            "Refused",
            "Sent",
            "Verifying",
            "Verified",
            "Failed",
        ]),
        option::of(seconds()),
        option::of(seconds()),
        words(&["order-1", "order-1", "other-1"]),
        words(&["order", "stock"]),
    )
        .prop_map(|(kind, uid, state, sent, closed, incident, of)| GivenAction {
            kind,
            uid,
            state,
            sent,
            closed,
            incident,
            of,
            message: String::new(),
        })
}

fn incident() -> impl Strategy<Value = GivenIncident> {
    (
        prop_oneof![
            1 => select(&FindingKind::ALL[..]),
            2 => select(vec![FindingKind::Crashed, FindingKind::OutOfMemory, FindingKind::BackingOff]),
        ],
        words(&[
            "pod order-a",
            "pod order-a",
            "workload order",
            "pod order-b",
            "pod stock-b",
            "workload order",
            "workload stock",
            "node node-1",
            "external pay.example",
        ]),
        (option::weighted(0.1, words(UIDS)), option::weighted(0.3, words(PODS))),
        prop_oneof![20 => 0.9..1.0, 2 => 0.0..1.0, 1 => Just(f64::NAN)],
        words(&[
            "Open",
            "Open",
            "Open",
            "Acting",
            "Mitigated",
            "Mitigated",
            "Mitigated",
            "HandedOver",
            "Resolved",
        ]),
        (seconds(), seconds(), option::of(seconds()), proptest::bool::weighted(0.1)),
        words(&["order", "order", "order", "order", "order", "stock", "none"]),
        words(&["shop", "shop", "shop", "shop", "shop", "none", "elsewhere"]),
    )
        .prop_map(|(kind, cause, (uid, seen_on), confidence, state, times, workload, tenant)| {
            let (since, last_seen, impact, ended) = times;
            GivenIncident {
                kind: kind.name().to_owned(),
                cause,
                uid,
                seen_on,
                confidence,
                state,
                since,
                last_seen: last_seen.min(since),
                impact,
                ended,
                workload,
                tenant,
                ..GivenIncident::default()
            }
        })
}

fn world() -> impl Strategy<Value = Given> {
    let workload = (
        words(&["Deployment", "Deployment", "Deployment", "StatefulSet", "Job"]),
        0..4_i32,
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
        0..4_u32,
        proptest::bool::weighted(0.95),
    )
        .prop_map(|(target, replicas, surges, rolling_out, paused, maximum, exists)| GivenWorkload {
            target,
            replicas,
            surges,
            rolling_out,
            paused,
            maximum_useless_restarts: maximum,
            exists,
            ..GivenWorkload::default()
        });
    let other = (words(&["order", "stock"]), words(&["Open", "Mitigated", "HandedOver"]))
        .prop_map(|(workload, state)| GivenOther { workload, state });
    (
        incident(),
        workload,
        vec(pod(), 1..4),
        prop_oneof![3 => Just(Vec::new()).boxed(), 1 => vec(action(), 1..4).boxed()],
        option::weighted(0.8, seconds()),
        prop_oneof![3 => Just(Vec::new()).boxed(), 1 => vec(other, 1..3).boxed()],
        proptest::bool::weighted(0.03),
    )
        .prop_map(|(incident, workload, pods, actions, good, others, orphan)| Given {
            incident,
            workload,
            pods,
            actions,
            good,
            node: GivenNode::default(),
            others,
            orphan,
            ..Given::default()
        })
}

/// A world in which something is really to be done more often than not.
fn likely() -> impl Strategy<Value = Given> {
    let kinds = [
        FindingKind::Crashed,
        FindingKind::BackingOff,
        FindingKind::OutOfMemory,
        FindingKind::Hung,
        FindingKind::ErrorBurst,
        FindingKind::CrashLoop,
    ];
    let causes = words(&["pod order-a", "workload order"]);
    (world(), select(kinds.to_vec()), causes, any::<bool>(), any::<bool>()).prop_map(
        |(mut given, kind, cause, healed, quiet)| {
            let incident = &mut given.incident;
            incident.kind = kind.name().to_owned();
            incident.cause = cause;
            incident.uid = None;
            incident.confidence = 0.99;
            incident.state = if healed { "Mitigated" } else { "Open" }.to_owned();
            incident.ended = healed;
            incident.last_seen = incident.last_seen.min(5.0);
            incident.workload = "order".to_owned();
            incident.tenant = "shop".to_owned();
            incident.seen_on = incident.seen_on.take().map(|_| "order-a".to_owned());
            given.workload.replicas = given.workload.replicas.max(1);
            given.workload.target = "Deployment".to_owned();
            given.pods[0].name = "order-a".to_owned();
            given.pods[0].of = "order".to_owned();
            given.pods[0].uid = None;
            if quiet {
                given.pods.truncate(1);
                let pod = &mut given.pods[0];
                pod.restarts = 1;
                pod.node = Some("node-1".to_owned());
                if healed {
                    pod.deleting = false;
                    pod.ready = true;
                    pod.phase = "Running".to_owned();
                    pod.state = "Running".to_owned();
                    pod.last_end = Some(given.incident.since.min(500.0));
                }
                given.actions.clear();
                given.others.clear();
            }
            given
        },
    )
}

/// The objects of the incident's workload that are affected by a plan.
fn holds(given: &Given, snapshot: &Snapshot, decision: &Decision) -> Result<(), TestCaseError> {
    let Decision::Act(plan) = decision else {
        prop_assert!(!decision.reason().is_empty());
        return Ok(());
    };
    let admitted = check(plan.clone(), snapshot, now());
    prop_assert!(admitted.is_ok(), "the checker refuses what was planned: {:?}", admitted.err());
    prop_assert_eq!(plan.steps.len(), 1);
    prop_assert_eq!(plan.epoch, snapshot.generation);
    let incident = given.incident.incident();
    prop_assert_eq!(Some(&plan.workload), incident.workload.as_ref());
    let step = &plan.steps[0];
    let kind = incident.causes[0].kind;
    prop_assert!(
        !matches!(kind, FindingKind::DependencyDown | FindingKind::NoData | FindingKind::NodeNotReady),
        "{kind} is never repaired by a restart"
    );
    match step.parameters {
        Parameters::EvictPod { .. } => {
            let pod = snapshot.pods.get(&step.target.key).expect("a target exists");
            prop_assert!(!pod.deleting, "a pod that goes already is not evicted");
            prop_assert_eq!(snapshot.workload_of(pod), Some(&plan.workload));
            prop_assert_ne!(incident.state, IncidentState::Mitigated, "what is healed is not evicted");
            let before = snapshot.actions.values().filter(|action| action.incident == incident.id);
            for action in before {
                prop_assert!(
                    action.kind() != ActionKind::EvictPod
                        || action.target.uid != pod.uid
                        || !action.state.had_effect()
                        || action.instants.sent.is_none(),
                    "a pod is evicted once"
                );
            }
        }
        Parameters::RollingRestart => {
            if incident.state == IncidentState::Mitigated {
                prop_assert!(snapshot.pods_of(&plan.workload).any(|pod| pod.restarts() > 0));
            } else {
                prop_assert!(
                    matches!(
                        kind,
                        FindingKind::MemoryGrowing | FindingKind::EphemeralStorageFilling | FindingKind::Slow
                    ),
                    "{kind} is no leak: a new pod ahead of time would not help"
                );
            }
            prop_assert!(snapshot.controller_of(&plan.workload).is_some_and(|controller| controller.surges));
        }
        Parameters::Notify { .. } => prop_assert!(false, "telling people is not planned as an action"),
        ref other => prop_assert!(
            shipped_once()
                .iter()
                .any(|playbook| { playbook.healing().any(|(_, rung)| rung.action == other.kind()) }),
            "no shipped playbook asks for {}",
            other.kind()
        ),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_are_admissible_and_stay_inside_of_their_workload(given in prop_oneof![world(), likely()]) {
        let (snapshot, incident) = given.build();
        let playbooks = shipped_once();
        let decision = plan(&incident, &snapshot, playbooks, now(), &mut SeededIds::new(3));
        holds(&given, &snapshot, &decision)?;
        let again = plan(&incident, &snapshot, playbooks, now(), &mut SeededIds::new(3));
        // Texts, because a confidence that is not a number is not equal to itself.
        prop_assert_eq!(describe(&decision, &incident), describe(&again, &incident));
        prop_assert_eq!(decision, again);
    }
}

fn shipped_once() -> &'static [homeostat_playbooks::Playbook] {
    static ALL: std::sync::OnceLock<Vec<homeostat_playbooks::Playbook>> = std::sync::OnceLock::new();
    ALL.get_or_init(shipped)
}

#[test]
fn the_random_worlds_lead_to_plans_of_both_kinds() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut evictions, mut restarts, mut others) = (0, 0, 0);
    for _ in 0..3000 {
        let given = likely().new_tree(&mut runner).expect("a world").current();
        let (snapshot, incident) = given.build();
        match plan(&incident, &snapshot, shipped_once(), now(), &mut SeededIds::new(3)) {
            Decision::Act(plan) if matches!(plan.steps[0].parameters, Parameters::EvictPod { .. }) => {
                evictions += 1;
            }
            Decision::Act(_) => restarts += 1,
            _ => others += 1,
        }
    }
    assert!(evictions >= 30 && restarts >= 5, "{evictions} evictions, {restarts} restarts, {others} others");
    assert_eq!(order().name.as_ref(), "order");
}
