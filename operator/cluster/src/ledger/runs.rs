//! Requests about runs: a Job is made, let go, repeated, or sized.

use super::hands::Hand;
use super::mapping::{in_bytes, in_millis};
use super::write::{Request, Write};
use crate::client::{label, look};
use crate::error::ClusterError;
use crate::watches::controllers::ANNOTATION_SLOT;
use homeostat_crds::common::{
    ANNOTATION_CREATED_BY, ANNOTATION_INSTANTIATE, ANNOTATION_RETRY_OF, ANNOTATION_STARTED_BY, ANNOTATION_TRY,
};
use homeostat_execute::actions::retry_name;
use homeostat_knowledge::records::Amounts;
use homeostat_knowledge::runs::made_name;
use homeostat_knowledge::{ActionId, ControllerKind, ObjectKey, Target, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job, JobTemplateSpec};
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::Patch;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Labels that the Job controller puts on a Job's pods; a copy gets its own.
const JOB_LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

/// Amounts by resource, as a manifest has them.
type Texts = BTreeMap<&'static str, String>;

impl Hand<'_> {
    /// Lets a suspended Job start; one that has failed is repeated as a new Job. With sizes, the template gets them in
    /// the same write, which the API server takes from Kubernetes 1.36 on (feature
    /// `MutablePodResourcesForSuspendedJobs`) and refuses before. With `pods`, so many run at a time, again by the same
    /// write: every version takes that.
    pub async fn start(&self, sizes: Amounts, pods: Option<u32>) -> Result<Write, ClusterError> {
        self.expect(&[ControllerKind::Job], "run to start")?;
        let job = self.job("start").await?;
        if failed(&job) {
            return Ok(self.repeat(job, sizes, pods));
        }
        let mut metadata = self.condition();
        metadata["annotations"] = json!({ ANNOTATION_STARTED_BY: self.action.as_str() });
        let mut spec = json!({ "suspend": false });
        if let Some(pods) = pods {
            spec["parallelism"] = json!(pods);
        }
        if sizes != Amounts::default() {
            let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            let Some([only]) = pod.map(|pod| pod.containers.as_slice()) else {
                return Err(self.invalid("only a Job of one container can be sized".to_owned()));
            };
            let resources = resources(&amounts(sizes, limits(only)));
            spec["template"] =
                json!({ "spec": { "containers": [{ "name": only.name, "resources": resources }] } });
        }
        let patch = json!({ "metadata": metadata, "spec": spec });
        Ok(self.patch("start", None, Patch::Strategic(patch), "it may start"))
    }

    /// A new Job of a `CronJob`'s template, suspended, as `kubectl create job --from` makes one: owned by the `CronJob`, under a
    /// name that can be used once.
    pub async fn create_job(&self, slot: Timestamp) -> Result<Write, ClusterError> {
        self.expect(&[ControllerKind::CronJob], "run to make")?;
        let namespace = &self.target.key.namespace;
        let crons: Api<CronJob> = Api::namespaced(self.client.clone(), namespace);
        let cron = look(&self.name(), crons.get(&self.target.key.name)).await?;
        let conflict = |message: &str| {
            let (object, message) = (self.name(), message.to_owned());
            Err(ClusterError::Conflict { verb: "create", object, message })
        };
        if cron.metadata.uid.as_deref() != Some(self.target.uid.as_str()) {
            return conflict("another CronJob has this name now");
        }
        // Its schedule may have made a run since.
        let read = cron.metadata.resource_version.as_deref();
        if self.version.is_some_and(|version| read != Some(version)) {
            return conflict("it changed since it was looked at");
        }
        if cron.spec.suspend == Some(true) {
            return conflict("it is suspended now: no run is made of it");
        }
        let name = made_name(self.target, slot);
        let job = Box::new(made(cron.spec.job_template, &name, self.target, self.action));
        let api = Api::namespaced(self.client.clone(), namespace);
        let key = ObjectKey::new(namespace.clone(), name.clone());
        let done = format!("Job {name} created, suspended");
        Ok(self.write("create", label("Job", &key), Request::Create { api, job }, done))
    }

    /// A new Job of the failed one's template, under a name that can be used once.
    pub async fn retry(&self, sizes: Amounts) -> Result<Write, ClusterError> {
        self.expect(&[ControllerKind::Job], "run to repeat")?;
        let failed = self.job("retry").await?;
        Ok(self.repeat(failed, sizes, None))
    }

    fn repeat(&self, mut failed: Job, sizes: Amounts, pods: Option<u32>) -> Write {
        if let (Some(spec), Some(pods)) = (&mut failed.spec, pods) {
            spec.parallelism = Some(i32::try_from(pods).unwrap_or(i32::MAX));
        }
        let api = Api::namespaced(self.client.clone(), &self.target.key.namespace);
        let name = retry_name(self.target);
        let job = Box::new(copy(failed, &name, self.target, self.action, sizes));
        let key = ObjectKey::new(self.target.key.namespace.clone(), name.clone());
        self.write("create", label("Job", &key), Request::Create { api, job }, format!("Job {name} created"))
    }

    /// Requests and limits of one container: of a running pod through the resize subresource, where a limit that is not named
    /// stays as it is; of a `CronJob` in the template, for its next runs, where the limit of memory is then the request.
    pub fn resize(&self, container: &str, sizes: Amounts, limits: Amounts) -> Result<Write, ClusterError> {
        let of_runs = ControllerKind::from_kind(&self.target.kind) == ControllerKind::CronJob;
        let mut named = amounts(sizes, Amounts::default());
        if !of_runs {
            named.1.clear();
        }
        if let Some(cpu) = limits.cpu_millis {
            named.1.insert("cpu", format!("{cpu}m"));
        }
        if let Some(memory) = limits.memory_bytes {
            named.1.insert("memory", memory.to_string());
        }
        let containers = json!([{ "name": container, "resources": resources(&named) }]);
        let pod = json!({ "spec": { "containers": containers } });
        if of_runs {
            self.expect(&[ControllerKind::CronJob], "template of runs")?;
            let job = json!({ "spec": { "template": pod } });
            let patch = json!({ "metadata": self.condition(), "spec": { "jobTemplate": job } });
            return Ok(self.patch("resize", None, Patch::Strategic(patch), "its next runs have this size"));
        }
        let patch = json!({ "metadata": self.condition(), "spec": pod["spec"] });
        Ok(self.patch("resize", Some("resize"), Patch::Strategic(patch), "resized in place"))
    }

    /// The Job of that UID, as it is now.
    async fn job(&self, verb: &'static str) -> Result<Job, ClusterError> {
        let api: Api<Job> = Api::namespaced(self.client.clone(), &self.target.key.namespace);
        let job = look(&self.name(), api.get(&self.target.key.name)).await?;
        if job.metadata.uid.as_deref() == Some(self.target.uid.as_str()) {
            return Ok(job);
        }
        let message = "another Job has this name now".to_owned();
        Err(ClusterError::Conflict { verb, object: self.name(), message })
    }
}

fn failed(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Failed" && condition.status == "True")
}

/// Requests, and the limit of memory: memory cannot be taken back from a pod that uses more than it asked for. A limit that the
/// Job was made with is never lowered: what it rarely needs may not have been seen. One of CPU is raised with the request.
fn amounts(sizes: Amounts, present: Amounts) -> (Texts, Texts) {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    if let Some(cpu) = sizes.cpu_millis {
        requests.insert("cpu", format!("{cpu}m"));
        if present.cpu_millis.is_some_and(|limit| limit < cpu) {
            limits.insert("cpu", format!("{cpu}m"));
        }
    }
    if let Some(memory) = sizes.memory_bytes {
        requests.insert("memory", memory.to_string());
        limits.insert("memory", present.memory_bytes.unwrap_or(0).max(memory).to_string());
    }
    (requests, limits)
}

/// Requests and limits as a patch names them; what is left out stays.
fn resources((requests, limits): &(Texts, Texts)) -> Value {
    let mut resources = json!({ "requests": requests });
    if !limits.is_empty() {
        resources["limits"] = json!(limits);
    }
    resources
}

/// The same in a template that is about to be created.
fn set(container: &mut Container, sizes: Amounts) {
    let (requests, limits) = amounts(sizes, limits(container));
    let resources = container.resources.get_or_insert_default();
    for (all, new) in [(&mut resources.requests, requests), (&mut resources.limits, limits)] {
        for (name, amount) in new {
            all.get_or_insert_default().insert(name.to_owned(), Quantity(amount));
        }
    }
}

/// Which try of its run a Job was. One that an earlier version made says only that it was not the first.
fn attempt(job: &Job) -> u32 {
    let noted = |name: &str| job.metadata.annotations.as_ref().and_then(|all| all.get(name));
    let least = if noted(ANNOTATION_RETRY_OF).is_some() { 2 } else { 1 };
    noted(ANNOTATION_TRY).and_then(|text| text.parse().ok()).unwrap_or(least)
}

fn limits(container: &Container) -> Amounts {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = |name: &str| Some(homeostat_crds::Quantity::from(limits?.get(name)?.0.as_str()));
    Amounts {
        cpu_millis: limit("cpu").as_ref().and_then(in_millis),
        memory_bytes: limit("memory").as_ref().and_then(in_bytes),
    }
}

fn made(template: JobTemplateSpec, name: &str, target: &Target, action: &ActionId) -> Job {
    let metadata = template.metadata.unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    // What is said of one Job must not stand in a template.
    for mark in [ANNOTATION_RETRY_OF, ANNOTATION_TRY, ANNOTATION_STARTED_BY, ANNOTATION_SLOT] {
        annotations.remove(mark);
    }
    annotations.insert(ANNOTATION_INSTANTIATE.to_owned(), "manual".to_owned());
    annotations.insert(ANNOTATION_CREATED_BY.to_owned(), action.to_string());
    let mut spec = template.spec.unwrap_or_default();
    spec.suspend = Some(true);
    Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(target.key.namespace.to_string()),
            labels: metadata.labels,
            annotations: Some(annotations),
            // Without `blockOwnerDeletion`, which would need a right on the CronJob's finalizers.
            owner_references: Some(vec![OwnerReference {
                api_version: target.api_version.to_string(),
                kind: target.kind.to_string(),
                name: target.key.name.to_string(),
                uid: target.uid.to_string(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

fn copy(failed: Job, name: &str, target: &Target, action: &ActionId, sizes: Amounts) -> Job {
    let attempt = attempt(&failed).saturating_add(1);
    let mut spec = failed.spec;
    if let Some(spec) = &mut spec {
        // The API server chooses both anew.
        spec.selector = None;
        spec.manual_selector = None;
        spec.suspend = None;
        if let Some([only]) = spec.template.spec.as_mut().map(|pod| pod.containers.as_mut_slice()) {
            set(only, sizes);
        }
        if let Some(labels) = spec.template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
            labels.retain(|label, _| !JOB_LABELS.contains(&label.as_str()));
        }
    }
    // It is late against the same deadline as the one that it repeats.
    let made = failed.metadata.creation_timestamp.as_ref().map(|at| at.0.to_string());
    let slot =
        failed.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_SLOT)).cloned().or(made);
    let mut labels = failed.metadata.labels.unwrap_or_default();
    labels.retain(|label, _| !JOB_LABELS.contains(&label.as_str()));
    Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(target.key.namespace.to_string()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([
                (ANNOTATION_CREATED_BY.to_owned(), action.to_string()),
                (ANNOTATION_RETRY_OF.to_owned(), target.uid.to_string()),
                (ANNOTATION_SLOT.to_owned(), slot.unwrap_or_default()),
                (ANNOTATION_TRY.to_owned(), attempt.to_string()),
            ])),
            owner_references: failed.metadata.owner_references,
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
