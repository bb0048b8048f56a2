//! What Homeostat holds (cordoned nodes, suspended runs, bounds of autoscalers) is let go: each when its time is over,
//! bounds also when no Workload asks for them any more, all when Homeostat is removed. Found by label, recognised by our
//! own mark, released under the version that was read. No finalizer: an uninstall never waits for it.

use crate::audit_id::heard;
use crate::autoscaler;
use crate::client::{FIELD_MANAGER, call, label};
use crate::elector::Leadership;
use crate::error::ClusterError;
use crate::ledger::{ApiActuator, release, unmarked};
use homeostat_crds::common::{ANNOTATION_HELD_BY, ANNOTATION_HELD_UNTIL, LABEL_HELD};
use homeostat_execute::ports::{Actuator, Recorder};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::records::{AutoscalerRecord, ControllerKey, Drive, Release};
use homeostat_knowledge::{Clock, Name, ObjectKey, Snapshot, SnapshotSource, Timestamp, Uid, WorkloadPolicy};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between two rounds: how much longer than asked a state may be held.
const EVERY: Duration = Duration::from_mins(1);

/// What is let go.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// What is held longer than it was to be, and bounds that no Workload of the snapshot asks for. A mark that cannot be
    /// read counts as over.
    Over(Timestamp, &'a Snapshot),
    /// Everything that carries our mark.
    All,
}

impl Which<'_> {
    fn takes(self, meta: &ObjectMeta) -> bool {
        let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
        if annotation(ANNOTATION_HELD_BY).is_none() {
            return false; // The label alone is not our mark.
        }
        match self {
            Self::All => true,
            Self::Over(now, _) => annotation(ANNOTATION_HELD_UNTIL)
                .and_then(|text| text.parse::<Timestamp>().ok())
                .is_none_or(|until| until <= now),
        }
    }

    /// Somebody still wants the bounds of what sizes this.
    fn asked(self, scales: &ControllerKey) -> bool {
        match self {
            Self::All => false,
            Self::Over(_, snapshot) => asked(scales, snapshot),
        }
    }
}

/// A Workload asks for the bounds of what sizes this, and nothing else sizes it as well. As long as not all Workloads are
/// known, one may.
fn asked(scales: &ControllerKey, snapshot: &Snapshot) -> bool {
    let asks = |workload: &&Arc<WorkloadPolicy>| workload.target == *scales && workload.drives_bounds();
    !snapshot.ready()
        || snapshot
            .workloads
            .values()
            .find(asks)
            .is_some_and(|workload| snapshot.rival_scalers(workload).is_none())
}

/// Bounds that we drive are about to be given back: their time is over, or nobody asks for them any more.
pub(crate) fn ends(found: &AutoscalerRecord, now: Timestamp, snapshot: &Snapshot) -> bool {
    let over = |drive: &Drive| drive.hold.until.is_none_or(|until| until <= now);
    found.drive.as_ref().is_some_and(over) || (found.drive.is_some() && !asked(&found.scales, snapshot))
}

/// Something that is held stays held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of what Homeostat holds could not be released: {}{}; `kubectl get nodes,jobs,cronjobs,hpa -A -l homeostat.dev/held` shows what is left", errors.len(), told(errors), more(errors))]
pub struct NotReleased {
    /// What was released all the same.
    pub released: Vec<Release>,
    /// What the API server answered, for each object, or for each kind that it does not list.
    pub errors: Vec<ClusterError>,
}

/// Errors that are told one by one.
const TOLD: usize = 10;

fn told(errors: &[ClusterError]) -> String {
    errors.iter().take(TOLD).map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn more(errors: &[ClusterError]) -> String {
    match errors.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    }
}

/// What came of it so far. One that is refused keeps no other one held.
struct Round<F> {
    /// Asked before each release.
    may_go_on: F,
    /// It may not any more.
    stopped: bool,
    released: Vec<Release>,
    errors: Vec<ClusterError>,
}

impl<F, Fut> Round<F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    async fn let_go<T>(
        &mut self,
        object: Name,
        meta: &ObjectMeta,
        request: impl Future<Output = kube::Result<T>>,
    ) {
        self.stopped = self.stopped || !(self.may_go_on)().await;
        if self.stopped {
            return;
        }
        let (answer, audit_id) = heard(call("release", &object, request)).await;
        let by = meta.annotations.as_ref().and_then(|all| all.get(ANNOTATION_HELD_BY));
        let by = Name::from(by.map(String::as_str).unwrap_or_default());
        let uid = Uid::new(meta.uid.as_deref().unwrap_or_default());
        match answer {
            Ok(_) => self.released.push(Release { object, uid, by, audit_id }),
            Err(ClusterError::NotFound { .. } | ClusterError::Conflict { .. }) => {}
            Err(error) => self.errors.push(error),
        }
    }

    /// What the API server lists; of a kind that it does not list nothing can be released.
    fn listed<T>(&mut self, answer: Result<Vec<T>, ClusterError>) -> Vec<T> {
        answer.unwrap_or_else(|error| {
            self.errors.push(error);
            Vec::new()
        })
    }
}

/// Lets go of what is held, and says of what. What somebody changed at this moment stays for the next round, and so does
/// all that is left once `may_go_on`, which is asked before each release, says no.
///
/// # Errors
/// What the API server refused, all of it; everything else is released all the same.
pub async fn release_held<F, Fut>(
    client: &Client,
    which: Which<'_>,
    may_go_on: F,
) -> Result<Vec<Release>, NotReleased>
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let mut round = Round { may_go_on, stopped: false, released: Vec::new(), errors: Vec::new() };
    each::<Node, _, _>(client, "unschedulable", which, &mut round).await;
    each::<CronJob, _, _>(client, "suspend", which, &mut round).await;
    each::<Job, _, _>(client, "suspend", which, &mut round).await;
    give_back(client, which, &mut round).await;
    let Round { released, errors, .. } = round;
    if errors.is_empty() { Ok(released) } else { Err(NotReleased { released, errors }) }
}

/// Gives people's own bounds back. One that somebody changed since stays as it is.
async fn give_back<F, Fut>(client: &Client, which: Which<'_>, round: &mut Round<F>)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    if round.stopped {
        return;
    }
    let params =
        ListParams { label_selector: Some(LABEL_HELD.to_owned()), ..ListParams::default() }.match_any();
    let all: Api<HorizontalPodAutoscaler> = Api::all(client.clone());
    let held = call("list", &Name::from(autoscaler::KIND), all.list(&params)).await;
    for object in &round.listed(held.map(|held| held.items)) {
        let Some(found) = autoscaler::record(object) else { continue };
        let ours = Which::All.takes(&object.metadata);
        let over = which.takes(&object.metadata) || !which.asked(&found.scales);
        if !(ours && over) {
            continue;
        }
        let condition =
            json!({ "uid": object.metadata.uid, "resourceVersion": object.metadata.resource_version });
        let patch = Patch::Merge(autoscaler::given_back(condition, &found));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &found.key.namespace);
        let name = label(autoscaler::KIND, &found.key);
        round.let_go(name, &object.metadata, api.patch(&found.key.name, &params, &patch)).await;
    }
}

/// Where one object of a kind lives.
trait Place: Sized {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: &Client, namespace: &str) -> Api<K>;
}

impl Place for ClusterResourceScope {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: &Client, _: &str) -> Api<K> {
        Api::all(client.clone())
    }
}

impl Place for NamespaceResourceScope {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: &Client, namespace: &str) -> Api<K> {
        Api::namespaced(client.clone(), namespace)
    }
}

/// Whose a flag is that carries our mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// We set it, and nobody did since; or the API server does not say.
    Ours,
    /// Somebody else set or confirmed it since: then it is theirs, and only our mark goes.
    Theirs,
    /// Somebody took it away: our mark says nothing any more, whatever its time.
    Nobodys,
}

fn whose(meta: &ObjectMeta, flag: &str) -> Whose {
    let managed = meta.managed_fields.as_deref().unwrap_or_default();
    let field = format!("f:{flag}");
    let sets = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get(&field).is_some())
    };
    let mut setters = managed.iter().filter(sets).peekable();
    if managed.is_empty() {
        return Whose::Ours;
    }
    if setters.peek().is_none() {
        return Whose::Nobodys;
    }
    let others = setters.any(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
    if others { Whose::Theirs } else { Whose::Ours }
}

async fn each<K, F, Fut>(client: &Client, flag: &str, which: Which<'_>, round: &mut Round<F>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    K::Scope: Place,
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    if round.stopped {
        return;
    }
    let kind = K::kind(&()).into_owned();
    // From the watch cache: a mark that is a moment too old is found in the next round.
    let params =
        ListParams { label_selector: Some(LABEL_HELD.to_owned()), ..ListParams::default() }.match_any();
    let all: Api<K> = Api::all(client.clone());
    let name = Name::from(kind.as_str());
    let held = call("list", &name, all.list_metadata(&params)).await;
    for meta in round.listed(held.map(|held| held.items)).iter().map(|one| &one.metadata) {
        let whose = whose(meta, flag);
        let taken_away = whose == Whose::Nobodys && Which::All.takes(meta);
        if !(which.takes(meta) || taken_away) {
            continue;
        }
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let key = ObjectKey::new(text(&meta.namespace), text(&meta.name));
        let condition = json!({ "uid": meta.uid, "resourceVersion": meta.resource_version });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = K::Scope::api::<K>(client, &key.namespace);
        let patch = Patch::Merge(match whose {
            Whose::Ours => release(condition, flag),
            Whose::Theirs | Whose::Nobodys => unmarked(condition, flag),
        });
        let name = label(&kind, &key);
        round.let_go(name, meta, api.patch(&key.name, &params, &patch)).await;
    }
}

/// Lets go of what is over, now and then until `shutdown`, while this replica leads and the kill switch is off. Both are
/// looked at before each release: a round of many takes long enough for somebody to engage the switch.
pub async fn run(
    client: Client,
    clock: Arc<dyn Clock>,
    snapshots: Arc<dyn SnapshotSource>,
    recorder: Arc<dyn Recorder>,
    leadership: Leadership,
    shutdown: CancellationToken,
) {
    let hands = ApiActuator::new(client.clone());
    let (leads, switch) = (&leadership, &hands);
    // Boxed, as every future of a request: it is large.
    let may_go_on =
        move || Box::pin(async move { leads.leads() && switch.kill_switch().await == Ok(KillSwitch::Off) });
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if !may_go_on().await {
            continue;
        }
        let snapshot = snapshots.current();
        let released = release_held(&client, Which::Over(clock.now(), &snapshot), may_go_on).await;
        let released = released.unwrap_or_else(|error| {
            let category = error.errors.first().map(|error| error.category().name());
            tracing::warn!(category, %error, "What is held could not be released");
            error.released
        });
        for one in released {
            recorder.released(&one);
            tracing::info!(object = %one, "released: its time was over, or nobody asks for it any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn held(managed: &Value) -> ObjectMeta {
        serde_json::from_value(json!({ "name": "node-1", "managedFields": managed })).expect("metadata")
    }

    #[test]
    fn a_flag_that_people_set_since_is_theirs_and_one_that_they_took_away_is_nobodys() {
        let entry = |manager: &str, fields: Value| json!({ "manager": manager, "fieldsV1": fields });
        let flag = json!({ "f:spec": { "f:unschedulable": {} } });
        let other = json!({ "f:spec": { "f:podCIDR": {} }, "f:metadata": {} });
        let ours = entry(FIELD_MANAGER, flag.clone());
        let kubelet = entry("kubelet", other);
        for (managed, expected) in [
            (json!([kubelet, ours]), Whose::Ours),
            (json!([kubelet, ours, entry("kubectl-edit", flag.clone())]), Whose::Theirs),
            (json!([kubelet, entry("kubectl", flag)]), Whose::Theirs),
            (json!([kubelet]), Whose::Nobodys),
            (json!([]), Whose::Ours),
        ] {
            assert_eq!(whose(&held(&managed), "unschedulable"), expected, "{managed}");
        }
    }
}
