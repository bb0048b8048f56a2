use super::*;
use crate::action::{ActionInstants, Before, EvidenceRef, Origin, Request, Target};
use crate::entity::{Name, TenantName};
use crate::guard::GuardResult;
use crate::ids::{EvidenceId, IncidentId};
use crate::plan::{Expectation, PlaybookRef, Undo, Verification};
use crate::policy::{ControlPolicy, WorkloadPolicy};
use crate::records::{ControllerKey, Drive, Hold};
use jiff::{SignedDuration, Timestamp};

const LATER: Timestamp = Timestamp::UNIX_EPOCH;

fn action(kind: &str, name: &str, parameters: Parameters, before: Before) -> ActionRecord {
    let (api_version, namespace) = match kind {
        "Deployment" | "StatefulSet" => ("apps/v1", "shop"),
        "Job" | "CronJob" => ("batch/v1", "shop"),
        "HorizontalPodAutoscaler" => ("autoscaling/v2", "shop"),
        "Rollout" => ("argoproj.io/v1alpha1", "shop"),
        "Node" => ("v1", ""),
        _ => ("v1", "shop"),
    };
    ActionRecord {
        id: ActionId::new("cart-1-2"),
        namespace: Name::from("shop"),
        resource_version: Name::from("7"),
        incident: IncidentId::new("cart-1"),
        origin: Origin::Incident,
        tenant: TenantName::new("store"),
        workload: ObjectKey::new("shop", "cart"),
        playbook: PlaybookRef { name: Name::from("p"), version: 1, step: 1 },
        target: Target {
            api_version: Name::from(api_version),
            kind: Name::from(kind),
            key: ObjectKey::new(namespace, name),
            uid: Uid::new(format!("uid-{name}")),
            resource_version: Name::from("7"),
        },
        parameters,
        before,
        epoch: 1,
        evidence: EvidenceRef { id: EvidenceId::new("e"), taken_at: LATER, summary: String::new() },
        verification: Verification { within: SignedDuration::from_secs(30), expect: Expectation::Nothing },
        undo: Undo::None,
        undo_of: None,
        request: Request::default(),
        state: ActionState::Sent,
        guards: Vec::new(),
        instants: ActionInstants::default(),
        outcome: None,
        approval: None,
        message: String::new(),
    }
}

fn stopped() -> Snapshot {
    let kill_switch = KillSwitch::Engaged { reason: Name::from("wrong restarts"), by: None };
    let mut snapshot = Snapshot::default();
    snapshot.control = Arc::new(ControlPolicy { kill_switch, ..ControlPolicy::default() });
    snapshot
}

fn with(mut snapshot: Snapshot, actions: impl IntoIterator<Item = ActionRecord>) -> Snapshot {
    for action in actions {
        snapshot.actions.insert_mut(action.id.clone(), Arc::new(action));
    }
    snapshot
}

fn controller(kind: ControllerKind, name: &str) -> ControllerRecord {
    let key = ControllerKey { kind, object: ObjectKey::new("shop", name) };
    ControllerRecord {
        resource_version: Name::from("7"),
        replicas: 2,
        current: 2,
        ready: 2,
        updated: 2,
        paused: true,
        template_labels: [(Name::from("app"), Name::from("cart"))].into(),
        ..ControllerRecord::bare(key, Uid::new(format!("uid-{name}")))
    }
}

fn hold() -> Hold {
    Hold { by: Name::from("cart-1-9"), until: Some(LATER) }
}

fn node(name: &str, hold: Option<Hold>) -> NodeRecord {
    NodeRecord {
        cordoned: true,
        allocatable_pods: 10,
        hold,
        ..NodeRecord::bare(Name::from(name), Uid::new(format!("uid-{name}")))
    }
}

/// People's own bounds are 2 to 10; driven to 6 to 12.
fn driven() -> (ControllerKey, Scaler) {
    let bounds = |min, max| Bounds { min, max };
    let scales = ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", "cart") };
    let record = AutoscalerRecord {
        key: ObjectKey::new("shop", "cart-hpa"),
        uid: Uid::new("uid-cart-hpa"),
        resource_version: Name::from("7"),
        scales: scales.clone(),
        bounds: bounds(6, 12),
        drive: Some(Drive { hold: hold(), before: bounds(2, 10), set: bounds(6, 12) }),
        keda: None,
        gitops_owner: None,
    };
    (scales, Scaler::Hpa(Box::new(record)))
}

/// The only line for this action.
fn line(action: ActionRecord) -> HalfDone {
    let mut all = half_done(&with(stopped(), [action]));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// CPU and memory, with these limits.
fn resize(cpu_limit_millis: Option<u64>, memory_limit_bytes: Option<u64>) -> Parameters {
    Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: Some(500),
        cpu_limit_millis,
        memory_bytes: Some(200),
        memory_limit_bytes,
    }
}

#[test]
fn each_kind_is_mended_by_the_command_that_brings_back_how_it_was() {
    let none = Before::default;
    let replicas = || Before { replicas: Some(3), ..none() };
    let sizes = || Before {
        cpu_millis: Some(250),
        cpu_limit_millis: Some(300),
        memory_bytes: Some(100),
        memory_limit_bytes: Some(150),
        ..none()
    };
    let revision = |text: &str| Before { revision: Some(Name::from(text)), ..none() };
    let until = LATER;
    let own = Bounds { min: 2, max: 10 };
    for (kind, name, parameters, before, command, mends) in [
        (
            "Deployment",
            "web",
            Parameters::ScaleUp { replicas: 6 },
            replicas(),
            "kubectl -n shop scale deployment/web --replicas=3",
            true,
        ),
        (
            "Rollout",
            "web",
            Parameters::ScaleDown { replicas: 2 },
            replicas(),
            "kubectl -n shop scale rollout.v1alpha1.argoproj.io/web --replicas=3",
            true,
        ),
        (
            "Deployment",
            "web",
            Parameters::ScaleUp { replicas: 6 },
            none(),
            "kubectl -n shop get deployment/web -o yaml",
            false,
        ),
        (
            "HorizontalPodAutoscaler",
            "web",
            Parameters::DriveBounds { bounds: Bounds { min: 6, max: 12 }, until },
            Before { bounds: Some(own), ..none() },
            "kubectl -n shop patch horizontalpodautoscaler/web --type=merge \
             -p '{\"spec\":{\"maxReplicas\":10,\"minReplicas\":2}}'",
            true,
        ),
        (
            "Pod",
            "web-x",
            Parameters::EvictPod { grace_seconds: None },
            none(),
            "kubectl -n shop get pods",
            false,
        ),
        (
            "Deployment",
            "web",
            Parameters::RollingRestart,
            none(),
            "kubectl -n shop rollout status deployment/web",
            false,
        ),
        (
            "Deployment",
            "web",
            Parameters::RollBack { revision: Name::from("web-6") },
            revision("7"),
            "kubectl -n shop rollout undo deployment/web --to-revision=7",
            true,
        ),
        (
            "StatefulSet",
            "db",
            Parameters::RollBack { revision: Name::from("db-6") },
            revision("db-7"),
            "kubectl -n shop rollout history statefulset/db",
            false,
        ),
        ("Node", "n-1", Parameters::Cordon { until }, none(), "kubectl uncordon n-1", true),
        (
            "Node",
            "n-1",
            Parameters::Cordon { until },
            Before { cordoned: Some(true), ..none() },
            "kubectl get node n-1",
            false,
        ),
        ("Node", "n-1", Parameters::Uncordon, none(), "kubectl uncordon n-1", true),
        (
            "CronJob",
            "night",
            Parameters::Suspend { until },
            none(),
            "kubectl -n shop patch cronjob/night --type=merge -p '{\"spec\":{\"suspend\":false}}'",
            true,
        ),
        (
            "CronJob",
            "night",
            Parameters::Suspend { until },
            Before { suspended: Some(true), ..none() },
            "kubectl -n shop get cronjob/night -o yaml",
            false,
        ),
        (
            "Job",
            "load",
            Parameters::Resume,
            none(),
            "kubectl -n shop patch job/load --type=merge -p '{\"spec\":{\"suspend\":false}}'",
            true,
        ),
        ("Job", "load", Parameters::RetryJob, none(), "kubectl -n shop get jobs", false),
        (
            "Job",
            "load",
            Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: None },
            none(),
            "kubectl -n shop get jobs",
            false,
        ),
        (
            "CronJob",
            "night",
            Parameters::CreateJob { slot: Timestamp::UNIX_EPOCH },
            none(),
            "kubectl -n shop delete job night-backlog-0 --ignore-not-found",
            true,
        ),
        (
            "Pod",
            "web-x",
            resize(Some(600), Some(300)),
            sizes(),
            "kubectl -n shop patch pod/web-x --subresource=resize -p '{\"spec\":{\"containers\":[{\"name\":\"app\",\
             \"resources\":{\"limits\":{\"cpu\":\"300m\",\"memory\":\"150\"},\
             \"requests\":{\"cpu\":\"250m\",\"memory\":\"100\"}}}]}}'",
            true,
        ),
        (
            "Pod",
            "web-x",
            resize(None, None),
            sizes(),
            "kubectl -n shop patch pod/web-x --subresource=resize -p '{\"spec\":{\"containers\":[{\"name\":\"app\",\
             \"resources\":{\"requests\":{\"cpu\":\"250m\",\"memory\":\"100\"}}}]}}'",
            true,
        ),
        (
            "CronJob",
            "night",
            resize(None, None),
            sizes(),
            "kubectl -n shop patch cronjob/night -p '{\"spec\":{\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":\
             {\"containers\":[{\"name\":\"app\",\"resources\":{\"limits\":{\"memory\":\"100\"},\"requests\":\
             {\"cpu\":\"250m\",\"memory\":\"100\"}}}]}}}}}}'",
            true,
        ),
        ("Pod", "web-x", resize(None, None), none(), "kubectl -n shop get pod/web-x -o yaml", false),
        (
            "Deployment",
            "web",
            Parameters::Notify { message: "look".to_owned() },
            none(),
            "kubectl -n shop get incident cart-1",
            false,
        ),
    ] {
        let found = line(action(kind, name, parameters, before));
        assert_eq!((found.command.as_str(), found.mends), (command, mends), "{found:?}");
        assert!(!(found.advice.starts_with("nothing to mend") && found.mends), "{found:?}");
    }
}

#[test]
fn only_what_may_have_changed_something_and_is_not_over_is_listed_and_only_while_stopped() {
    let evict = || action("Pod", "web-x", Parameters::EvictPod { grace_seconds: None }, Before::default());
    for (state, stands) in [
        (ActionState::Proposed, None),
        (ActionState::AwaitingApproval, None),
        (ActionState::Admitted, None),
        (ActionState::Refused, None),
        (ActionState::Claimed, Some(Stands::Claimed)),
        (ActionState::Sent, Some(Stands::Sent)),
        (ActionState::Verifying, Some(Stands::Verifying)),
        (ActionState::Verified, None),
        (ActionState::Undone, None),
        (ActionState::Failed, None),
        (ActionState::Cancelled, None),
        (ActionState::HandedOver, None),
    ] {
        let mut snapshot = with(stopped(), [ActionRecord { state, ..evict() }]);
        let found: Vec<Stands> = half_done(&snapshot).iter().map(|one| one.stands).collect();
        assert_eq!(found, Vec::from_iter(stands), "{state:?}");
        // Unreadable stops as well.
        snapshot.control = Arc::default();
        assert_eq!(half_done(&snapshot).len(), usize::from(stands.is_some()), "{state:?}");
        let off = ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() };
        snapshot.control = Arc::new(off);
        assert_eq!(half_done(&snapshot), Vec::new(), "{state:?}");
    }
}

#[test]
fn what_did_not_help_and_was_not_taken_back_because_of_the_switch_is_listed_by_the_original_alone() {
    let scale = || {
        let before = Before { replicas: Some(3), ..Before::default() };
        action("Deployment", "web", Parameters::ScaleUp { replicas: 6 }, before)
    };
    let undo = |state, guard| ActionRecord {
        id: ActionId::new("cart-1-2-undo"),
        undo_of: Some(ActionId::new("cart-1-2")),
        parameters: Parameters::ScaleDown { replicas: 3 },
        before: Before { replicas: Some(6), ..Before::default() },
        state,
        guards: vec![GuardReport {
            name: guard,
            result: GuardResult::Refused,
            observed: String::new(),
            limit: String::new(),
            message: String::new(),
        }],
        ..scale()
    };
    let failed = || ActionRecord { state: ActionState::Failed, ..scale() };
    let all = half_done(&with(stopped(), [failed(), undo(ActionState::Refused, GuardName::KillSwitch)]));
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].stands, all[0].action.as_str()), (Stands::NotTakenBack, "cart-1-2"));
    assert_eq!(all[0].command, "kubectl -n shop scale deployment/web --replicas=3");
    let other = half_done(&with(stopped(), [failed(), undo(ActionState::Refused, GuardName::FreshRead)]));
    assert_eq!(other, Vec::new(), "somebody changed it since: it is theirs");
    let under_way = ActionRecord { state: ActionState::Verifying, ..scale() };
    let all = half_done(&with(stopped(), [under_way, undo(ActionState::Sent, GuardName::KillSwitch)]));
    assert_eq!(all.len(), 1, "the undo would be mended by doing again what did not help: {all:?}");
    assert_eq!(all[0].command, "kubectl -n shop scale deployment/web --replicas=3");
}

#[test]
fn what_is_held_is_listed_with_its_release_and_once_beside_an_action_under_way() {
    let mut snapshot = stopped();
    for node in [node("n-1", Some(hold())), node("n-2", None)] {
        snapshot.nodes.insert_mut(node.name.clone(), Arc::new(node));
    }
    let (ours, theirs) =
        (controller(ControllerKind::CronJob, "night"), controller(ControllerKind::Job, "load"));
    for run in [ControllerRecord { hold: Some(hold()), ..ours }, theirs] {
        snapshot.controllers.insert_mut(run.key.clone(), Arc::new(run));
    }
    snapshot.scalers = Arc::new([driven()].into());
    let commands = |snapshot: &Snapshot| -> Vec<String> {
        half_done(snapshot).into_iter().map(|one| one.command).collect()
    };
    let own = "kubectl -n shop patch horizontalpodautoscaler/cart-hpa --type=merge \
               -p '{\"spec\":{\"maxReplicas\":10,\"minReplicas\":2}}'";
    let all = half_done(&snapshot);
    assert!(all.iter().all(|one| one.stands == Stands::Held && one.action == "cart-1-9"), "{all:?}");
    assert_eq!(
        commands(&snapshot),
        [
            "kubectl -n shop patch cronjob/night --type=merge -p '{\"spec\":{\"suspend\":false}}'",
            own,
            "kubectl uncordon n-1",
        ]
    );
    // Driven anew: the action found 4 to 8, which were ours already.
    let before = Before { bounds: Some(Bounds { min: 4, max: 8 }), ..Before::default() };
    let parameters = Parameters::DriveBounds { bounds: Bounds { min: 6, max: 12 }, until: LATER };
    let anew = action("HorizontalPodAutoscaler", "cart-hpa", parameters, before);
    let release = ActionRecord {
        id: ActionId::new("cart-1-3"),
        ..action("Node", "n-1", Parameters::Uncordon, Before::default())
    };
    let all = half_done(&with(snapshot, [anew, release]));
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all.iter().filter(|one| one.command == own && one.stands == Stands::Sent).count(), 1);
    assert_eq!(all.iter().filter(|one| one.command == "kubectl uncordon n-1").count(), 1);
}

#[test]
fn what_needs_mending_comes_first_and_pods_are_found_by_their_labels() {
    let mut snapshot = stopped();
    let web = controller(ControllerKind::Deployment, "cart");
    let policy = WorkloadPolicy::new(ObjectKey::new("shop", "cart"), Uid::new("w"), web.key.clone());
    snapshot.controllers.insert_mut(web.key.clone(), Arc::new(web));
    snapshot.workloads.insert_mut(policy.key.clone(), Arc::new(policy));
    let evict = action("Pod", "a-x", Parameters::EvictPod { grace_seconds: None }, Before::default());
    let cordon = ActionRecord {
        id: ActionId::new("cart-1-3"),
        ..action("Node", "z", Parameters::Cordon { until: LATER }, Before::default())
    };
    let all = half_done(&with(snapshot, [evict, cordon]));
    let commands: Vec<&str> = all.iter().map(|one| one.command.as_str()).collect();
    assert_eq!(commands, ["kubectl uncordon z", "kubectl -n shop get pods -l app=cart"]);
}

#[test]
fn nothing_in_a_name_is_run_by_a_shell() {
    for (name, quoted) in [
        ("web", "web"),
        ("a b", "'a b'"),
        ("$(reboot)", "'$(reboot)'"),
        ("x; rm -rf /", "'x; rm -rf /'"),
        ("it's", r"'it'\''s'"),
        ("-A", "'-A'"),
        ("", "''"),
    ] {
        assert_eq!(word(name), quoted);
    }
    let evil = Parameters::ResizePod {
        container: Name::from("a'; reboot; '"),
        cpu_millis: Some(1),
        cpu_limit_millis: None,
        memory_bytes: None,
        memory_limit_bytes: None,
    };
    let before = Before { cpu_millis: Some(2), ..Before::default() };
    let found = line(action("Pod", "web-x", evil, before));
    assert!(found.command.contains(r"a'\''; reboot; '\''"), "{}", found.command);
}
