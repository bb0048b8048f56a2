//! Stores actions as `Action` objects: the spec by creation, every state by a conditional status update.

use super::mapping::{record, spec, status};
use crate::client::{FIELD_MANAGER, call, label};
use crate::error::{Category, ClusterError};
use homeostat_crds::common::{LABEL_INCIDENT, LABEL_TENANT, LABEL_WORKLOAD};
use homeostat_crds::conditions::{Condition, Statement, set};
use homeostat_crds::v1alpha1::Action;
use homeostat_crds::{ConditionType, MicroTime, Reason};
use homeostat_execute::ports::{Ledger, LedgerStoreError};
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, ApprovalDecision, Clock, GuardResult, Name, ObjectKey, Origin,
    SignedDuration,
};
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Actions whose conditions are remembered for their transition times.
const REMEMBERED: usize = 1_024;

/// The ledger over the API server.
pub struct ApiLedger {
    client: Client,
    clock: Arc<dyn Clock>,
    conditions: Mutex<HashMap<ActionId, Vec<Condition>>>,
}

impl ApiLedger {
    /// A ledger. `clock` fills transition times and the instant of approvals that do not say one.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, conditions: Mutex::new(HashMap::new()) }
    }

    fn api(&self, namespace: &str) -> Api<Action> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// One conditional update of the status; gives the new version.
    async fn put(&self, record: &ActionRecord, version: &str) -> Result<Name, ClusterError> {
        let mut object = object(record, Some(version));
        let mut state = status(record);
        state.conditions = self.conditions(record);
        object.status = Some(state);
        let stored = call(
            "store the state of",
            &label("Action", &record.key()),
            self.api(&record.namespace).replace_status(&record.id.0, &params(), &object),
        )
        .await?;
        Ok(Name::from(stored.metadata.resource_version.unwrap_or_default()))
    }

    fn conditions(&self, record: &ActionRecord) -> Vec<Condition> {
        let mut all = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&record.id) {
            all.clear();
        }
        let now = MicroTime::new(self.clock.now());
        let conditions = all.entry(record.id.clone()).or_default();
        for statement in statements(record) {
            set(conditions, statement, None, now);
        }
        let conditions = conditions.clone();
        if record.state.ended() {
            all.remove(&record.id);
        }
        conditions
    }
}

fn object(record: &ActionRecord, version: Option<&str>) -> Action {
    let mut object = Action::new(record.id.as_str(), spec(record));
    object.metadata.namespace = Some(record.namespace.to_string());
    object.metadata.resource_version = version.map(str::to_owned);
    object
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

impl Ledger for ApiLedger {
    async fn create(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        let mut object = object(record, None);
        object.metadata.labels = Some(labels(record));
        let api = self.api(&record.namespace);
        let name = label("Action", &record.key());
        let stored =
            call("create", &name, api.create(&params(), &object)).await.map_err(|e| store_error(&e))?;
        let version = stored.metadata.resource_version.unwrap_or_default();
        // Dies in between: the object has no status and is taken up as a proposal, nothing was sent.
        self.put(record, &version).await.map_err(|error| match store_error(&error) {
            // The object is stored now; only its state is not, so the caller has to look.
            LedgerStoreError::Transient { reason, .. } => LedgerStoreError::Unknown(reason),
            other => other,
        })
    }

    async fn update(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        self.put(record, &record.resource_version).await.map_err(|error| store_error(&error))
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<ActionRecord>, LedgerStoreError> {
        let found = call("read", &label("Action", key), self.api(&key.namespace).get_opt(&key.name))
            .await
            .map_err(|error| store_error(&error))?;
        found
            .map(|object| record(&object, self.clock.now()))
            .transpose()
            .map_err(|error| LedgerStoreError::Denied(error.to_string()))
    }
}

fn store_error(error: &ClusterError) -> LedgerStoreError {
    match error {
        ClusterError::Exists { .. } => LedgerStoreError::AlreadyExists,
        ClusterError::Conflict { .. } => LedgerStoreError::Conflict,
        ClusterError::NotFound { .. } => LedgerStoreError::NotFound,
        ClusterError::Waiting { after, .. } => LedgerStoreError::Transient {
            reason: error.to_string(),
            retry_after: after.and_then(|after| SignedDuration::try_from(after).ok()),
        },
        _ if error.outcome_unknown() => LedgerStoreError::Unknown(error.to_string()),
        _ if error.category() == Category::Transient => {
            LedgerStoreError::Transient { reason: error.to_string(), retry_after: None }
        }
        _ => LedgerStoreError::Denied(error.to_string()),
    }
}

fn labels(record: &ActionRecord) -> BTreeMap<String, String> {
    let incident = match record.origin {
        Origin::Incident => record.incident.as_str(),
        Origin::Forecast | Origin::Schedule => "",
    };
    [
        ("app.kubernetes.io/managed-by", "homeostat"),
        (LABEL_TENANT, &*record.tenant.0),
        (LABEL_INCIDENT, incident),
        (LABEL_WORKLOAD, &*record.workload.name),
    ]
    .into_iter()
    // Longer names than a label can hold are found in the spec; no incident is no label.
    .filter(|(_, value)| (1..=63).contains(&value.len()))
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .collect()
}

fn statements(record: &ActionRecord) -> Vec<Statement> {
    let message = record.message.as_str();
    let (ready, reason) = match record.state {
        ActionState::Proposed => (false, Reason::LevelTooLow),
        ActionState::AwaitingApproval => (false, Reason::AwaitingApproval),
        ActionState::Admitted | ActionState::Claimed | ActionState::Sent => (false, Reason::Acting),
        ActionState::Verifying => (false, Reason::Verifying),
        ActionState::Verified => (true, Reason::Verified),
        ActionState::Refused => (false, Reason::GuardRefused),
        ActionState::Undone => (false, Reason::Undone),
        ActionState::Failed => (false, Reason::Failed),
        ActionState::Cancelled => (false, Reason::Cancelled),
        ActionState::HandedOver => (false, Reason::HandedOver),
    };
    let refused = record.guards.iter().find(|guard| !guard.result.permits());
    let mut all = vec![Statement::new(ConditionType::Ready, ready, reason, message)];
    all.push(match (refused, record.guards.is_empty()) {
        (Some(guard), _) => {
            let why = match guard.result {
                GuardResult::Unknown => "could not be found out",
                _ => "said no",
            };
            let text = format!("{} {why}: {}. {}", guard.name.name(), guard.observed, guard.message);
            Statement::new(ConditionType::Admitted, false, Reason::GuardRefused, text)
        }
        (None, false) => Statement::new(ConditionType::Admitted, true, Reason::GuardsPassed, ""),
        (None, true) => Statement::new(
            ConditionType::Admitted,
            homeostat_crds::ConditionStatus::Unknown,
            Reason::Pending,
            "",
        ),
    });
    if let Some(approval) = &record.approval {
        let yes = approval.decision == ApprovalDecision::Approve;
        let reason = if yes { Reason::Approved } else { Reason::Denied };
        let text = format!("by {}", approval.approved_by);
        all.push(Statement::new(ConditionType::Approved, yes, reason, text));
    } else if record.state == ActionState::AwaitingApproval {
        all.push(Statement::new(ConditionType::Approved, false, Reason::AwaitingApproval, message));
    }
    if let Some(outcome) = &record.outcome {
        let reason = if outcome.helped { Reason::Verified } else { Reason::NotVerified };
        let text = outcome.reason.as_str();
        all.push(Statement::new(ConditionType::Verified, outcome.helped, reason, text));
    }
    if record.state == ActionState::HandedOver {
        all.push(Statement::new(ConditionType::HandedOver, true, Reason::HandedOver, message));
    }
    all
}
