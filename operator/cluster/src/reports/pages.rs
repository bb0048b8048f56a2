//! Incidents and actions as the API server keeps them, for pages: of those that this replica no longer has in memory.

use super::read::{of_incident, pages};
use crate::client::{call, label};
use crate::error::ClusterError;
use crate::incidents::stored;
use crate::ledger::record;
use crate::watches::light::{Light, Whole};
use homeostat_crds::v1alpha1::{Action, Incident as WireIncident};
use homeostat_knowledge::{ActionRecord, Clock, Incident, IncidentId, Name, ObjectKey, Timestamp};
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Incidents on one page, with all their actions.
const MOST: usize = 1_000;

/// Reads stored incidents.
pub struct StoredIncidents {
    client: Client,
    namespaces: BTreeSet<String>,
    clock: Arc<dyn Clock>,
}

/// What was found of a period.
#[derive(Debug, Default)]
pub struct Past {
    /// Incidents with their actions, without findings and history.
    pub incidents: Vec<(Incident, Vec<ActionRecord>)>,
    /// There are more than are shown.
    pub cut: bool,
}

impl StoredIncidents {
    /// A reader of these namespaces; empty means all.
    pub fn new(client: Client, namespaces: BTreeSet<String>, clock: Arc<dyn Clock>) -> Self {
        Self { client, namespaces, clock }
    }

    /// The incident of that name with its actions, oldest first.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn incident(
        &self,
        id: &IncidentId,
    ) -> Result<Option<(Incident, Vec<ActionRecord>)>, ClusterError> {
        let all = if self.namespaces.is_empty() {
            vec![Api::all(self.client.clone())]
        } else {
            self.namespaces.iter().map(|one| Api::namespaced(self.client.clone(), one)).collect()
        };
        let name = label("Incident", &ObjectKey { namespace: Name::from(""), name: id.0.clone() });
        for api in all {
            let api: Api<Light<Whole<WireIncident>>> = api;
            let params = ListParams::default().fields(&format!("metadata.name={id}")).limit(10);
            let found = call("list", &name, api.list(&params)).await?;
            if let Some(incident) = found.items.into_iter().filter_map(read).find(|one| one.id == *id) {
                let (actions, _) = self.actions(&incident.namespace, of_incident(&id.0), whole).await?;
                let theirs = actions.into_iter().filter(|action| action.incident == *id);
                return Ok(Some((incident, theirs.collect())));
            }
        }
        Ok(None)
    }

    /// The incidents that were recognised from `from` to before `to` in these namespaces, oldest first; only those of
    /// `tenant`, where one is named and they name one.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn period(
        &self,
        from: Timestamp,
        to: Timestamp,
        tenant: Option<&str>,
        namespaces: &[Name],
    ) -> Result<Past, ClusterError> {
        let mut past = Past::default();
        let watched = |name: &&Name| self.namespaces.is_empty() || self.namespaces.contains(&***name);
        for namespace in namespaces.iter().filter(watched) {
            let mut incidents: Vec<Incident> = Vec::new();
            let room = MOST.saturating_sub(past.incidents.len());
            let mut full = false;
            let read = pages(&self.client, namespace, ListParams::default(), |object| {
                let Some(incident) = read(object).filter(|one| (from..to).contains(&one.instants.detected))
                else {
                    return;
                };
                let another =
                    tenant.is_some_and(|ours| incident.tenant.as_ref().is_some_and(|one| *one.0 != *ours));
                if !another && incidents.len() < room {
                    incidents.push(short(incident));
                } else {
                    full |= !another;
                }
            });
            let (_, cut) = read.await?;
            past.cut |= cut || full;
            if incidents.is_empty() {
                continue;
            }
            let (actions, cut) = self.actions(namespace, ListParams::default(), in_short).await?;
            past.cut |= cut;
            for incident in incidents {
                let theirs =
                    actions.iter().filter(|action| action.incident == incident.id).cloned().collect();
                past.incidents.push((incident, theirs));
            }
        }
        past.incidents.sort_by(|(one, _), (other, _)| {
            (one.instants.impact_start, &one.id).cmp(&(other.instants.impact_start, &other.id))
        });
        Ok(past)
    }

    async fn actions(
        &self,
        namespace: &str,
        params: ListParams,
        shape: fn(ActionRecord) -> ActionRecord,
    ) -> Result<(Vec<ActionRecord>, bool), ClusterError> {
        let now = self.clock.now();
        let mut actions: Vec<ActionRecord> = Vec::new();
        let read = pages(&self.client, namespace, params, |object: Light<Whole<Action>>| {
            let action = object.body.ok().and_then(|whole| record(&whole.object, now).ok());
            actions.extend(action.map(shape));
        });
        let (_, cut) = read.await?;
        actions.sort_by_key(|action| (action.instants.intent, action.id.clone()));
        Ok((actions, cut))
    }
}

/// What a newer version wrote is left out.
fn read(object: Light<Whole<WireIncident>>) -> Option<Incident> {
    let whole = object.body.ok()?;
    let key = ObjectKey::new(whole.meta.namespace.as_str(), whole.meta.name.as_str());
    stored(&whole.object, whole.meta.created(), key).ok().map(|stored| stored.incident)
}

/// Without what a line of a table does not show.
fn short(mut incident: Incident) -> Incident {
    (incident.findings, incident.timeline) = (Vec::new(), Vec::new());
    incident.causes.truncate(1);
    incident
}

fn whole(action: ActionRecord) -> ActionRecord {
    action
}

fn in_short(action: ActionRecord) -> ActionRecord {
    ActionRecord { guards: Vec::new(), message: String::new(), ..action }
}
