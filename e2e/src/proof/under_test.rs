//! The process under test: the shipped executor over the shipped ports, fed by the shipped watches, as the binary wires
//! them. Only who is ill is said by the stand-in in [`super::patients`], so that each of
//! [`super::plans::ACTIONS`] can be provoked at will.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use homeostat_cluster::watches::{SOURCE, WatchOptions, Watches};
use homeostat_cluster::{ApiActuator, ApiLedger, ConnectOptions, scalers};
use homeostat_execute::driver::Ports;
use homeostat_execute::guards::{is_object_state, minimum_duration};
use homeostat_execute::{
    ActionSpec, Changes, Executor, ExecutorConfig, GuardInput, Leadership, Recorder, actions::spec,
};
use homeostat_knowledge::action::EvidenceRef;
use homeostat_knowledge::forecast::Scaler;
use homeostat_knowledge::observation::{Change, ObjectChange, SourceReport, SourceState};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::{
    ActionKind, ActionRecord, Cause, Clock, Draft, Entity, Evidence, EvidenceId, Finding, FindingId,
    FindingKind, Incident, IncidentId, IncidentState, Instants, Name, Observation, Plan, PlanId, PlaybookRef,
    Severity, Signal, SignedDuration, SizeAdvice, SizeEffect, Snapshot, SnapshotSource, Step, TenantName,
    Timestamp, Verification, WorkloadKey,
};
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::clock::SystemClock;

use super::error::ProofError;
use super::patients::{self, Chosen, FORESEEN};

/// The loop looks at the time so often even when nothing arrives.
const TICK: Duration = Duration::from_millis(100);
/// Autoscalers are asked for so often.
const AUTOSCALERS: Duration = Duration::from_millis(500);
/// Open actions that nobody carries out are looked for so often.
const RESUME: SignedDuration = SignedDuration::from_secs(1);
/// First and longest wait between two tries of the planner.
const AGAIN: SignedDuration = SignedDuration::from_millis(500);
const LONGEST: SignedDuration = SignedDuration::from_secs(4);
/// An incident is closed after so long without anything wrong.
const CALM: SignedDuration = SignedDuration::from_secs(5);

/// What the process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The way to the API server.
    pub kubeconfig: PathBuf,
    /// Namespace that Homeostat runs in.
    pub own_namespace: String,
    /// Namespaces to watch.
    pub namespaces: Vec<String>,
    /// Who may fall ill.
    pub patients: Vec<Patient>,
    /// Where each acknowledged effect is written down, with the API server's name for it.
    pub acknowledged: PathBuf,
}

/// Who may fall ill, and what helps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Patient {
    /// What helps.
    pub action: ActionKind,
    /// Whose rules apply.
    pub tenant: String,
    /// The workload; for a node its name in Homeostat's own namespace.
    pub workload: WorkloadKey,
    /// It is this node.
    pub node: Option<String>,
    /// Part of the incident's name where who is ill does not tell one illness from the next.
    pub episode: String,
}

/// One acknowledged effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// The action.
    pub action: String,
    /// The API server's name of the request.
    pub audit_id: String,
}

/// The newest snapshot.
#[derive(Default)]
struct Board {
    newest: RwLock<Arc<Snapshot>>,
    generations: Changes,
}

impl SnapshotSource for Board {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One process at a time: there is nobody to share the lead with.
struct Alone;

impl Leadership for Alone {
    fn leads(&self) -> bool {
        true
    }

    async fn lost(&self) {
        std::future::pending::<()>().await;
    }
}

/// Writes acknowledged effects down, each at once: the process may be killed in the next moment.
struct Notes {
    file: Mutex<File>,
}

impl Recorder for Notes {
    fn record(&self, _input: &GuardInput) {}

    fn acknowledged(&self, record: &ActionRecord, audit_id: &Name) {
        let note = Acknowledgement { action: record.id.to_string(), audit_id: audit_id.to_string() };
        let Ok(mut line) = serde_json::to_vec(&note) else { return };
        line.push(b'\n');
        if let Err(error) = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line) {
            tracing::error!(%error, "An acknowledgement could not be written down");
        }
    }
}

type Exec = Executor<ApiLedger, ApiActuator, Alone>;

struct Loop {
    config: Config,
    board: Arc<Board>,
    executor: Exec,
    snapshot: Snapshot,
    incidents: BTreeMap<WorkloadKey, Incident>,
    tries: BTreeMap<IncidentId, (Timestamp, SignedDuration)>,
    resumed: Option<Timestamp>,
}

/// Runs until it is killed.
pub async fn run(config: Config) -> Result<(), ProofError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = ConnectOptions { kubeconfig: Some(config.kubeconfig.clone()), ..ConnectOptions::default() };
    let client = homeostat_cluster::connect(&options).await?;
    let path: &Path = &config.acknowledged;
    let file = File::options().create(true).append(true).open(path).map_err(ProofError::io("open", path))?;
    let (objects_in, mut objects) = mpsc::channel(4_096);
    let (actions_in, mut actions) = mpsc::channel(1_024);
    let watched = WatchOptions {
        namespaces: config.namespaces.iter().cloned().collect(),
        reserved: std::iter::once(config.own_namespace.clone()).collect(),
        ..WatchOptions::default()
    };
    if config.patients.iter().any(|patient| patient.action == ActionKind::DriveBounds) {
        let namespaces = watched.namespaces.clone();
        tokio::spawn(autoscalers(client.clone(), namespaces, objects_in.clone()));
    }
    let watches = Watches::start(&client, &watched, Arc::clone(&clock), objects_in);
    let board = Arc::new(Board::default());
    let executor = Executor::new(
        Ports {
            ledger: ApiLedger::new(client.clone(), Arc::clone(&clock)),
            actuator: ApiActuator::new(client),
            leadership: Alone,
            clock,
            snapshots: Arc::clone(&board) as Arc<dyn SnapshotSource>,
            generations: board.generations.follow(),
            published: actions_in,
            recorder: Arc::new(Notes { file: Mutex::new(file) }),
        },
        ExecutorConfig::new(config.own_namespace.as_str()),
    );
    let mut turn = Loop {
        config,
        board,
        executor,
        snapshot: Snapshot::default(),
        incidents: BTreeMap::new(),
        tries: BTreeMap::new(),
        resumed: None,
    };
    // What no span says here: that calls would be seen.
    let calls = SourceReport { state: SourceState::Healthy, accepted: 1, dropped: 0 };
    turn.snapshot.sources.insert_mut(Name::from("otlp"), calls);
    let signals = SourceReport { state: SourceState::Off, accepted: 0, dropped: 0 };
    turn.snapshot.sources.insert_mut(Name::from("prometheus"), signals);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            object = objects.recv() => match object {
                Some(object) => turn.take(object),
                None => break,
            },
            Some(action) = actions.recv() => turn.own(action),
            _ = tick.tick() => {}
        }
        while let Ok(object) = objects.try_recv() {
            turn.take(object);
        }
        while let Ok(action) = actions.try_recv() {
            turn.own(action);
        }
        turn.step(Timestamp::now());
    }
    watches.stop().await;
    Ok(())
}

impl Loop {
    fn take(&mut self, observation: Observation) {
        let now = observation.arrival_time;
        match observation.signal {
            Signal::Object(ObjectChange::Action(Change::Applied(action))) => self.commit(action, now),
            Signal::Object(change) => self.snapshot.commit(&change, now),
            Signal::Source(report) => {
                if let Entity::Source { name } = observation.entity {
                    self.snapshot.sources.insert_mut(name, report);
                }
            }
            Signal::Span(_) | Signal::Log(_) | Signal::Sample(_) | Signal::Series(_) => {}
        }
    }

    fn own(&mut self, action: ActionRecord) {
        self.commit(Arc::new(action), Timestamp::now());
    }

    /// Own writes arrive twice, by the executor and by the watch, in any order.
    fn commit(&mut self, action: Arc<ActionRecord>, now: Timestamp) {
        let number = |record: &ActionRecord| record.resource_version.parse::<u64>().unwrap_or(0);
        let known = self.snapshot.actions.get(&action.id);
        if known.is_none_or(|known| number(known) <= number(&action)) {
            self.snapshot.commit(&ObjectChange::Action(Change::Applied(action)), now);
        }
    }

    /// Looks at everybody, publishes, takes up what is open and begins what is needed.
    fn step(&mut self, now: Timestamp) {
        // Without the health of the watches nothing would be admitted.
        let watched = self.snapshot.sources.get(SOURCE).is_some();
        if !self.snapshot.ready() || !watched {
            self.publish();
            return;
        }
        let mut plans = Vec::new();
        for patient in self.config.patients.clone() {
            let ailing = patients::look(&patient, &self.snapshot, now);
            if patient.action == ActionKind::DriveBounds {
                self.foresee(&patient, ailing.is_some(), now);
            } else {
                self.follow(&patient, ailing.as_ref(), now);
            }
            if let Some(chosen) = ailing {
                plans.push((patient, chosen));
            }
        }
        self.publish();
        if self.resumed.is_none_or(|at| now.duration_since(at) >= RESUME) {
            self.resumed = Some(now);
            self.executor.resume(Exec::open_actions(&self.snapshot));
        }
        for (patient, chosen) in plans {
            self.decide(&patient, chosen, now);
        }
    }

    fn publish(&mut self) {
        self.snapshot.generation += 1;
        *self.board.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.snapshot.clone());
        self.board.generations.tell();
    }

    /// Keeps the incident of a patient. Its name follows from who is ill, so that it is the same after a restart.
    fn follow(&mut self, patient: &Patient, ailing: Option<&Chosen>, now: Timestamp) {
        let id = ailing.map(|chosen| IncidentId::new(chosen.incident.as_str()));
        let known = self.incidents.get(&patient.workload).map(|incident| incident.id.clone());
        if let Some(known) = known.filter(|known| id.as_ref().is_some_and(|id| id != known)) {
            self.incidents.remove(&patient.workload);
            self.snapshot.incidents.remove_mut(&known);
        }
        let Some(chosen) = ailing else {
            self.calm(&patient.workload, now);
            return;
        };
        let incident =
            self.incidents.entry(patient.workload.clone()).or_insert_with(|| incident(patient, chosen, now));
        incident.state = IncidentState::Open;
        incident.instants.mitigated = None;
        for finding in &mut incident.findings {
            finding.last_seen = now;
            finding.active = true;
        }
        self.snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident.clone()));
    }

    /// What a forecast asks for stands in the place of an incident, and is decided anew all the time.
    fn foresee(&mut self, patient: &Patient, more: bool, now: Timestamp) {
        let whole = |replicas: u64| u32::try_from(replicas).unwrap_or(u32::MAX);
        let (min, max) = (whole(FORESEEN.min), whole(FORESEEN.max));
        let advice = SizeAdvice {
            wanted: Some(min),
            effect: if more { SizeEffect::DriveBounds { min, max } } else { SizeEffect::Keep },
            why: "as the proof foresees it".to_owned(),
            ..SizeAdvice::keep(now)
        };
        self.snapshot.sizes.insert_mut(patient.workload.clone(), Arc::new(advice));
    }

    fn calm(&mut self, workload: &WorkloadKey, now: Timestamp) {
        let Some(incident) = self.incidents.get_mut(workload) else { return };
        let since = *incident.instants.mitigated.get_or_insert(now);
        if now.duration_since(since) >= CALM {
            self.snapshot.incidents.remove_mut(&incident.id);
            self.incidents.remove(workload);
            return;
        }
        incident.state = IncidentState::Mitigated;
        for finding in &mut incident.findings {
            finding.active = false;
        }
        self.snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident.clone()));
    }

    fn decide(&mut self, patient: &Patient, chosen: Chosen, now: Timestamp) {
        let id = IncidentId::new(chosen.incident.as_str());
        let open =
            self.snapshot.actions.values().any(|action| action.incident == id && !action.state.ended());
        if open || self.tries.get(&id).is_some_and(|(at, _)| now < *at) {
            return;
        }
        let wait = self.tries.get(&id).map_or(AGAIN, |(_, wait)| (*wait * 2).min(LONGEST));
        self.tries.insert(id.clone(), (now + wait, wait));
        if self.tries.len() > 10_000 {
            let open = &self.snapshot.incidents;
            self.tries.retain(|id, _| open.contains_key(id));
        }
        let generation = self.snapshot.generation;
        let (plan, finding) = if patient.action == ActionKind::DriveBounds {
            let evidence = EvidenceRef {
                id: EvidenceId::new(format!("size-{}", now.as_second())),
                taken_at: now,
                summary: "as the proof foresees it".to_owned(),
            };
            // A higher floor is not taken back: it only costs.
            let draft = plan(patient, chosen, id, evidence, Undo::None, generation);
            (draft.by_forecast().admit(), None)
        } else {
            let Some(incident) = self.incidents.get(&patient.workload) else { return };
            let Some(finding) = incident.findings.first().cloned() else { return };
            let evidence = EvidenceRef {
                id: incident.evidence.clone(),
                taken_at: finding.last_seen,
                summary: incident.summary(),
            };
            let undo = spec(chosen.parameters.kind()).map_or(Undo::None, ActionSpec::undo);
            (plan(patient, chosen, id, evidence, undo, generation).admit(), Some(finding))
        };
        match self.executor.start(&plan, finding) {
            Ok(action) => tracing::info!(%action, "begun"),
            Err(error) => tracing::info!(%error, "not begun"),
        }
    }
}

/// What somebody else tells of the same fault: what is measured is acted on alone at `ActFull` only when two tell of it.
fn told_too(finding: &Finding) -> Option<Finding> {
    let kind = match finding.kind {
        kind if is_object_state(kind) => return None,
        FindingKind::Slow | FindingKind::SignalAbnormal => FindingKind::ErrorBurst,
        _ => FindingKind::Slow,
    };
    Some(Finding { id: FindingId::new(format!("{}-too", finding.id)), kind, ..finding.clone() })
}

fn incident(patient: &Patient, chosen: &Chosen, now: Timestamp) -> Incident {
    let id = IncidentId::new(chosen.incident.as_str());
    let since = now - minimum_duration(chosen.finding);
    let finding = Finding {
        id: FindingId::new(format!("{id}-finding")),
        entity: chosen.entity.clone(),
        kind: chosen.finding,
        since,
        detected: now,
        last_seen: now,
        confidence: 0.999,
        evidence: vec![Evidence::new("state", "as the proof set it")],
        active: true,
    };
    let evidence = EvidenceId::new(format!("evidence-{id}"));
    Incident {
        tenant: Some(TenantName::new(patient.tenant.as_str())),
        workload: Some(patient.workload.clone()),
        severity: Severity::Critical,
        causes: vec![Cause {
            entity: finding.entity.clone(),
            kind: finding.kind,
            confidence: finding.confidence,
            evidence: finding.evidence.clone(),
        }],
        findings: std::iter::once(finding.clone()).chain(told_too(&finding)).collect(),
        ..Incident::open(id, patient.workload.namespace.clone(), evidence, Instants::new(since, now))
    }
}

/// The planner and its checker are not under test here.
fn plan(
    patient: &Patient,
    chosen: Chosen,
    incident: IncidentId,
    evidence: EvidenceRef,
    undo: Undo,
    generation: u64,
) -> Plan<Draft> {
    let step = Step {
        target: chosen.target,
        parameters: chosen.parameters,
        before: chosen.before,
        verification: Verification {
            within: SignedDuration::from_mins(1),
            expect: Expectation::ObjectivesMet,
        },
        undo,
        evidence,
    };
    Plan::draft(
        PlanId::new(format!("plan-{incident}-{generation}")),
        incident,
        TenantName::new(patient.tenant.as_str()),
        patient.workload.clone(),
        generation,
        PlaybookRef { name: Name::from("proof"), version: 1, step: 1 },
        vec![step],
        vec!["somebody is ill".to_owned()],
    )
}

/// Tells of the autoscalers until the loop ends; the product asks less often, and so does not find a new floor as fast.
async fn autoscalers(client: Client, namespaces: BTreeSet<String>, objects: mpsc::Sender<Observation>) {
    loop {
        match scalers::horizontal(&client, &namespaces).await {
            Ok(found) => {
                let now = Timestamp::now();
                let observation = Observation {
                    tenant: None,
                    entity: Entity::Cluster,
                    event_time: now,
                    arrival_time: now,
                    signal: Signal::Object(ObjectChange::Scalers(Arc::new(Scaler::by_target(found)))),
                };
                if objects.send(observation).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "autoscalers are not known"),
        }
        tokio::time::sleep(AUTOSCALERS).await;
    }
}
