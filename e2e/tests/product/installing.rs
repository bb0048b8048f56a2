//! The chart: install, upgrade, a second install, uninstall and install again.

use std::time::{Duration, Instant};

use homeostat_crds::ConditionType;
use homeostat_crds::v1alpha1::action::ActionState;
use homeostat_crds::v1alpha1::{ControlPlane, Tenant};
use homeostat_e2e::demo::install::{self, NAMESPACE};
use homeostat_e2e::demo::platform::run;
use homeostat_e2e::faults::{Kind, Planned, Variant, inject};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::healing::{USER, healed};
use crate::seen::{self, Since};
use crate::stage::{RELEASE, SOON, Stage, until};

const SECOND: &str = "homeostat-two";
const SECOND_USER: &str = "system:serviceaccount:homeostat-two:second-homeostat";
/// Nothing of an uninstall may wait for anybody.
const REMOVED: Duration = Duration::from_mins(1);

/// A first install makes the settings; an upgrade leaves those alone that people changed, a kill switch above all.
pub async fn upgrade_changes_no_settings(stage: &Stage) {
    stage.installed().await;
    assert!(stage.homeostat().await.is_some(), "helm returned before Homeostat was ready");
    let made = stage.control_plane().await;
    assert!(!made.spec.kill_switch.engaged);
    let change = json!({"spec": {"warmUpSeconds": 7, "killSwitch": {"engaged": true, "reason": "upgrade"}}});
    stage.patch(&Api::<ControlPlane>::all(stage.client.clone()), "default", &change).await;
    let changed = stage.control_plane().await;

    stage
        .helm_upgrade(RELEASE, NAMESPACE, &["podAnnotations.round=two", "controlPlane.spec.warmUpSeconds=90"])
        .await;
    let kept = stage.control_plane().await;
    assert_eq!(kept.uid(), made.uid());
    assert_eq!(kept.spec, changed.spec, "the upgrade overwrote what people had set");
    stage.control_says(ConditionType::KillSwitchEngaged, true).await;
}

/// Two installs in two namespaces: one Lease, one leader; the other one writes nothing until it takes over.
pub async fn second_install(stage: &Stage) {
    stage.ready().await;
    let since = Since::now(stage).await;
    stage.helm_upgrade("second", SECOND, &["crds.enabled=false", "controlPlane.create=false"]).await;
    assert!(leader(stage).await.starts_with(&format!("{NAMESPACE}/")));
    // An install takes processor time; what it slows down is no part of this.
    stage.calm().await;
    let fault = Since::now(stage).await;
    let pod = stage.signal("accounting", Signal::SIGSTOP).await;
    healed(stage, &fault, "accounting", &pod).await;
    assert_eq!(since.audit().changes_by(SECOND_USER), Vec::<String>::new());
    assert_eq!(since.audit().leaders(), [USER]);

    // The first one leaves; only then the second one begins.
    let scale = ["scale", "--namespace", NAMESPACE, "deployment/homeostat"];
    stage.kubectl(&[&scale[..], &["--replicas=0"]].concat()).await;
    until("the second install leading", SOON, async || {
        leader(stage).await.starts_with(&format!("{SECOND}/")).then_some(())
    })
    .await;
    assert_eq!(since.audit().leaders(), [USER, SECOND_USER], "both led at once");
    stage.kubectl(&[&scale[..], &["--replicas=1"]].concat()).await;
    remove_second(stage).await;
    until("the first install leading again", SOON, async || {
        leader(stage).await.starts_with(&format!("{NAMESPACE}/")).then_some(())
    })
    .await;
    assert_eq!(since.audit().leaders(), [USER, SECOND_USER, USER], "both led at once");
}

/// Harmless when it is not there.
pub async fn remove_second(stage: &Stage) {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    if namespaces.get_opt(SECOND).await.unwrap().is_none() {
        return;
    }
    let mut helm = stage.platform.helm().unwrap();
    helm.args([
        "uninstall",
        "second",
        "--namespace",
        SECOND,
        "--ignore-not-found",
        "--wait",
        "--timeout",
        "60s",
    ]);
    run(helm, None).await.unwrap();
    stage.kubectl(&["delete", "namespace", SECOND, "--wait=false"]).await;
}

async fn leader(stage: &Stage) -> String {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), "kube-system");
    let lease = leases.get_opt("homeostat").await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

/// An upgrade goes on with the open incident. An uninstall leaves it and the definitions, waits for nobody, and the next
/// install goes on with it too.
pub async fn uninstall(stage: &Stage) {
    stage.ready().await;
    let tenants: Api<Tenant> = Api::all(stage.client.clone());
    stage.patch(&tenants, "food", &json!({"spec": {"automation": null}})).await;
    stage.patch(&stage.workloads(), "kitchen", &json!({"spec": {"playbooks": ["error-burst"]}})).await;
    let since = Since::now(stage).await.with_errors();
    let sick = stage.world().serving("kitchen").await.unwrap();
    let fault = Planned {
        kind: Kind::Errors,
        variant: Some(Variant::ProbesGood),
        service: "kitchen".to_owned(),
        pause: Duration::ZERO,
    };
    inject(stage.world(), &fault, &|_| {}).await.unwrap();
    let open = since.incident(stage, "kitchen", SOON).await;
    since.action(stage, ActionState::Proposed, SOON).await;

    let before = stage.homeostat().await.unwrap();
    stage.helm_upgrade(RELEASE, NAMESPACE, &["podAnnotations.round=three"]).await;
    // Helm returns once the new pod is ready; the old one, which is ready too, goes after that.
    until("the new pod without the old one", SOON, async || {
        stage.homeostat().await.is_some_and(|pod| pod.uid() != before.uid()).then_some(())
    })
    .await;
    stage.warm().await;
    let incident = since.only_incident(stage, "kitchen").await;
    assert!(
        incident.uid() == open.uid() && !seen::is_over(&incident),
        "the upgrade did not go on with the open incident"
    );

    let begun = Instant::now();
    install::uninstall(&stage.platform).await.unwrap();
    assert!(begun.elapsed() < REMOVED, "the uninstall took {:?}", begun.elapsed());
    let definitions = stage.kubectl(&["get", "crd", "--output=name"]).await;
    assert_eq!(
        definitions.lines().filter(|line| line.ends_with(".homeostat.dev")).count(),
        homeostat_crds::all().len(),
        "{definitions}"
    );
    let everything = "tenants,workloads,incidents,actions,controlplanes,reports,playbooks";
    let kept = stage.kubectl(&["get", everything, "--all-namespaces", "--output=json"]).await;
    let kept: Value = serde_json::from_str(&kept).unwrap();
    for object in kept["items"].as_array().unwrap() {
        assert!(object["metadata"]["finalizers"].is_null(), "{}", object["metadata"]);
    }
    let incident = since.only_incident(stage, "kitchen").await;
    assert!(incident.uid() == open.uid() && !seen::is_over(&incident));
    // An object can go although nobody is there to say goodbye to it.
    stage.workloads().delete("notification", &DeleteParams::default()).await.unwrap();
    assert!(stage.workloads().get_opt("notification").await.unwrap().is_none());

    stage.installed().await;
    stage.warm().await;
    let incident = since.only_incident(stage, "kitchen").await;
    assert!(
        incident.uid() == open.uid() && !seen::is_over(&incident),
        "the open incident was not taken over"
    );
    let automation = json!([{"actions": ["EvictPod", "RollingRestart"], "level": "ActBounded"}]);
    stage.patch(&tenants, "food", &json!({"spec": {"automation": automation}})).await;
    healed(stage, &since, "kitchen", &sick).await;
    assert_eq!(since.only_incident(stage, "kitchen").await.uid(), open.uid());
}
