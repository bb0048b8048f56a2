//! One write, made before it is sent: nothing is read between the last look at what permits it and the request.

use crate::client::{FIELD_MANAGER, call};
use crate::error::ClusterError;
use homeostat_knowledge::Name;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::Status;
use serde_json::Value;

/// An effect as one request that is ready to be sent.
pub struct Write {
    pub(super) verb: &'static str,
    /// What it is about, for messages.
    pub(super) object: Name,
    /// What is said when it was taken.
    pub(super) done: String,
    pub(super) request: Request,
    pub(super) dry_run: bool,
}

/// What is sent.
pub(super) enum Request {
    /// Nothing in the cluster is to be changed.
    Nothing,
    /// A change of an object, or of one of its subresources.
    Patch { api: Api<DynamicObject>, name: Name, subresource: Option<&'static str>, patch: Patch<Value> },
    /// An eviction.
    Evict { api: Api<Pod>, name: Name, eviction: Box<Eviction> },
    /// A new Job, under a name that can be used once.
    Create { api: Api<Job>, job: Box<Job> },
}

impl Write {
    /// What changes nothing.
    pub(super) fn nothing(object: Name, dry_run: bool) -> Self {
        Self {
            verb: "tell",
            object,
            done: "nothing to change".to_owned(),
            request: Request::Nothing,
            dry_run,
        }
    }

    /// Sends it once.
    pub(super) async fn send(self) -> Result<String, ClusterError> {
        let Self { verb, object, done, request, dry_run } = self;
        match request {
            Request::Nothing => Ok(done),
            Request::Patch { api, name, subresource, patch } => {
                let params = PatchParams {
                    dry_run,
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let answer = match subresource {
                    None => call(verb, &object, api.patch(&name, &params, &patch)).await,
                    Some(sub) => {
                        call(verb, &object, api.patch_subresource(sub, &name, &params, &patch)).await
                    }
                };
                answer.map(|_| done).map_err(|error| another_object(verb, error))
            }
            Request::Evict { api, name, eviction } => {
                let params = PostParams { dry_run, field_manager: None };
                let sent = api.create_subresource("eviction", &name, &params, &*eviction);
                let answer: Status = call(verb, &object, sent).await?;
                Ok(if answer.message.is_empty() { done } else { answer.message })
            }
            Request::Create { api, job } => {
                let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
                call(verb, &object, api.create(&params, &job)).await.map(|_| done).map_err(made_before)
            }
        }
    }
}

/// UIDs cannot be changed, and that is how the API server says that this is another object.
fn another_object(verb: &'static str, error: ClusterError) -> ClusterError {
    match error {
        ClusterError::Invalid { object, message } if message.contains("metadata.uid") => {
            ClusterError::Conflict { verb, object, message }
        }
        other => other,
    }
}

fn made_before(error: ClusterError) -> ClusterError {
    match error {
        ClusterError::Exists { verb, object } => {
            ClusterError::Conflict { verb, object, message: "it was made already".to_owned() }
        }
        other => other,
    }
}
