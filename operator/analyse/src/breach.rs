//! The incident of an own invariant that was found broken, and that of a store that takes no writes: no workload is abnormal,
//! so no finding says it.

use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{
    EvidenceId, IdSource, Incident, IncidentId, IncidentState, Instants, Name, Severity, TenantName,
    Timestamp,
};

/// What the names of these incidents begin with.
const NAME: &str = "homeostat-invariant-";
const STORE: &str = "api-store-full-";

/// The incident of this fault, among those that are open: one that people closed says nothing of what came after it.
pub fn of<'a>(fault: &str, mut open: impl Iterator<Item = &'a mut Incident>) -> Option<&'a mut Incident> {
    let told = |incident: &Incident| incident.handed_over.as_deref().is_some_and(|text| text.contains(fault));
    open.find(|incident| incident.id.as_str().starts_with(NAME) && !incident.state.closed() && told(incident))
}

/// The incident of the store, if it is open.
pub fn of_store<'a>(mut open: impl Iterator<Item = &'a mut Incident>) -> Option<&'a mut Incident> {
    open.find(|incident| incident.id.as_str().starts_with(STORE) && !incident.state.closed())
}

/// All effects are stopped, and no playbook mends Homeostat itself.
pub fn incident(breach: &str, home: &Name, now: Timestamp, ids: &mut dyn IdSource) -> Incident {
    let told = format!(
        "Homeostat’s own invariant {breach}. This replica does nothing any more until it is restarted. Keep its log and \
         the Action and report them; engage the kill switch before you restart it"
    );
    of_people(NAME, told, home, now, ids)
}

/// Nobody can store anything, and so nobody leads.
pub fn store_full(home: &Name, now: Timestamp, ids: &mut dyn IdSource) -> Incident {
    let told = "The store of the API server is full (database space exceeded): it takes no writes, so no replica of \
                Homeostat leads and nothing is done; reads go on, and so does every pod. Compact and defragment etcd or \
                raise its quota, then take the alarm NOSPACE back (`etcdctl alarm disarm`)";
    of_people(STORE, told.to_owned(), home, now, ids)
}

/// It belongs to people from the first moment on.
fn of_people(name: &str, told: String, home: &Name, now: Timestamp, ids: &mut dyn IdSource) -> Incident {
    let id = IncidentId::new(format!("{name}{}", ids.suffix(5)));
    let evidence = EvidenceId::new(id.as_str());
    let instants = Instants { acknowledged: Some(now), ..Instants::new(now, now) };
    let mut incident = Incident {
        tenant: Some(TenantName::new(PLATFORM_TENANT)),
        state: IncidentState::HandedOver,
        severity: Severity::Critical,
        handed_over: Some(told),
        ..Incident::open(id, home.clone(), evidence, instants)
    };
    incident.record(now, TimelineKind::State, "opened and handed over to people");
    incident
}
