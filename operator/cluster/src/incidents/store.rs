//! Writes one incident: object first, status right after it, nothing when nothing changed.

use super::mapping::{spec, status};
use crate::client::{FIELD_MANAGER, call, label};
use crate::error::{Category, ClusterError};
use crate::status::{StatusApi, digest};
use homeostat_crds::common::{LABEL_TENANT, LABEL_WORKLOAD};
use homeostat_crds::conditions::{Condition, Statement, set};
use homeostat_crds::v1alpha1::Incident as WireIncident;
use homeostat_crds::{ConditionType, MicroTime, Reason};
use homeostat_knowledge::{Clock, Incident, IncidentId, IncidentState};
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Label with the first cause's kind at creation, so that a watch sees it before the status arrives.
pub const LABEL_CAUSE: &str = "homeostat.dev/cause";

/// Incidents whose last written status is remembered; beyond that they are read again.
const REMEMBERED: usize = 4_096;

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The object is new; two requests.
    Created,
    /// The status changed; one request.
    Updated,
    /// It says already what it should; no request.
    Unchanged,
}

#[derive(Clone)]
struct Known {
    digest: u64,
    conditions: Vec<Condition>,
}

/// Writes incidents. Safe to call again with the same incident, after conflicts, and while the object exists.
/// Not to be called for one incident from two tasks at once; [`super::IncidentQueue`] sees to that.
pub struct IncidentStore {
    client: Client,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<IncidentId, Known>>,
}

impl IncidentStore {
    /// A store that knows nothing yet.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, known: Mutex::new(HashMap::new()) }
    }

    /// Forgets what was written: after another replica led, the API server knows better.
    pub fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes the stored incident say what `incident` says.
    pub async fn write(&self, incident: &Incident) -> Result<Written, ClusterError> {
        let api: Api<WireIncident> = Api::namespaced(self.client.clone(), &incident.namespace);
        let mut wire = status(incident);
        let wanted = digest(Some(&wire));
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&incident.id).cloned();
        if known.as_ref().is_some_and(|known| known.digest == wanted) {
            return Ok(Written::Unchanged);
        }
        let (mut created, mut conditions) = match known {
            Some(known) => (false, known.conditions),
            None => self.create_or_read(&api, incident).await?,
        };
        self.state_conditions(&mut conditions, incident);
        wire.conditions.clone_from(&conditions);
        let statuses = StatusApi::new::<WireIncident>(self.client.clone(), incident.key());
        let mut written = statuses.apply(&wire).await;
        if matches!(written, Err(ClusterError::NotFound { .. })) && !created {
            self.remember(incident, None);
            if incident.state.closed() {
                // Somebody cleaned up what is over.
                return Ok(Written::Unchanged);
            }
            // Somebody deleted it while it is open; it is still true.
            self.create(&api, incident).await?;
            created = true;
            written = statuses.apply(&wire).await;
        }
        written?;
        self.remember(incident, Some(Known { digest: wanted, conditions }));
        Ok(if created { Written::Created } else { Written::Updated })
    }

    /// `true` and no conditions when it is new; else the conditions that it has.
    async fn create_or_read(
        &self,
        api: &Api<WireIncident>,
        incident: &Incident,
    ) -> Result<(bool, Vec<Condition>), ClusterError> {
        match self.create(api, incident).await {
            Ok(()) => Ok((true, Vec::new())),
            Err(ClusterError::Exists { .. }) => {
                let object = label("Incident", &incident.key());
                let found = call("get", &object, api.get_opt(&incident.id.0)).await?;
                Ok((
                    false,
                    found.and_then(|found| found.status).map_or_else(Vec::new, |status| status.conditions),
                ))
            }
            Err(error) => Err(error),
        }
    }

    async fn create(&self, api: &Api<WireIncident>, incident: &Incident) -> Result<(), ClusterError> {
        let mut object = WireIncident::new(&incident.id.0, spec(incident));
        object.metadata.labels = Some(labels(incident));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let name = label("Incident", &incident.key());
        call("create", &name, api.create(&params, &object)).await.map(drop)
    }

    fn remember(&self, incident: &Incident, known: Option<Known>) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(known) => {
                if all.len() >= REMEMBERED {
                    all.clear();
                }
                all.insert(incident.id.clone(), known);
            }
            None => {
                all.remove(&incident.id);
            }
        }
    }

    fn state_conditions(&self, conditions: &mut Vec<Condition>, incident: &Incident) {
        let now = MicroTime::new(self.clock.now());
        let (ready, reason, message) = match incident.state {
            IncidentState::Open => (false, Reason::Open, incident.summary()),
            IncidentState::Acting => (false, Reason::Acting, incident.summary()),
            IncidentState::Mitigated => {
                (false, Reason::Mitigated, "Back inside the objective; being watched".into())
            }
            IncidentState::Resolved => (true, Reason::Resolved, "Nothing is left to do".into()),
            IncidentState::HandedOver => {
                (false, Reason::HandedOver, incident.handed_over.clone().unwrap_or_default())
            }
        };
        let acknowledged = match (&incident.acknowledged_by, incident.instants.acknowledged) {
            (Some(person), _) => (true, Reason::AcknowledgedByPerson, format!("{person} looks after it")),
            (None, Some(_)) if incident.actions.is_empty() => {
                (true, Reason::AcknowledgedByAutomation, "Handed over to people".into())
            }
            (None, Some(_)) => (true, Reason::AcknowledgedByAutomation, "An action was taken".into()),
            (None, None) => (false, Reason::Pending, String::new()),
        };
        let over = incident.state == IncidentState::Resolved;
        let handed = incident.handed_over.is_some();
        let resolved = if over { Reason::Resolved } else { Reason::Pending };
        let handed_reason = if handed { Reason::HandedOver } else { Reason::AsExpected };
        for statement in [
            Statement::new(ConditionType::Ready, ready, reason, message),
            Statement::new(ConditionType::Acknowledged, acknowledged.0, acknowledged.1, acknowledged.2),
            Statement::new(ConditionType::Resolved, over, resolved, ""),
            Statement::new(
                ConditionType::HandedOver,
                handed,
                handed_reason,
                incident.handed_over.clone().unwrap_or_default(),
            ),
        ] {
            set(conditions, statement, None, now);
        }
    }
}

fn labels(incident: &Incident) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "homeostat".to_owned())]);
    let mut add = |label: &str, value: &str| {
        // Longer names than a label can hold are found in the status.
        if (1..=63).contains(&value.len()) {
            labels.insert(label.to_owned(), value.to_owned());
        }
    };
    if let Some(tenant) = &incident.tenant {
        add(LABEL_TENANT, &tenant.0);
    }
    if let Some(workload) = &incident.workload {
        add(LABEL_WORKLOAD, &workload.name);
    }
    if let Some(cause) = incident.top_cause() {
        add(LABEL_CAUSE, cause.kind.name());
    }
    labels
}

/// Whether another attempt can help.
pub(crate) fn worth_retrying(error: &ClusterError) -> bool {
    matches!(error.category(), Category::Transient | Category::Waiting | Category::Conflict)
}
