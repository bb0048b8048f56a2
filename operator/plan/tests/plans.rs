//! What a plan holds, how decisions are explained, and what the second opinion refuses.

#![allow(clippy::panic, clippy::expect_used, reason = "tests")]

mod common;

use common::{
    Given, GivenAction, GivenIncident, GivenOther, GivenPod, GivenWorkload, ago, decide, drafted, now, order,
};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::*;
use homeostat_plan::report::describe_objections;
use homeostat_plan::{Checker, Decision, ObjectionSeverity, check, describe, plan};
use homeostat_playbooks::{Playbook, parse, shipped};
use std::sync::Arc;

fn hung() -> Given {
    Given { pods: vec![GivenPod::default()], ..Given::default() }
}

fn own(spec: &str) -> Playbook {
    parse(&format!(
        "apiVersion: homeostat.dev/v1alpha1\nkind: Playbook\nmetadata: {{ name: own }}\nspec:\n{spec}"
    ))
    .expect("valid")
}

#[test]
fn what_a_person_denied_or_nobody_answered_goes_to_people_and_is_not_asked_again() {
    let asked = |state, decision: Option<ApprovalDecision>| {
        let (mut snapshot, incident) = Given {
            actions: vec![GivenAction { uid: "uid-order-a".into(), sent: None, ..GivenAction::default() }],
            ..hung()
        }
        .build();
        let stored = snapshot.actions.values().next().expect("an action").clone();
        let mut record = (*stored).clone();
        record.state = state;
        record.message = "needs approval".into();
        record.approval = decision.map(|decision| Approval {
            decision,
            approved_by: "ana".into(),
            evidence: record.evidence.id.clone(),
            digest: None,
            at: ago(5.0),
        });
        snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::new(record))), now());
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    for decision in
        [asked(ActionState::HandedOver, None), asked(ActionState::Cancelled, Some(ApprovalDecision::Deny))]
    {
        assert!(
            matches!(&decision, Decision::HandOver { reason, .. } if reason.contains("was asked for")),
            "{decision:?}"
        );
    }
    let waits = asked(ActionState::AwaitingApproval, None);
    assert!(matches!(waits, Decision::Wait { .. }), "{waits:?}");
}

#[test]
fn a_plan_names_its_target_its_past_its_evidence_and_its_reasons() {
    let (plan, snapshot) = drafted(&hung());
    assert!(plan.id.as_str().starts_with("order-1-") && plan.id.as_str().len() == 13, "{}", plan.id);
    assert_eq!((&*plan.tenant.0, &plan.workload, plan.epoch), ("shop", &order(), snapshot.generation));
    assert_eq!(plan.playbook, PlaybookRef { name: "hung-process".into(), version: 0, step: 1 });
    let [step] = plan.steps.as_slice() else { panic!("one step at a time") };
    assert_eq!((&*step.target.kind, &*step.target.key.name), ("Pod", "order-a"));
    assert_eq!(step.target.uid, Uid::new("uid-order-a"));
    assert_eq!(
        step.parameters,
        Parameters::EvictPod { grace_seconds: Some(1) },
        "what hangs cannot end by itself"
    );
    assert_eq!(step.before.replicas, Some(1));
    assert_eq!(step.before.restarts, Some(0));
    assert_eq!(step.verification.within, SignedDuration::from_secs(30));
    assert_eq!(step.verification.expect, Expectation::ObjectivesMet);
    assert_eq!(step.undo, Undo::None);
    assert_eq!(step.evidence.id, EvidenceId::new("evidence-1"));
    assert_eq!(step.evidence.taken_at, ago(0.2), "the evidence is as old as its last renewal");
    assert!(step.evidence.summary.contains("12 of 12"), "{}", step.evidence.summary);
    assert!(plan.explanation.len() >= 3, "{:?}", plan.explanation);
}

#[test]
fn a_hung_pod_that_may_hold_the_only_copy_of_something_keeps_its_own_grace_period() {
    let stateful = Given {
        workload: GivenWorkload { target: "StatefulSet".into(), replicas: 3, ..GivenWorkload::default() },
        pods: vec![
            GivenPod::default(),
            GivenPod { name: "order-b".into(), ..GivenPod::default() },
            GivenPod { name: "order-c".into(), ..GivenPod::default() },
        ],
        ..Given::default()
    };
    let (plan, _) = drafted(&stateful);
    assert_eq!(plan.steps[0].parameters, Parameters::EvictPod { grace_seconds: None });
    let local =
        Given { pods: vec![GivenPod { local_data: true, ..GivenPod::default() }], ..Given::default() };
    let (plan, _) = drafted(&local);
    assert_eq!(plan.steps[0].parameters, Parameters::EvictPod { grace_seconds: None });
}

#[test]
fn nothing_is_done_for_an_incident_of_no_tenant_nor_to_a_pod_that_nothing_is_known_of() {
    assert_eq!(decide(&hung()).name(), "Act");
    let (snapshot, mut incident) = hung().build();
    incident.tenant = None;
    let decision = plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7));
    assert_eq!(decision.name(), "Wait");
    assert!(decision.reason().contains("no tenant's"), "{}", decision.reason());
    let mut given = hung();
    given.pods[0].phase = "Unknown".into();
    let decision = decide(&given);
    assert_eq!(decision.name(), "Wait");
    assert!(decision.reason().contains("nothing is known"), "{}", decision.reason());
}

#[test]
fn a_process_that_ends_again_and_again_beside_a_dead_dependency_is_its_victim_and_a_single_end_is_not() {
    let with = |restarts: u32| {
        let mut given = hung();
        given.incident.kind = "Crashed".into();
        given.incident.also = Some("DependencyDown".into());
        given.incident.since = 5.0;
        given.pods[0] = GivenPod {
            ready: false,
            restarts,
            state: "Terminated".into(),
            state_since: Some(5.0),
            started: Some(60.0),
            last_end: (restarts > 0).then_some(61.0),
            ..GivenPod::default()
        };
        decide(&given)
    };
    assert_eq!(with(0).name(), "Act", "the kubelet did not start it again");
    let victim = with(1);
    assert_eq!(victim.name(), "HandOver");
    assert!(victim.reason().contains("DependencyDown"), "{}", victim.reason());
}

#[test]
fn the_same_input_gives_the_same_plan_and_ids_come_from_the_source() {
    let (snapshot, incident) = hung().build();
    let with = |seed| plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(seed));
    assert_eq!(with(7), with(7));
    let (Decision::Act(one), Decision::Act(other)) = (with(7), with(8)) else { panic!("both act") };
    assert_ne!(one.id, other.id);
    assert_eq!(one.steps, other.steps);
}

#[test]
fn priority_comes_first_and_conditions_that_fail_are_told() {
    let spec = |when: &str| {
        own(&format!(
            "  trigger: {{ findings: [Hung] }}\n  priority: 5\n  when: [{{ name: mine, expression: {when:?} }}]\n  ladder: [{{ action: Notify }}]\n"
        ))
    };
    let (snapshot, incident) = hung().build();
    let with = |own: Playbook| {
        let mut playbooks = shipped();
        playbooks.push(own);
        plan(&incident, &snapshot, &playbooks, now(), &mut SeededIds::new(1))
    };
    let decision = with(spec("incident.kind == 'Hung' && workload.name == 'order' && tenant.name == 'shop'"));
    assert_eq!(decision.name(), "HandOver", "{decision:?}");
    for (when, note) in
        [("incident.restarts > 3", "mine does not hold"), ("incident.restarts", "cannot be decided")]
    {
        let decision = with(spec(when));
        assert_eq!(decision.name(), "Act", "the next playbook is used: {decision:?}");
        assert!(decision.explanation().iter().any(|line| line.contains(note)), "{decision:?}");
    }
}

#[test]
fn a_playbook_of_ones_own_can_restart_all_pods_when_the_finding_lasts() {
    let playbook = own(
        "  trigger: { findings: [ErrorBurst] }\n  ladder:\n    - { action: RollingRestart, after: WhenStillAbnormal, afterSeconds: 20, verify: { withinSeconds: 60, expect: RolloutComplete } }\n",
    );
    let at = |since: f64, rolling_out| {
        let given = Given {
            incident: GivenIncident {
                kind: "ErrorBurst".into(),
                cause: "workload order".into(),
                since,
                ..GivenIncident::default()
            },
            workload: GivenWorkload { replicas: 2, rolling_out, ..GivenWorkload::default() },
            pods: vec![GivenPod::default(), GivenPod { name: "order-b".into(), ..GivenPod::default() }],
            ..Given::default()
        };
        let (snapshot, incident) = given.build();
        let decision =
            plan(&incident, &snapshot, std::slice::from_ref(&playbook), now(), &mut SeededIds::new(1));
        if let Decision::Act(plan) = &decision {
            assert!(check(plan.clone(), &snapshot, now()).is_ok());
            assert_eq!(plan.steps[0].parameters, Parameters::RollingRestart);
        }
        decision
    };
    assert_eq!(at(5.0, false).name(), "Wait");
    assert_eq!(at(21.0, false).name(), "Act");
    assert_eq!(at(21.0, true).name(), "Wait", "a rollout that is under way counts as done");
    assert_eq!(at(700.0, true).name(), "HandOver", "but nobody waits for ever");
}

#[test]
fn waits_end_at_the_latest_when_people_must_be_told() {
    let mut given = hung();
    given.incident.since = 100.0;
    given.incident.last_seen = 20.0;
    let Decision::Wait { until: Some(until), .. } = decide(&given) else { panic!("old evidence") };
    assert_eq!(until, ago(-500.0));
}

#[test]
fn one_action_at_a_time_on_a_workload_whatever_incident_it_serves() {
    let mut given = hung();
    given.actions = vec![common::GivenAction {
        incident: "other-9".into(),
        kind: "RollingRestart".into(),
        state: "Verifying".into(),
        sent: Some(2.0),
        closed: None,
        ..common::GivenAction::default()
    }];
    let decision = decide(&given);
    assert_eq!(decision.name(), "Wait");
    assert!(decision.reason().contains("other-9"), "{}", decision.reason());
}

#[test]
fn nobody_late_is_evicted_on_a_node_that_is_known_to_be_busy() {
    let beside = |kind: &str, busy: &str, state: IncidentState, ended: Option<i64>, at_once: bool| {
        let mut given = hung();
        (given.incident.kind, given.incident.since) = (kind.into(), 30.0);
        let (mut snapshot, incident) = given.build();
        let node = Entity::Node { name: Name::from(busy) };
        let mut other = incident.clone();
        other.id = IncidentId::new("node-1-abcde");
        other.state = state;
        other.workload = None;
        other.causes[0].entity = node.clone();
        other.causes[0].kind = FindingKind::NoisyNeighbour;
        other.findings[0].entity = node;
        other.findings[0].kind = FindingKind::NoisyNeighbour;
        other.findings[0].active = ended.is_none();
        other.findings[0].last_seen = now() - SignedDuration::from_secs(ended.unwrap_or(0));
        snapshot.incidents.insert_mut(other.id.clone(), Arc::new(other));
        let wrong_at_once = at_once.then(|| now() - SignedDuration::from_secs(2));
        let health = WorkloadHealth { wrong_at_once, ..WorkloadHealth::default() };
        snapshot.health.insert_mut(incident.workload.clone().unwrap(), health);
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    let seen = |kind: &str, busy: &str, state, ended| beside(kind, busy, state, ended, false);
    let decided = |kind: &str, busy: &str, state| seen(kind, busy, state, None);
    for kind in ["Slow", "ErrorBurst"] {
        let over = seen(kind, "node-1", IncidentState::HandedOver, Some(11));
        assert_eq!(
            over.name(),
            "Act",
            "{kind}: people have not closed it, and the node is not busy any more"
        );
        let just = seen(kind, "node-1", IncidentState::HandedOver, Some(9));
        assert!(
            just.reason().contains("short of processor time"),
            "{kind}: what waited is still late: {just:?}"
        );
        for state in [IncidentState::Open, IncidentState::HandedOver] {
            let decision = decided(kind, "node-1", state);
            assert!(decision.reason().contains("short of processor time"), "{kind}: {decision:?}");
        }
        assert_eq!(decided(kind, "node-9", IncidentState::Open).name(), "Act", "{kind}: another node");
        assert_eq!(decided(kind, "node-1", IncidentState::Resolved).name(), "Act", "{kind}: it is over");
    }
    // Which silent process hangs and which is starved is told apart by who calls whom.
    assert_eq!(decided("Hung", "node-1", IncidentState::Open).name(), "Act");
    // Errors at once are not the node's, lateness is.
    for ended in [None, Some(9)] {
        let decided = |kind| beside(kind, "node-1", IncidentState::Open, ended, true);
        assert_eq!(decided("ErrorBurst").name(), "Act", "{ended:?}");
        assert!(decided("Slow").reason().contains("short of processor time"), "{ended:?}");
    }
}

#[test]
fn where_a_new_pod_was_no_better_the_next_one_waits_until_the_busy_node_is_well() {
    let decided = |kind: &str, well: bool| {
        let mut given = hung();
        (given.incident.kind, given.incident.since) = (kind.into(), 30.0);
        given.actions = vec![GivenAction {
            uid: "uid-before".into(),
            state: "Failed".into(),
            sent: Some(200.0),
            closed: Some(170.0),
            ..GivenAction::default()
        }];
        let (mut snapshot, incident) = given.build();
        let node = Entity::Node { name: Name::from("node-1") };
        let mut other = incident.clone();
        other.id = IncidentId::new("node-1-abcde");
        other.state = if well { IncidentState::Mitigated } else { IncidentState::HandedOver };
        other.instants.mitigated = well.then(|| now() - SignedDuration::from_secs(20));
        other.workload = None;
        (other.causes[0].entity, other.causes[0].kind) = (node.clone(), FindingKind::NoisyNeighbour);
        (other.findings[0].entity, other.findings[0].kind) = (node, FindingKind::NoisyNeighbour);
        other.findings[0].active = false;
        other.findings[0].last_seen = now() - SignedDuration::from_secs(25);
        snapshot.incidents.insert_mut(other.id.clone(), Arc::new(other));
        plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7))
    };
    for kind in ["Slow", "ErrorBurst", "Hung", "Unreachable"] {
        let decision = decided(kind, false);
        assert!(decision.reason().contains("short of processor time"), "{kind}: {decision:?}");
        let decision = decided(kind, true);
        assert!(!decision.reason().contains("short of processor time"), "{kind}: {decision:?}");
    }
}

#[test]
fn advice_never_holds_text_that_came_with_telemetry() {
    let mut given = hung();
    given.incident.kind = "DependencyDown".into();
    given.incident.cause = "external pay;curl${IFS}evil".into();
    let Decision::HandOver { advice, .. } = decide(&given) else { panic!("people are told") };
    assert!(!advice.is_empty());
    for command in &advice {
        assert!(
            command.starts_with("kubectl ") && !command.contains(';') && !command.contains('$'),
            "{command}"
        );
    }
}

#[test]
fn a_crash_loop_is_handed_over_with_the_commands_that_help() {
    let mut given = hung();
    given.incident.kind = "CrashLoop".into();
    given.workload.maximum_useless_restarts = 0;
    given.pods[0].ready = false;
    given.pods[0].state = "CrashLoopBackOff".into();
    let decision = decide(&given);
    let Decision::HandOver { advice, .. } = &decision else { panic!("{decision:?}") };
    for command in [
        "kubectl -n shop logs order-a --previous",
        "kubectl -n shop rollout undo deployment/order",
        "kubectl -n shop get incident order-1 -o yaml",
    ] {
        assert!(advice.iter().any(|line| line == command), "{command} is missing in {advice:?}");
    }
    let text = describe(&decision, &given.incident.incident());
    assert!(text.contains("people must take over") && text.contains("try: kubectl"), "{text}");
}

#[test]
fn what_fills_is_told_with_the_time_that_is_left_and_the_commands_that_make_room() {
    for (kind, commands) in [
        (
            "VolumeFilling",
            [
                "kubectl get storageclasses",
                "kubectl -n shop patch persistentvolumeclaim CLAIM -p '{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"SIZE\"}}}}'",
                "kubectl -n shop exec deployment/order -- du -hd 2 PATH",
            ],
        ),
        (
            "QuotaFilling",
            [
                "kubectl -n shop describe resourcequotas",
                "kubectl -n shop get deployments,statefulsets,daemonsets,jobs",
                "kubectl -n shop get incident order-1 -o yaml",
            ],
        ),
    ] {
        let mut given = hung();
        (given.incident.kind, given.incident.cause) = (kind.into(), "workload order".into());
        let (snapshot, mut incident) = given.build();
        incident.causes[0].evidence = vec![Evidence::new("data", "80 GB, limit reached in about 3 h 5 min")];
        let decision = plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(7));
        assert!(decision.reason().contains("3 h 5 min"), "{}", decision.reason());
        let Decision::HandOver { advice, .. } = &decision else { panic!("{decision:?}") };
        for command in commands {
            assert!(advice.iter().any(|line| line == command), "{command} is missing in {advice:?}");
        }
    }
}

#[test]
fn what_others_take_back_is_told_with_who_it_is_and_how_to_give_it_up_and_nothing_is_done() {
    let mut given = hung();
    (given.incident.kind, given.incident.cause) = ("OwnershipConflict".into(), "workload order".into());
    let (snapshot, mut incident) = given.build();
    let who = "shop-operator took spec.replicas of Deployment shop/order back 2 times in 33 min (order-1-2)";
    incident.causes[0].evidence = vec![Evidence::new("taken back", who)];
    // A playbook of people's own that would act on it is not followed.
    let own = homeostat_playbooks::parse(
        "apiVersion: homeostat.dev/v1alpha1\nkind: Playbook\nmetadata: { name: win }\nspec:\n  \
         trigger: { findings: [OwnershipConflict, Hung] }\n  priority: 100\n  ladder:\n    \
         - { action: RollingRestart, to: SickWorkload, after: Immediately, undo: Never,\n        \
         verify: { withinSeconds: 60, expect: ObjectivesMet } }\n    - { action: Notify }\n",
    );
    let mut playbooks = shipped();
    playbooks.push(own.unwrap());
    let decision = plan(&incident, &snapshot, &playbooks, now(), &mut SeededIds::new(7));
    assert!(decision.reason().contains(who), "{}", decision.reason());
    assert!(decision.explanation().iter().any(|line| line.contains("playbook win would act")));
    let Decision::HandOver { advice, .. } = &decision else { panic!("{decision:?}") };
    for command in [
        "kubectl -n shop get deployment/order -o yaml --show-managed-fields",
        "kubectl -n shop patch workload order --type merge -p '{\"spec\":{\"scaling\":{\"mode\":\"Recommend\"}}}'",
        homeostat_knowledge::fight::RESET,
    ] {
        assert!(advice.iter().any(|line| line == command), "{command} is missing in {advice:?}");
    }
}

#[test]
fn an_incident_without_a_cause_waits_and_then_goes_to_people() {
    let mut given = hung();
    for (impact, answer) in [(30.0, "Wait"), (700.0, "HandOver")] {
        given.incident.impact = Some(impact);
        let (snapshot, mut incident) = given.build();
        incident.causes.clear();
        let decision = plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(1));
        assert_eq!(decision.name(), answer, "{decision:?}");
    }
}

#[test]
fn decisions_are_told_in_words() {
    let given = hung();
    let text = describe(&decide(&given), &given.incident.incident());
    assert!(text.contains("EvictPod Pod/order-a (playbook hung-process version 0 step 1)"), "{text}");
    let mut waiting = hung();
    waiting.incident.kind = "Unreachable".into();
    let text = describe(&decide(&waiting), &waiting.incident.incident());
    assert!(text.contains("wait until 2027-"), "{text}");
}

/// Changes a good plan, and returns what the checker says about it.
fn objections(change: impl FnOnce(&mut Plan<Draft>, &mut Snapshot)) -> String {
    let (mut plan, mut snapshot) = drafted(&hung());
    change(&mut plan, &mut snapshot);
    match check(plan, &snapshot, now()) {
        Ok(_) => panic!("it was admitted"),
        Err(objections) => {
            assert_eq!(objections[0].severity, ObjectionSeverity::Blocking);
            describe_objections(&objections)
        }
    }
}

fn repod(snapshot: &mut Snapshot, change: impl FnOnce(&mut PodRecord)) {
    let key = ObjectKey::new("shop", "order-a");
    let mut pod = PodRecord::clone(snapshot.pods.get(&key).expect("there"));
    change(&mut pod);
    snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), now());
}

#[test]
fn the_checker_refuses_what_is_not_so_any_more_or_never_was() {
    let cases: Vec<(&str, String)> = vec![
        ("another one now", objections(|_, snapshot| repod(snapshot, |pod| pod.uid = Uid::new("new")))),
        ("being deleted", objections(|_, snapshot| repod(snapshot, |pod| pod.deleting = true))),
        ("does not belong", objections(|_, snapshot| repod(snapshot, |pod| pod.owner = None))),
        ("does not exist", objections(|plan, _| plan.steps[0].target.key.name = "nobody".into())),
        ("empty selects nothing", objections(|plan, _| plan.steps[0].target.uid = Uid::new(""))),
        ("only a pod", objections(|plan, _| plan.steps[0].target.kind = "Node".into())),
        ("lies outside", objections(|plan, _| plan.steps[0].target.key.namespace = "elsewhere".into())),
        ("not in a namespace", objections(|plan, _| plan.steps[0].target.key.namespace = "".into())),
        ("never touched", objections(|plan, _| plan.steps[0].target.key.namespace = "kube-system".into())),
        (
            "does not belong to tenant",
            objections(|_, snapshot| {
                let tenant = TenantPolicy { namespaces: ["elsewhere".into()].into(), ..common::tenant() };
                snapshot.tenants.insert_mut(tenant.name.clone(), Arc::new(tenant));
            }),
        ),
        ("does not exist", objections(|plan, _| plan.tenant = TenantName::new("nobody"))),
        ("not under control", objections(|plan, _| plan.workload.name = "nobody".into())),
        ("not what", objections(|plan, _| plan.steps[0].parameters = Parameters::RollingRestart)),
        ("old", objections(|plan, _| plan.steps[0].evidence.taken_at = ago(11.0))),
        ("future", objections(|plan, _| plan.steps[0].evidence.taken_at = ago(-2.0))),
        ("no evidence", objections(|plan, _| plan.steps[0].evidence.id = EvidenceId::new(""))),
        (
            "what counts as success",
            objections(|plan, _| {
                plan.steps[0].verification.expect = Expectation::Nothing;
            }),
        ),
        ("window", objections(|plan, _| plan.steps[0].verification.within = SignedDuration::ZERO)),
        ("window", objections(|plan, _| plan.steps[0].verification.within = SignedDuration::from_hours(2))),
        (
            "how it was before",
            objections(|plan, _| {
                plan.steps[0].undo = Undo::Restore;
                plan.steps[0].before = Before::default();
            }),
        ),
        (
            "1 to 1024",
            objections(|plan, _| {
                plan.steps[0].parameters = Parameters::Notify { message: String::new() };
            }),
        ),
        ("0 steps", objections(|plan, _| plan.steps.clear())),
        ("11 steps", objections(|plan, _| plan.steps = vec![plan.steps[0].clone(); 11])),
        ("two steps", objections(|plan, _| plan.steps.push(plan.steps[0].clone()))),
        ("not from this world", objections(|plan, _| plan.epoch += 1)),
        ("does not say why", objections(|plan, _| plan.explanation.clear())),
        (
            "nothing may be done",
            objections(|plan, snapshot| {
                let mut incident =
                    GivenIncident { state: "HandedOver".into(), ..GivenIncident::default() }.incident();
                incident.id = plan.incident.clone();
                snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
            }),
        ),
    ];
    for (hint, text) in cases {
        assert!(text.contains(hint), "expected {hint:?} in {text}");
    }
}

#[test]
fn the_checker_never_touches_our_own_namespace() {
    let (plan, snapshot) = drafted(&hung());
    let objections = Checker::new("shop").check(plan.clone(), &snapshot, now()).expect_err("ours");
    assert!(describe_objections(&objections).contains("never touched"));
    assert!(Checker::new("elsewhere").check(plan, &snapshot, now()).is_ok());
}

#[test]
fn remarks_join_the_explanation_of_an_admitted_plan() {
    let mut given = hung();
    given.pods[0].local_data = true;
    let (plan, snapshot) = drafted(&given);
    let admitted = check(plan, &snapshot, now()).expect("admitted");
    assert!(admitted.explanation.iter().any(|line| line.contains("data of its own")), "{admitted:?}");
}

#[test]
fn a_plan_stays_admissible_while_other_things_change() {
    let mut given = hung();
    let (plan, _) = drafted(&given);
    given.others.push(GivenOther { workload: "stock".into(), state: "Open".into() });
    let (mut later, _) = given.build();
    later.generation += 5;
    assert!(check(plan, &later, now()).is_ok());
}

#[test]
fn only_the_checker_admits_plans() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut folders: Vec<_> =
        ["operator", "playbooks", "models", "crds"].map(|name| format!("{root}/{name}").into()).to_vec();
    let mut callers: Vec<String> = Vec::new();
    while let Some(folder) = folders.pop() {
        let folder: std::path::PathBuf = folder;
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let text = path.display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if text.contains("/src/")
                // The simulator plays a planner with a fault; no product crate uses it.
                && !text.contains("/operator/sim/")
                && path.extension().is_some_and(|extension| extension == "rs")
                && std::fs::read_to_string(&path).is_ok_and(|text| text.contains(".admit()"))
            {
                callers.push(text);
            }
        }
    }
    assert!(
        matches!(callers.as_slice(), [only] if only.ends_with("operator/plan/src/check.rs")),
        "{callers:?}"
    );
}
