//! Gives the pages what the API server keeps.

use homeostat_cluster::reports::StoredIncidents;
use homeostat_console::archive::{Answer, Archive, Past};
use homeostat_console::recent::Closed;
use homeostat_knowledge::{IncidentId, Name, Timestamp};

/// Stored incidents for the pages.
pub struct Stored(pub StoredIncidents);

impl Archive for Stored {
    fn incident(&self, id: IncidentId) -> Answer<'_, Option<Closed>> {
        Box::pin(async move {
            let found = self.0.incident(&id).await.map_err(|error| error.to_string())?;
            Ok(found.map(|(incident, actions)| Closed { incident, actions }))
        })
    }

    fn period(
        &self,
        from: Timestamp,
        to: Timestamp,
        tenant: Option<Name>,
        namespaces: Vec<Name>,
    ) -> Answer<'_, Past> {
        Box::pin(async move {
            let past = self.0.period(from, to, tenant.as_deref(), &namespaces).await;
            let past = past.map_err(|error| error.to_string())?;
            let closed = past.incidents.into_iter().map(|(incident, actions)| Closed { incident, actions });
            Ok(Past { incidents: closed.collect(), cut: past.cut })
        })
    }
}
