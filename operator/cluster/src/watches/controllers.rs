//! Deployments, `ReplicaSet`s, `StatefulSet`s, `DaemonSet`s, Jobs, `CronJob`s: counts, rollout, owner.

use super::amounts::total;
use super::light::{Body, Interner, Meta, cut, hold, null_is_empty, spec_owner};
use super::reads::{TemplateContainer, Volume, config_maps};
use super::rollout::{self, Strategy};
use super::run::{Cx, Effect, Watched};
use crate::validate::acceptance::Input;
use homeostat_crds::common::{
    ANNOTATION_CREATED_BY, ANNOTATION_DO_NOT_TOUCH_UNTIL, ANNOTATION_RESTARTED_BY, ANNOTATION_RETRY_OF,
    ANNOTATION_ROLLED_BACK_BY, ANNOTATION_STARTED_BY, ANNOTATION_TRY,
};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::records::{ControllerKey, JobEnd, ReleaseRecord, RunTimes, Schedule, Work};
use homeostat_knowledge::{ControllerKind, ControllerRecord, Name, ObjectKey, SignedDuration};
use k8s_openapi::api::{apps, batch};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;

/// The slot that a `CronJob` made a Job for.
pub(crate) const ANNOTATION_SLOT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Characters of a schedule and of a time zone; a list of all minutes has 169.
const LONGEST: usize = 256;
/// Hands a Job to a queue of Kueue.
const LABEL_QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// One of the wire kinds.
pub(crate) trait Sort: Clone + std::fmt::Debug + Send + Sync + Default + 'static {
    /// Full type.
    type Wire: Resource<DynamicType = ()> + 'static;
    /// Record kind.
    const KIND: ControllerKind;
    /// Plural name.
    const NAME: &'static str;
}

macro_rules! sorts {
    ($($(#[$doc:meta])* $sort:ident = $kind:ident, $wire:ty, $name:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(crate) struct $sort;

        impl Sort for $sort {
            type Wire = $wire;
            const KIND: ControllerKind = ControllerKind::$kind;
            const NAME: &'static str = $name;
        }
    )+};
}
sorts! {
    /// `apps/v1 Deployment`.
    Deployments = Deployment, apps::v1::Deployment, "deployments";
    /// `apps/v1 ReplicaSet`.
    ReplicaSets = ReplicaSet, apps::v1::ReplicaSet, "replicasets";
    /// `apps/v1 StatefulSet`.
    StatefulSets = StatefulSet, apps::v1::StatefulSet, "statefulsets";
    /// `apps/v1 DaemonSet`.
    DaemonSets = DaemonSet, apps::v1::DaemonSet, "daemonsets";
    /// `batch/v1 Job`.
    Jobs = Job, batch::v1::Job, "jobs";
    /// `batch/v1 CronJob`.
    CronJobs = CronJob, batch::v1::CronJob, "cronjobs";
}

/// The watch of one wire kind.
#[derive(Default)]
pub(crate) struct Controllers<S> {
    /// `ReplicaSet`s that had pods when we saw them; old revisions without pods are not kept.
    kept: HashSet<ObjectKey>,
    sort: PhantomData<S>,
}

/// The parts of a controller that are looked at; the union over the wire kinds.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub(crate) struct ControllerObject<S> {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: Spec,
    #[serde(default, deserialize_with = "null_is_empty")]
    status: Status,
    #[serde(skip)]
    sort: PhantomData<S>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    replicas: Option<i32>,
    parallelism: Option<i32>,
    completions: Option<i32>,
    completion_mode: Option<String>,
    paused: Option<bool>,
    suspend: Option<bool>,
    active_deadline_seconds: Option<i64>,
    /// Deployments.
    strategy: Option<Strategy>,
    /// `DaemonSet`s.
    update_strategy: Option<Strategy>,
    template: Option<Template>,
    /// `CronJob`s.
    job_template: Option<JobTemplate>,
    schedule: Option<String>,
    time_zone: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Template {
    #[serde(default, deserialize_with = "null_is_empty")]
    metadata: TemplateMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: TemplateSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateSpec {
    #[serde(default, deserialize_with = "null_is_empty")]
    containers: Vec<TemplateContainer>,
    #[serde(default, deserialize_with = "null_is_empty")]
    init_containers: Vec<TemplateContainer>,
    #[serde(default, deserialize_with = "null_is_empty")]
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct TemplateMeta {
    #[serde(default, deserialize_with = "null_is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct JobTemplate {
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: JobTemplateSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobTemplateSpec {
    parallelism: Option<i32>,
    completions: Option<i32>,
    completion_mode: Option<String>,
    template: Option<Template>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    observed_generation: Option<i64>,
    #[serde(default)]
    replicas: i32,
    #[serde(default)]
    ready_replicas: i32,
    #[serde(default)]
    updated_replicas: i32,
    update_revision: Option<String>,
    #[serde(default)]
    desired_number_scheduled: i32,
    #[serde(default)]
    current_number_scheduled: i32,
    #[serde(default)]
    number_ready: i32,
    #[serde(default)]
    updated_number_scheduled: i32,
    /// A count for Jobs, references for `CronJob`s.
    active: Option<Active>,
    #[serde(default)]
    ready: Option<i32>,
    start_time: Option<Time>,
    completion_time: Option<Time>,
    /// Of a Job: how it ended.
    #[serde(default, deserialize_with = "null_is_empty")]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    type_: String,
    #[serde(default)]
    status: String,
}

impl Status {
    fn finished(&self) -> Option<JobEnd> {
        let is = |type_: &str| {
            self.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
        };
        match (is("Complete"), is("Failed")) {
            (true, _) => Some(JobEnd::Complete),
            (false, true) => Some(JobEnd::Failed),
            (false, false) => None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Active {
    Count(i32),
    References(Vec<serde::de::IgnoredAny>),
}

impl Active {
    fn count(&self) -> i32 {
        match self {
            Self::Count(count) => *count,
            Self::References(list) => i32::try_from(list.len()).unwrap_or(i32::MAX),
        }
    }
}

impl<S: Sort> Body for ControllerObject<S> {
    type Kind = S::Wire;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl<S: Sort> Controllers<S> {
    fn key(object: &ObjectKey) -> ControllerKey {
        ControllerKey { kind: S::KIND, object: object.clone() }
    }
}

impl<S: Sort> Watched for Controllers<S> {
    type Body = ControllerObject<S>;
    const KIND: ObjectKind = ObjectKind::Controller;
    const NAME: &'static str = S::NAME;

    fn apply(&mut self, body: ControllerObject<S>, cx: Cx<'_>) -> Result<Effect, String> {
        let key = Self::key(&cx.key);
        if S::KIND == ControllerKind::ReplicaSet {
            // Ten old revisions per Deployment would be most of what we hold.
            let empty = body.spec.replicas == Some(0) && body.status.replicas == 0;
            if empty && !self.kept.contains(&cx.key) {
                return Ok(Effect::Nothing);
            }
            self.kept.insert(cx.key.clone());
        }
        let record = record(&body, cx.key, cx.version, cx.names);
        let change = ObjectChange::Controller(Change::Applied(Arc::new(record)));
        // No Workload targets a ReplicaSet, so nobody waits for one.
        Ok(if S::KIND == ControllerKind::ReplicaSet {
            Effect::Tell(change)
        } else {
            Effect::TellAndJudge(change, Input::ControllerSeen(key))
        })
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        let gone = Self::key(key);
        let change = ObjectChange::Controller(Change::Deleted(gone.clone()));
        if S::KIND != ControllerKind::ReplicaSet {
            return Effect::TellAndJudge(change, Input::ControllerGone(gone));
        }
        if self.kept.remove(key) { Effect::Tell(change) } else { Effect::Nothing }
    }
}

/// The record of a controller.
pub(crate) fn record<S: Sort>(
    body: &ControllerObject<S>,
    key: ObjectKey,
    version: Name,
    names: &mut Interner,
) -> ControllerRecord {
    let ControllerObject { metadata, spec, status, .. } = body;
    let active = status.active.as_ref().map_or(0, Active::count);
    let (replicas, current, ready, updated) = match S::KIND {
        ControllerKind::DaemonSet => (
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled,
        ),
        // Jobs have no rollout: all their pods are of the newest template.
        ControllerKind::Job => {
            let wanted = spec.parallelism.unwrap_or(1);
            (wanted, active, status.ready.unwrap_or(0), wanted.max(active))
        }
        ControllerKind::CronJob => (0, active, 0, active),
        _ => (spec.replicas.unwrap_or(1), status.replicas, status.ready_replicas, status.updated_replicas),
    };
    let revision = match S::KIND {
        ControllerKind::StatefulSet => status.update_revision.as_deref(),
        _ => rollout::revision(metadata),
    };
    let template_labels = match S::KIND {
        // A ReplicaSet's labels are those of its Deployment.
        ControllerKind::ReplicaSet => BTreeMap::new(),
        _ => template(spec)
            .map(|template| &template.metadata.labels)
            .into_iter()
            .flatten()
            .map(|(label, value)| (names.intern(label), names.intern(value)))
            .collect(),
    };
    ControllerRecord {
        uid: Uid(names.intern(&metadata.uid)),
        resource_version: version,
        generation: metadata.generation,
        observed_generation: status.observed_generation.unwrap_or(match S::KIND {
            ControllerKind::Job | ControllerKind::CronJob => metadata.generation,
            _ => 0,
        }),
        replicas,
        current,
        ready,
        updated,
        revision: names.maybe(revision),
        release: match S::KIND {
            ControllerKind::ReplicaSet => release(metadata, spec, names),
            _ => None,
        },
        surges: match S::KIND {
            ControllerKind::Deployment => rollout::deployment_surges(spec.strategy.as_ref(), replicas),
            ControllerKind::DaemonSet => rollout::daemon_set_surges(spec.update_strategy.as_ref(), replicas),
            _ => false,
        },
        paused: spec.paused == Some(true) || spec.suspend == Some(true),
        template_labels,
        owner: metadata.controller(names),
        gitops_owner: spec_owner(&metadata.labels, &metadata.annotations, metadata.controlled_by())
            .map(|owner| names.intern(&owner)),
        finished: status.finished(),
        run: RunTimes {
            started: status.start_time.as_ref().map(|at| at.0),
            completed: status.completion_time.as_ref().map(|at| at.0),
            deadline: spec.active_deadline_seconds.map(SignedDuration::from_secs),
        },
        work: work::<S>(metadata, spec, names),
        hold: hold(metadata),
        do_not_touch: names
            .maybe(metadata.annotations.get(ANNOTATION_DO_NOT_TOUCH_UNTIL).map(String::as_str)),
        api: None,
        key: ControllerKey { kind: S::KIND, object: key },
    }
}

/// What a `ReplicaSet` is as a release.
fn release(metadata: &Meta, spec: &Spec, names: &mut Interner) -> Option<Box<ReleaseRecord>> {
    let pods = template(spec).map(|template| &template.spec);
    let record = ReleaseRecord {
        earlier: rollout::earlier_revisions(metadata, names),
        reads: pods.map_or_else(Vec::new, |pods| {
            config_maps(pods.init_containers.iter().chain(&pods.containers), &pods.volumes, names)
        }),
    };
    (record != ReleaseRecord::default()).then(|| Box::new(record))
}

/// What the runs of a Job or `CronJob` ask for, and what a Job was made for.
fn work<S: Sort>(metadata: &Meta, spec: &Spec, names: &mut Interner) -> Option<Box<Work>> {
    let inner = spec.job_template.as_ref().map(|template| &template.spec);
    let (pods, completions, mode) = match S::KIND {
        ControllerKind::Job => (spec.parallelism, spec.completions, spec.completion_mode.as_deref()),
        ControllerKind::CronJob => inner.map_or((None, None, None), |inner| {
            (inner.parallelism, inner.completions, inner.completion_mode.as_deref())
        }),
        _ => return None,
    };
    let count = |number: i32| u32::try_from(number).ok();
    // As the API server fills them in: with neither of both, one pod does all of it.
    let completions = completions.or(pods.is_none().then_some(1));
    let containers = template(spec).map_or(&[][..], |template| &template.spec.containers);
    let annotation = |name: &str| metadata.annotations.get(name);
    // The CronJob controller notes the slot since Kubernetes 1.32; a Job of people is due from its creation on.
    let slot = annotation(ANNOTATION_SLOT).and_then(|text| text.parse().ok());
    let retry_of = annotation(ANNOTATION_RETRY_OF).map(|uid| Uid::new(uid.as_str()));
    Some(Box::new(Work {
        slot: slot.or(metadata.creation_timestamp.as_ref().map(|at| at.0)),
        container: match containers {
            [only] => Some(names.intern(&only.name)),
            _ => None,
        },
        requests: total(containers.iter().map(|container| container.resources.requests())),
        cpu_limit: match containers {
            [only] => only.resources.cpu_limit(),
            _ => None,
        },
        pods: pods.and_then(count).unwrap_or(1),
        completions: completions.and_then(count),
        indexed: mode == Some("Indexed"),
        queue: names.maybe(metadata.labels.get(LABEL_QUEUE).map(String::as_str)),
        started_by: annotation(ANNOTATION_STARTED_BY).map(|by| Name::from(by.as_str())),
        // A repeat carries the same mark beside that of the Job that it repeats.
        made_by: annotation(ANNOTATION_CREATED_BY)
            .filter(|_| retry_of.is_none())
            .map(|by| Name::from(by.as_str())),
        retry_of,
        attempt: annotation(ANNOTATION_TRY).and_then(|text| text.parse().ok()),
        schedule: spec.schedule.as_deref().map(|cron| Schedule {
            cron: names.intern(&bounded(cron)),
            zone: spec.time_zone.as_deref().map(|zone| names.intern(&bounded(zone))),
        }),
    }))
}

/// A text that may be of any length. What is cut off is marked, so that the rest is never taken for the whole: half a
/// schedule is another schedule.
fn bounded(text: &str) -> Cow<'_, str> {
    match cut(text, LONGEST) {
        whole if whole.len() == text.len() => Cow::Borrowed(whole),
        part => Cow::Owned(format!("{part}…")),
    }
}

/// The pod template's annotation of our rolling restart.
pub(crate) fn restarted_by<S>(body: &ControllerObject<S>) -> Option<Name> {
    let annotations = &template(&body.spec)?.metadata.annotations;
    annotations.get(ANNOTATION_RESTARTED_BY).map(|id| Name::from(id.as_str()))
}

/// The object's annotation of our roll back.
pub(crate) fn rolled_back_by<S>(body: &ControllerObject<S>) -> Option<Name> {
    body.metadata.annotations.get(ANNOTATION_ROLLED_BACK_BY).map(|id| Name::from(id.as_str()))
}

/// UID, and whether the object is being deleted.
pub(crate) fn identity<S>(body: &ControllerObject<S>) -> (Uid, bool) {
    (Uid::new(body.metadata.uid.as_str()), body.metadata.deletion_timestamp.is_some())
}

fn template(spec: &Spec) -> Option<&Template> {
    spec.template.as_ref().or_else(|| spec.job_template.as_ref()?.spec.template.as_ref())
}

#[cfg(test)]
mod tests;
