//! One process of the product: watch caches, the real executor over its ports, and a planner as simple as can be.

use crate::client::{Client, Lease};
use crate::defects::{Defect, Hands, see};
use crate::faults::Hook;
use crate::server::{News, Stream};
use crate::situations::Chosen;
use crate::situations::drive_bounds::foresee;
use crate::world::World;
use homeostat_execute::actions::spec;
use homeostat_execute::driver::{ExecutorConfig, Ports};
use homeostat_execute::ports::NoRecorder;
use homeostat_execute::{ActionSpec, Breach, Changes, Executor, Leadership};
use homeostat_knowledge::action::EvidenceRef;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, SourceReport, SourceState};
use homeostat_knowledge::plan::{Expectation, Undo, Verification};
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, Admitted, Before, Clock, Finding, Incident, IncidentId, Name,
    Plan, PlanId, PlaybookRef, SignedDuration, Snapshot, SnapshotSource, Step, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// From the start of a process to its first lists.
const BOOT: Duration = Duration::from_millis(500);
/// From a change to its event in the cache.
const LAG: Duration = Duration::from_millis(10);
/// The loop looks at the time so often even when nothing arrives.
const IDLE: Duration = Duration::from_secs(5);
/// Open actions that nobody carries out are looked for so often.
const RESUME: SignedDuration = SignedDuration::from_secs(5);
/// A watch that lost an event lists again after so long.
const RELIST: SignedDuration = SignedDuration::from_secs(5);
/// What is held is looked for so often.
const RELEASE: Duration = Duration::from_secs(5);
/// First and longest wait between two tries of the planner.
const AGAIN: SignedDuration = SignedDuration::from_secs(2);
const LONGEST: SignedDuration = SignedDuration::from_secs(16);

type Exec = Executor<Hands, Hands, Lease>;

/// The newest snapshot of one process.
pub struct View {
    snapshot: Mutex<Arc<Snapshot>>,
    world: Arc<World>,
    defect: Option<Defect>,
}

impl SnapshotSource for View {
    fn current(&self) -> Arc<Snapshot> {
        let snapshot = Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
        match self.defect {
            None => snapshot,
            Some(defect) => see(defect, snapshot, self.world.now()),
        }
    }
}

/// The clock of one process.
struct OwnClock(Arc<World>, u64);

impl Clock for OwnClock {
    fn now(&self) -> Timestamp {
        self.0.clock(self.1)
    }
}

/// What the outside keeps of a process.
#[derive(Clone)]
pub struct Handle {
    executor: Exec,
    /// Which process.
    pub life: u64,
}

impl Handle {
    /// Invariants that the process itself found broken.
    pub fn breaches(&self) -> Vec<Breach> {
        self.executor.breaches()
    }

    /// Actions under way in it.
    pub fn under_way(&self) -> usize {
        self.executor.under_way()
    }
}

struct Process {
    life: u64,
    world: Arc<World>,
    defect: Option<Defect>,
    lease: Lease,
    view: Arc<View>,
    executor: Exec,
    hands: Hands,
    generations: Changes,
    published: mpsc::Receiver<ActionRecord>,
    publish: mpsc::Sender<ActionRecord>,
    positions: BTreeMap<Stream, u64>,
    lists: BTreeMap<Stream, Timestamp>,
    tries: BTreeMap<IncidentId, (Timestamp, SignedDuration)>,
    resumed: Option<Timestamp>,
    seen: bool,
}

/// Starts the next process, which takes the lease.
pub fn start(world: &Arc<World>, defect: Option<Defect>) -> Handle {
    let life = {
        let mut inner = world.lock();
        inner.life += 1;
        inner.leader = inner.life;
        let life = inner.life;
        inner.note(world.now(), &format!("process {life} starts and leads"));
        life
    };
    world.announce();
    run(world, Lease { world: Arc::clone(world), life, term: None }, defect)
}

/// Runs the process that this lease belongs to.
pub fn run(world: &Arc<World>, lease: Lease, defect: Option<Defect>) -> Handle {
    let life = lease.life;
    let view = Arc::new(View {
        snapshot: Mutex::new(Arc::new(Snapshot::default())),
        world: Arc::clone(world),
        defect,
    });
    let client = Client { world: Arc::clone(world), life };
    let hands = Hands::new(client, Arc::clone(&view), defect);
    let (publish, published) = mpsc::channel(256);
    let generations = Changes::default();
    let executor = executor(&lease, &view, &hands, &generations, &publish);
    let handle = Handle { executor: executor.clone(), life };
    let mut process = Process {
        life,
        world: Arc::clone(world),
        defect,
        lease: lease.clone(),
        view,
        executor,
        hands,
        generations,
        published,
        publish,
        positions: BTreeMap::new(),
        lists: BTreeMap::new(),
        tries: BTreeMap::new(),
        resumed: None,
        seen: false,
    };
    if defect != Some(Defect::NeverReleases) {
        tokio::spawn(release(lease));
    }
    tokio::spawn(async move { process.live().await });
    handle
}

/// Lets go of what is held for long enough, while the process leads.
async fn release(lease: Lease) {
    let client = Client { world: Arc::clone(&lease.world), life: lease.life };
    loop {
        tokio::time::sleep(RELEASE).await;
        lease.world.moving(lease.life).await;
        if lease.world.lock().dead.contains(&lease.life) {
            return;
        }
        if lease.leads() {
            client.release_held().await;
        }
    }
}

fn executor(
    lease: &Lease,
    view: &Arc<View>,
    hands: &Hands,
    generations: &Changes,
    published: &mpsc::Sender<ActionRecord>,
) -> Exec {
    let ports = Ports {
        ledger: hands.clone(),
        actuator: hands.clone(),
        leadership: lease.clone(),
        clock: Arc::new(OwnClock(Arc::clone(&lease.world), lease.life)),
        snapshots: Arc::clone(view) as Arc<dyn SnapshotSource>,
        generations: generations.follow(),
        published: published.clone(),
        recorder: Arc::new(NoRecorder),
    };
    Executor::new(ports, ExecutorConfig::new(crate::objects::OWN_NAMESPACE))
}

impl Process {
    async fn live(&mut self) {
        let mut died = self.world.died.follow();
        let mut changed = self.world.changed.follow();
        tokio::time::sleep(BOOT).await;
        loop {
            tokio::time::sleep(LAG).await;
            self.world.moving(self.life).await;
            if self.dead() {
                return;
            }
            if !self.seen && self.sees() {
                self.world.hook(self.life, Hook::BeforeSeen);
            }
            if self.dead() {
                return;
            }
            changed.catch_up();
            self.take_in();
            let ill = !self.seen && self.view.current().incidents.values().any(|one| sick(one).is_some());
            if ill {
                self.seen = true;
                self.world.hook(self.life, Hook::Seen);
                if self.dead() {
                    return;
                }
            }
            self.decide();
            if ill {
                self.world.hook(self.life, Hook::Decided);
            }
            tokio::select! {
                biased;
                () = died.next() => {}
                () = changed.next() => {}
                Some(record) = self.published.recv() => self.own(record),
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }

    fn dead(&self) -> bool {
        self.world.lock().dead.contains(&self.life)
    }

    /// Would the next look show an illness?
    fn sees(&self) -> bool {
        self.world.lock().server.incidents.values().any(|incident| sick(incident).is_some())
    }

    /// Reads the watches. A stream is read in order, from where it was left; 410 makes it list anew.
    fn take_in(&mut self) {
        let (now, truth) = (self.world.clock(self.life), self.world.now());
        let mut snapshot = (*self.snapshot()).clone();
        {
            let mut inner = self.world.lock();
            let inner = &mut *inner;
            for stream in Stream::ALL {
                // The first list is a consistent read; only what is watched from there on may lag. A process whose list
                // did not come at all decides nothing, and so has nothing to show here.
                let listed = self.positions.contains_key(&stream);
                if listed && inner.watches.frozen.get(&stream).is_some_and(|until| truth < *until) {
                    continue;
                }
                let newest = inner.server.revision();
                let after = self.positions.insert(stream, newest);
                let due = self.lists.get(&stream).is_some_and(|at| *at <= now);
                let events = after.filter(|_| !due).and_then(|after| inner.server.watch(stream, after));
                let Some(events) = events else {
                    self.lists.remove(&stream);
                    relist(&mut snapshot, stream, &inner.server.list(stream), now);
                    continue;
                };
                for (_, news) in events {
                    let misses = inner.watches.misses.entry(stream).or_default();
                    if *misses > 0 {
                        *misses -= 1;
                        self.lists.insert(stream, now + RELIST);
                    } else {
                        commit(&mut snapshot, &news, now);
                    }
                }
            }
        }
        if !snapshot.ready() {
            for kind in ObjectKind::REQUIRED {
                snapshot.commit(&ObjectChange::Synced(kind), now);
            }
            for source in ["kubernetes", "otlp", "prometheus"] {
                let report = SourceReport { state: SourceState::Healthy, accepted: 1, dropped: 0 };
                snapshot.sources.insert_mut(Name::from(source), report);
            }
        }
        while let Ok(record) = self.published.try_recv() {
            apply_own(&mut snapshot, record, now);
        }
        foresee(&mut snapshot);
        self.publish_snapshot(snapshot);
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.view.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish_snapshot(&self, mut snapshot: Snapshot) {
        snapshot.generation += 1;
        *self.view.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        self.generations.tell();
    }

    /// The executor stored a state.
    fn own(&mut self, record: ActionRecord) {
        let mut snapshot = (*self.snapshot()).clone();
        apply_own(&mut snapshot, record, self.world.clock(self.life));
        self.publish_snapshot(snapshot);
    }

    /// Takes up what is open; for each incident that nobody works on, makes a plan and hands it to the executor.
    fn decide(&mut self) {
        let now = self.world.clock(self.life);
        if !self.lease.leads() {
            return;
        }
        let snapshot = self.view.current();
        if self.resumed.is_none_or(|at| now.duration_since(at) >= RESUME) {
            self.resumed = Some(now);
            self.executor.resume(Exec::open_actions(&snapshot));
            let executor = self.executor.clone();
            tokio::spawn(async move { executor.close_proposals().await });
        }
        self.tries.retain(|incident, _| snapshot.incidents.contains_key(incident));
        for incident in snapshot.incidents.values() {
            let Some(finding) = sick(incident) else { continue };
            let open = snapshot
                .actions
                .values()
                .any(|action| action.incident == incident.id && !action.state.ended());
            if open || self.tries.get(&incident.id).is_some_and(|(at, _)| now < *at) {
                continue;
            }
            let Some(plan) = self.plan(&snapshot, incident, finding) else { continue };
            let wait = self.tries.get(&incident.id).map_or(AGAIN, |(_, wait)| (*wait * 2).min(LONGEST));
            self.tries.insert(incident.id.clone(), (now + wait, wait));
            let begun = match self.defect {
                // A program that forgets what it has reserved from one decision to the next.
                Some(Defect::NothingReserved) => {
                    let forgetful =
                        executor(&self.lease, &self.view, &self.hands, &self.generations, &self.publish);
                    forgetful.start(&plan, Some(finding.clone()))
                }
                _ => self.executor.start(&plan, Some(finding.clone())),
            };
            if let Err(error) = begun {
                self.world.lock().note(now, &format!("{} not begun: {error}", self.life));
            }
        }
    }

    fn plan(&self, snapshot: &Snapshot, incident: &Incident, finding: &Finding) -> Option<Plan<Admitted>> {
        let workload = incident.workload.clone()?;
        let mut tenant = incident.tenant.clone()?;
        if self.defect == Some(Defect::IgnoresTenants)
            && let Some(other) = snapshot.tenants.keys().find(|name| **name != tenant)
        {
            tenant = other.clone();
        }
        let (situation, confused) = {
            let mut inner = self.world.lock();
            let confused = inner.confused.take_if(|(one, _)| *one == workload).map(|(_, other)| other);
            (inner.services.get(&workload)?.situation, confused)
        };
        let Chosen { target, parameters, before } = match confused {
            None => situation.step(snapshot, &workload, &finding.entity, self.world.clock(self.life))?,
            // A planner with a fault: the right workload, somebody else's object.
            Some(other) => {
                let pod = snapshot.pods_of(&other).next()?;
                Chosen {
                    target: Snapshot::pod_target(pod),
                    parameters: homeostat_knowledge::Parameters::EvictPod { grace_seconds: None },
                    before: Before::default(),
                }
            }
        };
        let undo = spec(parameters.kind()).map_or(Undo::None, ActionSpec::undo);
        let step = Step {
            target,
            parameters,
            before,
            verification: Verification {
                within: SignedDuration::from_secs(30),
                expect: Expectation::ObjectivesMet,
            },
            undo,
            evidence: EvidenceRef {
                id: incident.evidence.clone(),
                taken_at: finding.last_seen,
                summary: incident.summary(),
            },
        };
        let plan = Plan::draft(
            PlanId::new(format!("plan-{}", snapshot.generation)),
            incident.id.clone(),
            tenant,
            workload,
            snapshot.generation,
            PlaybookRef { name: Name::from("simulated"), version: 1, step: 1 },
            vec![step],
            vec!["somebody is ill".to_owned()],
        );
        let plan = match plan.steps.first().map(|step| step.parameters.kind()) {
            Some(ActionKind::StartJob | ActionKind::CreateJob) => plan.by_schedule(),
            Some(ActionKind::DriveBounds) => plan.by_forecast(),
            _ => plan,
        };
        Some(plan.admit())
    }
}

/// The finding that an incident is open for.
fn sick(incident: &Incident) -> Option<&Finding> {
    incident.findings.first().filter(|finding| finding.active)
}

fn newer(known: &Name, news: &Name) -> bool {
    let number = |name: &Name| name.parse::<u64>().unwrap_or(0);
    number(known) > number(news)
}

fn apply_own(snapshot: &mut Snapshot, record: ActionRecord, now: Timestamp) {
    commit(snapshot, &News::Object(ObjectChange::Action(Change::Applied(Arc::new(record)))), now);
}

fn commit(snapshot: &mut Snapshot, news: &News, now: Timestamp) {
    match news {
        News::Object(change) => {
            if let ObjectChange::Action(Change::Applied(action)) = change {
                // Own writes arrive twice, by the executor and by the watch, in any order.
                let known = snapshot.actions.get(&action.id);
                if known.is_some_and(|known| newer(&known.resource_version, &action.resource_version)) {
                    return;
                }
            }
            snapshot.commit(change, now);
        }
        News::Incident(incident) => {
            snapshot.incidents.insert_mut(incident.id.clone(), Arc::clone(incident));
        }
        News::Closed(id) => {
            snapshot.incidents.remove_mut(id);
        }
        News::Health(workload, health) => {
            snapshot.health.insert_mut(workload.clone(), health.clone());
        }
    }
}

/// Puts a full list in the place of what the cache knows of a stream.
fn relist(snapshot: &mut Snapshot, stream: Stream, list: &[News], now: Timestamp) {
    let mut present = BTreeSet::new();
    for news in list {
        if let News::Object(change) = news {
            present.insert(name_of(change));
        }
        if let News::Incident(incident) = news {
            present.insert(incident.id.to_string());
        }
    }
    let mut gone = Vec::new();
    match stream {
        Stream::Pods => {
            let keys = snapshot.pods.keys().cloned();
            gone.extend(keys.map(|key| ObjectChange::Pod(Change::Deleted(key))));
        }
        Stream::Controllers => {
            let keys = snapshot.controllers.keys().cloned();
            gone.extend(keys.map(|key| ObjectChange::Controller(Change::Deleted(key))));
            let keys = snapshot.nodes.keys().cloned();
            gone.extend(keys.map(|name| {
                ObjectChange::Node(Change::Deleted(homeostat_knowledge::ObjectKey::new("", name)))
            }));
        }
        Stream::Policies => {
            let keys = snapshot.workloads.keys().cloned();
            gone.extend(keys.map(|key| ObjectChange::Workload(Change::Deleted(key))));
            let names = snapshot.tenants.keys().cloned();
            gone.extend(names.map(|name| ObjectChange::Tenant(Change::Deleted(name))));
        }
        Stream::Actions => {
            let keys = snapshot.actions.values().map(|action| action.key());
            gone.extend(keys.map(|key| ObjectChange::Action(Change::Deleted(key))));
        }
        Stream::Telemetry => {
            let ids: Vec<IncidentId> = snapshot.incidents.keys().cloned().collect();
            for id in ids.iter().filter(|id| !present.contains(id.as_str())) {
                snapshot.incidents.remove_mut(id);
            }
        }
    }
    for change in gone.iter().filter(|change| !present.contains(&name_of(change))) {
        snapshot.commit(change, now);
    }
    for news in list {
        commit(snapshot, news, now);
    }
}

/// What tells objects of one stream apart.
fn name_of(change: &ObjectChange) -> String {
    match change {
        ObjectChange::Pod(Change::Applied(pod)) => pod.key.to_string(),
        ObjectChange::Pod(Change::Deleted(key)) | ObjectChange::Action(Change::Deleted(key)) => {
            key.to_string()
        }
        ObjectChange::Controller(Change::Applied(record)) => format!("{:?}", record.key),
        ObjectChange::Controller(Change::Deleted(key)) => format!("{key:?}"),
        ObjectChange::Node(Change::Applied(record)) => format!("node {}", record.name),
        ObjectChange::Node(Change::Deleted(key)) => format!("node {}", key.name),
        ObjectChange::Workload(Change::Applied(policy)) => policy.key.to_string(),
        ObjectChange::Workload(Change::Deleted(key)) => key.to_string(),
        ObjectChange::Tenant(Change::Applied(policy)) => policy.name.to_string(),
        ObjectChange::Tenant(Change::Deleted(name)) => name.to_string(),
        ObjectChange::Action(Change::Applied(action)) => action.key().to_string(),
        _ => String::new(),
    }
}

/// States that are open or in flight; a standing recommendation is neither.
pub fn in_flight(record: &ActionRecord) -> bool {
    record.state.in_flight() || record.state == ActionState::AwaitingApproval
}
