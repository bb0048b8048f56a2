//! Whether a tenant's people can be told, as its condition says it.

use crate::validate::{Route, TenantEntry};
use homeostat_crds::conditions::{Condition, Statement};
use homeostat_crds::{ConditionStatus, ConditionType, Reason};
use homeostat_knowledge::{Name, TenantName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How one route of a tenant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteStanding {
    /// Its address can be used; nothing was sent there since this replica leads.
    NotTried,
    /// What was sent last was taken.
    Works,
    /// There is no address that can be used: what is wrong and what to do, without the address.
    NotUsable(String),
    /// What was sent last was not taken: why and what to do, without the address.
    NotTaken(String),
}

/// Of every route that was looked at, by tenant and name of the route.
pub type RouteStandings = Arc<BTreeMap<TenantName, BTreeMap<Name, RouteStanding>>>;

/// Whether people can be told by every route of a tenant; `None` when it has none.
pub(super) fn of_tenant(entry: &TenantEntry, all: &RouteStandings) -> Option<Statement> {
    if entry.routes.is_empty() {
        return None;
    }
    // What an earlier leader found counts until it is known better, for as long as the spec is the same.
    let stored = entry.told.as_ref().filter(|told| told.observed_generation == Some(entry.generation));
    let Some(found) = all.get(&entry.name) else {
        let unknown = || state(ConditionStatus::Unknown, Reason::Pending, "Not looked at yet");
        return Some(stored.map_or_else(unknown, repeated));
    };
    let standing = |route: &Route| found.get(&route.name).unwrap_or(&RouteStanding::NotTried);
    let mut reason = Reason::RouteNotTaken;
    let mut troubles = Vec::new();
    for route in &entry.routes {
        match standing(route) {
            RouteStanding::NotUsable(why) => {
                reason = Reason::RouteNotUsable;
                troubles.push(format!("{}{why}", named(route)));
            }
            RouteStanding::NotTaken(why) => troubles.push(format!("{}{why}", named(route))),
            RouteStanding::Works | RouteStanding::NotTried => {}
        }
    }
    if !troubles.is_empty() {
        let text = format!("People are not told by {}", troubles.join("; nor by "));
        return Some(state(ConditionStatus::False, reason, &text));
    }
    let mut untried = entry.routes.iter().filter(|route| *standing(route) == RouteStanding::NotTried);
    let not_taken = |told: &&Condition| told.reason == Reason::RouteNotTaken.to_string();
    let earlier =
        stored.filter(not_taken).filter(|told| untried.any(|route| told.message.contains(&named(route))));
    let well = || state(ConditionStatus::True, Reason::AsExpected, "");
    Some(earlier.map_or_else(well, repeated))
}

fn state(status: ConditionStatus, reason: Reason, text: &str) -> Statement {
    Statement::new(ConditionType::NotifyReady, status, reason, text)
}

/// A route with where its address is; never the address.
fn named(route: &Route) -> String {
    format!("route {} (key {} of Secret {}): ", route.name, route.key, route.secret)
}

/// What is stored, once more.
fn repeated(told: &Condition) -> Statement {
    let known = [Reason::AsExpected, Reason::RouteNotUsable, Reason::RouteNotTaken];
    let reason = known.into_iter().find(|reason| reason.to_string() == told.reason);
    state(told.status, reason.unwrap_or(Reason::Pending), &told.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_crds::MicroTime;
    use homeostat_crds::conditions::set;
    use homeostat_crds::v1alpha1::tenant::NotifyKind;
    use homeostat_knowledge::Timestamp;
    use homeostat_knowledge::ids::Uid;
    use std::collections::BTreeSet;

    fn route(name: &str) -> Route {
        Route {
            name: Name::from(name),
            kind: NotifyKind::Webhook,
            secret: Name::from("hooks"),
            key: Name::from(name),
            severities: BTreeSet::new(),
            contact: None,
        }
    }

    fn tenant(routes: &[&str]) -> TenantEntry {
        TenantEntry {
            name: TenantName::new("food"),
            uid: Uid::new("t"),
            generation: 1,
            created: Timestamp::UNIX_EPOCH,
            policy: Ok(Arc::new(crate::status::desired::tests::rules())),
            contested: Vec::new(),
            routes: routes.iter().map(|name| route(name)).collect(),
            told: None,
            seen: 0,
        }
    }

    fn found(standings: &[(&str, RouteStanding)]) -> RouteStandings {
        let all = standings.iter().map(|(name, standing)| (Name::from(*name), standing.clone())).collect();
        Arc::new(BTreeMap::from([(TenantName::new("food"), all)]))
    }

    /// As the API server holds it, and the next leader sees it.
    fn store(entry: &mut TenantEntry, statement: Statement) {
        let mut all = Vec::new();
        set(&mut all, statement, Some(entry.generation), MicroTime::new(Timestamp::UNIX_EPOCH));
        entry.told = all.pop();
    }

    fn not_taken() -> RouteStanding {
        RouteStanding::NotTaken("its receiver refuses messages (status 404); see".to_owned())
    }

    #[test]
    fn a_tenant_that_tells_nobody_says_nothing_of_it() {
        assert_eq!(of_tenant(&tenant(&[]), &found(&[])), None);
    }

    #[test]
    fn the_routes_that_do_not_work_are_named_with_what_to_change() {
        let entry = tenant(&["oncall", "chat", "mail"]);
        let gone = RouteStanding::NotUsable("the key of its Secret is not there; list it".to_owned());
        let all = found(&[("oncall", not_taken()), ("chat", RouteStanding::Works), ("mail", gone)]);
        let said = of_tenant(&entry, &all).unwrap();
        assert_eq!((said.status, said.reason), (ConditionStatus::False, Reason::RouteNotUsable));
        assert_eq!(
            said.message,
            "People are not told by route oncall (key oncall of Secret hooks): its receiver refuses messages (status 404); \
             see; nor by route mail (key mail of Secret hooks): the key of its Secret is not there; list it"
        );
        let works = found(&[("oncall", RouteStanding::Works)]);
        let said = of_tenant(&entry, &works).unwrap();
        assert_eq!(
            (said.status, said.message.as_str()),
            (ConditionStatus::True, ""),
            "mended, or not tried yet"
        );
    }

    #[test]
    fn what_an_earlier_leader_found_counts_until_a_message_gets_through() {
        let mut entry = tenant(&["oncall"]);
        let before = of_tenant(&entry, &found(&[("oncall", not_taken())])).unwrap();
        store(&mut entry, before.clone());
        assert_eq!(
            of_tenant(&entry, &RouteStandings::default()),
            Some(before.clone()),
            "nothing is looked at yet"
        );
        let idle = found(&[("oncall", RouteStanding::NotTried)]);
        assert_eq!(of_tenant(&entry, &idle), Some(before), "nothing was sent yet");
        let works = found(&[("oncall", RouteStanding::Works)]);
        assert_eq!(of_tenant(&entry, &works).unwrap().status, ConditionStatus::True);
        entry.generation = 2;
        assert_eq!(
            of_tenant(&entry, &idle).unwrap().status,
            ConditionStatus::True,
            "somebody changed the spec"
        );
        assert_eq!(
            of_tenant(&entry, &RouteStandings::default()).unwrap().status,
            ConditionStatus::Unknown,
            "nothing is known of the new one"
        );
    }

    #[test]
    fn a_key_that_is_there_again_counts_at_once() {
        let mut entry = tenant(&["oncall"]);
        let gone = RouteStanding::NotUsable("the key of its Secret is not there".to_owned());
        let before = of_tenant(&entry, &found(&[("oncall", gone)])).unwrap();
        store(&mut entry, before);
        let there = found(&[("oncall", RouteStanding::NotTried)]);
        assert_eq!(of_tenant(&entry, &there).unwrap().status, ConditionStatus::True);
    }
}
