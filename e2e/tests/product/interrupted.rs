//! Homeostat or the API server go away at the wrong moment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use homeostat_crds::{ActionKind, ConditionType};
use homeostat_e2e::cluster::control::Request;
use homeostat_e2e::truth::At;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nix::sys::signal::Signal;

use crate::healing::healed;
use crate::seen::{self, Since};
use crate::stage::{SOON, Stage, until};

/// How long the API server is away; longer than a leader keeps its Lease.
const AWAY: Duration = Duration::from_mins(1);
/// How long a process hangs meanwhile; its liveness probe would have it restarted after 15 s.
const HUNG: Duration = Duration::from_secs(8);

/// Killed right after it stored an action, Homeostat takes it up again: not twice, and not forgotten.
pub async fn killed_homeostat(stage: &Stage) {
    stage.ready().await;
    let pod = stage.homeostat().await.unwrap();
    let process = stage.cluster().pid_of_container(&pod.uid().unwrap(), "homeostat").await.unwrap();
    let since = Since::now(stage).await;
    let observer = &stage.world().observer;
    let known = observer.lock().actions.len();
    let sick = stage.signal("order", Signal::SIGSTOP).await;
    let end = Instant::now() + SOON;
    while observer.lock().actions.len() == known {
        assert!(Instant::now() < end, "no action within {} s", SOON.as_secs());
        observer.changed(Duration::from_millis(50)).await;
    }
    stage.cluster().kill(process, Signal::SIGKILL).unwrap();
    stage.live.say("killed    homeostat");

    // The Lease of the killed one must run out first.
    until("the end of every action", Duration::from_secs(90), async || {
        let all = since.actions(stage).await;
        let over = !all.is_empty() && all.iter().all(seen::has_ended);
        (over && restarts(&stage.homeostat().await?) > restarts(&pod)).then_some(())
    })
    .await;
    since.resolved(stage, "order", SOON).await;
    let evictions = since.evictions();
    let targets: BTreeSet<&str> = evictions.iter().map(|eviction| eviction.uid.as_str()).collect();
    assert!(targets.iter().all(|uid| *uid == sick.uid), "{evictions:?}");
    assert!(evictions.len() <= 1, "repeated: {evictions:?}");
    // When it was killed before the effect, the kubelet came first: a crash, with its rollout in a quiet minute.
    let mut effects = since.effects(stage).await;
    effects.retain(|action| action.spec.action == ActionKind::EvictPod);
    let told: Vec<_> = effects.iter().map(|one| (one.name_any(), seen::state(one))).collect();
    assert_eq!(effects.len(), evictions.len(), "the ledger says {told:?}");
}

/// Without the API server nothing is done, nothing that was seen meanwhile is acted on later, and all goes on after it.
pub async fn api_server_away(stage: &Stage) {
    stage.ready().await;
    let before = stage.homeostat().await.unwrap();
    let since = Since::now(stage).await;
    let pod = stage.world().serving("consumer").await.unwrap();
    let process = stage.cluster().pid_of_container(&pod.uid, &pod.container).await.unwrap();
    let control = stage.cluster().control();
    control.ask(&Request::Stop("kube-apiserver".into())).unwrap();
    let stopped = tokio::time::Instant::now();
    stage.live.say("stopped   the API server");
    stage.cluster().kill(process, Signal::SIGSTOP).unwrap();
    tokio::time::sleep_until(stopped + HUNG).await;
    stage.cluster().kill(process, Signal::SIGCONT).unwrap();
    tokio::time::sleep_until(stopped + AWAY).await;
    control.ask(&Request::Resume("kube-apiserver".into())).unwrap();
    until("the API server", SOON, async || stage.client.apiserver_version().await.ok()).await;
    let resumed = At::now();
    stage.live.say("resumed   the API server");

    until("a leader", SOON, async || (!since.audit().leaders().is_empty()).then_some(())).await;
    stage.control_says(ConditionType::KubernetesAvailable, true).await;
    stage.warm().await;
    // The cluster's own controllers and the kubelet need their time too, to see what they missed.
    stage.fresh(&["notification"]).await;
    stage.calm().await;
    for action in since.effects(stage).await {
        let taken = At::from_timestamp(action.spec.evidence.taken_at.timestamp());
        assert!(taken > resumed, "{} stands on what was seen before", action.name_any());
    }
    assert!(since.evictions().iter().all(|eviction| eviction.uid != pod.uid), "{} was evicted", pod.name);
    let after = stage.homeostat().await.unwrap();
    assert_eq!((after.uid(), restarts(&after)), (before.uid(), restarts(&before)), "Homeostat was restarted");

    // And a new fault is healed as ever.
    let since = Since::now(stage).await;
    let pod = stage.signal("kitchen", Signal::SIGSTOP).await;
    healed(stage, &since, "kitchen", &pod).await;
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.and_then(|all| all.first()).map_or(0, |one| one.restart_count)
}
