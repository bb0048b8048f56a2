//! One watch: list, follow, project, deliver. The same for every kind.

use super::light::{Body, Interner, Light};
use super::patience::Patience;
use super::pulse::Pulse;
use crate::error::chain;
use crate::validate::acceptance::{Acceptance, Input};
use futures::StreamExt;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind, Observation, Signal, SourceReport};
use homeostat_knowledge::records::ContainerState;
use homeostat_knowledge::{Clock, Entity, Name, ObjectKey, PodRecord, Timestamp};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Mutex, mpsc};

/// The server ends a watch after so long; restarting it is a sign of life and costs one request. Half of the silence
/// that counts as death: of a kind that never changes the server sends no bookmarks either.
const WATCH_SECONDS: u32 = 45;

/// What an object becomes.
pub(crate) enum Effect {
    /// Nothing to tell.
    Nothing,
    /// A change to deliver.
    Tell(ObjectChange),
    /// A change to deliver, and something that workloads may depend on.
    TellAndJudge(ObjectChange, Input),
    /// Something that is judged together with other objects before anything is delivered.
    Judge(Input),
}

/// What a projection may use.
pub(crate) struct Cx<'a> {
    /// Shared names.
    pub names: &'a mut Interner,
    /// When it reached us.
    pub now: Timestamp,
    /// Not part of the first list: it happened while we watched.
    pub news: bool,
    /// Part of a list, the first one or one after a break: it may have happened long ago.
    pub listed: bool,
    /// Namespace and name, with a shared namespace.
    pub key: ObjectKey,
    /// `resourceVersion`.
    pub version: Name,
}

/// A watched kind.
pub(crate) trait Watched: Send + 'static {
    /// The parts of the object that are looked at.
    type Body: Body;
    /// The kind whose first list it belongs to.
    const KIND: ObjectKind;
    /// Plural name, for people.
    const NAME: &'static str;
    /// Remember keys and versions, so that a new list shows what is gone and what is unchanged.
    const REMEMBER: bool = true;

    /// The object is like this now. `Err` names the field that makes it unusable.
    fn apply(&mut self, body: Self::Body, cx: Cx<'_>) -> Result<Effect, String>;
    /// The object is there but could not be used. By default the last usable state stays.
    fn broken(&mut self, _key: &ObjectKey, _uid: Uid, _generation: i64, _why: &str) -> Effect {
        Effect::Nothing
    }
    /// The object is gone.
    fn remove(&mut self, key: &ObjectKey) -> Effect;
}

/// The receiver of observations went away.
#[derive(Debug)]
pub(crate) struct Closed;

/// Where changes go.
#[derive(Clone)]
pub(crate) struct Outlet {
    pub sender: mpsc::Sender<Observation>,
    pub clock: Arc<dyn Clock>,
    pub acceptance: Arc<Mutex<Acceptance>>,
}

impl Outlet {
    /// Delivers a change; waits while the queue is full, because a lost change would be a wrong picture for ever.
    pub async fn tell(&self, change: ObjectChange) -> Result<(), Closed> {
        let now = self.clock.now();
        let observation = Observation {
            tenant: None,
            entity: entity_of(&change),
            event_time: event_time(&change, now),
            arrival_time: now,
            signal: Signal::Object(change),
        };
        self.sender.send(observation).await.map_err(|_| Closed)
    }

    /// Judges `input` with everything known and delivers what follows. The lock is held while delivering, so that
    /// two streams cannot deliver their conclusions in the wrong order.
    pub async fn judge(&self, input: Input) -> Result<(), Closed> {
        let mut acceptance = self.acceptance.lock().await;
        for change in acceptance.feed(input) {
            self.tell(change).await?;
        }
        Ok(())
    }

    /// Tells how the source `kubernetes` is.
    pub async fn source(&self, report: SourceReport) -> Result<(), Closed> {
        let now = self.clock.now();
        let observation = Observation {
            tenant: None,
            entity: Entity::Source { name: Name::from(super::SOURCE) },
            event_time: now,
            arrival_time: now,
            signal: Signal::Source(report),
        };
        self.sender.send(observation).await.map_err(|_| Closed)
    }

    async fn carry_out(&self, effect: Effect) -> Result<(), Closed> {
        match effect {
            Effect::Nothing => Ok(()),
            Effect::Tell(change) => self.tell(change).await,
            Effect::Judge(input) => self.judge(input).await,
            Effect::TellAndJudge(change, input) => {
                self.tell(change).await?;
                self.judge(input).await
            }
        }
    }
}

/// Counts the lists that a kind still waits for: one per namespace and wire kind.
#[derive(Clone)]
pub(crate) struct Gate(Arc<AtomicUsize>);

impl Gate {
    pub fn new(lists: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(lists)))
    }

    /// One list is complete; `true` when it was the last one.
    fn pass(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

struct Known {
    version: Name,
    round: u32,
}

struct State<W: Watched> {
    watched: W,
    names: Interner,
    known: HashMap<ObjectKey, Known>,
    round: u32,
    listed: bool,
}

/// Watches until the receiver is gone.
pub(crate) async fn run<W: Watched>(
    watched: W,
    api: Api<Light<W::Body>>,
    outlet: Outlet,
    pulse: Arc<Pulse>,
    gate: Gate,
) -> Closed {
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let mut stream = pin!(watcher(api, config).backoff(Patience::new(Arc::clone(&pulse))));
    let mut state =
        State { watched, names: Interner::default(), known: HashMap::new(), round: 0, listed: false };
    let mut failing = false;
    loop {
        let done = match stream.next().await {
            Some(Ok(event)) => {
                // To begin a list is no success: it may fail as the one before, which is told already.
                failing &= matches!(event, watcher::Event::Init);
                state.take(event, &outlet, &pulse, &gate).await
            }
            Some(Err(error)) => {
                let why = chain(&error);
                if !failing {
                    tracing::warn!(kind = W::NAME, error = why, "Watch interrupted");
                }
                failing = true;
                pulse.failed(why);
                Ok(())
            }
            None => Err(Closed),
        };
        if let Err(closed) = done {
            return closed;
        }
    }
}

impl<W: Watched> State<W> {
    async fn take(
        &mut self,
        event: watcher::Event<Light<W::Body>>,
        outlet: &Outlet,
        pulse: &Pulse,
        gate: &Gate,
    ) -> Result<(), Closed> {
        match event {
            watcher::Event::Init => {
                self.round = self.round.wrapping_add(1);
                Ok(())
            }
            watcher::Event::InitApply(object) => {
                let effect = self.apply(object, true, outlet.clock.now(), pulse);
                outlet.carry_out(effect).await
            }
            watcher::Event::Apply(object) => {
                let effect = self.apply(object, false, outlet.clock.now(), pulse);
                outlet.carry_out(effect).await
            }
            watcher::Event::Delete(object) => {
                let key = object.key(&mut self.names);
                self.known.remove(&key);
                let effect = self.watched.remove(&key);
                outlet.carry_out(effect).await
            }
            watcher::Event::InitDone => {
                for key in self.gone() {
                    let effect = self.watched.remove(&key);
                    outlet.carry_out(effect).await?;
                }
                pulse.synced();
                if std::mem::replace(&mut self.listed, true) || !gate.pass() {
                    return Ok(());
                }
                // Tenants and workloads are judged together; their judge says when they are complete.
                if !matches!(W::KIND, ObjectKind::Workload | ObjectKind::Tenant) {
                    outlet.tell(ObjectChange::Synced(W::KIND)).await?;
                }
                outlet.judge(Input::Synced(W::KIND)).await
            }
        }
    }

    fn apply(&mut self, object: Light<W::Body>, listed: bool, now: Timestamp, pulse: &Pulse) -> Effect {
        let key = object.key(&mut self.names);
        let version = Name::from(object.version());
        if W::REMEMBER {
            if let Some(known) = self.known.get_mut(&key) {
                known.round = self.round;
                if known.version == version {
                    return Effect::Nothing;
                }
                known.version = Name::clone(&version);
            } else {
                self.known.insert(key.clone(), Known { version: Name::clone(&version), round: self.round });
            }
        }
        let (uid, generation) = (object.uid(), object.generation());
        let cx = Cx { names: &mut self.names, now, news: self.listed, listed, key: key.clone(), version };
        let outcome = object.body.and_then(|body| self.watched.apply(body, cx));
        match outcome {
            Ok(effect) => {
                pulse.accept();
                effect
            }
            Err(why) => {
                pulse.drop_one();
                tracing::warn!(kind = W::NAME, object = %key, error = why, "Object was not understood and is skipped");
                self.watched.broken(&key, uid, generation, &why)
            }
        }
    }

    /// Keys that the list just completed did not hold.
    fn gone(&mut self) -> Vec<ObjectKey> {
        let round = self.round;
        self.known.extract_if(|_, known| known.round != round).map(|(key, _)| key).collect()
    }
}

fn entity_of(change: &ObjectChange) -> Entity {
    match change {
        ObjectChange::Pod(Change::Applied(pod)) => {
            Entity::Pod { key: pod.key.clone(), uid: pod.uid.clone(), workload: None }
        }
        ObjectChange::Pod(Change::Deleted(key)) => {
            Entity::Pod { key: key.clone(), uid: Uid::new(""), workload: None }
        }
        ObjectChange::Node(Change::Applied(node)) => Entity::Node { name: node.name.clone() },
        ObjectChange::Node(Change::Deleted(key)) => Entity::Node { name: key.name.clone() },
        ObjectChange::Workload(Change::Applied(workload)) => Entity::Workload { key: workload.key.clone() },
        ObjectChange::Workload(Change::Deleted(key)) => Entity::Workload { key: key.clone() },
        ObjectChange::Controller(_)
        | ObjectChange::Service(_)
        | ObjectChange::Config(_)
        | ObjectChange::Tenant(_)
        | ObjectChange::Playbook(_)
        | ObjectChange::Control(_)
        | ObjectChange::Action(_)
        | ObjectChange::UnreadAction(_)
        | ObjectChange::Incident(_)
        | ObjectChange::Event(_)
        | ObjectChange::Kueue(_)
        | ObjectChange::Scalers(_)
        | ObjectChange::Synced(_) => Entity::Cluster,
    }
}

/// When it happened by the kubelet's clock, where an object says so; never after it reached us.
fn event_time(change: &ObjectChange, now: Timestamp) -> Timestamp {
    let ObjectChange::Pod(Change::Applied(pod)) = change else { return now };
    latest(pod).filter(|at| *at <= now).unwrap_or(now)
}

fn latest(pod: &PodRecord) -> Option<Timestamp> {
    let instant = |container: &homeostat_knowledge::ContainerRecord| match &container.state {
        ContainerState::Waiting { .. } => container.last_termination.as_ref().and_then(|end| end.finished),
        ContainerState::Running { since } => Some(*since),
        ContainerState::Terminated(end) => end.finished,
    };
    pod.containers.iter().filter_map(instant).max()
}
