//! The order of one action: guards, durable intent, claim, fresh read and all guards again, a last look at
//! lease, claim and the age of the switch's answer, effect, verify.
//!
//! Everything that decides is elsewhere and pure; here are only the requests, their order, and what is done
//! when one of them fails. Between a plan and its effect there are four round trips: kill switch and dry run
//! (together), create, claim with kill switch and fresh read (together), effect.

mod act;
mod again;
mod memory;
mod resolve;
mod stages;
mod store;
mod undo;
mod watch;

pub use undo::undo_id;

use crate::actions::Protected;
use crate::changes::Follower;
use crate::guards::{ActionFacts, Mode, mode_of};
use crate::ledger::LedgerError;
use crate::ports::{Actuator, Leadership, Ledger, LedgerStoreError, Recorder};
use again::Tries;
use homeostat_knowledge::records::Amounts;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Admitted, Clock, Finding, IncidentId, Name, Origin,
    Plan, Snapshot, SnapshotSource, Timestamp,
};
use memory::{Memory, Running};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

/// Settings of the executor.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Namespace that Homeostat runs in; never touched.
    pub own_namespace: Name,
    /// Who asks, as the API server knows this process; no approval by that name counts.
    pub identity: Name,
    /// The most that the API server lets Homeostat give a container; `None`: it does not ask.
    pub most_per_container: Amounts,
    /// Actions that may be carried out at once. Eight times as many may be under way with those that wait: for a person, for
    /// what comes of their effect, or to try an undo again.
    pub tasks: usize,
    /// Tries of one request that the API server refuses for now.
    pub attempts: u32,
    /// First wait between tries; doubles.
    pub backoff: Duration,
    /// Longest wait between tries, also when the server asks for more.
    pub backoff_maximum: Duration,
    /// How long a lost reply's effect is looked for before it is given up. Longer than the server works on one
    /// request.
    pub settle: Duration,
    /// A claim that is older sends no effect any more, so that whoever finds it knows when nothing can come of it.
    pub send_within: Duration,
    /// Safety net: waiting actions look again after so long even when nothing changed.
    pub safety_interval: Duration,
}

impl ExecutorConfig {
    /// Defaults for an installation in `own_namespace`.
    pub fn new(own_namespace: impl Into<Name>) -> Self {
        let own_namespace = own_namespace.into();
        Self {
            identity: Name::from(format!("system:serviceaccount:{own_namespace}:homeostat")),
            own_namespace,
            most_per_container: Amounts::default(),
            tasks: 64,
            attempts: 5,
            backoff: Duration::from_millis(200),
            backoff_maximum: Duration::from_secs(5),
            settle: Duration::from_secs(15),
            send_within: Duration::from_secs(10),
            safety_interval: Duration::from_secs(1),
        }
    }
}

/// Everything that the executor works with.
pub struct Ports<L, A, E> {
    /// Stores actions.
    pub ledger: L,
    /// Reads and changes targets.
    pub actuator: A,
    /// The lease.
    pub leadership: E,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The newest snapshot.
    pub snapshots: Arc<dyn SnapshotSource>,
    /// Tells of each new snapshot generation.
    pub generations: Follower,
    /// Gets every state that was stored. When it is full for long, states are left out: they come back
    /// through the watch of actions anyway.
    pub published: mpsc::Sender<ActionRecord>,
    /// Keeps what the guards judged.
    pub recorder: Arc<dyn Recorder>,
}

/// Why an action was not begun, or was left where it stands. What was left is resumed later from the ledger.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The plan is empty.
    #[error("plan of incident {incident} has no steps; nothing to do")]
    NoSteps {
        /// The incident.
        incident: IncidentId,
    },
    /// No free task.
    #[error("{tasks} actions are under way already; incident {incident} must wait")]
    Busy {
        /// Number of tasks.
        tasks: usize,
        /// The incident.
        incident: IncidentId,
    },
    /// One action at a time per incident.
    #[error("action {action} of the same incident is under way")]
    AlreadyRunning {
        /// The other action.
        action: ActionId,
    },
    /// The same thing was recommended and the recommendation stands.
    #[error("action {action} proposes the same already")]
    AlreadyProposed {
        /// The recommendation.
        action: ActionId,
    },
    /// No code for it.
    #[error("{kind} is not implemented; no playbook may ask for it")]
    NotImplemented {
        /// The kind.
        kind: ActionKind,
    },
    /// Another replica leads.
    #[error("this replica does not lead (any more); action {action} is left to the leader")]
    NotLeading {
        /// The action.
        action: ActionId,
    },
    /// An action of that id is stored already.
    #[error("action {action} exists already; another replica or an earlier run made it")]
    Exists {
        /// The action.
        action: ActionId,
    },
    /// Somebody else moved the action on.
    #[error("action {action} was changed by somebody else; it is left to them")]
    Superseded {
        /// The action.
        action: ActionId,
    },
    /// The ledger cannot be written.
    #[error("action {action} cannot be stored; it is left as it is and taken up again later")]
    Store {
        /// The action.
        action: ActionId,
        /// Why.
        #[source]
        source: LedgerStoreError,
    },
    /// Nobody knows whether the effect is there, and the target cannot be read.
    #[error("the target of action {action} cannot be read to resolve its outcome; it is tried again later")]
    Unresolved {
        /// The action.
        action: ActionId,
    },
    /// A bug.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Carries out admitted plans, one step at a time. Cheap to clone; all clones share one memory.
pub struct Executor<L, A, E> {
    shared: Arc<Shared<L, A, E>>,
}

impl<L, A, E> Clone for Executor<L, A, E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<L, A, E> {
    ports: Ports<L, A, E>,
    config: ExecutorConfig,
    protected: Protected,
    memory: Arc<Mutex<Memory>>,
    tasks: Mutex<JoinSet<()>>,
    /// Tasks that wait for a person, for what comes of an effect, or to try again: they may wait for long, and take no place of
    /// those that act.
    waiting: AtomicUsize,
}

/// Tasks that may exist for each that may act; the others wait.
const WAITING: usize = 8;

/// What a recommendation says when its incident is over.
pub const PROPOSAL_OUTLIVED: &str = "the incident is over; the recommendation does not stand any more";
/// What a recommendation says when people raised the level.
pub const PROPOSAL_RAISED: &str = "the level allows more than to recommend now; judged anew";

/// What a recommended size says when another one is wanted.
pub const PROPOSAL_OTHER_SIZE: &str =
    "another size is wanted by now; the recommendation does not stand any more";

/// What a recommended start says when its Job runs, ended or is gone.
pub const PROPOSAL_RUN: &str = "the run waits no more; the recommendation does not stand any more";

/// Why a recommendation does not stand any more; `None` while it does.
fn outlived(record: &ActionRecord, snapshot: &Snapshot) -> Option<&'static str> {
    let closed = || snapshot.incidents.get(&record.incident).is_none_or(|incident| incident.state.closed());
    match record.origin {
        Origin::Forecast if !crate::facts::still_wanted(record, snapshot) => {
            return Some(PROPOSAL_OTHER_SIZE);
        }
        Origin::Schedule if !crate::orders::still_waits(record, snapshot) => return Some(PROPOSAL_RUN),
        Origin::Incident if closed() => return Some(PROPOSAL_OUTLIVED),
        Origin::Incident | Origin::Forecast | Origin::Schedule => {}
    }
    let tenant = snapshot.tenants.get(&record.tenant)?;
    let facts = ActionFacts::of(record, snapshot);
    let raised = matches!(mode_of(&facts, tenant, &snapshot.control), Mode::Act | Mode::Approve);
    raised.then_some(PROPOSAL_RAISED)
}

/// One action on its way through the driver.
struct Case {
    record: ActionRecord,
    /// What it stands on, as the planner saw it; after a restart it is looked up in the incident.
    finding: Option<Finding>,
    resumed: bool,
    /// Of an undo, which is tried again.
    tries: Tries,
    /// Keeps the incident taken; dropped on every way out. An undo goes on under the action that it takes back.
    _running: Option<Running>,
}

impl<L: Ledger, A: Actuator, E: Leadership> Executor<L, A, E> {
    /// An executor over these ports.
    pub fn new(ports: Ports<L, A, E>, config: ExecutorConfig) -> Self {
        let protected =
            Protected::with_own_namespace(config.own_namespace.clone()).with_most(config.most_per_container);
        let shared = Shared {
            ports,
            config,
            protected,
            memory: Arc::new(Mutex::new(Memory::default())),
            tasks: Mutex::new(JoinSet::new()),
            waiting: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins the plan's first step in a task of its own and returns its id at once. `finding` is what the plan
    /// stands on. Must be called inside a tokio runtime.
    pub fn start(&self, plan: &Plan<Admitted>, finding: Option<Finding>) -> Result<ActionId, ExecuteError> {
        let case = self.open(plan, finding)?;
        let id = case.record.id.clone();
        let span = stages::whole(&case.record, false);
        span.in_scope(|| stages::planned(plan, &case.record));
        let this = self.clone();
        let task = async move { this.to_the_end(case).await };
        self.spawn(&plan.incident, task.instrument(span))?;
        Ok(id)
    }

    /// Carries out the plan's first step and returns the record as it ended (or as it stands, at level
    /// Recommend).
    pub async fn run(
        &self,
        plan: &Plan<Admitted>,
        finding: Option<Finding>,
    ) -> Result<ActionRecord, ExecuteError> {
        let case = self.open(plan, finding)?;
        let span = stages::whole(&case.record, false);
        span.in_scope(|| stages::planned(plan, &case.record));
        Box::pin(self.follow(case)).instrument(span).await
    }

    /// Takes up actions that are open in the ledger and not under way here: after a restart, after leadership
    /// was won, and from time to time for those that were left. Returns how many were taken up. Call it only
    /// while leading and when the caches are synced.
    pub fn resume(&self, open: impl IntoIterator<Item = ActionRecord>) -> usize {
        let mut count = 0;
        for record in open {
            let stands = record.state == ActionState::Proposed && !store::half_created(&record);
            let under_another = record.undo_of.as_ref().is_some_and(|undone| {
                self.snapshot().actions.get(undone).is_some_and(|undone| !undone.state.ended())
            });
            if record.state.ended() || stands || under_another {
                continue; // Recommendations stand until their incident is over.
            }
            let now = self.now();
            let Some(running) = self.memory().take(&self.shared.memory, &record.incident, &record.id) else {
                continue;
            };
            self.memory().stored(&record, now);
            let tries = Tries::default();
            let case = Case { record, finding: None, resumed: true, tries, _running: Some(running) };
            let incident = case.record.incident.clone();
            let span = stages::whole(&case.record, true);
            let this = self.clone();
            let task = async move { this.to_the_end(case).await };
            let spawned = self.spawn(&incident, task.instrument(span));
            if spawned.is_err() {
                break; // Full: the rest comes with the next call.
            }
            count += 1;
        }
        count
    }

    /// Everything in the snapshot that [`Executor::resume`] would take up.
    pub fn open_actions(snapshot: &Snapshot) -> Vec<ActionRecord> {
        let mut open: Vec<_> = snapshot
            .actions
            .values()
            .filter(|record| !record.state.ended())
            .map(|record| (**record).clone())
            .collect();
        // Where there is no room for all, what has begun goes before what waits for a person.
        open.sort_by_key(|record: &ActionRecord| !record.state.in_flight());
        open
    }

    /// Closes recommendations whose incident is over, so that nobody follows them any more, and those that people
    /// have raised the level for, so that they are judged anew. Returns how many.
    pub async fn close_proposals(&self) -> usize {
        let snapshot = self.snapshot();
        let mut closed = 0;
        let proposals = snapshot.actions.values().filter(|record| record.state == ActionState::Proposed);
        let stale = proposals.filter_map(|record| Some((record, outlived(record, &snapshot)?)));
        for (record, reason) in stale {
            let now = self.now();
            let Some(running) = self.memory().take(&self.shared.memory, &record.incident, &record.id) else {
                continue;
            };
            let event = crate::ledger::LedgerEvent::Cancel { guards: Vec::new(), reason: reason.to_owned() };
            match crate::ledger::next(record, event, now) {
                Ok(after) => match self.advance(record, after).await {
                    Ok(_) => closed += 1,
                    Err(error) => {
                        tracing::debug!(action = %record.id, error = %Chain(&error), "recommendation not closed");
                    }
                },
                Err(error) => tracing::error!(action = %record.id, %error, "ledger"),
            }
            drop(running);
        }
        closed
    }

    /// Waits until all tasks have ended. With leadership given up they end at their next await point.
    pub async fn drain(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.tasks());
            if tasks.is_empty() {
                return;
            }
            while let Some(ended) = tasks.join_next().await {
                tell(&ended);
            }
        }
    }

    /// Invariants found broken since the start, for the console and the metrics.
    pub fn breaches(&self) -> Vec<crate::invariants::Breach> {
        self.memory().checker.breaches().to_vec()
    }

    /// Number of actions under way in this process.
    pub fn under_way(&self) -> usize {
        self.memory().running()
    }

    /// What is left where it stands is taken up later; the log says why.
    async fn to_the_end(&self, case: Case) {
        let id = case.record.id.clone();
        if let Err(error) = Box::pin(self.follow(case)).await {
            tracing::warn!(action = %id, error = %Chain(&error), "action left where it stands");
        }
    }

    fn spawn(
        &self,
        incident: &IncidentId,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ExecuteError> {
        let mut tasks = self.tasks();
        while let Some(ended) = tasks.try_join_next() {
            tell(&ended);
        }
        let most = self.shared.config.tasks;
        let acting = tasks.len().saturating_sub(self.shared.waiting.load(Ordering::Relaxed));
        if acting >= most || tasks.len() >= most.saturating_mul(WAITING) {
            return Err(ExecuteError::Busy { tasks: tasks.len(), incident: incident.clone() });
        }
        tasks.spawn(task);
        Ok(())
    }

    /// Turns the plan's first step into a record and takes the incident.
    fn open(&self, plan: &Plan<Admitted>, finding: Option<Finding>) -> Result<Case, ExecuteError> {
        let step =
            plan.steps.first().ok_or_else(|| ExecuteError::NoSteps { incident: plan.incident.clone() })?;
        let kind = step.parameters.kind();
        if crate::actions::spec(kind).is_none() {
            return Err(ExecuteError::NotImplemented { kind });
        }
        let snapshot = self.snapshot();
        let mut memory = self.memory();
        if let Some(standing) = memory.standing_proposal(&snapshot, plan, step) {
            return Err(ExecuteError::AlreadyProposed { action: standing });
        }
        // A forecast decides once in a step, so its time is a name that is used once; it needs no memory of earlier ones.
        let id = match (&plan.undo_of, plan.origin) {
            (Some(undone), _) => undo_id(undone),
            (None, Origin::Incident | Origin::Schedule) => memory.next_id(&snapshot, &plan.incident),
            (None, Origin::Forecast) => {
                ActionId::new(format!("{}-{}", plan.incident, step.evidence.taken_at.as_second()))
            }
        };
        if let Some(action) = memory.running_of(&plan.incident) {
            return Err(ExecuteError::AlreadyRunning { action });
        }
        if !self.shared.ports.leadership.leads() {
            return Err(ExecuteError::NotLeading { action: id });
        }
        let running = memory
            .take(&self.shared.memory, &plan.incident, &id)
            .ok_or_else(|| ExecuteError::AlreadyRunning { action: id.clone() })?;
        drop(memory);
        let record = plan
            .record(id, self.shared.config.identity.clone())
            .ok_or_else(|| ExecuteError::NoSteps { incident: plan.incident.clone() })?;
        let tries = Tries::default();
        Ok(Case { record, finding, resumed: false, tries, _running: Some(running) })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.ports.snapshots.current()
    }

    fn now(&self) -> Timestamp {
        self.shared.ports.clock.now()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ensure_leads(&self, action: &ActionId) -> Result<(), ExecuteError> {
        if self.shared.ports.leadership.leads() {
            Ok(())
        } else {
            Err(ExecuteError::NotLeading { action: action.clone() })
        }
    }

    /// Waits; ends early, with an error, when leadership is lost.
    async fn pause(&self, action: &ActionId, time: Duration) -> Result<(), ExecuteError> {
        tokio::select! {
            biased; // The same run again takes the same branch.
            () = tokio::time::sleep(time) => self.ensure_leads(action),
            () = self.shared.ports.leadership.lost() => Err(ExecuteError::NotLeading { action: action.clone() }),
        }
    }
}

/// A task that broke left its action where it stood: it is taken up again from the ledger, and people should know.
fn tell(ended: &Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the execution of an action broke off; it is taken up from the ledger");
    }
}

/// An error with all its sources, for one log line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
