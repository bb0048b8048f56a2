//! One fault, one incident: findings are grouped by the root that they point at, along the call graph.
//!
//! Since failing calls are already charged to the deepest failing callee, callers of a sick workload have no
//! findings of their own; what is left is to join the kubelet's view with the callers' view of one workload, to
//! absorb stray charges next to a known root, and to keep two separate faults apart.

mod aftermath;
mod own;
mod taken_up;
mod well;

use crate::calls::{Callee, Calls, Edge};
use crate::ranking::{first_hand, only_warns, rank, root_of, root_of_cause, take_up};
use crate::shelf::{self, Shelf};
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::observation::StoredIncident;
use homeostat_knowledge::{
    ActionRecord, Entity, EvidenceId, Finding, FindingKind, IdSource, Incident, IncidentId, IncidentState,
    Instants, Name, ObjectKey, Severity, SignedDuration, Snapshot, Timestamp, WorkloadKey,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use taken_up::Looked;
use well::well_since;

/// Findings of one incident that are kept.
const MOST_FINDINGS: usize = 50;

/// Settings of the correlator.
#[derive(Clone, Debug)]
pub struct CorrelatorConfig {
    /// Good for so long before an incident counts as mitigated (at the first good call).
    pub stable: SignedDuration,
    /// Findings this soon after mitigation still belong to the same incident.
    pub aftershock: SignedDuration,
    /// Namespace for incidents that belong to no tenant's namespace (nodes).
    pub home: Name,
    /// Open incidents that are kept; more are refused and counted.
    pub maximum: usize,
}

impl Default for CorrelatorConfig {
    fn default() -> Self {
        Self {
            stable: SignedDuration::from_secs(3),
            aftershock: SignedDuration::from_millis(4_500),
            home: Name::from("homeostat-system"),
            maximum: 1_000,
        }
    }
}

/// Groups findings into incidents. The one writer of incidents.
#[derive(Debug)]
pub struct Correlator {
    config: CorrelatorConfig,
    incidents: BTreeMap<IncidentId, Incident>,
    /// Those of them that the API server has too.
    stored: BTreeSet<IncidentId>,
    /// Those that an earlier leader left open and that were not found here yet, and when they were taken up.
    unseen: BTreeMap<IncidentId, Timestamp>,
    leads_since: Option<Timestamp>,
    /// Roots that were healed lately, and when that was seen.
    healed: VecDeque<(Entity, Timestamp)>,
    /// Closed ones that come back with their release.
    shelf: Shelf,
    /// Incidents that could not be opened because of the bound.
    pub dropped: u64,
}

impl Correlator {
    /// A correlator without incidents.
    pub fn new(config: CorrelatorConfig) -> Self {
        Self {
            config,
            incidents: BTreeMap::new(),
            stored: BTreeSet::new(),
            unseen: BTreeMap::new(),
            leads_since: None,
            healed: VecDeque::new(),
            shelf: Shelf::default(),
            dropped: 0,
        }
    }

    /// Open incidents.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// One incident.
    pub fn get(&self, id: &IncidentId) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// One incident, for the decisions and actions that are written into its history.
    pub fn get_mut(&mut self, id: &IncidentId) -> Option<&mut Incident> {
        self.incidents.get_mut(id)
    }

    /// Takes up an incident that an earlier leader left open, or what people wrote into one of ours.
    /// Returns whether anything changed.
    pub fn adopt(&mut self, stored: &StoredIncident, now: Timestamp) -> bool {
        let id = &stored.incident.id;
        if let Some(own) = self.incidents.get_mut(id) {
            self.stored.insert(id.clone());
            let mut changed = false;
            if stored.acknowledged_by.is_some() && own.acknowledged_by != stored.acknowledged_by {
                own.acknowledged_by.clone_from(&stored.acknowledged_by);
                own.instants.acknowledged.get_or_insert(now);
                let who = stored.acknowledged_by.as_deref().unwrap_or_default().to_owned();
                own.record(now, TimelineKind::Person, format!("acknowledged by {who}"));
                changed = true;
            }
            if stored.closed && !own.state.closed() {
                own.record(now, TimelineKind::Person, shelf::BY_PERSON);
                close(own, now);
                changed = true;
            }
            return changed;
        }
        if stored.closed {
            self.shelf.forget(id);
            return false;
        }
        if stored.incident.state.closed() {
            self.shelf.keep_stored(&stored.incident, now);
            return false;
        }
        // A late copy of one that was closed here meanwhile.
        let late = self.shelf.get(id).is_some_and(|closed| knows(closed, &stored.incident));
        if late || self.incidents.len() >= self.config.maximum {
            return false;
        }
        self.shelf.take(id);
        let mut incident = stored.incident.clone();
        incident.acknowledged_by.clone_from(&stored.acknowledged_by);
        incident.record(now, TimelineKind::State, shelf::TAKEN_UP);
        self.stored.insert(id.clone());
        self.unseen.insert(id.clone(), now);
        self.incidents.insert(id.clone(), incident);
        true
    }

    /// Takes note of an action: who makes a release again that a roll back took back has its incident again.
    pub fn note(&mut self, action: &ActionRecord) {
        self.shelf.note(action);
    }

    /// Forgets an incident whose object was deleted.
    pub fn forget(&mut self, key: &ObjectKey) {
        let id = IncidentId(key.name.clone());
        self.remove(&id);
        self.shelf.forget(&id);
    }

    /// For a replica that does not lead, before [`Correlator::adopt`]: what the leader stored counts. Its history takes the
    /// place of that of this replica, and what this replica found by itself of a root whose incident is stored is that
    /// incident.
    pub fn follow(&mut self, stored: &StoredIncident) {
        let theirs = &stored.incident;
        if stored.closed {
            return;
        }
        if theirs.state.closed() {
            // Over, said the leader. What this replica wrote while it led comes back late.
            if self.incidents.get(&theirs.id).is_some_and(|own| !knows(own, theirs)) {
                self.remove(&theirs.id);
            }
            return;
        }
        if let Some(own) = self.incidents.get_mut(&theirs.id) {
            // What this replica wrote while it led comes back late, and says nothing new.
            if !knows(own, theirs) {
                *own = Incident { acknowledged_by: own.acknowledged_by.clone(), ..theirs.clone() };
            }
            return;
        }
        let root = |incident: &Incident| incident.causes.first().map(root_of_cause);
        let Some(theirs) = root(theirs) else { return };
        let known = &self.stored;
        self.incidents.retain(|id, own| known.contains(id) || root(own).as_ref() != Some(&theirs));
    }

    /// For a replica that does not lead: forgets what it alone found and what has been well for so long. The leader closes
    /// only what is stored.
    pub fn let_go(&mut self, now: Timestamp, after: SignedDuration) {
        let stored = &self.stored;
        self.incidents.retain(|id, incident| {
            let well = incident.instants.mitigated.is_some_and(|since| now.duration_since(since) >= after);
            stored.contains(id) || !well
        });
    }

    fn remove(&mut self, id: &IncidentId) {
        self.incidents.remove(id);
        self.stored.remove(id);
        self.unseen.remove(id);
    }

    /// Groups the present findings. Returns the incidents that changed; closed ones are returned once and dropped.
    pub fn update(
        &mut self,
        findings: &[Finding],
        calls: &Calls,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Vec<IncidentId> {
        let mut roots: BTreeMap<Entity, Vec<&Finding>> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding.active) {
            if let Some(root) = root_of(finding) {
                roots.entry(root).or_default().push(finding);
            }
        }
        let mut changed = BTreeSet::new();
        for (root, findings) in &roots {
            if let Some(id) = self.incident_for(root, findings, calls, snapshot, now, ids)
                && self.refresh(&id, root, findings, calls, now, ids)
            {
                changed.insert(id);
            }
        }
        let ids_open: Vec<IncidentId> = self.incidents.keys().cloned().collect();
        for id in ids_open {
            if self.advance(&id, &roots, calls, snapshot, now) {
                changed.insert(id);
            }
        }
        changed.into_iter().collect()
    }

    /// Drops incidents that are closed. Called after they were written. Those whose release was taken back are put aside for
    /// 25 hours, a hundred at most: they open again when that release is made again and fails.
    pub fn drop_closed(&mut self) {
        for closed in self.incidents.values().filter(|incident| incident.state.closed()) {
            self.shelf.keep(closed);
        }
        self.incidents.retain(|_, incident| !incident.state.closed());
        let incidents = &self.incidents;
        self.stored.retain(|id| incidents.contains_key(id));
        self.unseen.retain(|id, _| incidents.contains_key(id));
    }

    /// Verification window passed and nothing is left to do.
    pub fn resolve(&mut self, id: &IncidentId, now: Timestamp) -> bool {
        match self.incidents.get_mut(id) {
            Some(incident) if !incident.state.closed() => {
                incident.record(now, TimelineKind::State, "resolved: stayed inside its objective");
                close(incident, now);
                true
            }
            _ => false,
        }
    }

    /// Still takes findings: not mitigated, or only just.
    fn takes(&self, incident: &Incident, now: Timestamp) -> bool {
        !incident.state.closed()
            && incident.instants.mitigated.is_none_or(|mitigated| {
                now.duration_since(mitigated) <= self.config.stable + self.config.aftershock
            })
    }

    fn incident_for(
        &mut self,
        root: &Entity,
        findings: &[&Finding],
        calls: &Calls,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Option<IncidentId> {
        let own = self
            .incidents
            .values()
            .filter(|incident| self.takes(incident, now))
            .find(|incident| incident.causes.first().is_some_and(|cause| root_of_cause(cause) == *root))
            .or_else(|| {
                self.incidents
                    .values()
                    .filter(|incident| self.takes(incident, now))
                    .find(|incident| incident.causes.iter().any(|cause| root_of_cause(cause) == *root))
            });
        if let Some(incident) = own {
            return Some(incident.id.clone());
        }
        // The object's own state says it: a fault of its own, even next to another one.
        let certain = findings.iter().any(|finding| first_hand(finding.kind));
        if !certain {
            let neighbour =
                self.incidents.values().filter(|incident| self.takes(incident, now)).find(|incident| {
                    // Known to suffer from it: after a change of leader the call graph is still empty.
                    let suffers = root.workload().is_some_and(|key| incident.affected.contains(key));
                    suffers
                        || incident.causes.first().is_some_and(|cause| {
                            let known = root_of_cause(cause);
                            let above = root.workload().is_some_and(|key| calls.reaches(key, &known));
                            let below = known.workload().is_some_and(|key| calls.reaches(key, root));
                            above || below
                        })
                });
            if let Some(incident) = neighbour {
                return Some(incident.id.clone());
            }
        }
        if !certain
            && (self.works_off(root, findings, calls, now)
                || self.beside(root, findings, calls, snapshot, now))
        {
            return None;
        }
        self.released_again(root, snapshot, now, ids)
            .or_else(|| self.open(root, findings, calls, snapshot, now, ids))
    }

    /// Opens the incident again for which the release that fails now was taken back before.
    fn released_again(
        &mut self,
        root: &Entity,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Option<IncidentId> {
        let incidents = &self.incidents;
        let well = |id: &IncidentId| {
            let open = incidents.get(id).filter(|incident| !incident.state.closed());
            open.is_some_and(|incident| incident.instants.mitigated.is_some())
        };
        let (id, why) = self.shelf.again(root.workload()?, snapshot, now, well)?;
        if !self.incidents.contains_key(&id) {
            if self.incidents.len() >= self.config.maximum {
                return None;
            }
            self.incidents.insert(id.clone(), self.shelf.take(&id)?);
            self.stored.insert(id.clone());
        }
        shelf::reopen(self.incidents.get_mut(&id)?, why, now, ids);
        Some(id)
    }

    fn open(
        &mut self,
        root: &Entity,
        findings: &[&Finding],
        calls: &Calls,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Option<IncidentId> {
        if self.incidents.len() >= self.config.maximum {
            self.dropped += 1;
            return None;
        }
        let affected = calls.affected(root);
        // The workload that answers for it: itself, else the nearest one that suffers.
        let nearest = calls.callee(root).and_then(sufferer);
        let workload = root.workload().cloned().or(nearest).or_else(|| affected.iter().next().cloned());
        let namespace =
            workload.as_ref().map_or_else(|| self.config.home.clone(), |key| key.namespace.clone());
        let tenant = snapshot.tenant_of_namespace(&namespace).map(|tenant| tenant.name.clone());
        let short: String = dns_label(root.name()).chars().take(48).collect();
        let id = IncidentId::new(format!("{}-{}", short.trim_matches('-'), ids.suffix(5)));
        let since = findings.iter().map(|finding| finding.since).min().unwrap_or(now);
        let evidence = EvidenceId::new(ids.suffix(10));
        let instants = Instants::new(since.min(now), now);
        let mut incident =
            Incident { tenant, workload, ..Incident::open(id.clone(), namespace, evidence, instants) };
        incident.record(now, TimelineKind::State, "opened");
        self.incidents.insert(id.clone(), incident);
        Some(id)
    }

    /// Writes the root's findings and the ranking into the incident. Returns whether people would see a difference.
    fn refresh(
        &mut self,
        id: &IncidentId,
        root: &Entity,
        findings: &[&Finding],
        calls: &Calls,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> bool {
        let Some(incident) = self.incidents.get_mut(id) else { return false };
        let mut changed = false;
        let mut new = Vec::new();
        for finding in findings {
            let known = incident
                .findings
                .iter_mut()
                .find(|known| known.entity == finding.entity && known.kind == finding.kind);
            if let Some(known) = known {
                // Renewed evidence alone is not news; it would cost a write ten times a second.
                changed |= known.active != finding.active;
                known.clone_from(finding);
            } else {
                new.push(*finding);
            }
            incident.instants.impact_start = incident.instants.impact_start.min(finding.since);
        }
        // After what is known, which is active again by now.
        for finding in new {
            if make_room(&mut incident.findings) {
                incident.findings.push(finding.clone());
                let first = finding.evidence.first().map(ToString::to_string).unwrap_or_default();
                let text = format!("{} {}: {first}", finding.entity, finding.kind);
                incident.record(now, TimelineKind::Finding, text);
                changed = true;
            }
        }
        if incident.instants.mitigated.is_some() {
            incident.instants.mitigated = None;
            incident.reopen_count += 1;
            // What was left to people stays theirs.
            let theirs = incident.handed_over.is_some();
            incident.state = if theirs { IncidentState::HandedOver } else { IncidentState::Open };
            incident.record(now, TimelineKind::State, "came back before it was stable");
            changed = true;
        }
        let before: Vec<(Entity, FindingKind)> =
            incident.causes.iter().map(|cause| (cause.entity.clone(), cause.kind)).collect();
        rank(incident, calls);
        if incident.causes.first().is_some_and(|cause| root_of_cause(cause) == *root) {
            self.unseen.remove(id);
        }
        let after: Vec<(Entity, FindingKind)> =
            incident.causes.iter().map(|cause| (cause.entity.clone(), cause.kind)).collect();
        if before != after {
            incident.evidence = EvidenceId::new(ids.suffix(10));
            if let Some(top) = incident.causes.first() {
                let text = format!("{} ({}), sure to {:.1} %", top.entity, top.kind, top.confidence * 100.0);
                incident.record(now, TimelineKind::Cause, text);
            }
            changed = true;
        }
        changed |= take_up(incident, before.first().map(|(_, kind)| *kind), now);
        let affected: BTreeSet<WorkloadKey> =
            incident.affected.iter().cloned().chain(calls.affected(root)).take(100).collect();
        let top = incident.causes.first().and_then(|cause| cause.entity.workload().cloned());
        let affected: Vec<WorkloadKey> =
            affected.into_iter().filter(|key| Some(key) != top.as_ref()).collect();
        if affected != incident.affected {
            incident.affected = affected;
            changed = true;
        }
        let failing = incident.findings.iter().any(|finding| finding.active && !only_warns(finding.kind));
        let severity = if failing { Severity::Critical } else { Severity::Warning };
        if severity > incident.severity {
            incident.severity = severity;
            changed = true;
        }
        changed
    }

    /// Moves an incident on when its roots are well again.
    fn advance(
        &mut self,
        id: &IncidentId,
        roots: &BTreeMap<Entity, Vec<&Finding>>,
        calls: &Calls,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> bool {
        let stable = self.config.stable;
        let taking = self.incidents.get(id).is_some_and(|incident| self.takes(incident, now));
        let looked = self.looked(id, calls, snapshot, now);
        let Some(incident) = self.incidents.get_mut(id) else { return false };
        if incident.state.closed() {
            return false;
        }
        let mut changed = false;
        // Its Tenant may have been made, or listed, since.
        if incident.tenant.is_none() && incident.workload.is_some() {
            let owner = snapshot.tenant_of_namespace(&incident.namespace);
            incident.tenant = owner.map(|tenant| tenant.name.clone());
            changed |= incident.tenant.is_some();
        }
        let own: BTreeSet<Entity> = incident.causes.iter().map(root_of_cause).collect();
        for finding in &mut incident.findings {
            let active = taking
                && roots
                    .values()
                    .flatten()
                    .any(|seen| seen.entity == finding.entity && seen.kind == finding.kind);
            if finding.active && !active {
                finding.active = false;
                changed = true;
            }
        }
        if incident.instants.mitigated.is_some() {
            return changed;
        }
        // Good calls alone say nothing as long as something is still found: of several replicas one may be down, and
        // the old release may serve while the new one fails at every start.
        let sick = own.iter().any(|root| roots.contains_key(root));
        let well_since = if sick { None } else { well_since(incident, calls, snapshot, now) };
        let well_since = match looked {
            Looked::Found => well_since,
            Looked::Since(began) => well_since.map(|since| since.max(began)),
            Looked::TooShort => None,
        };
        if let Some(since) = well_since
            && now.duration_since(since) >= stable
            // The kubelet's times have whole seconds and news of failed calls takes a moment: too early to say.
            && now.duration_since(incident.instants.detected) >= stable / 2
        {
            let since = since.max(incident.instants.impact_start);
            incident.instants.mitigated = Some(since);
            incident.state = IncidentState::Mitigated;
            if let Some(root) = incident.causes.first().map(root_of_cause) {
                self.healed.push_back((root, now));
                if self.healed.len() > 64 {
                    self.healed.pop_front();
                }
            }
            let after = since.duration_since(incident.instants.impact_start).as_secs_f64();
            incident.record(
                now,
                TimelineKind::State,
                format!("mitigated: good again {after:.1} s after the impact began"),
            );
            changed = true;
        }
        changed
    }
}

/// The newest line of the stored history is one of ours. Stored instants have a resolution of one microsecond.
fn knows(own: &Incident, stored: &Incident) -> bool {
    stored.timeline.last().is_none_or(|last| {
        own.timeline
            .iter()
            .any(|line| line.what == last.what && line.at.as_microsecond() == last.at.as_microsecond())
    })
}

/// The caller that it fails: nearly always rather than now and then, and most often. Others may be content with it.
fn sufferer(callee: &Callee) -> Option<WorkloadKey> {
    let failed = |edge: &Edge| edge.unconnected.saturating_add(edge.other);
    let suffer = callee.edges().filter(|(_, edge)| failed(edge) > 0);
    let most = suffer.min_by_key(|(_, edge)| Reverse((failed(edge) > edge.good, failed(edge))));
    most.map(|(caller, _)| caller).or_else(|| callee.callers.first()).cloned()
}

/// Whether there is room for one more finding: where all places are taken, that of the one that ended first.
fn make_room(findings: &mut Vec<Finding>) -> bool {
    if findings.len() < MOST_FINDINGS {
        return true;
    }
    let ended = findings.iter().enumerate().filter(|(_, known)| !known.active);
    let Some((oldest, _)) = ended.min_by_key(|(_, known)| known.last_seen) else { return false };
    findings.remove(oldest);
    true
}

fn close(incident: &mut Incident, now: Timestamp) {
    incident.state = IncidentState::Resolved;
    incident.instants.mitigated.get_or_insert(now);
    incident.instants.resolved = Some(now);
    for finding in &mut incident.findings {
        finding.active = false;
    }
}

/// Lower-case letters, digits and dashes only: fit for an object name.
fn dns_label(text: &str) -> String {
    let label: String = text
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    let label = label.trim_matches('-').to_owned();
    if label.is_empty() { "incident".to_owned() } else { label }
}
