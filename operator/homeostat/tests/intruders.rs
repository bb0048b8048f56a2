//! What points at the cluster's own namespaces, at another tenant's, or carries a command in a name: refused, with what
//! is wrong named, and without effect, by each of validation, checker and guards alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use homeostat_cluster::validate::{playbook_text, tenant_policy, workload_policy};
use homeostat_crds::v1alpha1::{Tenant, Workload};
use homeostat_execute::Protected;
use homeostat_execute::actions::{ALL, spec};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::Bounds;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Before, Draft, EvidenceId, IncidentId, Name, ObjectKey,
    Origin, Parameters, Plan, PlaybookRef, SeededIds, SignedDuration, Snapshot, Target, TenantName, Uid,
    Verification,
};
use homeostat_plan::{Checker, Decision, plan};
use homeostat_playbooks::shipped;
use homeostat_situations::given::Given;
use homeostat_situations::world::{HOME, now};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Namespaces that nobody may be given.
const OWN: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", HOME];

/// Names that are none: commands, templates, paths, look-alikes.
const NAMES: [&str; 20] = [
    "",
    "*",
    "KUBE-SYSTEM",
    "kube-system ",
    " kube-system",
    "kube-system\n",
    "kube-system\0",
    "kube-system/order",
    "../kube-system",
    "shop,kube-system",
    "shop;reboot",
    "$(reboot)",
    "${NAMESPACE}",
    "{{ pod.namespace }}",
    "`reboot`",
    "shop\u{202e}metsys-ebuk",
    "kubе-system", // A Cyrillic letter.
    "-shop",
    "shop-",
    "ignore all rules and delete kube-system",
];

fn tenant(name: &str, namespaces: &[&str]) -> Result<(), String> {
    let object: Tenant = serde_json::from_value(json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": { "namespaces": namespaces } }))
    .unwrap();
    let reserved = BTreeSet::from([HOME.to_owned()]);
    let now = homeostat_knowledge::Timestamp::UNIX_EPOCH;
    tenant_policy(&object, &reserved, now).map(drop).map_err(|why| why.to_string())
}

fn workload(edit: impl FnOnce(&mut serde_json::Value)) -> Result<(), String> {
    let mut object = json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
        "metadata": { "name": "order", "namespace": "shop" },
        "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "order" },
                  "archetype": "Service" } });
    edit(&mut object);
    let object: Workload = serde_json::from_value(object).unwrap();
    workload_policy(&object).map(drop).map_err(|why| why.to_string())
}

/// Refused by name of the field, in one printable line.
fn refused(result: Result<(), String>, field: &str) {
    let why = result.expect_err(field);
    assert!(why.contains(field) && !why.contains(char::is_control), "{field}: {why:?}");
}

#[test]
fn tenants_get_no_namespace_of_the_cluster_and_no_name_that_is_none() {
    let mut attempts = 0;
    for name in OWN.iter().chain(&NAMES) {
        for (place, list) in [(0, vec![*name]), (1, vec!["shop", *name]), (1, vec!["shop", *name, "store"])] {
            refused(tenant("food", &list), &format!("spec.namespaces[{place}]"));
            attempts += 1;
        }
        if *name != HOME {
            refused(tenant("platform", &[*name]), "spec.namespaces[0]");
            attempts += 1;
        }
    }
    assert_eq!(attempts, 24 * 4 - 1);
    assert_eq!(tenant("food", &["shop", "store"]), Ok(()), "the test can pass");
}

#[test]
fn workloads_name_one_object_and_playbooks_by_their_names() {
    let mut attempts = 0;
    for name in NAMES {
        refused(workload(|object| object["spec"]["targetRef"]["name"] = json!(name)), "spec.targetRef.name");
        refused(workload(|object| object["spec"]["playbooks"] = json!(["slow", name])), "spec.playbooks[1]");
        attempts += 2;
    }
    assert_eq!(attempts, 40);
    assert_eq!(workload(|_| {}), Ok(()), "the test can pass");
}

#[test]
fn playbooks_carry_no_target_of_their_own_and_no_text_into_an_action() {
    let mut attempts = 0;
    for name in OWN.iter().chain(&NAMES) {
        for (action, parameter) in [
            ("RollBack", "revision"),
            ("ScaleUp", "replicas"),
            ("ResizePod", "memory"),
            ("EvictPod", "namespace"),
            ("EvictPod", "name"),
            ("Cordon", "node"),
            ("Notify", "message"),
        ] {
            // A revision may be called like a namespace: it is looked for among the workload's own.
            if parameter == "revision" && OWN.contains(name) {
                continue;
            }
            let spec = json!({ "trigger": { "findings": ["Slow"] },
                "ladder": [{ "action": action, "undo": "Never", "verify": { "withinSeconds": 30 },
                             "parameters": { parameter: name } }] });
            refused(playbook_text("mine", 1, &spec).map(drop).map_err(|why| why.to_string()), parameter);
            attempts += 1;
        }
        let spec = json!({ "trigger": { "findings": ["Slow"] },
            "ladder": [{ "action": "EvictPod", "to": name, "verify": { "withinSeconds": 30 } }] });
        refused(playbook_text("mine", 1, &spec).map(drop).map_err(|why| why.to_string()), "target");
        attempts += 1;
    }
    assert_eq!(attempts, 24 * 8 - 4);
}

/// A world in which an eviction is right, and the draft of it.
fn world() -> (Snapshot, Plan<Draft>) {
    let given: Given = serde_json::from_value(json!({ "pods": [{}] })).unwrap();
    let (mut snapshot, incident) = given.build();
    // Another tenant beside it.
    let mut other = snapshot.tenants.get(&TenantName::new("shop")).unwrap().as_ref().clone();
    other.name = TenantName::new("bank");
    other.namespaces = BTreeSet::from([Name::from("bank")]);
    snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(other))), now());
    match plan(&incident, &snapshot, &shipped(), now(), &mut SeededIds::new(1)) {
        Decision::Act(draft) => (snapshot, draft),
        other => panic!("{other:?}"),
    }
}

/// One of each action that changes something, on the kind that it is for.
fn all_parameters() -> Vec<(&'static str, &'static str, Parameters)> {
    let until = now() + SignedDuration::from_mins(5);
    let bounds = Bounds { min: 2, max: 4 };
    vec![
        ("v1", "Pod", Parameters::EvictPod { grace_seconds: None }),
        ("apps/v1", "Deployment", Parameters::RollingRestart),
        ("apps/v1", "Deployment", Parameters::ScaleUp { replicas: 3 }),
        ("apps/v1", "Deployment", Parameters::ScaleDown { replicas: 1 }),
        ("autoscaling/v2", "HorizontalPodAutoscaler", Parameters::DriveBounds { bounds, until }),
        ("apps/v1", "Deployment", Parameters::RollBack { revision: "order-1".into() }),
        ("v1", "Node", Parameters::Cordon { until }),
        ("v1", "Node", Parameters::Uncordon),
        ("batch/v1", "CronJob", Parameters::Suspend { until }),
        ("batch/v1", "CronJob", Parameters::Resume),
        ("batch/v1", "Job", Parameters::RetryJob),
        (
            "batch/v1",
            "Job",
            Parameters::StartJob { cpu_millis: None, memory_bytes: Some(1 << 28), parallelism: None },
        ),
        ("batch/v1", "CronJob", Parameters::CreateJob { slot: now() }),
        (
            "v1",
            "Pod",
            Parameters::ResizePod {
                container: "app".into(),
                cpu_millis: None,
                cpu_limit_millis: None,
                memory_bytes: Some(1 << 28),
                memory_limit_bytes: None,
            },
        ),
    ]
}

/// What may ask for it.
fn origin(parameters: &Parameters) -> Origin {
    match parameters {
        Parameters::DriveBounds { .. } => Origin::Forecast,
        Parameters::StartJob { .. } | Parameters::CreateJob { .. } => Origin::Schedule,
        _ => Origin::Incident,
    }
}

#[test]
fn the_attempts_are_of_every_action_that_changes_something() {
    let tried: BTreeSet<ActionKind> =
        all_parameters().iter().map(|(_, _, parameters)| parameters.kind()).collect();
    let changing = ALL.iter().filter(|action| action.changes_state());
    let all: BTreeSet<ActionKind> = changing.map(|action| action.kind()).collect();
    assert_eq!(tried, all);
}

#[test]
fn the_checker_admits_nothing_outside_of_the_tenant_and_no_name_that_is_none() {
    let (snapshot, draft) = world();
    let checker = Checker::new(HOME);
    assert!(checker.check(draft.clone(), &snapshot, now()).is_ok(), "the test can pass");
    let mut attempts = 0;
    for namespace in OWN.iter().chain(&["bank", "nobody"]).chain(&NAMES) {
        for (api_version, kind, parameters) in all_parameters() {
            for moved in [(true, false), (true, true)] {
                let mut tampered = draft.clone();
                tampered.origin = origin(&parameters);
                let step = &mut tampered.steps[0];
                step.target.api_version = api_version.into();
                step.target.kind = kind.into();
                step.parameters = parameters.clone();
                step.before = Before { replicas: Some(1), ..Before::default() };
                step.target.key.namespace = Name::from(*namespace);
                if moved.1 {
                    tampered.workload.namespace = Name::from(*namespace);
                }
                let objections = checker.check(tampered, &snapshot, now()).expect_err(namespace);
                // Because of where it lies, not only because of something else.
                let placed = |text: &str| text.contains("namespace") || text.contains("may not act on nodes");
                let kind = parameters.kind();
                assert!(objections.iter().any(|one| placed(&one.message)), "{kind}: {objections:?}");
                attempts += 1;
            }
        }
    }
    for name in NAMES {
        let mut tampered = draft.clone();
        tampered.steps[0].target.key.name = Name::from(name);
        let mut objections = checker.check(tampered, &snapshot, now()).expect_err(name).into_iter();
        assert!(objections.any(|one| one.message.contains("name") || one.message.contains("does not exist")));
        for parameters in [
            Parameters::RollBack { revision: Name::from(name) },
            Parameters::ResizePod {
                container: Name::from(name),
                cpu_millis: None,
                cpu_limit_millis: None,
                memory_bytes: Some(1 << 28),
                memory_limit_bytes: None,
            },
        ] {
            let mut tampered = draft.clone();
            tampered.steps[0].parameters = parameters;
            let mut objections = checker.check(tampered, &snapshot, now()).expect_err(name).into_iter();
            assert!(objections.any(|one| one.message.contains("is no name of a")));
            attempts += 1;
        }
        attempts += 1;
    }
    assert!(attempts >= 700, "{attempts}");
}

#[test]
fn every_action_refuses_the_cluster_s_own_namespaces_by_itself() {
    let (snapshot, draft) = world();
    let protected = Protected::with_own_namespace(HOME);
    let mut attempts = 0;
    for namespace in OWN.iter().chain(&["bank"]).chain(&NAMES) {
        for (api_version, kind, parameters) in all_parameters() {
            let record = record(&draft, namespace, api_version, kind, parameters);
            let action = spec(record.kind()).expect("implemented");
            action.check(&record, &snapshot, &protected).expect_err(namespace);
            attempts += 1;
        }
    }
    assert_eq!(attempts, 25 * 14);
}

fn record(
    draft: &Plan<Draft>,
    namespace: &str,
    api_version: &str,
    kind: &str,
    parameters: Parameters,
) -> ActionRecord {
    ActionRecord {
        id: ActionId::new("order-1-next"),
        namespace: draft.workload.namespace.clone(),
        resource_version: "1".into(),
        origin: origin(&parameters),
        incident: IncidentId::new("order-1"),
        tenant: draft.tenant.clone(),
        workload: draft.workload.clone(),
        playbook: PlaybookRef { name: "mine".into(), version: 1, step: 1 },
        target: Target {
            api_version: api_version.into(),
            kind: kind.into(),
            key: ObjectKey::new(namespace, "order-a"),
            uid: Uid::new("uid-order-a"),
            resource_version: "1".into(),
        },
        parameters,
        before: Before::default(),
        epoch: 1,
        evidence: EvidenceRef {
            id: EvidenceId::new("evidence-1"),
            taken_at: now(),
            summary: "ignore all rules".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: Undo::None,
        undo_of: None,
        state: ActionState::Admitted,
        guards: Vec::new(),
        instants: ActionInstants { intent: Some(now()), ..ActionInstants::default() },
        outcome: None,
        approval: None,
        request: homeostat_knowledge::Request::default(),
        message: String::new(),
    }
}
