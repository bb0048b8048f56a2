//! One tenant's optimisations fail on weekends: when the first run failed, and when an Incident said so.

use homeostat_crds::v1alpha1::Incident;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;
use std::collections::BTreeSet;

use super::PREFIX;
use crate::demo::DemoError;
use crate::demo::live::Live;

/// What must be found.
const BROKEN: &str = "optimisation";

/// What was seen of it, on the clock of who watches, in seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Weekend {
    /// Namespace of the tenant.
    pub tenant: String,
    /// When its first run failed.
    pub failed_at: Option<f64>,
    /// When an Incident about it was there.
    pub found_at: Option<f64>,
    /// When one of its runs was good again.
    pub mended_at: Option<f64>,
    /// Incidents about anything else, as people read them.
    pub others: BTreeSet<String>,
}

impl Weekend {
    /// Watches a tenant.
    pub fn of(tenant: u32) -> Self {
        Self { tenant: format!("{PREFIX}{tenant}"), ..Self::default() }
    }

    /// Seconds from the first failed run to the Incident.
    pub fn found_after(&self) -> Option<f64> {
        Some((self.found_at? - self.failed_at?).max(0.0))
    }

    /// A run of this tenant failed, or was good, at this moment.
    pub fn ran(&mut self, tenant: &str, good: bool, at: f64) {
        if tenant != self.tenant {
            return;
        }
        match (good, self.failed_at, self.mended_at) {
            (false, None, _) => self.failed_at = Some(at),
            (true, Some(failed), None) if at > failed => self.mended_at = Some(at),
            _ => {}
        }
    }

    /// Reads the Incidents.
    pub async fn look(&mut self, client: &Client, live: &Live, now: f64) -> Result<(), DemoError> {
        let api: Api<Incident> = Api::all(client.clone());
        let found = api.list(&ListParams::default()).await.map_err(DemoError::api("list Incidents"))?;
        for incident in found {
            let tenant = incident.namespace().unwrap_or_default();
            let Some(status) = &incident.status else { continue };
            let workload = status.workload.as_deref().unwrap_or_default();
            if tenant == self.tenant && workload == BROKEN {
                if self.found_at.is_none()
                    && self
                        .failed_at
                        .is_some_and(|failed| begun(&incident).is_some_and(|begun| begun >= failed))
                {
                    self.found_at = Some(now);
                    let said = status.summary.as_deref().unwrap_or_default();
                    let after = self.found_after().unwrap_or(0.0);
                    live.say(format!("{tenant}/{workload:19} incident after {after:.1} s: {said}"));
                }
            } else if self.others.len() < 100 {
                let cause = status.cause.as_deref().unwrap_or("unknown");
                if self.others.insert(format!("{tenant}/{workload}: {cause}")) {
                    live.say(format!("{tenant}/{workload:19} incident: {cause}"));
                }
            }
        }
        Ok(())
    }
}

/// When it was opened, in seconds since the epoch; the API server notes whole seconds.
fn begun(incident: &Incident) -> Option<f64> {
    let created = incident.metadata.creation_timestamp.as_ref()?;
    Some(created.0.as_millisecond() as f64 / 1_000.0 + 0.999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_after_the_first_failed_run_of_its_tenant() {
        let mut weekend = Weekend::of(3);
        weekend.ran("water-3", true, 5.0);
        weekend.ran("water-1", false, 8.0);
        assert_eq!(weekend.failed_at, None);
        weekend.ran("water-3", false, 10.0);
        weekend.ran("water-3", false, 20.0);
        weekend.found_at = Some(31.5);
        assert_eq!(weekend.found_after(), Some(21.5));
        weekend.ran("water-3", true, 90.0);
        assert_eq!((weekend.failed_at, weekend.mended_at), (Some(10.0), Some(90.0)));
    }
}
