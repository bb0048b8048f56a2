//! Incidents and actions that are over go away: the API server is no archive. By the leader only.
//!
//! An action is kept while anything may need it: it is open, its incident is open, or it ended less than a day ago, as
//! budgets and breakers look back a day. A repair that was sent and did not help counts for its workload's cool-down as long as
//! the guards remember a row of such.

use crate::client::{call, label};
use crate::elector::Leadership;
use crate::error::ClusterError;
use crate::watches::light::{Body, Light, Meta, null_is_empty};
use homeostat_crds::v1alpha1::action::Origin;
use homeostat_crds::v1alpha1::{Action, Incident};
use homeostat_execute::driver::{PROPOSAL_OUTLIVED, PROPOSAL_RAISED};
use homeostat_execute::lookback::ROW;
use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::{Clock, Name, ObjectKey, SignedDuration, Snapshot, SnapshotSource, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Newest objects that are over, per namespace and kind.
    pub newest: usize,
    /// Longest time that something that is over stays, where no tenant says otherwise.
    pub age: SignedDuration,
    /// The same for recommendations that nobody carried out and their incidents: `homeostat levels --what-if` tells from
    /// them what a level would have done in a month.
    pub recommended: SignedDuration,
    /// Time that an ended action stays at least.
    pub actions_at_least: SignedDuration,
    /// The same for repairs that did not help.
    pub failures_at_least: SignedDuration,
    /// Time between two rounds.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            newest: 500,
            age: SignedDuration::from_hours(7 * 24),
            recommended: SignedDuration::from_hours(30 * 24),
            actions_at_least: SignedDuration::from_hours(25),
            failures_at_least: ROW,
            every: Duration::from_mins(10),
        }
    }
}

impl Retention {
    /// What stays in these namespaces together, as their tenants say; no namespace: what ships.
    #[must_use]
    pub fn within<'a>(self, namespaces: impl IntoIterator<Item = &'a Name>, snapshot: &Snapshot) -> Self {
        let kept =
            |name: &Name| snapshot.tenant_of_namespace(name).map_or(self.age, |tenant| tenant.closed_kept);
        Self { age: namespaces.into_iter().map(kept).min().unwrap_or(self.age), ..self }
    }
}

/// Removes what is over.
pub struct Janitor {
    client: Client,
    retention: Retention,
    snapshots: Arc<dyn SnapshotSource>,
    namespaces: BTreeSet<String>,
    clock: Arc<dyn Clock>,
}

/// An incident or action, as far as its end is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remnant {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID, so that only this object is removed.
    pub uid: Name,
    /// When it ended, or was created where it never got a state: nothing was or will be done for it. `None` while it
    /// has not ended.
    pub ended: Option<Timestamp>,
    /// The incident that an action serves; for incidents their own name.
    pub incident: Name,
    /// A recommendation that stood until its incident was over or its level was raised.
    pub recommended: bool,
    /// A repair that had an effect and did not help.
    pub in_vain: bool,
}

/// What goes, purely: first the incidents, then the actions. Each namespace's tenant says how long they stay there.
pub fn superfluous(
    incidents: &[Remnant],
    actions: &[Remnant],
    retention: Retention,
    snapshot: &Snapshot,
    now: Timestamp,
) -> (Vec<Remnant>, Vec<Remnant>) {
    let open: BTreeSet<(&Name, &Name)> = incidents
        .iter()
        .filter(|incident| incident.ended.is_none())
        .map(|incident| (&incident.key.namespace, &incident.key.name))
        .collect();
    let old_enough = |action: &&Remnant| {
        let least = if action.in_vain { retention.failures_at_least } else { retention.actions_at_least };
        action.ended.is_some_and(|at| now.duration_since(at) >= least)
            && !open.contains(&(&action.key.namespace, &action.incident))
    };
    let recommended: BTreeSet<(&Name, &Name)> = actions
        .iter()
        .filter(|action| action.recommended)
        .map(|action| (&action.key.namespace, &action.incident))
        .collect();
    let age_of = |one: &Remnant, advised: bool| {
        let kept = retention.within([&one.key.namespace], snapshot).age;
        if advised { kept.max(retention.recommended) } else { kept }
    };
    let age = |incident: &Remnant| {
        age_of(incident, recommended.contains(&(&incident.key.namespace, &incident.key.name)))
    };
    let incidents = over(incidents.iter(), age, retention.newest, now);
    let age = |action: &Remnant| age_of(action, action.recommended);
    (incidents, over(actions.iter().filter(old_enough), age, retention.newest, now))
}

fn over<'a>(
    all: impl Iterator<Item = &'a Remnant>,
    age: impl Fn(&Remnant) -> SignedDuration,
    newest: usize,
    now: Timestamp,
) -> Vec<Remnant> {
    let mut by_namespace: BTreeMap<&Name, Vec<(Timestamp, &Remnant)>> = BTreeMap::new();
    for one in all {
        if let Some(ended) = one.ended {
            by_namespace.entry(&one.key.namespace).or_default().push((ended, one));
        }
    }
    let mut gone = Vec::new();
    for list in by_namespace.values_mut() {
        list.sort_by_key(|(ended, one)| (std::cmp::Reverse(*ended), one.key.name.clone()));
        let superfluous = list
            .iter()
            .enumerate()
            .filter(|(place, (ended, one))| *place >= newest || now.duration_since(*ended) >= age(one));
        gone.extend(superfluous.map(|(_, (_, one))| (*one).clone()));
    }
    gone
}

impl Janitor {
    /// A janitor for these namespaces; empty means all.
    pub fn new(
        client: Client,
        retention: Retention,
        snapshots: Arc<dyn SnapshotSource>,
        namespaces: BTreeSet<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { client, retention, snapshots, namespaces, clock }
    }

    /// Cleans up now and then until `shutdown`, while this replica leads.
    pub async fn run(self, leadership: Leadership, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.retention.every) => {}
            }
            if leadership.leads()
                && let Err(error) = self.round(&leadership).await
            {
                tracing::warn!(category = error.category().name(), %error, "Cleaning up was interrupted");
            }
        }
    }

    /// One round; gives how many objects went.
    pub async fn round(&self, leadership: &Leadership) -> Result<usize, ClusterError> {
        let (now, snapshot) = (self.clock.now(), self.snapshots.current());
        // Who keeps for how long is not known yet: what a tenant wants to keep is not taken away for that.
        if !snapshot.synced.contains(&ObjectKind::Tenant) {
            return Ok(0);
        }
        let incidents: Vec<Remnant> = self.list::<Over<Incident>>().await?;
        let actions: Vec<Remnant> = self.list::<Over<Action>>().await?;
        let (incidents, actions) = superfluous(&incidents, &actions, self.retention, &snapshot, now);
        let mut count = 0;
        for (kind, gone) in [("Incident", incidents), ("Action", actions)] {
            for one in gone {
                if !leadership.leads() {
                    return Ok(count);
                }
                let deleted = if kind == "Incident" {
                    self.delete::<Incident>(kind, &one).await
                } else {
                    self.delete::<Action>(kind, &one).await
                };
                match deleted {
                    Ok(()) => count += 1,
                    Err(ClusterError::NotFound { .. } | ClusterError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(count)
    }

    async fn delete<K>(&self, kind: &'static str, one: &Remnant) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &one.key.namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(one.uid.to_string()), resource_version: None }),
            ..DeleteParams::default()
        };
        call("delete", &label(kind, &one.key), api.delete(&one.key.name, &params)).await.map(drop)
    }

    async fn list<B: Body + Ended>(&self) -> Result<Vec<Remnant>, ClusterError>
    where
        B::Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let name = Name::from(B::Kind::plural(&()).into_owned());
        let apis: Vec<Api<Light<B>>> = if self.namespaces.is_empty() {
            vec![Api::all(self.client.clone())]
        } else {
            self.namespaces.iter().map(|one| Api::namespaced(self.client.clone(), one)).collect()
        };
        let mut remnants = Vec::new();
        for api in apis {
            let mut params = ListParams::default().limit(500);
            loop {
                let page = call("list", &name, api.list(&params)).await?;
                remnants.extend(page.items.into_iter().filter_map(|item| Some(item.body.ok()?.remnant())));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params = params.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(remnants)
    }
}

trait Ended {
    fn remnant(self) -> Remnant;
}

/// The parts that tell whether something is over.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
struct Over<K> {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    spec: Spec,
    status: Option<Status>,
    #[serde(skip)]
    kind: std::marker::PhantomData<K>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    origin: Origin,
    incident_ref: Option<Reference>,
}

#[derive(Clone, Debug, Deserialize)]
struct Reference {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    /// Of actions; why they ended.
    message: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    instants: Instants,
    /// Of actions that were watched.
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug, Deserialize)]
struct Outcome {
    helped: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Instants {
    /// Incidents.
    resolved: Option<Time>,
    /// Actions.
    closed: Option<Time>,
    /// Actions; their effect was sent.
    sent: Option<Time>,
}

impl<K> Body for Over<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    type Kind = K;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl<K> Ended for Over<K> {
    fn remnant(self) -> Remnant {
        let Self { metadata, spec, status, .. } = self;
        let message = status.as_ref().and_then(|status| status.message.as_deref());
        let recommended = message.is_some_and(|why| [PROPOSAL_OUTLIVED, PROPOSAL_RAISED].contains(&why));
        let in_vain = spec.origin == Origin::Incident
            && status.as_ref().is_some_and(|status| {
                status.instants.sent.is_some()
                    && status.outcome.as_ref().is_none_or(|outcome| !outcome.helped)
            });
        let ended = match status {
            Some(Status { instants: Instants { resolved, closed, .. }, .. }) => resolved.or(closed),
            // Its writer has either given it one within a minute, or did not come back.
            None => metadata.creation_timestamp.clone(),
        };
        let name = Name::from(metadata.name.as_str());
        Remnant {
            key: ObjectKey { namespace: Name::from(metadata.namespace.as_str()), name: name.clone() },
            uid: Name::from(metadata.uid.as_str()),
            ended: ended.map(|at| at.0),
            incident: spec.incident_ref.map_or(name, |incident| Name::from(incident.name)),
            recommended,
            in_vain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 10_000_000;

    fn remnant(name: &str, incident: &str, ended_ago: Option<i64>) -> Remnant {
        Remnant {
            key: ObjectKey::new("shop", name),
            uid: Name::from(name),
            ended: ended_ago.map(|ago| Timestamp::from_second(NOW - ago).unwrap()),
            incident: Name::from(incident),
            recommended: false,
            in_vain: false,
        }
    }

    fn names(incidents: &[Remnant], actions: &[Remnant]) -> (Vec<String>, Vec<String>) {
        let retention = Retention { newest: 2, ..Retention::default() };
        let now = Timestamp::from_second(NOW).unwrap();
        let (incidents, actions) = superfluous(incidents, actions, retention, &Snapshot::default(), now);
        let names = |all: Vec<Remnant>| all.iter().map(|one| one.key.name.to_string()).collect();
        (names(incidents), names(actions))
    }

    #[test]
    fn the_newest_stay_and_open_ones_in_any_case() {
        let incidents = [
            remnant("open", "open", None),
            remnant("a", "a", Some(30)),
            remnant("b", "b", Some(20)),
            remnant("c", "c", Some(10)),
            remnant("ancient", "ancient", Some(8 * 24 * 3_600)),
        ];
        assert_eq!(names(&incidents, &[]).0, ["a", "ancient"]);
        assert_eq!(names(&incidents[..3], &[]).0, Vec::<String>::new());
    }

    #[test]
    fn each_tenant_says_how_long_its_own_stay() {
        use homeostat_knowledge::observation::{Change, ObjectChange};
        use homeostat_knowledge::{TenantName, TenantPolicy, Uid};
        let mut snapshot = Snapshot::default();
        for (name, hours) in [("shop", 2), ("bank", 400)] {
            let policy = TenantPolicy {
                closed_kept: SignedDuration::from_hours(hours),
                ..TenantPolicy::new(TenantName::new(name), Uid::new(name), [Name::from(name)])
            };
            snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(policy))), Timestamp::UNIX_EPOCH);
        }
        let hour = 3_600;
        let of = |namespace: &str, hours: i64| Remnant {
            key: ObjectKey::new(namespace, "a"),
            ..remnant("a", "a", Some(hours * hour))
        };
        let goes = |one: Remnant, action: bool| {
            let now = Timestamp::from_second(NOW).unwrap();
            let (incidents, actions) = if action { (vec![], vec![one]) } else { (vec![one], vec![]) };
            let (incidents, actions) =
                superfluous(&incidents, &actions, Retention::default(), &snapshot, now);
            incidents.len() + actions.len() == 1
        };
        assert!(!goes(of("shop", 1), false) && goes(of("shop", 3), false));
        assert!(!goes(of("bank", 300), false) && goes(of("bank", 401), false));
        assert!(!goes(of("nobody", 167), false) && goes(of("nobody", 169), false), "what ships");
        assert!(!goes(of("shop", 24), true) && goes(of("shop", 26), true), "budgets look back a day");
        let in_vain = |hours| Remnant { in_vain: true, ..of("shop", hours) };
        assert!(!goes(in_vain(7 * 24 - 1), true) && goes(in_vain(7 * 24 + 1), true), "cool-downs a week");
        let advised = Remnant { recommended: true, ..of("shop", 74) };
        assert!(!goes(advised, true), "levels --what-if looks back a month");
        let both = [Name::from("bank"), Name::from("shop")];
        let kept = Retention::default().within(&both, &snapshot).age;
        assert_eq!(kept, SignedDuration::from_hours(2), "a report knows no more than the least");
    }

    #[test]
    fn recommendations_and_their_incidents_stay_for_a_month_within_the_same_number() {
        let day = 24 * 3_600;
        let advised = |name: &str, incident: &str, days: i64| Remnant {
            recommended: true,
            ..remnant(name, incident, Some(days * day))
        };
        let incidents = [remnant("a", "a", Some(29 * day)), remnant("b", "b", Some(8 * day))];
        let actions = [advised("a-1", "a", 29), remnant("b-1", "b", Some(8 * day))];
        assert_eq!(names(&incidents, &actions), (vec!["b".to_owned()], vec!["b-1".to_owned()]));
        let older = [advised("a-1", "a", 30)];
        assert_eq!(names(&incidents[..1], &older).1, ["a-1"]);
        let many = [advised("1", "a", 12), advised("2", "a", 11), advised("3", "a", 10)];
        assert_eq!(names(&[], &many).1, ["1"], "the newest two, as of everything else");
        let stored = |message: &str| {
            let object = serde_json::json!({
                "metadata": { "name": "order-1", "namespace": "shop" },
                "spec": { "incidentRef": { "name": "order" } },
                "status": { "state": "Cancelled", "message": message },
            });
            serde_json::from_value::<Over<Action>>(object).unwrap().remnant().recommended
        };
        assert!(stored(PROPOSAL_OUTLIVED) && stored(PROPOSAL_RAISED) && !stored("target gone"));
    }

    #[test]
    fn only_repairs_that_were_sent_and_did_not_help_count_for_a_cool_down() {
        let in_vain = |origin: &str, status: serde_json::Value| {
            let object = serde_json::json!({
                "metadata": { "name": "order-1", "namespace": "shop" },
                "spec": { "origin": origin, "incidentRef": { "name": "order" } },
                "status": status,
            });
            serde_json::from_value::<Over<Action>>(object).unwrap().remnant().in_vain
        };
        let ended = |sent: bool, helped: Option<bool>| {
            let mut status =
                serde_json::json!({ "state": "Failed", "instants": { "closed": "2026-01-02T03:05:00Z" } });
            if sent {
                status["instants"]["sent"] = "2026-01-02T03:04:05Z".into();
            }
            if let Some(helped) = helped {
                status["outcome"] = serde_json::json!({ "helped": helped, "result": "Worse", "reason": "" });
            }
            status
        };
        assert!(in_vain("Incident", ended(true, Some(false))) && in_vain("Incident", ended(true, None)));
        assert!(!in_vain("Incident", ended(true, Some(true))) && !in_vain("Incident", ended(false, None)));
        assert!(!in_vain("Schedule", ended(true, Some(false))));
    }

    #[test]
    fn what_never_got_a_state_is_over_since_it_was_created() {
        let ended = |more: &serde_json::Value| {
            let mut object = serde_json::json!({
                "metadata": { "name": "order-1", "namespace": "shop", "creationTimestamp": "2026-01-02T03:04:05Z" },
                "spec": { "incidentRef": { "name": "order" } },
            });
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Over<Action>>(object).unwrap().remnant().ended
        };
        let created = "2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap();
        assert_eq!(ended(&serde_json::json!({})), Some(created));
        assert_eq!(ended(&serde_json::json!({ "status": { "state": "Proposed" } })), None, "it stands");
        let closed = serde_json::json!({ "status": { "instants": { "closed": "2026-01-02T03:05:00Z" } } });
        assert_eq!(ended(&closed), Some("2026-01-02T03:05:00Z".parse().unwrap()));
    }

    #[test]
    fn actions_stay_while_budgets_or_an_open_incident_need_them() {
        let day = 24 * 3_600;
        let incidents = [remnant("open", "open", None)];
        let actions = [
            remnant("1", "gone", Some(9 * day)),
            remnant("2", "open", Some(9 * day)),
            remnant("3", "gone", Some(3_600)),
            remnant("4", "gone", None),
        ];
        assert_eq!(names(&incidents, &actions).1, ["1"]);
    }
}
