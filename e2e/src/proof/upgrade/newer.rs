//! An action as a version of the future writes it: with a word that none of the versions here knows, under way, and on a pod
//! that is ill. Whoever cannot read it does nothing about it, nor about the pod.

use std::path::Path;

use homeostat_crds::MicroTime;
use homeostat_crds::v1alpha1::Action;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch};
use serde_json::{Value, json};

use super::ward::Ward;
use crate::proof::audit::Entry;
use crate::proof::error::ProofError;
use crate::proof::kill_loop::workload_of;
use crate::proof::kubelet;
use crate::proof::objects::{self, writes};
use crate::proof::plans;
use crate::proof::stage::Stage;

/// Its name.
pub(super) const NAME: &str = "of-the-future-1";
/// A guard of the future: the names of guards are words that the definition leaves open.
const GUARD: &str = "MoonPhase";
/// What the process says of an object that it cannot read.
const SAID: &str = "was not understood";

/// It, as it was put there.
pub(super) struct Newer {
    place: String,
    workload: String,
    version: Option<String>,
    since: Timestamp,
}

impl Newer {
    /// Makes a workload ill and puts the action for it on the cluster; no process runs meanwhile.
    pub async fn put(stage: &Stage, ward: &mut Ward<'_>) -> Result<Self, ProofError> {
        let (place, workload) = ward.take()?;
        let pods: Api<Pod> = plans::namespaced(&stage.client, &place);
        objects::sicken(&pods, &workload, 1).await?;
        let params = ListParams::default().labels(&format!("app={workload}"));
        let all = pods.list(&params).await.map_err(ProofError::api("list pods"))?.items;
        let Some(pod) = all.iter().find(|pod| kubelet::waits(pod)) else {
            return Err(ProofError::Broken(format!("no pod of {place}/{workload} is ill")));
        };
        let since = Timestamp::now();
        objects::create(&stage.client, Some(&place), &action(&place, &workload, pod, since)).await?;
        let actions: Api<Action> = plans::namespaced(&stage.client, &place);
        let written = actions.patch_status(NAME, &writes(), &Patch::Merge(status(since))).await;
        let version = written.map_err(ProofError::api("write as a newer version"))?.resource_version();
        Ok(Self { place, workload, version, since })
    }

    /// What the process whose log this is did about it and should not have, or did not say.
    pub async fn wrong(&self, stage: &Stage, log: &Path) -> Result<Vec<String>, ProofError> {
        let Self { place, workload, version, since } = self;
        let mut wrong = Vec::new();
        let touches = |entry: &Entry| {
            let effect = entry.is_effect() && workload_of(&entry.name) == *workload;
            entry.at >= *since && entry.namespace == *place && (effect || entry.name == NAME)
        };
        for entry in stage.audited(touches)?.into_iter().chain(stage.unsure(touches)?) {
            let Entry { verb, resource, name, agent, .. } = entry;
            wrong.push(format!("{agent}: {verb} {resource} {name}, which only a newer version may touch"));
        }
        let actions: Api<Action> = plans::namespaced(&stage.client, place);
        let now = actions.get_opt(NAME).await.map_err(ProofError::api("read an action"))?;
        if now.is_none_or(|action| action.resource_version() != *version) {
            wrong.push(format!("action {place}/{NAME} of a newer version was changed"));
        }
        let text = std::fs::read_to_string(log).map_err(ProofError::io("read", log))?;
        if !text.lines().any(|line| line.contains(SAID) && line.contains(NAME)) {
            wrong.push(format!("{} does not say that {place}/{NAME} {SAID}", log.display()));
        }
        Ok(wrong)
    }
}

fn action(place: &str, workload: &str, pod: &Pod, at: Timestamp) -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Action", "metadata": {"name": NAME},
        "spec": {
            "origin": "Incident", "incidentRef": {"name": "of-the-future"},
            "tenant": place, "workloadRef": {"name": workload},
            "playbook": {"name": "of-the-future", "version": 1, "step": 1},
            "action": "EvictPod",
            "target": {
                "apiVersion": "v1", "kind": "Pod", "namespace": place, "name": pod.name_any(),
                "uid": pod.uid().unwrap_or_default(),
                "resourceVersion": pod.resource_version().unwrap_or_default(),
            },
            "epoch": 1,
            "evidence": {"id": "of-the-future", "takenAt": MicroTime::new(at), "summary": "a pod is ill"},
        },
    })
}

fn status(at: Timestamp) -> Value {
    json!({"status": {
        "state": "Claimed",
        "guards": [{"name": GUARD, "result": "Passed"}],
        "instants": {"intent": MicroTime::new(at), "claimed": MicroTime::new(at)},
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else it would be no question at all what this version does about it.
    #[test]
    fn this_version_cannot_read_it_for_that_one_word_alone() {
        let at = Timestamp::from_second(1_795_003_200).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "order-001-6c5d-x", "uid": "u-1", "resourceVersion": "7"},
        }))
        .unwrap();
        let read = |guard: &str| {
            let mut object = action("shop", "order-001", &pod, at);
            object["status"] = status(at)["status"].clone();
            object["status"]["guards"][0]["name"] = json!(guard);
            let object: Action = serde_json::from_value(object).unwrap();
            homeostat_cluster::ledger::record(&object, at)
        };
        assert!(read(GUARD).unwrap_err().to_string().contains(GUARD));
        assert!(read("KillSwitch").is_ok());
    }
}
