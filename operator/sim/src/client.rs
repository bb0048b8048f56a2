//! One process's connection to the API server: requests that take time and may fail. Honest; what a program with a
//! defect would send instead is in [`crate::defects`].

use crate::audit::Landed;
use crate::faults::{Request, What};
use crate::server::{Held, Refused, Server};
use crate::situations::{self, EffectRequest};
use crate::world::World;
use homeostat_execute::guards::is_object_state;
use homeostat_execute::ports::{
    Acknowledged, Actuator, EffectError, FreshTarget, Leadership, Ledger, LedgerStoreError, ReadError,
    Refusal,
};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Name, ObjectKey, Parameters, SignedDuration, Target, Timestamp,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time that one request takes.
const LATENCY: Duration = Duration::from_millis(3);
/// Time after which a request without an answer is given up.
const LIMIT: Duration = Duration::from_secs(5);

/// What becomes of the reply.
enum Reply {
    Normal,
    Lost,
    Crash,
    CrashAfter,
    Stale,
    Slow(Duration),
    Late(Duration),
}

/// A connection.
#[derive(Clone)]
pub struct Client {
    /// The world.
    pub world: Arc<World>,
    /// Whose connection.
    pub life: u64,
}

impl Client {
    fn dead(&self) -> bool {
        self.world.lock().dead.contains(&self.life)
    }

    /// Sends a request on its way; `Err` is a fault that says that nothing was done.
    async fn arrive(&self, request: Request, about: &str) -> Result<Reply, What> {
        // What stands still sends nothing; what it sent before is on its way.
        self.world.moving(self.life).await;
        tokio::time::sleep(LATENCY).await;
        if self.dead() {
            return std::future::pending().await;
        }
        let struck = self.world.arrive(request, about, self.life);
        if self.dead() {
            return std::future::pending().await;
        }
        match struck {
            None => Ok(Reply::Normal),
            Some(What::CrashBefore) => {
                self.world.kill(self.life);
                std::future::pending().await
            }
            Some(What::CrashReplyLost) => Ok(Reply::Crash),
            Some(What::CrashAfter) => Ok(Reply::CrashAfter),
            Some(What::TimeoutDone) => Ok(Reply::Lost),
            Some(What::Stale) => Ok(Reply::Stale),
            Some(What::Slow(millis)) => Ok(Reply::Slow(Duration::from_millis(millis))),
            Some(What::Late(millis)) => Ok(Reply::Late(Duration::from_millis(millis))),
            Some(What::TimeoutLost) => {
                tokio::time::sleep(LIMIT).await;
                self.world.moving(self.life).await;
                Err(What::TimeoutLost)
            }
            Some(other) => {
                self.world.moving(self.life).await;
                Err(other)
            }
        }
    }

    /// Gives the reply, unless the process dies before it has it.
    async fn leave<T>(&self, reply: Reply, result: T, lost: T) -> T {
        self.world.turn();
        match reply {
            Reply::Normal | Reply::Stale => {
                self.world.moving(self.life).await;
                result
            }
            Reply::Slow(time) => {
                tokio::time::sleep(time).await;
                self.world.moving(self.life).await;
                result
            }
            Reply::Lost | Reply::Late(_) => {
                tokio::time::sleep(LIMIT).await;
                self.world.moving(self.life).await;
                lost
            }
            Reply::Crash => {
                self.world.kill(self.life);
                std::future::pending().await
            }
            Reply::CrashAfter => {
                let (world, life) = (Arc::clone(&self.world), self.life);
                tokio::spawn(async move {
                    // Sooner than any request of the process can arrive.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    world.kill(life);
                });
                result
            }
        }
    }

    /// The UID that an object has at this moment, read without a request: only a program with a defect asks.
    pub fn peek(&self, target: &Target) -> Option<homeostat_knowledge::Uid> {
        self.world.lock().server.read(target, false).map(|fresh| fresh.uid)
    }

    /// Actions on this target whose outcome is open, read without a request; only a program with a defect asks.
    pub fn claimed(&self, target: &Target) -> Vec<ActionRecord> {
        let inner = self.world.lock();
        let open = inner.server.actions.values().filter(|record| record.state == ActionState::Claimed);
        open.filter(|record| record.target.uid == target.uid).cloned().collect()
    }

    /// The size that an object has at this moment; only a program with a defect asks.
    pub fn size(&self, target: &Target) -> Option<i32> {
        let fresh = self.world.lock().server.read(target, false)?;
        fresh.controller.map(|controller| controller.replicas)
    }

    /// Stores an action's state as one request.
    async fn store(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        let request = Request::storing(record);
        let about = format!("{} {:?}", record.id, record.state);
        let reply = self.arrive(request, &about).await.map_err(|fault| store_error(&fault))?;
        let result = {
            let mut inner = self.world.lock();
            let ended = inner.server.actions.get(&record.key()).is_some_and(|stored| stored.state.ended());
            let result = inner.server.update_action(record);
            inner.audit.writes += u64::from(result.is_ok());
            if ended && result.is_ok() {
                inner.audit.changed_after_end.insert(record.id.clone());
            }
            result.map_err(|refused| match refused {
                Refused::NotFound => LedgerStoreError::NotFound,
                _ => LedgerStoreError::Conflict,
            })
        };
        self.leave(reply, result, Err(LedgerStoreError::Unknown("timeout".to_owned()))).await
    }

    /// Reads what an effect needs beside its target; of what needs nothing, nothing is asked.
    pub async fn look(&self, request: &EffectRequest) -> Result<(), EffectError> {
        if !looks(&request.parameters) {
            return Ok(());
        }
        let transient =
            |reason: &str| EffectError::Transient { reason: reason.to_owned(), retry_after: None };
        let arrived = self.arrive(Request::Look, &request.target.key.name).await;
        let reply = arrived.map_err(|fault| match fault {
            What::Denied => EffectError::Denied("no verb".to_owned()),
            fault => transient(&format!("{fault:?}")),
        })?;
        self.leave(reply, Ok(()), Err(transient("timeout"))).await
    }

    /// Sends an effect with exactly these conditions.
    pub async fn request(&self, request: &EffectRequest) -> Result<Acknowledged, EffectError> {
        let unknown = || EffectError::Unknown("timeout".to_owned());
        let about = format!("{} {}", request.action, request.target.key);
        let arrived = self.arrive(Request::Effect, &about).await;
        let reply = arrived.map_err(|fault| match fault {
            What::Conflict => EffectError::Conflict("409".to_owned()),
            What::Denied => EffectError::Denied("no verb".to_owned()),
            What::TooManyRequests => EffectError::Transient {
                reason: "429".to_owned(),
                retry_after: Some(SignedDuration::from_secs(1)),
            },
            What::Unavailable => EffectError::Transient { reason: "503".to_owned(), retry_after: None },
            _ => unknown(),
        })?;
        if let Reply::Late(time) = reply {
            // It goes on at the API server, whatever becomes of the process.
            let (client, request) = (self.clone(), request.clone());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                let landed = client.carry_out(&request).is_ok();
                client.world.lock().note(client.world.now(), &format!("late: landed {landed}"));
                client.world.turn();
            });
            return self.leave(reply, Err(unknown()), Err(unknown())).await;
        }
        let result = self.carry_out(request);
        // What the API server tries again for longer than a request waits has no reply in time.
        let reply = match (&result, reply) {
            (Err(EffectError::Unknown(_)), Reply::Normal | Reply::Stale | Reply::Slow(_)) => Reply::Lost,
            (_, reply) => reply,
        };
        self.leave(reply, result, Err(unknown())).await
    }

    /// What the API server makes of the request at this moment.
    fn carry_out(&self, request: &EffectRequest) -> Result<Acknowledged, EffectError> {
        let accepted = |message: &str| Acknowledged { message: message.to_owned(), audit_id: None };
        let Some(situation) = situations::of(request.parameters.kind()) else { return Ok(accepted("told")) };
        let now = self.world.now();
        let mut inner = self.world.lock();
        inner.audit.asked(&request.action, now);
        situation.check(&inner.server, request).map_err(Refused::of_effect)?;
        let uid = inner.server.read(&request.target, false).map(|fresh| fresh.uid);
        let stored = inner.server.actions.values().find(|record| record.id == request.action).cloned();
        let service = stored.as_ref().and_then(|record| inner.services.get(&record.workload));
        let ill_at = service.and_then(|service| service.ill_at);
        let visible = service.is_some_and(|service| is_object_state(service.situation.finding()));
        situation.apply(&mut inner.server, request, now);
        inner.audit.writes += 1;
        inner.landed(Landed {
            at: now,
            life: self.life,
            action: request.action.clone(),
            kind: request.parameters.kind(),
            object: request.target.key.clone(),
            uid: uid.unwrap_or_else(|| request.target.uid.clone()),
            stored,
            ill_at,
            visible,
        });
        Ok(accepted("accepted"))
    }

    /// Reads a target, and with parameters the mark of what such an effect makes beside it.
    async fn read_fresh(
        &self,
        target: &Target,
        parameters: Option<&Parameters>,
    ) -> Result<Option<FreshTarget>, ReadError> {
        let arrived = self.arrive(Request::FreshRead, &target.key.name).await;
        let reply = arrived.map_err(|fault| read_error(&fault))?;
        let result = {
            let inner = self.world.lock();
            let server = &inner.server;
            let stale = matches!(reply, Reply::Stale);
            let mut fresh = server.read(target, stale);
            if let (Some(fresh), Some(parameters)) = (&mut fresh, parameters) {
                fresh.marks.made_by = server.made_by(target, parameters, stale);
            }
            Ok(fresh)
        };
        self.leave(reply, result, Err(ReadError::Unavailable("timeout".to_owned()))).await
    }

    /// Lets go of what was held for long enough, as the product does now and then: all of it is listed, together with the
    /// kill switch, and each is released under the version that was listed.
    pub async fn release_held(&self) {
        let over = |world: &World, now| -> Vec<(Held, Option<Timestamp>, Name)> {
            let inner = world.lock();
            let server = &inner.server;
            let due = server.holds().filter(|(_, until)| until.is_none_or(|until| until <= now));
            due.map(|(held, until)| (held.clone(), until, version_of(server, &held))).collect()
        };
        if over(&self.world, self.world.now()).is_empty() {
            return; // Listing nothing changes nothing; the trace stays short.
        }
        let Ok(reply) = self.arrive(Request::ListHeld, "").await else { return };
        let listed = match self.switch() {
            KillSwitch::Off => over(&self.world, self.world.now()),
            _ => Vec::new(),
        };
        for (held, until, version) in self.leave(reply, listed, Vec::new()).await {
            if self.switch() != KillSwitch::Off {
                break; // As the product, which looks before each patch.
            }
            let Ok(reply) = self.arrive(Request::Release, &format!("{held:?}")).await else { continue };
            let now = self.world.now();
            {
                let mut inner = self.world.lock();
                let inner = &mut *inner;
                if version_of(&inner.server, &held) == version {
                    inner.audit.writes += 1;
                    let object = match &held {
                        Held::Node(name) => ObjectKey { namespace: Name::from(""), name: name.clone() },
                        Held::Run(key) | Held::Bounds(key) => key.object.clone(),
                    };
                    inner.audit.released(&object, until, now);
                    situations::release(&mut inner.server, &held);
                }
            }
            self.leave(reply, (), ()).await;
        }
    }

    /// The switch as the API server has it, without a request of its own.
    fn switch(&self) -> KillSwitch {
        let inner = self.world.lock();
        inner.server.control.as_ref().map_or(KillSwitch::Unreadable, |control| control.kill_switch.clone())
    }
}

impl Refused {
    /// What the product makes of it when an effect was sent.
    pub fn of_effect(self) -> EffectError {
        match self {
            Self::NotFound => EffectError::NotFound,
            Self::Conflict(reason) => EffectError::Conflict(reason),
            Self::Budget(reason) => EffectError::BlockedByBudget(reason),
            Self::Invalid(reason) => EffectError::Denied(reason),
            Self::Late(reason) => EffectError::Unknown(reason),
        }
    }

    /// What the product makes of it when the effect was only tried.
    pub fn of_dry_run(self) -> Refusal {
        match self {
            Self::Budget(reason) => Refusal::BlockedByBudget(reason),
            Self::Late(reason) => Refusal::Unavailable(reason),
            other => Refusal::WouldFail(format!("{other:?}")),
        }
    }
}

/// Effects for which the product reads more than their target.
fn looks(parameters: &Parameters) -> bool {
    matches!(
        parameters,
        Parameters::ScaleUp { .. }
            | Parameters::ScaleDown { .. }
            | Parameters::DriveBounds { .. }
            | Parameters::RollBack { .. }
            | Parameters::StartJob { .. }
            | Parameters::CreateJob { .. }
            | Parameters::RetryJob
    )
}

/// The version of what is held; empty when it is gone.
fn version_of(server: &Server, held: &Held) -> Name {
    let version = match held {
        Held::Node(name) => server.nodes.get(name).map(|node| &node.version),
        Held::Run(key) => server.controllers.get(key).map(|run| &run.record.resource_version),
        Held::Bounds(key) => server.autoscalers.get(key).map(|one| &one.record.resource_version),
    };
    version.cloned().unwrap_or_else(|| Name::from(""))
}

fn store_error(fault: &What) -> LedgerStoreError {
    match fault {
        What::Conflict => LedgerStoreError::Conflict,
        What::Denied => LedgerStoreError::Denied("no verb".to_owned()),
        What::TooManyRequests => LedgerStoreError::Transient {
            reason: "429".to_owned(),
            retry_after: Some(SignedDuration::from_secs(1)),
        },
        What::Unavailable => LedgerStoreError::Transient { reason: "503".to_owned(), retry_after: None },
        other => LedgerStoreError::Unknown(format!("{other:?}")),
    }
}

fn read_error(fault: &What) -> ReadError {
    match fault {
        What::Denied => ReadError::Denied("no verb".to_owned()),
        other => ReadError::Unavailable(format!("{other:?}")),
    }
}

impl Ledger for Client {
    /// Two requests, as with every object that has a status: the spec first, its state after.
    async fn create(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        let arrived = self.arrive(Request::Create, record.id.as_str()).await;
        let reply = arrived.map_err(|fault| store_error(&fault))?;
        let result = {
            let mut inner = self.world.lock();
            let result = inner.server.create_action(record);
            inner.audit.writes += u64::from(result.is_ok());
            result.map_err(|_| LedgerStoreError::AlreadyExists)
        };
        let lost = Err(LedgerStoreError::Unknown("timeout".to_owned()));
        let resource_version = self.leave(reply, result, lost).await?;
        let state = ActionRecord { resource_version, ..record.clone() };
        self.store(&state).await.map_err(|error| match error {
            // The object is there, whatever became of its state.
            LedgerStoreError::Transient { reason, .. } => LedgerStoreError::Unknown(reason),
            other => other,
        })
    }

    async fn update(&self, record: &ActionRecord) -> Result<Name, LedgerStoreError> {
        self.store(record).await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<ActionRecord>, LedgerStoreError> {
        let arrived = self.arrive(Request::ReadAction, &key.name).await;
        let reply = arrived.map_err(|fault| store_error(&fault))?;
        let result = Ok(self.world.lock().server.actions.get(key).cloned());
        self.leave(reply, result, Err(LedgerStoreError::Unknown("timeout".to_owned()))).await
    }
}

impl Actuator for Client {
    type Prepared = EffectRequest;

    async fn kill_switch(&self) -> Result<KillSwitch, ReadError> {
        Ok(self.kill_switch_and_time().await?.0)
    }

    async fn kill_switch_and_time(&self) -> Result<(KillSwitch, Option<Timestamp>), ReadError> {
        let reply = self.arrive(Request::KillSwitch, "").await.map_err(|fault| read_error(&fault))?;
        // The API server's clock is the world's.
        let result = Ok((self.switch(), Timestamp::from_second(self.world.now().as_second()).ok()));
        self.leave(reply, result, Err(ReadError::Unavailable("timeout".to_owned()))).await
    }

    async fn fresh_target(&self, target: &Target) -> Result<Option<FreshTarget>, ReadError> {
        self.read_fresh(target, None).await
    }

    async fn fresh_for(
        &self,
        target: &Target,
        parameters: &Parameters,
    ) -> Result<Option<FreshTarget>, ReadError> {
        self.read_fresh(target, Some(parameters)).await
    }

    async fn dry_run(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
    ) -> Result<(), Refusal> {
        let arrived = self.arrive(Request::DryRun, action.as_str()).await;
        let reply = arrived.map_err(|fault| match fault {
            What::Conflict | What::Denied => Refusal::WouldFail(format!("{fault:?}")),
            fault => Refusal::Unavailable(format!("{fault:?}")),
        })?;
        let request = EffectRequest {
            target: target.clone(),
            parameters: parameters.clone(),
            action: action.clone(),
            uid: Some(target.uid.clone()),
            version: None,
        };
        let result = match situations::of(parameters.kind()) {
            None => Ok(()),
            Some(situation) => {
                situation.check(&self.world.lock().server, &request).map_err(Refused::of_dry_run)
            }
        };
        self.leave(reply, result, Err(Refusal::Unavailable("timeout".to_owned()))).await
    }

    async fn prepare(
        &self,
        target: &Target,
        parameters: &Parameters,
        action: &ActionId,
        resource_version: &Name,
    ) -> Result<EffectRequest, EffectError> {
        let request = EffectRequest {
            target: target.clone(),
            parameters: parameters.clone(),
            action: action.clone(),
            uid: Some(target.uid.clone()),
            version: Some(resource_version.clone()),
        };
        self.look(&request).await?;
        Ok(request)
    }

    async fn send(&self, request: EffectRequest) -> Result<Acknowledged, EffectError> {
        self.request(&request).await
    }
}

/// The lease as one process sees it.
#[derive(Clone)]
pub struct Lease {
    /// The world.
    pub world: Arc<World>,
    /// Which process.
    pub life: u64,
    /// Until when it leads, as its elector knows; without an elector the world says who leads.
    pub term: Option<Term>,
}

/// Until when a replica leads.
pub type Term = Arc<Mutex<Option<Instant>>>;

impl Lease {
    fn until(&self) -> Option<Instant> {
        self.term.as_ref().and_then(|term| *term.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Leadership for Lease {
    fn leads(&self) -> bool {
        match &self.term {
            None => self.world.lock().leader == self.life,
            Some(_) => self.until().is_some_and(|until| Instant::now() < until),
        }
    }

    async fn lost(&self) {
        let mut leader = self.world.leader.follow();
        while self.leads() {
            match self.until() {
                None => leader.next().await,
                Some(until) => tokio::time::sleep_until(until).await, // Or renewed by then.
            }
        }
    }
}
