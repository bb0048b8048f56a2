//! The loop without the world: observations in, effects out.
//!
//! One writer owns the snapshot. Each step commits what was observed, asks the analysis what is abnormal, groups it,
//! asks the planner what to do, has the checker admit it, and returns what must be done outside. No I/O and no
//! clock in here, so a recorded run can be stepped through again.

mod ahead;
mod followed;
mod past;
mod sent;
mod sizes;
mod store;

use self::ahead::Foresight;
use self::sent::Sent;
use self::store::Store;
use crate::jobs::RunOrder;
use crate::jobs::kept::{Keep, RunsMemory};
use crate::{callers, hearing, limits, standing};
use homeostat_analyse::{Analyser, Correlator, CorrelatorConfig};
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::observation::{Change, ObjectChange, PlaybookText, Sample};
use homeostat_knowledge::{
    ActionState, Admitted, Entity, Finding, IdSource, Incident, IncidentId, IncidentState, Name, Observation,
    Plan, Signal, SignedDuration, Snapshot, Timestamp, WorkloadKey,
};
use homeostat_plan::{Checker, Decision};
use homeostat_playbooks::library::over;
use homeostat_playbooks::{Playbook, parse_spec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Evaluations are at least so far apart: several batches of spans are judged together.
const BEAT: SignedDuration = SignedDuration::from_millis(50);
/// A launched plan without any sign of its action for so long is taken as refused by the executor.
const LAUNCH_PATIENCE: SignedDuration = SignedDuration::from_secs(15);
/// A mitigated incident waits no longer than this for a quiet minute.
const FOLLOW_UP_LIMIT: SignedDuration = SignedDuration::from_mins(10);
/// Ended actions are remembered so long: budgets and breakers look back a day. A row of repairs in vain is remembered longer.
const ACTION_MEMORY: SignedDuration = SignedDuration::from_hours(24);
/// Values of loads that are kept, and how long one is kept that is not renewed.
const MOST_LOADS: usize = 50_000;
const LOAD_MEMORY: SignedDuration = SignedDuration::from_mins(10);
/// Verification window where a tenant sets none.
const VERIFICATION: SignedDuration = SignedDuration::from_secs(30);

/// What must be done outside of the loop.
#[derive(Debug)]
pub enum Effect {
    /// Store this state of an incident.
    Write(Arc<Incident>),
    /// Record what was made of an incident, once for each new answer.
    Said(Arc<Incident>, String),
    /// A run of this workload cannot be started, and why; once for each new reason.
    Held(WorkloadKey, String),
    /// Execute the first step of an admitted plan, which stands on this finding.
    Execute(Box<Plan<Admitted>>, Option<Finding>),
}

/// The loop's state.
pub struct Kernel {
    snapshot: Snapshot,
    analyser: Analyser,
    correlator: Correlator,
    /// What ships; the planner uses it with people's own over it.
    base: Vec<Playbook>,
    own: BTreeMap<Name, Playbook>,
    playbooks: Vec<Playbook>,
    checker: Checker,
    ids: Box<dyn IdSource>,
    findings: Vec<Finding>,
    runs: RunOrder,
    /// What was kept of runs is still being read: none is ordered until then.
    runs_held: bool,
    keep: Option<Keep>,
    foresight: Foresight,
    sent: Sent,
    launched: BTreeMap<IncidentId, Timestamp>,
    said: BTreeMap<IncidentId, String>,
    seen_actions: BTreeMap<homeostat_knowledge::ActionId, ActionState>,
    evaluated: Option<Timestamp>,
    pruned: Option<Timestamp>,
    urgent: bool,
    led: bool,
    /// What was found broken here and is not told yet; see [`Kernel::halt`].
    breach: Option<(String, Name)>,
    store: Store,
}

impl Kernel {
    /// A loop that knows nothing yet.
    pub fn new(playbooks: Vec<Playbook>, ids: Box<dyn IdSource>, home: Name) -> Self {
        Self {
            snapshot: Snapshot::default(),
            analyser: Analyser::new(),
            checker: Checker::new(home.to_string()),
            correlator: Correlator::new(CorrelatorConfig { home, ..CorrelatorConfig::default() }),
            base: playbooks.clone(),
            own: BTreeMap::new(),
            playbooks,
            ids,
            findings: Vec::new(),
            runs: RunOrder::default(),
            runs_held: false,
            keep: None,
            foresight: Foresight::default(),
            sent: Sent::default(),
            launched: BTreeMap::new(),
            said: BTreeMap::new(),
            seen_actions: BTreeMap::new(),
            evaluated: None,
            pruned: None,
            urgent: false,
            led: false,
            breach: None,
            store: Store::default(),
        }
    }

    /// Orders no run until [`Kernel::recall_runs`]: what another leader learnt of them is being read.
    pub fn hold_runs(&mut self) {
        (self.runs_held, self.keep) = (true, None);
    }

    /// Orders runs by what was kept of them; `None`: that cannot be read, and what is known here counts.
    pub fn recall_runs(&mut self, kept: Option<RunsMemory>) {
        self.runs_held = false;
        if let Some(kept) = kept {
            self.runs.recall(kept);
        }
    }

    /// What is to be kept of runs, once for each time that it was put together.
    pub fn kept_runs(&mut self) -> Option<Keep> {
        self.keep.take()
    }

    /// The present snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What analysis and loop left out because of its bounds, since the start: names and totals.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own = [
            ("incidents", self.correlator.dropped),
            ("sent", self.sent.dropped),
            ("past", self.foresight.dropped()),
            ("runs", self.runs.dropped()),
        ];
        self.analyser.dropped().into_iter().chain(own)
    }

    /// An invariant was found broken; `fault` is the part of `breach` that names the invariant and the action. The executor
    /// stops by itself; from here it reaches conditions, metrics and one incident. Saying it again changes nothing.
    pub fn halt(&mut self, fault: &str, breach: Name) {
        if self.snapshot.halted.is_none() {
            self.breach = Some((fault.to_owned(), breach.clone()));
            self.snapshot.halted = Some(breach);
            self.urgent = true;
        }
    }

    /// Active findings of the last evaluation.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// An executor's task ended (or refused to start): the incident may be planned for again.
    pub fn landed(&mut self, incident: &IncidentId) {
        self.launched.remove(incident);
        self.urgent = true;
    }

    /// Takes a batch in order of arrival and returns what must be done. `leads` says whether this replica may act.
    pub fn step(&mut self, batch: &[Observation], now: Timestamp, leads: bool) -> Vec<Effect> {
        let mut changed: BTreeSet<IncidentId> = BTreeSet::new();
        for observation in batch {
            hearing::note(&mut self.snapshot, observation);
            match &observation.signal {
                Signal::Object(change) => self.commit(change, now, &mut changed),
                Signal::Source(report) => {
                    if let Entity::Source { name } = &observation.entity {
                        self.snapshot.sources.insert_mut(name.clone(), report.clone());
                    }
                }
                Signal::Series(report) => self.snapshot.crowd(observation.tenant.as_ref(), report),
                Signal::Sample(sample) => {
                    self.sent.note(&self.snapshot, observation, sample);
                    self.weigh(sample, observation.event_time);
                }
                Signal::Span(_) | Signal::Log(_) => {}
            }
        }
        self.snapshot.generation += 1;
        self.analyser.ingest(&self.snapshot, batch);
        let told = self.sent.told(&self.snapshot, now);
        for value in &told.values {
            self.weigh(&value.sample, value.at);
        }
        self.analyser.ingest(&self.snapshot, &told.judged);
        let due = self.evaluated.is_none_or(|last| now.duration_since(last) >= BEAT);
        if !(due || self.urgent) {
            return Vec::new();
        }
        self.evaluated = Some(now);
        self.urgent = false;
        let evaluation = self.analyser.evaluate(&self.snapshot, now);
        for (workload, health) in evaluation.health {
            self.snapshot.health.insert_mut(workload, health);
        }
        callers::note(&mut self.snapshot, self.analyser.new_callers());
        self.correlator.lead(leads, now);
        // Until every cache has its first list, the picture has holes that look like faults.
        if self.snapshot.ready() {
            let updated = self.correlator.update(
                &evaluation.findings,
                self.analyser.calls(),
                &self.snapshot,
                now,
                &mut *self.ids,
            );
            changed.extend(updated);
        }
        self.findings = evaluation.findings.into_iter().filter(|finding| finding.active).collect();
        self.foresee(now, &mut changed);
        self.follow_actions(now, &mut changed);
        self.share_incidents();
        let mut effects = Vec::new();
        // Once all that is stored is known: the incident of this fault may be open from before a restart.
        if self.snapshot.ready()
            && let Some((fault, breach)) = self.breach.take()
        {
            changed.insert(self.correlator.breached(&fault, &breach, now, &mut *self.ids));
            self.share_incidents();
        }
        self.tell_store(now, leads, &mut changed);
        if leads && self.snapshot.ready() {
            if !self.led {
                // What the leader before us wrote may be older than what we know.
                changed.extend(self.correlator.incidents().map(|incident| incident.id.clone()));
            }
            self.decide(now, &mut changed, &mut effects);
            self.order_runs(now, &mut effects);
            for id in &changed {
                if let Some(incident) = self.correlator.get(id) {
                    // Incidents first: people (and the ledger) must find them before their actions.
                    effects.insert(0, Effect::Write(Arc::new(incident.clone())));
                }
            }
        }
        if !leads {
            self.correlator.let_go(now, FOLLOW_UP_LIMIT);
        }
        self.led = leads;
        self.correlator.drop_closed();
        self.share_incidents();
        self.prune(now);
        effects
    }

    /// Keeps the newest value of a load that a workload is sized by, of what its pods use, and of what fills up.
    fn weigh(&mut self, sample: &Sample, at: Timestamp) {
        let Some(key) = &sample.asked_by else { return };
        let Some(policy) = self.snapshot.workloads.get(key) else { return };
        let loads = policy.permits.scaling.iter().flat_map(|scaling| &scaling.loads);
        let sized = loads.map(|load| &load.signal).any(|signal| *signal == sample.metric);
        let kept = || standing::measured(policy, &sample.metric) || limits::forecast(policy, &sample.metric);
        if !sized && !kept() {
            return;
        }
        let place = (key.clone(), sample.metric.clone(), sample.series.clone());
        if self.snapshot.loads.size() < MOST_LOADS || self.snapshot.loads.contains_key(&place) {
            self.snapshot.loads.insert_mut(place, (sample.value, at));
        }
    }

    fn commit(&mut self, change: &ObjectChange, now: Timestamp, changed: &mut BTreeSet<IncidentId>) {
        match change {
            ObjectChange::Action(Change::Applied(action)) => {
                // Our own writes arrive twice, by the executor and by the watch, in any order.
                let known = self.snapshot.actions.get(&action.id);
                let unread = self.snapshot.unread.get(&action.id).map(|unread| &unread.resource_version);
                let newest = known.map(|known| &known.resource_version).or(unread);
                if newest.is_some_and(|newest| newer(newest, &action.resource_version)) {
                    return;
                }
                self.urgent |= known.is_none_or(|known| known.state != action.state);
                self.correlator.note(action);
            }
            ObjectChange::Incident(Change::Applied(stored)) => {
                if !self.led {
                    self.correlator.follow(stored);
                }
                let news = self.correlator.adopt(stored, now);
                self.foresight.note(&stored.incident, None);
                changed.extend(news.then(|| stored.incident.id.clone()));
                self.urgent |= news;
            }
            ObjectChange::Incident(Change::Deleted(key)) => self.correlator.forget(key),
            ObjectChange::Pod(Change::Applied(pod)) => {
                self.urgent |= self.snapshot.workload_of(pod).is_some();
            }
            ObjectChange::Playbook(change) => self.follow_playbook(change),
            ObjectChange::Pod(Change::Deleted(_)) | ObjectChange::Control(_) => self.urgent = true,
            _ => {}
        }
        self.snapshot.commit(change, now);
    }

    /// Takes up a playbook of people, or lets it go: the shipped one of that name counts again.
    fn follow_playbook(&mut self, change: &Change<PlaybookText, Name>) {
        match change {
            // The watch delivers only what the checker accepted; this is the same checker.
            Change::Applied(text) => match parse_spec(&text.name, text.generation, &text.spec) {
                Ok(playbook) => {
                    self.own.insert(text.name.clone(), playbook);
                }
                Err(_) => {
                    self.own.remove(&text.name);
                }
            },
            Change::Deleted(name) => {
                self.own.remove(name);
            }
        }
        self.playbooks = over(&self.base, self.own.values().cloned());
        self.urgent = true;
    }

    /// Playbooks that the planner uses, in name order.
    pub fn playbooks(&self) -> &[Playbook] {
        &self.playbooks
    }

    fn decide(&mut self, now: Timestamp, changed: &mut BTreeSet<IncidentId>, effects: &mut Vec<Effect>) {
        self.launched.retain(|_, at| now.duration_since(*at) < LAUNCH_PATIENCE);
        let open: Vec<IncidentId> = self.correlator.incidents().map(|incident| incident.id.clone()).collect();
        for id in open {
            let busy = self.launched.contains_key(&id)
                || self
                    .snapshot
                    .actions
                    .values()
                    .any(|action| action.incident == id && action.state.in_flight());
            let Some(incident) = self.correlator.get(&id).filter(|incident| !incident.state.closed()) else {
                continue;
            };
            if busy {
                continue;
            }
            let incident = incident.clone();
            let decision =
                homeostat_plan::plan(&incident, &self.snapshot, &self.playbooks, now, &mut *self.ids);
            let mut nothing_left = false;
            let said = match decision {
                Decision::Act(draft) => match self.checker.check(draft, &self.snapshot, now) {
                    Ok(plan) => {
                        let text = format!(
                            "plan {} step {}: {}",
                            plan.playbook.name,
                            plan.playbook.step,
                            plan.explanation.join("; ")
                        );
                        self.launched.insert(id.clone(), now);
                        let finding = top_finding(&incident);
                        effects.push(Effect::Execute(Box::new(plan), finding));
                        text
                    }
                    Err(objections) => {
                        format!(
                            "plan not admitted: {}",
                            homeostat_plan::report::describe_objections(&objections)
                        )
                    }
                },
                Decision::Wait { reason, .. } => reason,
                Decision::Nothing { reason, .. } => {
                    nothing_left = true;
                    reason
                }
                Decision::HandOver { reason, advice, .. } => {
                    nothing_left = true;
                    self.hand_over(&id, &reason, &advice, now, changed);
                    reason
                }
            };
            if self.said.get(&id) != Some(&said) {
                if let Some(incident) = self.correlator.get_mut(&id) {
                    incident.record(now, TimelineKind::Decision, said.clone());
                    changed.insert(id.clone());
                }
                effects.push(Effect::Said(Arc::new(incident.clone()), said.clone()));
                self.said.insert(id.clone(), said);
            }
            let window = incident
                .tenant
                .as_ref()
                .and_then(|tenant| self.snapshot.tenants.get(tenant))
                .map_or(VERIFICATION, |tenant| tenant.verification);
            if let Some(mitigated) = incident.instants.mitigated {
                let since = now.duration_since(mitigated);
                if ((nothing_left && since >= window) || since >= FOLLOW_UP_LIMIT)
                    && self.correlator.resolve(&id, now)
                {
                    changed.insert(id.clone());
                    self.said.remove(&id);
                }
            }
        }
    }

    /// Asks whose turn it is to run, and tells how runs do.
    fn order_runs(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.runs_held {
            return;
        }
        let Some(ordered) = self.runs.step(&self.snapshot, now, &mut *self.ids) else { return };
        self.keep = ordered.keep.or(self.keep.take());
        for draft in ordered.plans {
            let workload = draft.workload.clone();
            match self.checker.check(draft, &self.snapshot, now) {
                Ok(plan) => {
                    self.runs.checked(&workload, None);
                    effects.push(Effect::Execute(Box::new(plan), None));
                }
                Err(objections) => {
                    let text = homeostat_plan::report::describe_objections(&objections);
                    if self.runs.checked(&workload, Some(&text)) {
                        effects.push(Effect::Held(workload, text));
                    }
                }
            }
        }
        let gone: Vec<WorkloadKey> =
            self.snapshot.runs.keys().filter(|key| !ordered.reports.contains_key(*key)).cloned().collect();
        for key in gone {
            self.snapshot.runs.remove_mut(&key);
        }
        for (key, report) in ordered.reports {
            if self.snapshot.runs.get(&key).is_none_or(|known| **known != report) {
                self.snapshot.runs.insert_mut(key, Arc::new(report));
            }
        }
    }

    fn hand_over(
        &mut self,
        id: &IncidentId,
        reason: &str,
        advice: &[String],
        now: Timestamp,
        changed: &mut BTreeSet<IncidentId>,
    ) {
        let Some(incident) = self.correlator.get_mut(id) else { return };
        if incident.handed_over.is_some() || incident.instants.mitigated.is_some() {
            return;
        }
        let text = if advice.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}. Try: {}", advice.join("; "))
        };
        incident.handed_over = Some(text);
        incident.state = IncidentState::HandedOver;
        incident.instants.acknowledged.get_or_insert(now);
        incident.record(now, TimelineKind::State, "handed over to people");
        changed.insert(id.clone());
    }

    fn share_incidents(&mut self) {
        let same = self.snapshot.incidents.size() == self.correlator.incidents().count()
            && self.correlator.incidents().all(|incident| {
                self.snapshot.incidents.get(&incident.id).is_some_and(|known| **known == *incident)
            });
        if !same {
            self.snapshot.incidents = self
                .correlator
                .incidents()
                .map(|incident| (incident.id.clone(), Arc::new(incident.clone())))
                .collect();
        }
    }

    fn prune(&mut self, now: Timestamp) {
        if self.pruned.is_some_and(|last| now.duration_since(last) < SignedDuration::from_mins(1)) {
            return;
        }
        self.pruned = Some(now);
        let stale: Vec<_> = self
            .snapshot
            .loads
            .iter()
            .filter(|(_, (_, at))| now.duration_since(*at) > LOAD_MEMORY)
            .map(|(place, _)| place.clone())
            .collect();
        for place in stale {
            self.snapshot.loads.remove_mut(&place);
        }
        hearing::forget(&mut self.snapshot, now);
        for id in self.outlived_actions(now) {
            self.snapshot.actions.remove_mut(&id);
        }
        // Also those that were deleted.
        let known = &self.snapshot.actions;
        self.seen_actions.retain(|id, _| known.contains_key(id));
        let open: BTreeSet<IncidentId> =
            self.correlator.incidents().map(|incident| incident.id.clone()).collect();
        self.said.retain(|id, _| open.contains(id));
    }
}

/// The finding that the incident's first cause stands on.
fn top_finding(incident: &Incident) -> Option<Finding> {
    let cause = incident.top_cause()?;
    let fits = |finding: &&Finding| {
        finding.kind == cause.kind
            && (finding.entity == cause.entity || finding.entity.workload() == cause.entity.workload())
    };
    let all = || incident.findings.iter().filter(fits);
    // That of a sibling may hold when that of the pod itself does not any more.
    all()
        .find(|finding| finding.active && finding.entity == cause.entity)
        .or_else(|| all().find(|finding| finding.active))
        .or_else(|| all().next())
        .cloned()
}

/// Whether version `known` is newer than `other`. Kubernetes promises an order for versions of one resource
/// type since 1.35; before, etcd's revisions had it in fact.
fn newer(known: &str, other: &str) -> bool {
    match (known.parse::<u64>(), other.parse::<u64>()) {
        (Ok(known), Ok(other)) => known > other,
        _ => false,
    }
}
