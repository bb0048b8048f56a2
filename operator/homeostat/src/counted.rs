//! What other parts count, put among the metrics before each scrape.

use crate::audit::Standing;
use crate::messages::Messages;
use homeostat_cluster::credentials::Credentials;
use homeostat_cluster::incidents::IncidentQueue;
use homeostat_cluster::requests::RequestCounts;
use homeostat_console::Metrics;
use homeostat_knowledge::Clock;
use homeostat_observe::Counters;
use std::sync::Arc;

/// Those that count.
pub struct Counted {
    /// What became of everything that arrived.
    pub arrived: Arc<Counters>,
    /// Requests to the API server.
    pub requests: Arc<RequestCounts>,
    /// Writes of incidents.
    pub incidents: IncidentQueue,
    /// What people were told.
    pub messages: Messages,
    /// The record of decisions.
    pub record: Arc<Standing>,
    /// The token that requests carry.
    pub credentials: Credentials,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Counted {
    /// Puts all of it into `metrics`.
    pub fn show(&self, metrics: &Metrics) {
        for (source, fate, total) in self.arrived.rows() {
            metrics.source_items(source.name(), fate.name(), total);
        }
        for (verb, result, total) in self.requests.rows() {
            metrics.api_requests(verb, result, total);
        }
        let counts = self.incidents.counts();
        for (result, total) in [
            ("created", counts.created),
            ("updated", counts.updated),
            ("failed", counts.failed),
            ("dropped", counts.dropped),
        ] {
            metrics.incident_writes(result, total);
        }
        metrics.incidents_unclosed(counts.unclosed);
        metrics.audit_record(self.record.waiting(), self.record.lost());
        metrics.credentials_expire(self.credentials.left(self.clock.now()));
        for (outcome, total) in self.messages.counts() {
            metrics.messages(outcome, total);
        }
    }
}
