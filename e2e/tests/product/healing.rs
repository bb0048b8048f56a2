//! Faults under the demo's settings: what is done, and what is not.

use std::time::Duration;

use homeostat_crds::v1alpha1::Incident;
use homeostat_crds::v1alpha1::action::ActionState;
use homeostat_crds::{ActionKind, MicroTime};
use homeostat_e2e::truth::PodView;
use kube::ResourceExt;
use nix::sys::signal::Signal;

use crate::seen::{self, Since};
use crate::stage::{SOON, Stage};

/// The user that Homeostat is for the API server.
pub const USER: &str = "system:serviceaccount:homeostat-system:homeostat";

/// A killed process is restarted by the kubelet: one incident, no eviction, and after a quiet minute it is over.
pub async fn crash(stage: &Stage) {
    stage.ready().await;
    let since = Since::now(stage).await;
    stage.signal("consumer", Signal::SIGKILL).await;
    let incident = since.resolved(stage, "consumer", Duration::from_secs(90)).await;
    assert_five_instants(&incident);
    assert_eq!(since.evictions(), []);
    for action in since.effects(stage).await {
        assert_ne!(action.spec.action, ActionKind::EvictPod, "{}", action.name_any());
    }
}

/// A stopped process is replaced by one eviction that passed every guard, and the effect is verified.
pub async fn hang(stage: &Stage) {
    stage.ready().await;
    let since = Since::now(stage).await;
    let pod = stage.signal("kitchen", Signal::SIGSTOP).await;
    healed(stage, &since, "kitchen", &pod).await;
}

/// Waits until the hung pod was evicted once, by one verified action of one incident, which is over.
pub async fn healed(stage: &Stage, since: &Since, service: &str, pod: &PodView) {
    since.action(stage, ActionState::Verified, SOON).await;
    let incident = since.resolved(stage, service, SOON).await;
    assert_five_instants(&incident);
    let effects = since.effects(stage).await;
    let told: Vec<_> =
        effects.iter().map(|one| (one.name_any(), one.spec.action, seen::state(one))).collect();
    assert_eq!(effects.len(), 1, "{told:?}");
    let action = &effects[0];
    assert_eq!(action.spec.action, ActionKind::EvictPod);
    assert_eq!((action.spec.target.name.as_str(), action.spec.target.uid.as_str()), (&*pod.name, &*pod.uid));
    assert_eq!(action.spec.serves(), incident.name_any());
    assert!(incident.status.as_ref().unwrap().actions.contains(&action.name_any()));
    assert!(action.status.as_ref().unwrap().outcome.as_ref().is_some_and(|outcome| outcome.helped));
    seen::assert_all_guards_passed(action);
    let evictions = since.evictions();
    assert_eq!(evictions.len(), 1, "{evictions:?}");
    assert_eq!((&*evictions[0].by, &*evictions[0].uid), (USER, &*pod.uid));
}

fn assert_five_instants(incident: &Incident) {
    let instants = incident.status.as_ref().and_then(|status| status.instants.clone()).unwrap();
    let in_order = [instants.impact_start, instants.detected, instants.mitigated, instants.resolved];
    let times: Vec<_> = in_order.iter().map(|at| at.map(MicroTime::timestamp)).collect();
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{instants:?}");
}
