//! Closed incidents whose release was taken back by a roll back that helped: who makes the same release again has the same
//! incident again, with its whole history, and not a new one.

use homeostat_knowledge::incident::{TimelineEntry, TimelineKind};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, ControllerKind, ControllerRecord, EvidenceId, IdSource,
    Incident, IncidentId, IncidentState, Name, Severity, SignedDuration, Snapshot, Target, Timestamp,
    WorkloadKey,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Closed incidents that are kept, and releases that were taken back; the oldest go first.
pub(crate) const MOST: usize = 100;
/// So long after it was closed an incident is opened again. Its actions are stored at least so long.
const AGE: SignedDuration = SignedDuration::from_hours(25);
/// The line of a timeline that says that another replica leads; nothing of the incident itself changed.
pub const TAKEN_UP: &str = "taken up by this replica";
/// What is written into an incident that a person closed. It stays closed.
pub(crate) const BY_PERSON: &str = "closed by a person";

/// The release that a roll back took back.
#[derive(Debug)]
struct TakenBack {
    action: ActionId,
    workload: WorkloadKey,
    target: Target,
    /// The revision as it was called when it was found bad.
    revision: Name,
    at: Timestamp,
}

/// Closed incidents with the releases that were taken back for them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    closed: BTreeMap<IncidentId, (Timestamp, Incident)>,
    taken_back: BTreeMap<IncidentId, TakenBack>,
}

impl Shelf {
    /// Remembers what a roll back that helped took back. The newest one of an incident counts.
    pub fn note(&mut self, action: &ActionRecord) {
        let helped = action.state == ActionState::Verified && action.undo_of.is_none();
        if action.kind() != ActionKind::RollBack || !helped {
            return;
        }
        let Some(revision) = action.before.revision.clone() else { return };
        let at = action.instants.closed.or(action.instants.verified).unwrap_or(action.evidence.taken_at);
        if self.taken_back.get(&action.incident).is_some_and(|known| known.at > at) {
            return;
        }
        let taken_back = TakenBack {
            action: action.id.clone(),
            workload: action.workload.clone(),
            target: action.target.clone(),
            revision,
            at,
        };
        self.taken_back.insert(action.incident.clone(), taken_back);
        drop_oldest(&mut self.taken_back, |taken_back| taken_back.at);
    }

    /// Keeps an incident that was closed, when a release was taken back for it.
    pub fn keep(&mut self, incident: &Incident) {
        if self.taken_back.contains_key(&incident.id) {
            self.put(incident);
        }
    }

    /// Keeps an incident that is stored as closed. Its actions may come later than it does, so its own history says whether
    /// a roll back helped.
    pub fn keep_stored(&mut self, incident: &Incident, now: Timestamp) {
        let known = self.taken_back.contains_key(&incident.id) || incident.timeline.iter().any(rolled_back);
        let young = closed_at(incident).is_some_and(|at| now.duration_since(at) <= AGE);
        if known && young {
            self.put(incident);
        }
    }

    fn put(&mut self, incident: &Incident) {
        let by_person = |line: &TimelineEntry| line.what == TimelineKind::Person && line.text == BY_PERSON;
        let Some(at) = closed_at(incident) else { return };
        if incident.timeline.iter().any(by_person) {
            return;
        }
        self.closed.insert(incident.id.clone(), (at, incident.clone()));
        drop_oldest(&mut self.closed, |(at, _)| *at);
    }

    /// The closed incident of that name.
    pub fn get(&self, id: &IncidentId) -> Option<&Incident> {
        self.closed.get(id).map(|(_, incident)| incident)
    }

    /// Takes it out: it is open again. What was taken back for it is still known.
    pub fn take(&mut self, id: &IncidentId) -> Option<Incident> {
        self.closed.remove(id).map(|(_, incident)| incident)
    }

    /// It was deleted, or a person closed it.
    pub fn forget(&mut self, id: &IncidentId) {
        self.closed.remove(id);
        self.taken_back.remove(id);
    }

    /// The incident, closed here or one of those that are `well` and open still, whose release runs again for this workload,
    /// and what to write into it. The one that was closed last, when there are several.
    pub fn again(
        &mut self,
        workload: &WorkloadKey,
        snapshot: &Snapshot,
        now: Timestamp,
        well: impl Fn(&IncidentId) -> bool,
    ) -> Option<(IncidentId, String)> {
        self.closed.retain(|_, (at, _)| now.duration_since(*at) <= AGE);
        let closed = &self.closed;
        let known = |id: &IncidentId| closed.contains_key(id) || well(id);
        let fits = |(id, taken_back): &(&IncidentId, &TakenBack)| {
            taken_back.workload == *workload && known(id) && runs_again(taken_back, snapshot)
        };
        let (id, taken_back) =
            self.taken_back.iter().filter(fits).max_by_key(|(_, taken_back)| taken_back.at)?;
        let TakenBack { action, revision, .. } = taken_back;
        let why = format!("reopened: revision {revision}, which {action} took back, was released again");
        Some((id.clone(), why))
    }
}

/// Opens an incident once more: its history stays, everything else is of the new round.
pub(crate) fn reopen(incident: &mut Incident, why: String, now: Timestamp, ids: &mut dyn IdSource) {
    incident.state = IncidentState::Open;
    incident.severity = Severity::Warning;
    incident.findings.clear();
    incident.causes.clear();
    incident.affected.clear();
    incident.evidence = EvidenceId::new(ids.suffix(10));
    incident.handed_over = None;
    let instants = &mut incident.instants;
    (instants.impact_start, instants.detected) = (now, now);
    (instants.acknowledged, instants.mitigated, instants.resolved) = (None, None, None);
    incident.reopen_count = incident.reopen_count.saturating_add(1);
    incident.record(now, TimelineKind::State, why);
}

/// Kubernetes gives a release that is made again a new number, and keeps the `ReplicaSet` of its template with the numbers
/// that it had. The name of a `ControllerRevision` stays.
fn runs_again(taken_back: &TakenBack, snapshot: &Snapshot) -> bool {
    let TakenBack { target, revision, .. } = taken_back;
    let kind = ControllerKind::from_kind(&target.kind);
    if kind != ControllerKind::Deployment {
        let present = snapshot.controllers.get(&ControllerKey { kind, object: target.key.clone() });
        return present.is_some_and(|now| now.uid == target.uid && now.revision.as_ref() == Some(revision));
    }
    let number = |set: &ControllerRecord| set.revision.as_ref()?.parse::<u64>().ok();
    let own = |set: &&Arc<ControllerRecord>| set.owner.as_ref().is_some_and(|owner| owner.uid == target.uid);
    let sets = snapshot.controllers_in(ControllerKind::ReplicaSet, &target.key.namespace);
    let newest = sets.filter(own).max_by_key(|set| number(set));
    newest.is_some_and(|set| set.earlier_revisions().contains(revision))
}

fn closed_at(incident: &Incident) -> Option<Timestamp> {
    incident.instants.resolved.or(incident.instants.mitigated)
}

/// As the loop writes it: kind, target, state.
fn rolled_back(line: &TimelineEntry) -> bool {
    let of = |kind: ActionKind| line.text.strip_prefix(kind.name()).is_some_and(|rest| rest.starts_with(' '));
    line.what == TimelineKind::Action
        && of(ActionKind::RollBack)
        && line.text.contains(&format!(": {:?}", ActionState::Verified))
}

fn drop_oldest<T>(kept: &mut BTreeMap<IncidentId, T>, at: impl Fn(&T) -> Timestamp) {
    if kept.len() <= MOST {
        return;
    }
    let oldest = kept.iter().min_by_key(|(_, one)| at(one)).map(|(id, _)| id.clone());
    if let Some(id) = oldest {
        kept.remove(&id);
    }
}
