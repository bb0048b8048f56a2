//! The incidents and actions that figures are made from: read in small pages, reduced while reading.

use super::figures::{ActionFacts, IncidentFacts};
use super::judge::Scope;
use crate::client::{call, label};
use crate::error::ClusterError;
use crate::watches::light::{Body, Light, Meta, null_is_empty};
use homeostat_crds::common::LABEL_INCIDENT;
use homeostat_crds::v1alpha1::action::{
    ActionInstants, ActionState, Decision, Origin, aimed_at_cause, word_of_a_person,
};
use homeostat_crds::v1alpha1::incident::{IncidentInstants, IncidentState};
use homeostat_crds::v1alpha1::{Action, Incident};
use homeostat_crds::{MicroTime, Severity};
use homeostat_knowledge::{ActionKind, FindingKind, Name, ObjectKey, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// Objects of one answer: a whole page is in memory while it is read.
const PAGE: u32 = 50;
/// Answers that are asked for of one namespace and kind.
const PAGES: usize = 40;
/// Incidents, and actions, that figures are made from.
const MOST: usize = 5_000;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub incidents: Vec<IncidentFacts>,
    pub actions: Vec<ActionFacts>,
    /// Objects that this version cannot read.
    pub unread: usize,
    /// There are more than are read.
    pub cut: bool,
    /// Most objects of one kind in one namespace.
    pub fullest: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct IncidentBody {
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: IncidentSpec,
    #[serde(default, deserialize_with = "null_is_empty")]
    status: IncidentStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct IncidentSpec {
    tenant: Option<String>,
    acknowledged: Option<IgnoredAny>,
    closed: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IncidentStatus {
    state: Option<IncidentState>,
    cause: Option<String>,
    workload: Option<String>,
    severity: Option<Severity>,
    #[serde(default, deserialize_with = "null_is_empty")]
    causes: Vec<Cause>,
    #[serde(default, deserialize_with = "null_is_empty")]
    instants: IncidentInstants,
    #[serde(default)]
    reopen_count: i32,
    handover: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
struct Cause {
    rank: i32,
    kind: String,
    #[serde(default)]
    entity: Broken,
}

/// What is broken.
#[derive(Clone, Debug, Default, Deserialize)]
struct Broken {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

/// What incidents that are mitigated turned out to be about, by namespace and name.
#[derive(Default)]
struct Blamed(BTreeMap<(Name, Name), (Option<Broken>, Option<String>)>);

impl Blamed {
    fn add(&mut self, body: &IncidentBody) {
        // Before that it may still turn out to be something else.
        if body.status.instants.mitigated.is_some() && self.0.len() < MOST {
            let Meta { namespace, name, .. } = &body.metadata;
            let key = (Name::from(namespace.as_str()), Name::from(name.as_str()));
            let first = body.first_cause().map(|cause| cause.entity.clone());
            self.0.insert(key, (first, body.status.workload.clone()));
        }
    }

    /// Whether what was done for this workload and incident was aimed at what it turned out to be about.
    fn aimed(&self, namespace: &Name, incident: Option<&Name>, acted_on: &str) -> Option<bool> {
        let (cause, workload) = self.0.get(&(namespace.clone(), incident?.clone()))?;
        let cause = cause.as_ref().map(|cause| (cause.kind.as_str(), cause.name.as_str()));
        aimed_at_cause(cause, workload.as_deref(), acted_on)
    }
}

impl Body for IncidentBody {
    type Kind = Incident;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl IncidentBody {
    fn first_cause(&self) -> Option<&Cause> {
        self.status.causes.iter().min_by_key(|cause| cause.rank)
    }

    fn facts(self) -> IncidentFacts {
        let kind = self.first_cause().and_then(|cause| FindingKind::from_name(&cause.kind));
        let expected = kind.is_some_and(FindingKind::only_tells);
        let Self { metadata, spec, status } = self;
        IncidentFacts {
            namespace: Name::from(metadata.namespace.as_str()),
            name: Name::from(metadata.name.as_str()),
            state: status.state,
            severity: status.severity,
            expected,
            cause: status.cause,
            instants: status.instants,
            reopened: status.reopen_count,
            handed_over: status.handover.is_some(),
            by_people: spec.acknowledged.is_some() || spec.closed.is_some(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
struct ActionBody {
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: ActionSpec,
    #[serde(default, deserialize_with = "null_is_empty")]
    status: ActionStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActionSpec {
    #[serde(default)]
    origin: Origin,
    incident_ref: Option<Reference>,
    tenant: Option<String>,
    workload_ref: Option<Reference>,
    #[serde(default)]
    action: String,
    undo_of: Option<IgnoredAny>,
    approval: Option<Answer>,
}

#[derive(Clone, Debug, Deserialize)]
struct Answer {
    decision: Decision,
}

#[derive(Clone, Debug, Deserialize)]
struct Reference {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ActionStatus {
    state: Option<ActionState>,
    instants: Option<ActionInstants>,
}

impl Body for ActionBody {
    type Kind = Action;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl ActionBody {
    fn facts(self, blamed: &Blamed) -> ActionFacts {
        let Self { metadata, spec, status } = self;
        let namespace = Name::from(metadata.namespace.as_str());
        let incident = spec.incident_ref.map(|incident| Name::from(incident.name));
        let acted_on = spec.workload_ref.map(|workload| workload.name);
        let seen = || match status.state {
            Some(ActionState::Undone) => Some(false),
            _ => blamed.aimed(&namespace, incident.as_ref(), acted_on.as_deref()?),
        };
        let right = word_of_a_person(&metadata.annotations).or_else(seen);
        ActionFacts {
            namespace,
            incident,
            origin: spec.origin,
            state: status.state,
            tells: spec.action == ActionKind::Notify.name(),
            undoes: spec.undo_of.is_some(),
            approved: spec.approval.is_some_and(|approval| approval.decision == Decision::Approve),
            right,
            // Claimed and never sent: the request is under way, or it was certainly not carried out.
            at: status.instants.and_then(|instants| {
                instants.sent.or(instants.claimed.filter(|_| status.state == Some(ActionState::Claimed)))
            }),
        }
    }
}

/// Reads what there is of a kind in a namespace, page by page. Gives how many were read, and whether there are more.
pub(super) async fn pages<B: Body>(
    client: &Client,
    namespace: &str,
    mut params: ListParams,
    mut each: impl FnMut(Light<B>),
) -> Result<(usize, bool), ClusterError>
where
    B::Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<Light<B>> = Api::namespaced(client.clone(), namespace);
    let name = label(&B::Kind::plural(&()), &ObjectKey::new(namespace, "all"));
    params.limit = Some(PAGE);
    let mut count = 0;
    for _ in 0..PAGES {
        let page = call("list", &name, api.list(&params)).await?;
        count += page.items.len();
        page.items.into_iter().for_each(&mut each);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok((count, false)),
        }
    }
    Ok((count, true))
}

impl Facts {
    fn read<B, T>(&mut self, object: Light<B>, facts: impl FnOnce(B) -> Option<T>) -> Option<T> {
        let Ok(body) = object.body else {
            self.unread += 1;
            return None;
        };
        facts(body)
    }

    fn counted(&mut self, (count, cut): (usize, bool)) {
        self.fullest = self.fullest.max(count);
        self.cut |= cut;
    }
}

/// What was recognised, and what was sent, from `from` to before `to` in this scope.
pub(super) async fn period(
    client: &Client,
    scope: &Scope,
    from: Timestamp,
    to: Timestamp,
) -> Result<Facts, ClusterError> {
    let mut facts = Facts::default();
    let mut blamed = Blamed::default();
    let inside = |at: Option<MicroTime>| at.is_some_and(|at| (from..to).contains(&at.timestamp()));
    for namespace in &scope.namespaces {
        let read = pages::<IncidentBody>(client, namespace, ListParams::default(), |object| {
            let found = facts.read(object, |body| {
                if !scope.shows(body.spec.tenant.as_deref()) {
                    return None;
                }
                // Also of those that began before: what was done for them may be in the period.
                blamed.add(&body);
                inside(body.status.instants.detected).then(|| body.facts())
            });
            if facts.incidents.len() < MOST {
                facts.incidents.extend(found);
            } else {
                facts.cut |= found.is_some();
            }
        });
        let read = read.await?;
        facts.counted(read);
        let read = pages::<ActionBody>(client, namespace, ListParams::default(), |object| {
            let found = facts.read(object, |body| {
                if !scope.shows(body.spec.tenant.as_deref()) {
                    return None;
                }
                let action = body.facts(&blamed);
                let sent = inside(action.at);
                // A decision of a person counts for its incident whenever the effect was.
                let at = action.at.filter(|_| sent);
                (sent || action.approved).then_some(ActionFacts { at, ..action })
            });
            if facts.actions.len() < MOST {
                facts.actions.extend(found);
            } else {
                facts.cut |= found.is_some();
            }
        });
        let read = read.await?;
        facts.counted(read);
    }
    Ok(facts)
}

/// An incident with its actions; `None` when there is none of that name in the namespace, or it is another tenant's.
pub(super) async fn incident(
    client: &Client,
    scope: &Scope,
    key: &ObjectKey,
) -> Result<Option<(IncidentFacts, Facts)>, ClusterError> {
    let api: Api<Light<IncidentBody>> = Api::namespaced(client.clone(), &key.namespace);
    let found = call("get", &label("Incident", key), api.get_opt(&key.name)).await?;
    let Some(Ok(body)) = found.map(|found| found.body) else { return Ok(None) };
    if !scope.shows(body.spec.tenant.as_deref()) {
        return Ok(None);
    }
    let (mut facts, mut blamed) = (Facts::default(), Blamed::default());
    blamed.add(&body);
    let read = pages::<ActionBody>(client, &key.namespace, of_incident(&key.name), |object| {
        let found = facts.read(object, |body| Some(body.facts(&blamed)));
        let theirs = found.filter(|action| action.incident.as_ref() == Some(&key.name));
        facts.actions.extend(theirs);
    });
    let read = read.await?;
    facts.counted(read);
    Ok(Some((body.facts(), facts)))
}

/// Actions of an incident, by their label; names that are too long for one are looked for among all.
pub(super) fn of_incident(name: &str) -> ListParams {
    let params = ListParams::default();
    if name.len() <= 63 { params.labels(&format!("{LABEL_INCIDENT}={name}")) } else { params }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn action(state: &str, instants: &serde_json::Value, decision: Option<&str>) -> ActionFacts {
        let approval = decision.map(|decision| json!({ "decision": decision, "approvedBy": "ana" }));
        let body = json!({
            "metadata": { "namespace": "shop", "name": "cart-1" },
            "spec": { "action": "EvictPod", "approval": approval },
            "status": { "state": state, "instants": instants },
        });
        let body: ActionBody = serde_json::from_value(body).unwrap();
        body.facts(&Blamed::default())
    }

    #[test]
    fn what_was_certainly_not_carried_out_was_not_sent_and_a_no_is_no_approval() {
        let at = "2026-11-22T12:00:00.000000Z";
        let claimed = json!({ "claimed": at });
        assert!(action("Claimed", &claimed, None).at.is_some(), "it may have been");
        assert!(action("Failed", &claimed, None).at.is_none(), "a disruption budget kept it");
        assert!(action("Failed", &json!({ "claimed": at, "sent": at }), None).at.is_some());
        assert!(action("HandedOver", &json!({ "claimed": at, "sent": at }), None).at.is_some());
        assert!(action("Verified", &claimed, Some("Approve")).approved);
        assert!(!action("Cancelled", &json!({}), Some("Deny")).approved);
    }
}
