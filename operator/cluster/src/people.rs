//! What people ask for on the command line: look at actions, decide on one, pause and go on, in their own name.
//!
//! Homeostat's service account never comes this way; it could not: it has no right to write a spec.

use crate::client::{call, label};
use crate::error::ClusterError;
use homeostat_crds::common::{
    ANNOTATION_BREAKER_RESET_AT, ANNOTATION_DO_NOT_TOUCH_UNTIL, ANNOTATION_LEVELS_RESTORED_AT,
    ANNOTATION_PAUSED_BECAUSE,
};
use homeostat_crds::v1alpha1::action::Approval;
use homeostat_crds::v1alpha1::{Action, ControlPlane, Incident, Tenant, Workload, control_plane};
use homeostat_knowledge::{Name, ObjectKey, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Objects of one page.
const PAGE: u32 = 500;
/// Pages that are read at most: what lies behind is more than a person reads.
const PAGES: usize = 200;
/// Field manager of what people write with the command line.
const MANAGER: &str = "homeostat-cli";

/// A person at the API server.
#[derive(Clone)]
pub struct People {
    client: Client,
}

impl Debug for People {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("People").finish_non_exhaustive()
    }
}

/// What is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pausable {
    /// A `Tenant` by name.
    Tenant(String),
    /// A `Workload`.
    Workload(ObjectKey),
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// No action until somebody says otherwise.
    Open,
    /// No action before this instant.
    Until(Timestamp),
    /// Actions again.
    Over,
}

/// The merge patch that pauses or resumes. `None` as the reason takes an old reason away, except with an end. Pure.
pub fn pause_patch(pause: &Pause, reason: Option<&str>) -> Value {
    let (open, reason) = match pause {
        Pause::Open => (true, reason),
        Pause::Over => (false, None),
        Pause::Until(until) => {
            // Somebody else's pause without an end, and why, must not be over with this one.
            let mut annotations = json!({ ANNOTATION_DO_NOT_TOUCH_UNTIL: until.to_string() });
            if let Some(reason) = reason {
                annotations[ANNOTATION_PAUSED_BECAUSE] = json!(reason);
            }
            return json!({ "metadata": { "annotations": annotations } });
        }
    };
    json!({
        "metadata": { "annotations": {
            ANNOTATION_DO_NOT_TOUCH_UNTIL: null,
            ANNOTATION_PAUSED_BECAUSE: reason,
        } },
        "spec": { "paused": open },
    })
}

/// The merge patch that engages the kill switch, with who did it where that is known. Pure.
pub fn stop_patch(reason: &str, by: Option<&str>) -> Value {
    json!({ "spec": { "killSwitch": { "engaged": true, "reason": reason, "by": by } } })
}

/// The merge patch that writes a decision. Bound to the UID: another action of the same name refuses it. Pure.
pub fn approval_patch(uid: &str, approval: &Approval) -> Value {
    json!({ "metadata": { "uid": uid }, "spec": { "approval": approval } })
}

impl People {
    /// Over this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The name that the API server knows the caller by.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn whoami(&self) -> Result<String, ClusterError> {
        let name = Name::from("SelfSubjectReview");
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let answer =
            call("create", &name, api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
        let user = answer.status.and_then(|status| status.user_info).and_then(|user| user.username);
        user.ok_or_else(|| ClusterError::Bug {
            verb: "create",
            object: name,
            message: "the API server does not say who asks".to_owned(),
        })
    }

    /// All actions of a namespace, or of the cluster, by namespace and name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn actions(&self, namespace: Option<&str>) -> Result<Vec<Action>, ClusterError> {
        self.all("Action", self.place(namespace), ListParams::default()).await
    }

    /// Actions of this name, of one namespace or of every one.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn actions_named(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Vec<Action>, ClusterError> {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        self.all("Action", self.place(namespace), params).await
    }

    /// All incidents of a namespace, or of the cluster, by namespace and name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn incidents(&self, namespace: Option<&str>) -> Result<Vec<Incident>, ClusterError> {
        self.all("Incident", self.place(namespace), ListParams::default()).await
    }

    /// All tenants, by name.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, ClusterError> {
        self.all("Tenant", Api::all(self.client.clone()), ListParams::default()).await
    }

    /// The one `ControlPlane`; `None` when it does not exist.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn control_plane(&self) -> Result<Option<ControlPlane>, ClusterError> {
        let api: Api<ControlPlane> = Api::all(self.client.clone());
        let name = Name::from(format!("ControlPlane {}", control_plane::NAME));
        call("read", &name, api.get_opt(control_plane::NAME)).await
    }

    /// Writes a decision into exactly this action.
    ///
    /// # Errors
    /// What the API server answered, a refusal by its admission policy included.
    pub async fn decide(&self, key: &ObjectKey, uid: &str, approval: &Approval) -> Result<(), ClusterError> {
        let api: Api<Action> = Api::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(approval_patch(uid, approval));
        call("decide on", &label("Action", key), api.patch(&key.name, &writes(), &patch)).await.map(drop)
    }

    /// Pauses or resumes a tenant or a workload; tells whether it is paused without an end then.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn pause(
        &self,
        what: &Pausable,
        pause: &Pause,
        reason: Option<&str>,
    ) -> Result<bool, ClusterError> {
        let patch = Patch::Merge(pause_patch(pause, reason));
        let verb = if *pause == Pause::Over { "resume" } else { "pause" };
        match what {
            Pausable::Tenant(name) => {
                let api: Api<Tenant> = Api::all(self.client.clone());
                let object = Name::from(format!("Tenant {name}"));
                Ok(call(verb, &object, api.patch(name, &writes(), &patch)).await?.spec.paused)
            }
            Pausable::Workload(key) => {
                let api: Api<Workload> = Api::namespaced(self.client.clone(), &key.namespace);
                let object = label("Workload", key);
                Ok(call(verb, &object, api.patch(&key.name, &writes(), &patch)).await?.spec.paused)
            }
        }
    }

    /// Engages the kill switch; tells who is written down. That the API server does not say who asks keeps nobody from it.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn stop(&self, reason: &str) -> Result<Option<String>, ClusterError> {
        let by = self.whoami().await.ok();
        self.switch("stop everything by", &stop_patch(reason, by.as_deref())).await?;
        Ok(by)
    }

    /// Releases the kill switch; reason and person go with it.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn release(&self) -> Result<(), ClusterError> {
        let patch = json!({ "spec": { "killSwitch": { "engaged": false, "reason": null, "by": null } } });
        self.switch("release the kill switch of", &patch).await
    }

    async fn switch(&self, verb: &'static str, patch: &Value) -> Result<(), ClusterError> {
        let api: Api<ControlPlane> = Api::all(self.client.clone());
        let name = Name::from(format!("ControlPlane {}", control_plane::NAME));
        call(verb, &name, api.patch(control_plane::NAME, &writes(), &Patch::Merge(patch))).await.map(drop)
    }

    /// Lets the levels of a tenant's spec count again.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn restore_levels(&self, tenant: &str, now: Timestamp) -> Result<(), ClusterError> {
        let api: Api<Tenant> = Api::all(self.client.clone());
        let name = Name::from(format!("Tenant {tenant}"));
        let patch = Patch::Merge(json!({
            "metadata": { "annotations": { ANNOTATION_LEVELS_RESTORED_AT: now.to_string() } },
        }));
        call("restore the levels of", &name, api.patch(tenant, &writes(), &patch)).await.map(drop)
    }

    /// Closes the breaker that opened by `at`.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn reset_breaker(&self, at: Timestamp) -> Result<(), ClusterError> {
        let api: Api<ControlPlane> = Api::all(self.client.clone());
        let name = Name::from(format!("ControlPlane {}", control_plane::NAME));
        let patch = Patch::Merge(json!({
            "metadata": { "annotations": { ANNOTATION_BREAKER_RESET_AT: at.to_string() } },
        }));
        call("reset the breaker of", &name, api.patch(control_plane::NAME, &writes(), &patch)).await.map(drop)
    }

    fn place<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    async fn all<K>(&self, kind: &str, api: Api<K>, mut params: ListParams) -> Result<Vec<K>, ClusterError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let name = Name::from(kind);
        let mut all = Vec::new();
        params = params.limit(PAGE);
        for _ in 0..PAGES {
            let page = call("list", &name, api.list(&params)).await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
        // Half an answer would look like a whole one.
        Err(ClusterError::Invalid {
            object: name,
            message: format!(
                "there are more than {} of them; name one namespace",
                PAGES.saturating_mul(PAGE as usize)
            ),
        })
    }
}

fn writes() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_with_an_end_begins_and_ends_no_other_one() {
        let until: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        let patch = pause_patch(&Pause::Until(until), Some("load test"));
        let annotations = json!({ ANNOTATION_DO_NOT_TOUCH_UNTIL: "2026-11-22T18:00:00Z",
            ANNOTATION_PAUSED_BECAUSE: "load test" });
        assert_eq!(patch, json!({ "metadata": { "annotations": annotations } }));
        // Without a reason of its own it takes none away: it may be that of a pause that goes on.
        let patch = pause_patch(&Pause::Until(until), None);
        let annotations = json!({ ANNOTATION_DO_NOT_TOUCH_UNTIL: "2026-11-22T18:00:00Z" });
        assert_eq!(patch, json!({ "metadata": { "annotations": annotations } }));
    }

    #[test]
    fn an_unknown_person_is_left_out_and_no_earlier_one_stays() {
        let switch = |by| stop_patch("bad release", by)["spec"]["killSwitch"].clone();
        assert_eq!(switch(Some("ana")), json!({ "engaged": true, "reason": "bad release", "by": "ana" }));
        assert_eq!(switch(None).get("by"), Some(&Value::Null));
    }

    #[test]
    fn to_resume_takes_the_pause_its_end_and_its_reason_away() {
        let patch = pause_patch(&Pause::Over, Some("ignored"));
        assert_eq!(patch["spec"]["paused"], false);
        for annotation in [ANNOTATION_DO_NOT_TOUCH_UNTIL, ANNOTATION_PAUSED_BECAUSE] {
            assert_eq!(patch["metadata"]["annotations"].get(annotation), Some(&Value::Null), "{annotation}");
        }
        assert_eq!(pause_patch(&Pause::Open, None)["spec"]["paused"], true);
    }
}
