//! One process's view of the world: requests that take time and may fail, the clock, the cache, the lease.

use crate::things::workload;
use crate::world::{Effect, Fault, World};
use homeostat_execute::GuardInput;
use homeostat_execute::ports::{
    Acknowledged, Actuator, EffectError, FreshTarget, Leadership, Ledger, LedgerStoreError, ReadError,
    Recorder, Refusal,
};
use homeostat_knowledge::action::ActionInstants;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::records::NodeRecord;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Clock, Name, ObjectKey, Parameters, SignedDuration, Snapshot,
    SnapshotSource, Target, Timestamp,
};
use std::sync::Arc;
use std::time::Duration;

/// Time that one request takes.
const LATENCY: Duration = Duration::from_millis(3);
/// Time from an eviction to the new pod's readiness.
const RESTART: Duration = Duration::from_millis(2_500);

/// How the reply of a request is lost or changed.
enum Reply {
    Normal,
    Slow(Duration),
    Lost,
    Crash,
}

/// One process's connection to the API server, and its clock and cache.
#[derive(Clone)]
pub struct Api {
    world: Arc<World>,
    life: u64,
}

impl Api {
    pub fn new(world: &Arc<World>, life: u64) -> Self {
        Self { world: Arc::clone(world), life }
    }

    /// Counts a request and lets its fault happen. `Err` is a fault that says nothing was done.
    async fn arrive(&self, what: &str) -> Result<Reply, Fault> {
        tokio::time::sleep(LATENCY).await;
        let (fault, slow) = {
            let mut inner = self.world.lock();
            if *self.world.crashes.borrow() >= self.life {
                drop(inner);
                return std::future::pending().await;
            }
            inner.requests.push(what.to_owned());
            let number = inner.requests.len();
            let fault = inner.faults.remove(&number);
            if let Some(Fault::Meanwhile(change)) = &fault {
                change(&mut inner);
            }
            let writes = what == "create" || what == "effect" || what.starts_with("update");
            let fault = if inner.full && writes { Some(Fault::ServerError) } else { fault };
            let fault = if inner.ending && what == "create" { Some(Fault::Denied) } else { fault };
            (fault, inner.slow.get(what).copied())
        };
        match fault {
            None => Ok(slow.map_or(Reply::Normal, Reply::Slow)),
            Some(Fault::Meanwhile(_)) => {
                self.world.announce_leader();
                self.world.refresh();
                Ok(Reply::Normal)
            }
            Some(Fault::CrashBefore) => {
                self.die();
                std::future::pending().await
            }
            Some(Fault::CrashAfter) => Ok(Reply::Crash),
            Some(Fault::Timeout { done: true }) => Ok(Reply::Lost),
            Some(fault) => Err(fault),
        }
    }

    fn die(&self) {
        self.world.crashes.send_replace(self.life);
    }

    /// Gives the reply, unless the process dies before it has it.
    async fn leave<T>(&self, reply: Reply, result: T, lost: T) -> T {
        match reply {
            Reply::Normal => result,
            Reply::Slow(time) => {
                tokio::time::sleep(time).await;
                result
            }
            Reply::Lost => {
                tokio::time::sleep(Duration::from_secs(5)).await;
                lost
            }
            Reply::Crash => {
                self.die();
                std::future::pending().await
            }
        }
    }
}

fn store_error(fault: &Fault) -> LedgerStoreError {
    match fault {
        Fault::Conflict => LedgerStoreError::Conflict,
        Fault::Denied => LedgerStoreError::Denied("no verb".to_owned()),
        Fault::Timeout { .. } => LedgerStoreError::Unknown("timeout".to_owned()),
        Fault::TooManyRequests => LedgerStoreError::Transient {
            reason: "429".to_owned(),
            retry_after: Some(SignedDuration::from_secs(1)),
        },
        _ => LedgerStoreError::Transient { reason: "500".to_owned(), retry_after: None },
    }
}

impl Ledger for Api {
    /// Two requests, as with every object that has a status: the spec first, its state after.
    async fn create(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        let lost = || Err(LedgerStoreError::Unknown("timeout".to_owned()));
        let reply = self.arrive("create").await.map_err(|fault| store_error(&fault))?;
        let created = {
            let mut inner = self.world.lock();
            if inner.actions.contains_key(&record.key()) {
                Err(LedgerStoreError::AlreadyExists)
            } else {
                let version = inner.version();
                let bare = ActionRecord {
                    resource_version: version.clone(),
                    state: ActionState::Proposed,
                    guards: Vec::new(),
                    instants: ActionInstants::default(),
                    message: "no state yet".to_owned(),
                    ..record.clone()
                };
                inner.actions.insert(record.key(), bare);
                Ok(version)
            }
        };
        let resource_version = self.leave(reply, created, lost()).await?;
        let state = ActionRecord { resource_version, ..record.clone() };
        self.update(&state).await.map_err(|error| match error {
            LedgerStoreError::Transient { reason, .. } => LedgerStoreError::Unknown(reason),
            other => other,
        })
    }

    async fn update(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        let reply =
            self.arrive(&format!("update {:?}", record.state)).await.map_err(|fault| store_error(&fault))?;
        let result = {
            let mut inner = self.world.lock();
            let version = inner.version();
            match inner.actions.get_mut(&record.key()) {
                None => Err(LedgerStoreError::NotFound),
                Some(stored) if stored.resource_version != record.resource_version => {
                    Err(LedgerStoreError::Conflict)
                }
                Some(stored) => {
                    *stored = ActionRecord { resource_version: version.clone(), ..record.clone() };
                    Ok(version)
                }
            }
        };
        self.leave(reply, result, Err(LedgerStoreError::Unknown("timeout".to_owned()))).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<ActionRecord>, LedgerStoreError> {
        let reply = self.arrive("read action").await.map_err(|fault| store_error(&fault))?;
        let result = Ok(self.world.lock().actions.get(key).cloned());
        self.leave(reply, result, Err(LedgerStoreError::Unknown("timeout".to_owned()))).await
    }
}

/// Disruption budgets answer evictions alone with 429; to everything else it means to try later.
fn evicts(parameters: &Parameters) -> bool {
    matches!(parameters, Parameters::EvictPod { .. })
}

fn read_error(fault: &Fault) -> ReadError {
    match fault {
        Fault::Denied => ReadError::Denied("no verb".to_owned()),
        fault => ReadError::Unavailable(format!("{fault:?}")),
    }
}

/// An effect that is ready to be sent.
type Prepared = (Target, Parameters, ActionId);

impl Actuator for Api {
    type Prepared = Prepared;

    async fn kill_switch(&self) -> Result<KillSwitch, ReadError> {
        let reply = self.arrive("kill switch").await.map_err(|fault| read_error(&fault))?;
        let result = Ok(self.world.lock().kill_switch.clone());
        self.leave(reply, result, Err(ReadError::Unavailable("timeout".to_owned()))).await
    }

    async fn kill_switch_and_time(&self) -> Result<(KillSwitch, Option<Timestamp>), ReadError> {
        let switch = self.kill_switch().await?;
        let ahead = self.world.lock().server_ahead;
        let server =
            ahead.and_then(|ahead| Timestamp::from_second((self.world.now() + ahead).as_second()).ok());
        Ok((switch, server))
    }

    async fn fresh_target(&self, target: &Target) -> Result<Option<FreshTarget>, ReadError> {
        let reply = self.arrive("fresh").await.map_err(|fault| read_error(&fault))?;
        let result = {
            let inner = self.world.lock();
            let do_not_touch = inner.do_not_touch.clone();
            let edits = inner.edits.clone();
            let marks = homeostat_execute::ports::Marks { do_not_touch, edits, ..Default::default() };
            if &*target.kind == "Pod" {
                (inner.pod.key == target.key).then(|| FreshTarget {
                    uid: inner.pod.uid.clone(),
                    resource_version: inner.pod.resource_version.clone(),
                    deleting: inner.pod.deleting,
                    pod: Some(inner.pod.clone()),
                    controller: None,
                    restarted_by: None,
                    node: None,
                    autoscaler: None,
                    marks: marks.clone(),
                })
            } else if &*target.kind == "HorizontalPodAutoscaler" {
                inner.autoscaler.clone().map(|found| FreshTarget {
                    uid: found.uid.clone(),
                    resource_version: found.resource_version.clone(),
                    deleting: false,
                    pod: None,
                    controller: None,
                    restarted_by: None,
                    node: None,
                    autoscaler: Some(found),
                    marks: marks.clone(),
                })
            } else if &*target.kind == "Node" {
                inner.snapshot.nodes.get(&target.key.name).map(|node| FreshTarget {
                    uid: node.uid.clone(),
                    resource_version: Name::from("1"),
                    deleting: false,
                    pod: None,
                    controller: None,
                    restarted_by: None,
                    node: Some((**node).clone()),
                    autoscaler: None,
                    marks: marks.clone(),
                })
            } else {
                Some(FreshTarget {
                    uid: inner.controller.uid.clone(),
                    resource_version: inner.controller.resource_version.clone(),
                    deleting: false,
                    pod: None,
                    controller: Some(inner.controller.clone()),
                    restarted_by: inner.restarted_by.clone(),
                    node: None,
                    autoscaler: None,
                    marks: marks.clone(),
                })
            }
        };
        self.leave(reply, Ok(result), Err(ReadError::Unavailable("timeout".to_owned()))).await
    }

    async fn dry_run(&self, target: &Target, parameters: &Parameters, _: &ActionId) -> Result<(), Refusal> {
        let reply = self.arrive("dry run").await.map_err(|fault| match fault {
            Fault::TooManyRequests if evicts(parameters) => {
                Refusal::BlockedByBudget("0 disruptions allowed".to_owned())
            }
            Fault::Denied | Fault::Conflict => Refusal::WouldFail(format!("{fault:?}")),
            fault => Refusal::Unavailable(format!("{fault:?}")),
        })?;
        let known = {
            let inner = self.world.lock();
            let sizes = inner.autoscaler.as_ref().is_some_and(|found| found.uid == target.uid);
            let node = inner.snapshot.nodes.values().any(|node| node.uid == target.uid);
            inner.pod.uid == target.uid || inner.controller.uid == target.uid || sizes || node
        };
        let result = if known { Ok(()) } else { Err(Refusal::WouldFail("not found".to_owned())) };
        self.leave(reply, result, Err(Refusal::Unavailable("timeout".to_owned()))).await
    }

    async fn prepare(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        _: &Name,
    ) -> Result<Prepared, EffectError> {
        let prepared = (target.clone(), parameters.clone(), action.clone());
        if !self.world.lock().looks {
            return Ok(prepared);
        }
        let unread = |reason: String| EffectError::Transient { reason, retry_after: None };
        let reply = self.arrive("look").await.map_err(|fault| unread(format!("{fault:?}")))?;
        self.leave(reply, Ok(prepared), Err(unread("timeout".to_owned()))).await
    }

    async fn send(&self, (target, parameters, action): Prepared) -> Result<Acknowledged, EffectError> {
        let (target, parameters, action) = (&target, &parameters, &action);
        let unknown = || EffectError::Unknown("timeout".to_owned());
        let reply = self.arrive("effect").await.map_err(|fault| match fault {
            Fault::Conflict => EffectError::Conflict("uid".to_owned()),
            Fault::Denied => EffectError::Denied("no verb".to_owned()),
            Fault::TooManyRequests if evicts(parameters) => {
                EffectError::BlockedByBudget("0 disruptions allowed".to_owned())
            }
            Fault::Timeout { .. } => EffectError::Unknown("timeout".to_owned()),
            _ => EffectError::Transient { reason: "500".to_owned(), retry_after: None },
        })?;
        let now = self.world.now();
        let result = {
            let mut inner = self.world.lock();
            let uid = match (&*target.kind, &inner.autoscaler) {
                ("Pod", _) => inner.pod.uid.clone(),
                ("HorizontalPodAutoscaler", Some(found)) => found.uid.clone(),
                ("Node", _) => target.uid.clone(),
                _ => inner.controller.uid.clone(),
            };
            if matches!(parameters, Parameters::Notify { .. }) {
                inner.notified.push(action.clone());
                Ok(())
            } else if uid != target.uid || inner.pod.deleting {
                Err(EffectError::Conflict("the UID in the precondition does not match".to_owned()))
            } else {
                let stored =
                    inner.actions.values().find(|record| record.id == *action).map(|record| record.state);
                let (kill_switch, paused) = (
                    inner.kill_switch.clone(),
                    inner.snapshot.workloads.get(&workload()).is_none_or(|policy| policy.paused),
                );
                inner.effects.push(Effect {
                    action: action.clone(),
                    uid,
                    at: now,
                    stored,
                    kill_switch,
                    paused,
                });
                if let Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } = parameters {
                    inner.controller.replicas = *replicas;
                    inner.controller.current = *replicas;
                    inner.controller.updated = *replicas;
                } else if let Parameters::DriveBounds { bounds, until } = parameters {
                    inner.drive(*bounds, action, *until);
                } else if *parameters == Parameters::Uncordon {
                    let snapshot = Arc::make_mut(&mut inner.snapshot);
                    let node = snapshot.nodes.get(&target.key.name).expect("a node");
                    let open = NodeRecord { cordoned: false, hold: None, ..(**node).clone() };
                    snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(open))), now);
                } else if *parameters == Parameters::RollingRestart {
                    inner.restarted_by = Some(Name::from(action.as_str()));
                    inner.controller.generation += 1;
                    inner.controller.updated = 0;
                } else {
                    inner.pod.deleting = true;
                    inner.pod.ready = false;
                    inner.controller.ready = 0;
                }
                Ok(())
            }
        };
        // More or fewer replicas heal nothing in this world.
        let replaces = matches!(parameters, Parameters::EvictPod { .. } | Parameters::RollingRestart);
        if result.is_ok() && replaces {
            let world = Arc::clone(&self.world);
            tokio::spawn(async move {
                tokio::time::sleep(RESTART).await;
                let now = world.now();
                let mut inner = world.lock();
                inner.complete(now);
                drop(inner);
                world.refresh();
            });
        }
        let result = result.map(|()| Acknowledged { message: "accepted".to_owned(), audit_id: None });
        self.leave(reply, result, Err(unknown())).await
    }
}

impl Clock for Api {
    fn now(&self) -> Timestamp {
        self.world.now()
    }
}

impl SnapshotSource for Api {
    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.world.lock().snapshot)
    }
}

impl Recorder for Api {
    fn record(&self, input: &GuardInput) {
        self.world.lock().recorded.push(input.clone());
    }
}

/// The lease as one process sees it.
pub struct Lease {
    world: Arc<World>,
    life: u64,
}

impl Lease {
    pub fn new(world: &Arc<World>, life: u64) -> Self {
        Self { world: Arc::clone(world), life }
    }
}

impl Leadership for Lease {
    fn leads(&self) -> bool {
        self.world.lock().leader == self.life
    }

    async fn lost(&self) {
        let mut leader = self.world.leader.subscribe();
        let _ = leader.wait_for(|leader| *leader != self.life).await;
    }
}
