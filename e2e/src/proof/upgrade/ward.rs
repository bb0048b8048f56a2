//! Workloads that fall ill once each, and whose new pods get ready only when they are told: until then the actions that
//! made them stay open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeostat_crds::v1alpha1::Action;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::newer;
use crate::proof::audit;
use crate::proof::error::ProofError;
use crate::proof::kubelet::{self, TOLD};
use crate::proof::objects;
use crate::proof::plans;
use crate::proof::stage::{Stage, until};

/// Namespaces, each with a tenant of its own: so a tenth of a tenant's workloads is ill at once, and no more.
const PLACES: usize = 5;
/// All pods serve within this time.
const FILLED: Duration = Duration::from_mins(5);
/// Pods of each workload.
const REPLICAS: usize = 2;

/// The workloads.
pub(super) struct Ward<'a> {
    stage: &'a Stage,
    /// Their namespaces.
    pub places: Vec<String>,
    place: String,
    beds: usize,
    next: usize,
    /// Workloads that fell ill.
    pub fallen: BTreeSet<String>,
}

impl<'a> Ward<'a> {
    /// Puts so many workloads on the cluster and waits until all of them serve.
    pub async fn begin(stage: &'a Stage, place: &str, beds: usize) -> Result<Self, ProofError> {
        let places: Vec<String> = (0..PLACES).map(|number| format!("{place}-{number}")).collect();
        for name in &places {
            stage.namespace_of(name, &tenant(name)).await?;
        }
        let ward = Self { stage, places, place: place.to_owned(), beds, next: 0, fallen: BTreeSet::new() };
        for number in 0..beds {
            let (place, name) = ward.bed(number);
            objects::create(&stage.client, Some(&place), &deployment(&name)).await?;
            objects::create(&stage.client, Some(&place), &objects::workload(&name)).await?;
        }
        until("pods that serve", FILLED, || async {
            ward.tend().await.ok()?;
            let all = ward.pods().await.ok()?;
            let serving = all.iter().filter(|pod| kubelet::serves(pod)).count();
            (serving >= REPLICAS * beds).then_some(())
        })
        .await?;
        Ok(ward)
    }

    /// Namespace and name of a workload; the name is nobody else's in any of the namespaces.
    fn bed(&self, number: usize) -> (String, String) {
        (format!("{}-{}", self.place, number % PLACES), format!("order-{number:03}"))
    }

    /// Takes the next workload that was not ill yet.
    pub fn take(&mut self) -> Result<(String, String), ProofError> {
        if self.next >= self.beds {
            return Err(ProofError::Broken("no workload is left that was not ill yet".to_owned()));
        }
        self.next += 1;
        Ok(self.bed(self.next - 1))
    }

    /// Makes the next so many workloads ill, one pod of each.
    pub async fn fall_ill(&mut self, count: usize) -> Result<(), ProofError> {
        for _ in 0..count {
            let (place, name) = self.take()?;
            let pods: Api<Pod> = plans::namespaced(&self.stage.client, &place);
            objects::sicken(&pods, &name, 1).await?;
            self.fallen.insert(name);
        }
        Ok(())
    }

    /// Tells pods that have started to be ready; how many workloads are still ill.
    pub async fn tend(&self) -> Result<usize, ProofError> {
        let all = self.pods().await?;
        let mut serving: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in &all {
            if kubelet::starts(pod) {
                let pods: Api<Pod> =
                    plans::namespaced(&self.stage.client, &pod.namespace().unwrap_or_default());
                let _gone_meanwhile = kubelet::set(&pods, &pod.name_any(), &kubelet::ready()).await;
            } else if kubelet::serves(pod) {
                let app = pod.labels().get("app").map(String::as_str).unwrap_or_default();
                *serving.entry(app).or_default() += 1;
            }
        }
        let well = |name: &&String| serving.get(name.as_str()).is_some_and(|count| *count >= REPLICAS);
        Ok(self.fallen.len() - self.fallen.iter().filter(well).count())
    }

    async fn pods(&self) -> Result<Vec<Pod>, ProofError> {
        let pods: Api<Pod> = Api::all(self.stage.client.clone());
        let params = ListParams::default().labels(TOLD);
        let all = pods.list(&params).await.map_err(ProofError::api("list pods"))?.items;
        let here = |pod: &Pod| pod.namespace().is_some_and(|name| self.places.contains(&name));
        Ok(all.into_iter().filter(here).collect())
    }

    /// All actions but the one that the proof itself wrote.
    pub async fn actions(&self) -> Result<Vec<Action>, ProofError> {
        let mut found = Vec::new();
        for place in &self.places {
            let api: Api<Action> = plans::namespaced(&self.stage.client, place);
            let all = api.list(&ListParams::default()).await.map_err(ProofError::api("list actions"))?.items;
            found.extend(all.into_iter().filter(|action| action.name_any() != newer::NAME));
        }
        Ok(found)
    }

    /// Those that have not ended.
    pub async fn open(&self) -> Result<Vec<Action>, ProofError> {
        Ok(self.actions().await?.into_iter().filter(|action| !audit::ended(action)).collect())
    }

    /// Takes everything away, without waiting for the end.
    pub async fn forget(&self) {
        for place in &self.places {
            self.stage.forget(place).await;
        }
    }
}

/// As wide as those of the other parts, and for evictions only: what follows one is not to be mistaken for a second effect.
fn tenant(name: &str) -> Value {
    let mut tenant = objects::tenant(name, name);
    tenant["spec"]["automation"] = json!([{"actions": ["EvictPod"], "level": "ActFull"}]);
    tenant
}

fn deployment(name: &str) -> Value {
    let mut deployment = objects::deployment(name, REPLICAS as i32);
    deployment["spec"]["template"]["metadata"]["labels"][TOLD] = json!("true");
    deployment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_pods_wait_to_be_told_and_its_tenant_evicts_and_does_nothing_else() {
        let labels = &deployment("order-001")["spec"]["template"]["metadata"]["labels"];
        assert_eq!((&labels["app"], &labels[TOLD]), (&json!("order-001"), &json!("true")));
        let automation = &tenant("upgrade-asked-0")["spec"]["automation"];
        assert_eq!(automation, &json!([{"actions": ["EvictPod"], "level": "ActFull"}]));
    }
}
