//! What else scales the targets of workloads: `HorizontalPodAutoscaler`s, also those that KEDA made, its `ScaledObject`s
//! (a paused or new one has no autoscaler), and `VerticalPodAutoscaler`s that act. Asked for once a minute while a workload is scaled, and kept as it was when it cannot
//! be read: the effect asks again for those that set replicas. Where there are several of one target, all of them count.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use crate::autoscaler;
use crate::client::{call, label};
use crate::error::ClusterError;
use crate::release;
use homeostat_knowledge::forecast::{Scaler, Scalers};
use homeostat_knowledge::observation::{ObjectChange, Observation, Signal};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionKind, Clock, ControllerKind, Entity, Name, ObjectKey, Snapshot, SnapshotSource, Timestamp,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time between two questions for all of them.
const EVERY: Duration = Duration::from_mins(1);
/// It is looked so often whether bounds are being moved; that autoscaler alone is read then.
const LOOK: Duration = Duration::from_secs(2);
/// Of those that are about to be given back so many are looked at; under the kill switch they wait for long.
const MOST: usize = 20;
/// Autoscalers of one answer, and answers that are asked for.
const PAGE: u32 = 500;
const PAGES: usize = 40;

/// All objects of one list, page by page.
async fn all<K>(api: &Api<K>, what: &str) -> Result<Vec<K>, ClusterError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = label(what, &ObjectKey::new("", "all"));
    let (mut found, mut next) = (Vec::new(), None);
    for _ in 0..PAGES {
        let params = ListParams { limit: Some(PAGE), continue_token: next, ..ListParams::default() };
        let page = call("list", &name, api.list(&params)).await?;
        found.extend(page.items);
        next = page.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Autoscalers with what each of them scales, as they were listed; see [`Scaler::by_target`].
pub type Found = Vec<(ControllerKey, Scaler)>;

/// All horizontal autoscalers in these namespaces; empty means all namespaces.
///
/// # Errors
/// What the API server answered.
pub async fn horizontal(client: &Client, namespaces: &BTreeSet<String>) -> Result<Found, ClusterError> {
    let apis: Vec<Api<HorizontalPodAutoscaler>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let mut scalers = Found::new();
    for api in apis {
        let found = all(&api, "HorizontalPodAutoscaler").await?;
        scalers.extend(found.iter().filter_map(scaler));
    }
    Ok(scalers)
}

/// All vertical autoscalers that act in these namespaces; none when their definition is not served.
///
/// # Errors
/// What the API server answered.
pub async fn vertical(client: &Client, namespaces: &BTreeSet<String>) -> Result<Found, ClusterError> {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler"),
        "verticalpodautoscalers",
    );
    listed(client, namespaces, &kind, resizer).await
}

/// One vertical autoscaler; `None` when it only recommends. Without a mode it is `Auto`, and a mode that is not known here
/// acts too.
fn resizer(object: &DynamicObject) -> Option<(ControllerKey, Scaler)> {
    let spec = &object.data["spec"];
    if spec["updatePolicy"]["updateMode"] == "Off" {
        return None;
    }
    let key = ControllerKey {
        kind: ControllerKind::from_kind(spec["targetRef"]["kind"].as_str()?),
        object: ObjectKey::new(object.namespace()?, spec["targetRef"]["name"].as_str()?),
    };
    Some((key, Scaler::Vpa { name: Name::from(object.name_any()) }))
}

/// All `ScaledObject`s of KEDA in these namespaces, also those that are paused or have no autoscaler yet; none when their
/// definition is not served.
///
/// # Errors
/// What the API server answered.
pub async fn events(client: &Client, namespaces: &BTreeSet<String>) -> Result<Found, ClusterError> {
    let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
    let kind = ApiResource::from_gvk_with_plural(&kind, "scaledobjects");
    listed(client, namespaces, &kind, scaled).await
}

/// All objects of a definition that need not be served, as autoscalers.
async fn listed(
    client: &Client,
    namespaces: &BTreeSet<String>,
    kind: &ApiResource,
    read: fn(&DynamicObject) -> Option<(ControllerKey, Scaler)>,
) -> Result<Found, ClusterError> {
    let apis: Vec<Api<DynamicObject>> = if namespaces.is_empty() {
        vec![Api::all_with(client.clone(), kind)]
    } else {
        namespaces.iter().map(|space| Api::namespaced_with(client.clone(), space, kind)).collect()
    };
    let mut scalers = Found::new();
    for api in apis {
        match all(&api, &kind.kind).await {
            Ok(found) => scalers.extend(found.iter().filter_map(read)),
            Err(ClusterError::NotFound { .. }) => return Ok(Found::new()),
            Err(error) => return Err(error),
        }
    }
    Ok(scalers)
}

/// One `ScaledObject`; without a kind its target is a Deployment.
fn scaled(object: &DynamicObject) -> Option<(ControllerKey, Scaler)> {
    let target = &object.data["spec"]["scaleTargetRef"];
    let key = ControllerKey {
        kind: ControllerKind::from_kind(target["kind"].as_str().unwrap_or("Deployment")),
        object: ObjectKey::new(object.namespace()?, target["name"].as_str()?),
    };
    Some((key, Scaler::Keda { name: Name::from(object.name_any()) }))
}

fn scaler(object: &HorizontalPodAutoscaler) -> Option<(ControllerKey, Scaler)> {
    let record = autoscaler::record(object)?;
    let key = record.scales.clone();
    let scaler = match &record.keda {
        Some(name) => Scaler::Keda { name: name.clone() },
        None => Scaler::Hpa(Box::new(record)),
    };
    Some((key, scaler))
}

/// Autoscalers whose bounds are being moved, by an action or because they are about to be given back: how that went is
/// wanted at once. Until it is seen, people's own bounds would look like a change that somebody else made.
fn moved(snapshot: &Snapshot, known: &[(ControllerKey, Scaler)], now: Timestamp) -> BTreeSet<ObjectKey> {
    let actions = snapshot.actions.values();
    let moves = actions.filter(|action| action.kind() == ActionKind::DriveBounds && action.state.in_flight());
    let driven = known.iter().filter_map(|(_, scaler)| match scaler {
        Scaler::Hpa(found) if found.drive.is_some() => Some(&**found),
        _ => None,
    });
    let ends = driven.filter(|found| release::ends(found, now, snapshot)).take(MOST);
    moves.map(|action| action.target.key.clone()).chain(ends.map(|found| found.key.clone())).collect()
}

/// Puts what was read of one autoscaler in the place of what was known; one that is gone is forgotten.
fn replace(known: &mut Found, key: &ObjectKey, read: Option<(ControllerKey, Scaler)>) {
    known.retain(|(_, scaler)| !matches!(scaler, Scaler::Hpa(found) if found.key == *key));
    known.extend(read);
}

/// Asks until `stop`, and tells of every change. Each of the lists counts as it was while it cannot be read.
pub async fn run(
    client: Client,
    namespaces: BTreeSet<String>,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    out: watch::Sender<Arc<Scalers>>,
    objects: mpsc::Sender<Observation>,
    stop: CancellationToken,
) {
    let mut told = false;
    let (mut sideways, mut upwards, mut by_events) = (Found::new(), Found::new(), Found::new());
    let mut next = Instant::now();
    loop {
        let snapshot = snapshots.current();
        let scaled = snapshot.workloads.values().any(|workload| workload.permits.scaling.is_some());
        if scaled && Instant::now() >= next {
            next = Instant::now() + EVERY;
            let mut failed = None;
            for (known, read) in [
                (&mut sideways, horizontal(&client, &namespaces).await),
                (&mut upwards, vertical(&client, &namespaces).await),
                (&mut by_events, events(&client, &namespaces).await),
            ] {
                match read {
                    Ok(found) => *known = found,
                    Err(error) => failed = Some(error),
                }
            }
            match failed {
                None => told = false,
                // Without the rights nothing is scaled either; the roles of the actions grant all.
                Some(error) if !told => {
                    told = true;
                    tracing::info!(category = error.category().name(), %error, "Autoscalers are not known");
                }
                Some(_) => {}
            }
        } else {
            for key in moved(&snapshot, &sideways, clock.now()) {
                match autoscaler::read(&client, &key).await {
                    Ok(found) => replace(&mut sideways, &key, found.as_ref().and_then(scaler)),
                    Err(error) => tracing::debug!(%key, %error, "An autoscaler cannot be read now"),
                }
            }
        }
        drop(snapshot);
        let found = Scaler::by_target(sideways.iter().chain(&upwards).chain(&by_events).cloned());
        if **out.borrow() != found {
            let found = Arc::new(found);
            out.send_replace(Arc::clone(&found));
            if objects.send(told_of(found, clock.as_ref())).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn told_of(scalers: Arc<Scalers>, clock: &dyn Clock) -> Observation {
    let now = clock.now();
    Observation {
        tenant: None,
        entity: Entity::Cluster,
        event_time: now,
        arrival_time: now,
        signal: Signal::Object(ObjectChange::Scalers(scalers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectKind};
    use homeostat_knowledge::policy::{Bounds, ScalingMode, ScalingPolicy, WhenOwned};
    use homeostat_knowledge::records::{AutoscalerRecord, Drive, Hold};
    use homeostat_knowledge::{Uid, WorkloadPolicy};
    use serde_json::json;

    #[test]
    fn an_autoscaler_is_found_by_what_it_scales_and_one_of_keda_is_told_apart() {
        let object = |labels| {
            serde_json::from_value(json!({
                "metadata": { "name": "web", "namespace": "shop", "labels": labels },
                "spec": { "maxReplicas": 9,
                          "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web-app" } },
            }))
            .unwrap()
        };
        let (key, found) = scaler(&object(json!({}))).unwrap();
        assert_eq!((key.kind, &*key.object.name), (ControllerKind::Deployment, "web-app"));
        let Scaler::Hpa(found) = found else { panic!("{found:?}") };
        assert_eq!((found.bounds.min, found.bounds.max, &*found.key.name), (1, 9, "web"));
        let (_, found) = scaler(&object(json!({ autoscaler::KEDA: "queue" }))).unwrap();
        assert_eq!(found, Scaler::Keda { name: "queue".into() });
    }

    /// An autoscaler of Deployment `web`, as we drive it for Workload `web` until this second, if we do.
    fn driven(name: &str, until: Option<i64>) -> AutoscalerRecord {
        let object = serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop" },
            "spec": { "minReplicas": 6, "maxReplicas": 9,
                      "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } },
        }))
        .unwrap();
        let own = Bounds { min: 2, max: 9 };
        let hold = |until| Hold { by: Name::from("shop.web-1"), until: Timestamp::from_second(until).ok() };
        let found = autoscaler::record(&object).unwrap();
        let drive = until.map(|until| Drive { hold: hold(until), before: own, set: found.bounds });
        AutoscalerRecord { drive, ..found }
    }

    fn one(found: AutoscalerRecord) -> (ControllerKey, Scaler) {
        (found.scales.clone(), Scaler::Hpa(Box::new(found)))
    }

    /// All is known, and Workload `web` asks for bounds to be moved.
    fn asking() -> Snapshot {
        let mut snapshot = Snapshot::default();
        let key = ObjectKey::new("shop", "web");
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
        let mut workload = WorkloadPolicy::new(key, Uid::new("w"), target);
        workload.permits.scaling = Some(ScalingPolicy {
            mode: ScalingMode::Auto,
            when_owned: WhenOwned::DriveBounds,
            ..ScalingPolicy::default()
        });
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), Timestamp::UNIX_EPOCH);
        for kind in ObjectKind::REQUIRED {
            snapshot.commit(&ObjectChange::Synced(kind), Timestamp::UNIX_EPOCH);
        }
        snapshot
    }

    #[test]
    fn bounds_that_are_about_to_be_given_back_are_looked_at_until_they_were() {
        let (now, mut snapshot) = (Timestamp::from_second(1_000).unwrap(), asking());
        let looks = |snapshot: &Snapshot, known: &Found| !moved(snapshot, known, now).is_empty();
        assert!(!looks(&snapshot, &vec![one(driven("web", Some(1_001)))]), "held and asked for");
        let mut known = vec![one(driven("web", Some(1_000)))];
        assert!(looks(&snapshot, &known), "its time is over");
        replace(&mut known, &ObjectKey::new("shop", "web"), Some(one(driven("web", None))));
        assert!(known.len() == 1 && !looks(&snapshot, &known), "people have theirs back");
        known = vec![one(driven("web", Some(2_000)))];
        snapshot.scalers =
            Arc::new(Scaler::by_target(known.iter().cloned().chain([one(driven("other", None))])));
        assert!(looks(&snapshot, &known), "another one sizes it as well");
        let mut nobody = asking();
        nobody.workloads = Snapshot::default().workloads;
        assert!(looks(&nobody, &known), "no Workload asks for it");
        replace(&mut known, &ObjectKey::new("shop", "web"), None);
        assert!(known.is_empty(), "it was deleted");
    }

    #[test]
    fn a_vertical_autoscaler_counts_when_it_changes_pods_by_itself() {
        let object = |update: serde_json::Value| {
            let found: DynamicObject = serde_json::from_value(json!({
                "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler",
                "metadata": { "name": "fit", "namespace": "shop" },
                "spec": { "targetRef": { "apiVersion": "batch/v1", "kind": "CronJob", "name": "plan" },
                          "updatePolicy": update },
            }))
            .unwrap();
            resizer(&found)
        };
        let key = ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new("shop", "plan") };
        let owned = Some((key, Scaler::Vpa { name: "fit".into() }));
        for mode in ["Auto", "Recreate", "Initial", "InPlaceOrRecreate"] {
            assert_eq!(object(json!({ "updateMode": mode })), owned, "{mode}");
        }
        assert_eq!(object(json!(null)), owned, "without a mode it is Auto");
        assert_eq!(object(json!({ "updateMode": "Off" })), None, "it only recommends");
    }
}
