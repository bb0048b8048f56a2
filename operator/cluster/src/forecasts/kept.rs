//! What earlier processes kept in the statuses of forecasts.

use crate::client::{call, label};
use crate::error::ClusterError;
use homeostat_crds::v1alpha1::Forecast;
use homeostat_knowledge::forecast::{REQUESTS, RUNS, load_of};
use homeostat_knowledge::{Name, ObjectKey, Uid, WorkloadKey};
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};

/// Forecasts of one answer.
const PAGE: u32 = 200;
/// Answers that are asked for of one namespace, or of the cluster.
const PAGES: usize = 100;

/// By workload and signal.
pub type KeptTexts = BTreeMap<(WorkloadKey, Name), String>;

/// The same with the UID of the workload that each is of.
pub type KeptOf = BTreeMap<(WorkloadKey, Name), (Uid, String)>;

/// What is kept of each workload and signal that sizes it, from the forecasts in these namespaces; empty means all.
///
/// # Errors
/// What the API server answered.
pub async fn kept(client: &Client, namespaces: &BTreeSet<String>) -> Result<KeptOf, ClusterError> {
    of(client, namespaces, |signal| signal == REQUESTS || load_of(signal).is_some()).await
}

/// What is kept of the runs of each workload, as [`kept`].
///
/// # Errors
/// What the API server answered.
pub async fn kept_runs(client: &Client, namespaces: &BTreeSet<String>) -> Result<KeptTexts, ClusterError> {
    let all = of(client, namespaces, |signal| signal == RUNS).await?;
    Ok(all.into_iter().map(|(key, (_, text))| (key, text)).collect())
}

async fn of(
    client: &Client,
    namespaces: &BTreeSet<String>,
    wanted: impl Fn(&str) -> bool,
) -> Result<KeptOf, ClusterError> {
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
            let those = page.items.into_iter().filter(|forecast| wanted(&forecast.spec.signal));
            kept.extend(those.filter_map(|forecast| {
                let workload = ObjectKey::new(forecast.metadata.namespace?, forecast.spec.workload_ref.name);
                let owner = forecast.metadata.owner_references.into_iter().flatten().next();
                let uid = Uid::new(owner.map(|owner| owner.uid).unwrap_or_default());
                Some(((workload, Name::from(forecast.spec.signal)), (uid, forecast.status?.memory?)))
            }));
            next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                break;
            }
        }
    }
    Ok(kept)
}
