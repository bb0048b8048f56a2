//! What earlier runs kept in the statuses of forecasts.

use crate::client::{call, label};
use crate::error::ClusterError;
use homeostat_crds::v1alpha1::Forecast;
use homeostat_knowledge::forecast::{REQUESTS, load_of};
use homeostat_knowledge::{Name, ObjectKey, WorkloadKey};
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};

/// Forecasts of one answer.
const PAGE: u32 = 200;
/// Answers that are asked for of one namespace, or of the cluster.
const PAGES: usize = 100;

/// What is kept of each workload and signal that sizes it, from the forecasts in these namespaces; empty means all.
///
/// # Errors
/// What the API server answered.
pub async fn kept(
    client: &Client,
    namespaces: &BTreeSet<String>,
) -> Result<BTreeMap<(WorkloadKey, Name), String>, ClusterError> {
    let apis: Vec<Api<Forecast>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let all = label("Forecast", &ObjectKey::new("", "all"));
    let mut kept = BTreeMap::new();
    for api in apis {
        let mut next = None;
        for _ in 0..PAGES {
            let params = ListParams { limit: Some(PAGE), continue_token: next, ..ListParams::default() };
            let page = call("list", &all, api.list(&params)).await?;
            let sizes = |signal: &str| signal == REQUESTS || load_of(signal).is_some();
            let sized = page.items.into_iter().filter(|forecast| sizes(&forecast.spec.signal));
            kept.extend(sized.filter_map(|forecast| {
                let workload = ObjectKey::new(forecast.metadata.namespace?, forecast.spec.workload_ref.name);
                Some(((workload, Name::from(forecast.spec.signal)), forecast.status?.memory?))
            }));
            next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
    }
    Ok(kept)
}
