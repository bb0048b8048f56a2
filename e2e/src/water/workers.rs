//! Workers on the queues: how many there were, by their Deployments alone, and what they worked off, by the tenants' APIs.

use std::collections::BTreeMap;

use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use super::PREFIX;
use crate::demo::DemoError;
use crate::demo::live::Live;

/// Kinds of run that wait in a queue.
pub const KINDS: [&str; 2] = ["forecast", "kpi"];

/// The workers of one kind and tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// Wanted now.
    #[serde(skip)]
    now: Option<i32>,
    /// Most that were ready at once.
    pub most: i32,
    /// How often the first one came.
    pub from_zero: u32,
    /// How often the last one went.
    pub to_zero: u32,
    /// Runs worked off.
    pub done: u64,
}

impl Workers {
    /// Adds those of another tenant.
    pub fn join(&mut self, other: &Self) {
        self.most += other.most;
        self.from_zero += other.from_zero;
        self.to_zero += other.to_zero;
        self.done += other.done;
    }

    /// Takes a look; true when the number changed.
    fn look(&mut self, wanted: i32, ready: i32) -> bool {
        self.most = self.most.max(ready);
        let before = self.now.replace(wanted);
        self.from_zero += u32::from(before == Some(0) && wanted > 0);
        self.to_zero += u32::from(before.is_some_and(|before| before > 0) && wanted == 0);
        before.is_some_and(|before| before != wanted)
    }
}

/// All workers, by tenant and kind.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// What was seen of each.
    pub workers: BTreeMap<(String, String), Workers>,
}

impl Watched {
    /// Reads all Deployments, and says what changed.
    pub async fn look(&mut self, client: &Client, live: &Live) -> Result<(), DemoError> {
        let api: Api<Deployment> = Api::all(client.clone());
        let found = api.list(&ListParams::default()).await.map_err(DemoError::api("list Deployments"))?;
        for one in found {
            let (tenant, kind) = (one.namespace().unwrap_or_default(), one.name_any());
            if !tenant.starts_with(PREFIX) || !KINDS.contains(&kind.as_str()) {
                continue;
            }
            let wanted = one.spec.replicas.unwrap_or(1);
            let ready = one.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            if self.workers.entry((tenant.clone(), kind.clone())).or_default().look(wanted, ready) {
                live.say(format!("{:28} {wanted} workers wanted", format!("{tenant}/{kind}")));
            }
        }
        Ok(())
    }

    /// Asks each tenant's API, through the API server, how many runs were worked off. A tenant that does not answer keeps 0.
    pub async fn count(&mut self, client: &Client) {
        for ((tenant, kind), workers) in &mut self.workers {
            let path = format!("/api/v1/namespaces/{tenant}/services/api:8080/proxy/metrics");
            let Ok(request) = Request::get(path).body(Vec::new()) else { continue };
            if let Ok(text) = client.request_text(request).await {
                workers.done = done(&text, kind).unwrap_or(0);
            }
        }
    }
}

fn done(metrics: &str, kind: &str) -> Option<u64> {
    let line = format!("runs_done_total{{kind=\"{kind}\"}} ");
    metrics.lines().find_map(|text| text.strip_prefix(&line)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_from_zero_and_back_is_counted() {
        let mut workers = Workers::default();
        for (wanted, ready) in [(0, 0), (1, 0), (1, 1), (2, 2), (0, 2), (0, 0), (1, 0)] {
            workers.look(wanted, ready);
        }
        assert_eq!((workers.from_zero, workers.to_zero, workers.most), (2, 1, 2));
    }

    #[test]
    fn runs_worked_off_are_read_from_the_metrics() {
        let text = "# TYPE runs_done_total counter\nruns_done_total{kind=\"forecast\"} 41\nruns_done_total{kind=\"kpi\"} 3\n";
        assert_eq!((done(text, "kpi"), done(text, "other")), (Some(3), None));
    }
}
