//! How each route stands, from what is in its file and what came of the last message. Pure.

use super::address::Trouble;
use super::lanes::{Lanes, Last};
use homeostat_cluster::status::{RouteStanding, RouteStandings};
use homeostat_cluster::validate::Route;
use homeostat_knowledge::TenantName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was found of a route without sending anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Whose.
    pub tenant: TenantName,
    /// The route.
    pub route: Route,
    /// Why nothing can be sent by it.
    pub trouble: Option<Trouble>,
}

/// What people shall see of the routes that were looked at.
pub fn standings(looked: &[Looked], lanes: &Lanes) -> RouteStandings {
    let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for Looked { tenant, route, trouble } in looked {
        let standing = match (trouble, lanes.last(tenant, route)) {
            (Some(trouble), _) => RouteStanding::NotUsable(trouble.to_string()),
            (None, Last::Taken) => RouteStanding::Works,
            (None, Last::Not(trouble)) if !trouble.before_sending() => {
                RouteStanding::NotTaken(trouble.to_string())
            }
            // What kept it from being sent is not so any more.
            (None, Last::Nothing | Last::Not(_)) => RouteStanding::NotTried,
        };
        all.entry(tenant.clone()).or_default().insert(route.name.clone(), standing);
    }
    Arc::new(all)
}
