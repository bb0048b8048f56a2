//! What disruption budgets say to a smaller size. Kubernetes applies them to evictions only, and would let a size take away
//! what they protect; from then on every eviction, a drain's too, would be refused.
//!
//! Only a budget that wants a number of pods (`minAvailable: 3`) says something: a share of them and `maxUnavailable` go down
//! with the size.

use super::hands::Hand;
use crate::client::call;
use crate::error::ClusterError;
use homeostat_knowledge::ControllerKind;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt};
use kube::{Api, ResourceExt};
use serde_json::Value;
use std::collections::BTreeMap;

/// Budgets of a namespace that are looked at.
const MOST: u32 = 500;

impl Hand<'_> {
    /// The budgets that want more pods than this size leaves, in words; `None` when there are none.
    pub async fn budget(&self, replicas: i32) -> Result<Option<String>, ClusterError> {
        if !matches!(
            ControllerKind::from_kind(&self.target.kind),
            ControllerKind::Deployment | ControllerKind::StatefulSet
        ) {
            return Ok(None); // Which pods are its, only its own controller knows.
        }
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), &self.target.key.namespace);
        let params = ListParams::default().limit(MOST);
        let mut budgets = call("list", &self.name(), api.list(&params)).await?.items;
        budgets.retain(|budget| least(budget).is_some_and(|least| least > replicas));
        if budgets.is_empty() {
            return Ok(None);
        }
        let target = call("read", &self.name(), self.api().get(&self.target.key.name)).await?;
        let broken: Vec<String> = budgets
            .iter()
            .filter_map(|budget| {
                let (least, left) = (least(budget)?, left(budget, &target.data, replicas)?);
                (left < i64::from(least)).then(|| {
                    format!(
                        "PodDisruptionBudget {} wants {least} pods and {left} would be left",
                        budget.name_any()
                    )
                })
            })
            .collect();
        Ok(Some(broken.join("; ")).filter(|broken| !broken.is_empty()))
    }
}

/// The number of pods that it wants.
fn least(budget: &PodDisruptionBudget) -> Option<i32> {
    match budget.spec.as_ref()?.min_available.as_ref()? {
        IntOrString::Int(least) => Some(*least),
        IntOrString::String(_) => None,
    }
}

/// Pods of the budget once the target has this size; `None` when the target's are not its.
fn left(budget: &PodDisruptionBudget, target: &Value, replicas: i32) -> Option<i64> {
    let labels: BTreeMap<String, String> =
        serde_json::from_value(target["spec"]["template"]["metadata"]["labels"].clone()).unwrap_or_default();
    if !chosen(budget.spec.as_ref()?.selector.clone()?, &labels) {
        return None;
    }
    // Others may have pods of the same budget.
    let present = target["spec"]["replicas"].as_i64().unwrap_or(1);
    let expected = budget.status.as_ref().and_then(|status| status.expected_pods);
    let all = expected.map_or(present, i64::from).max(present);
    Some(all - present + i64::from(replicas))
}

/// Whether a selector chooses these labels; one that cannot be read may choose any.
fn chosen(selector: LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector).map_or(true, |selector| selector.matches(labels))
}
