//! The world that processes run in: the API server, Kubernetes, the analysis that says who is ill, the person who
//! approves, the lease, and a record of everything that happened.

use crate::audit::{Audit, Landed};
use crate::faults::{At, Fault, Hook, Meddle, Request, What};
use crate::kubernetes;
use crate::objects;
use crate::server::{Server, Stream};
use crate::situations::Situation;
use crate::telemetry;
use homeostat_execute::Changes;
use homeostat_execute::election::LeaseRecord;
use homeostat_knowledge::policy::{Freeze, KillSwitch, Permits, WorkloadPolicy};
use homeostat_knowledge::{
    ActionState, Approval, ApprovalDecision, ControllerKind, Entity, Level, Name, SignedDuration, TenantName,
    Timestamp, WorkloadKey,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The analysis looks so often while somebody is ill, and so often while all is calm.
const TICK: SignedDuration = SignedDuration::from_millis(500);
const CALM_TICK: SignedDuration = SignedDuration::from_secs(20);
/// A person answers after so long.
const PERSON: SignedDuration = SignedDuration::from_millis(700);

/// One workload and what ails it.
pub struct Service {
    /// What its trouble is.
    pub situation: &'static dyn Situation,
    /// When it was ill last, in truth.
    pub ill_at: Option<Timestamp>,
    /// Incidents so far.
    pub incidents: u32,
    /// Who was ill last.
    pub last: Option<Entity>,
    /// Nothing that is done helps it.
    pub stubborn: bool,
}

/// What a process' watches do wrong.
#[derive(Clone, Debug, Default)]
pub struct Watches {
    /// Streams that deliver nothing until then.
    pub frozen: BTreeMap<Stream, Timestamp>,
    /// Events that each stream will lose.
    pub misses: BTreeMap<Stream, u32>,
}

/// What the person at the desk does with actions that wait for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Approves each.
    Approves,
    /// Denies each.
    Denies,
    /// Is not there.
    Away,
}

/// Everything inside.
pub struct Inner {
    /// The API server.
    pub server: Server,
    /// What happened, as the API server saw it.
    pub audit: Audit,
    /// Faults that have not struck yet.
    pub faults: Vec<Fault>,
    /// Workloads by their policy's key.
    pub services: BTreeMap<WorkloadKey, Service>,
    /// Faults of the living processes' watches.
    pub watches: Watches,
    /// The person.
    pub person: Person,
    /// The newest process.
    pub life: u64,
    /// The process that holds the lease; 0 for nobody.
    pub leader: u64,
    /// Processes that are dead.
    pub dead: BTreeSet<u64>,
    /// Processes that stand still, until when.
    pub stopped: BTreeMap<u64, Timestamp>,
    /// How far each process's clock is ahead; those that are right are not in it.
    pub skews: BTreeMap<u64, SignedDuration>,
    /// The Lease that replicas run for, with its version. In most worlds `leader` is all there is.
    pub lease: Option<(LeaseRecord, u64)>,
    /// The API server answers nobody until then.
    pub away: Option<Timestamp>,
    /// A planner's fault to come: the plan for the one workload will name an object of the other.
    pub confused: Option<(WorkloadKey, WorkloadKey)>,
    /// Lines of what happened; two runs of one seed give the same lines.
    pub trace: Vec<String>,
    counts: BTreeMap<Request, u32>,
    requests: u32,
    ticked: Option<Timestamp>,
}

/// The world.
pub struct World {
    inner: Mutex<Inner>,
    /// Fires when something changed.
    pub changed: Changes,
    /// Fires when the lease may have gone to somebody else.
    pub leader: Changes,
    /// Fires when a process may have died.
    pub died: Changes,
    poke: Arc<Notify>,
    begun: Instant,
}

/// When every world begins: with nanoseconds, as clocks have them and stored instants do not.
pub fn base() -> Timestamp {
    // 2026-11-18T12:00:00Z, a Wednesday.
    Timestamp::new(1_795_003_200, 321).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl World {
    /// A world with a control plane's policy, two nodes and tenants of these names, each with the same level for all
    /// actions. Must be called inside a runtime whose time is paused.
    pub fn new(tenants: &[(&'static str, Level)]) -> Arc<Self> {
        let mut server = Server::default();
        server.put_control(Some(objects::control()));
        for name in ["node-a", "node-b"] {
            let record = objects::node(name, server.uid("node"));
            server.put_node(objects::Node { record, version: Name::from(""), ailment: None });
        }
        for (name, level) in tenants {
            server.put_tenant(objects::tenant(name, *level));
        }
        let inner = Inner {
            server,
            audit: Audit::default(),
            faults: Vec::new(),
            services: BTreeMap::new(),
            watches: Watches::default(),
            person: Person::Approves,
            life: 0,
            leader: 0,
            dead: BTreeSet::new(),
            stopped: BTreeMap::new(),
            skews: BTreeMap::new(),
            lease: None,
            away: None,
            confused: None,
            trace: Vec::new(),
            counts: BTreeMap::new(),
            requests: 0,
            ticked: None,
        };
        let world = Arc::new(Self {
            inner: Mutex::new(inner),
            changed: Changes::default(),
            leader: Changes::default(),
            died: Changes::default(),
            poke: Arc::default(),
            begun: Instant::now(),
        });
        let ticking = Arc::downgrade(&world);
        tokio::spawn(async move {
            loop {
                let Some(world) = ticking.upgrade() else { return };
                let wait = world.happen();
                let poke = Arc::clone(&world.poke);
                drop(world);
                tokio::select! {
                    biased;
                    () = poke.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
        world
    }

    /// The inside.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time.
    pub fn now(&self) -> Timestamp {
        base() + SignedDuration::try_from(self.begun.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    /// The time by a process's own clock.
    pub fn clock(&self, life: u64) -> Timestamp {
        let skew = self.lock().skews.get(&life).copied().unwrap_or_default();
        self.now() + skew
    }

    /// Waits as long as the process stands still.
    pub async fn moving(&self, life: u64) {
        loop {
            let until = self.lock().stopped.get(&life).copied();
            let Some(left) = until
                .map(|until| until.duration_since(self.now()))
                .filter(homeostat_knowledge::SignedDuration::is_positive)
            else {
                return;
            };
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        }
    }

    /// Lets everything happen that is due.
    pub fn turn(&self) {
        self.happen();
        self.poke.notify_one();
    }

    /// Lets everything happen that is due, and says how long nothing more will.
    fn happen(&self) -> Duration {
        let now = self.now();
        let mut inner = self.lock();
        let before = inner.server.revision();
        kubernetes::turn(&mut inner.server, now);
        let calm = inner.server.incidents.is_empty() && inner.server.open_actions().next().is_none();
        let tick = if calm { CALM_TICK } else { TICK };
        if inner.ticked.is_none_or(|at| now.duration_since(at) >= tick) {
            inner.ticked = Some(now);
            telemetry::analyse(&mut inner, now);
            inner.answer(now);
        }
        inner.look(now);
        let next = inner.ticked.map_or(now, |at| at + tick);
        let next = inner.server.due.first().map_or(next, |(at, _)| next.min(*at));
        let after = inner.server.revision();
        drop(inner);
        if after != before {
            self.changed.tell();
        }
        Duration::try_from(next.duration_since(now)).unwrap_or_default().max(Duration::from_millis(1))
    }

    /// Adds a workload and its objects.
    pub fn add(&self, key: &WorkloadKey, situation: &'static dyn Situation) {
        let now = self.now();
        let mut inner = self.lock();
        situation.build(&mut inner.server, key, now);
        if let Some(policy) = policy(key, situation) {
            inner.server.put_workload(policy);
        }
        let service = Service { situation, ill_at: None, incidents: 0, last: None, stubborn: false };
        inner.services.insert(key.clone(), service);
    }

    /// Adds workloads that only count as members of their tenant.
    pub fn crowd(&self, tenant: &str, number: usize) {
        let mut inner = self.lock();
        for index in 0..number {
            let key = WorkloadKey::new(tenant, format!("other-{index}"));
            let target = objects::controller_key(ControllerKind::Deployment, &key);
            inner.server.put_workload(objects::workload(&key, target, Permits::default()));
        }
    }

    /// Many fall ill at the same moment.
    pub fn fall_ill_together(&self, workloads: &[WorkloadKey]) {
        let now = self.now();
        {
            let mut inner = self.lock();
            inner.note(now, &format!("{} fall ill", workloads.len()));
            let Inner { server, services, .. } = &mut *inner;
            for workload in workloads {
                if let Some(service) = services.get(workload) {
                    service.situation.fall_ill(server, workload);
                }
            }
            inner.ticked = None;
        }
        self.turn();
        self.changed.tell();
    }

    /// Somebody does something.
    pub fn meddle(&self, meddle: &Meddle) {
        let now = self.now();
        {
            let mut inner = self.lock();
            inner.meddle(meddle, now);
            inner.ticked = None; // The analysis looks at once.
        }
        self.announce();
        self.turn();
        self.changed.tell();
    }

    /// Tells everybody who leads and who died.
    pub fn announce(&self) {
        self.leader.tell();
        self.died.tell();
    }

    /// A process dies.
    pub fn kill(&self, life: u64) {
        let mut inner = self.lock();
        inner.die(life);
        drop(inner);
        self.announce();
    }

    /// A place that is no request is reached.
    pub fn hook(&self, life: u64, hook: Hook) {
        let at = At::Hook(hook);
        let mut inner = self.lock();
        let Some(found) = inner.faults.iter().position(|fault| fault.at == at) else { return };
        inner.faults.remove(found);
        inner.note(self.now(), &format!("{hook:?}: process {life} dies"));
        inner.die(life);
        drop(inner);
        self.announce();
    }

    /// A request arrives: what happens to it, if something does. What others do in that moment is done.
    pub fn arrive(&self, request: Request, about: &str, life: u64) -> Option<What> {
        let now = self.now();
        let mut inner = self.lock();
        let count = inner.counts.entry(request).or_default();
        *count += 1;
        let nth = *count;
        inner.requests += 1;
        let number = inner.requests;
        let mut struck = None;
        let mut meddled = false;
        let here = |at: At| at == At::Nth(request, nth) || at == At::Number(number);
        let faults = std::mem::take(&mut inner.faults);
        for fault in faults {
            match fault.what {
                what if !here(fault.at) => inner.faults.push(Fault { at: fault.at, what }),
                What::Meanwhile(meddle) => {
                    inner.meddle(&meddle, now);
                    meddled = true;
                }
                what if struck.is_none() => struck = Some(what),
                _ => {}
            }
        }
        if struck.is_none() && inner.away.is_some_and(|until| now < until) {
            struck = Some(What::Unavailable);
        }
        let with = struck.as_ref().map_or_else(String::new, |what| format!(" {what:?}"));
        inner.note(now, &format!("{number} {life} {request:?} {about}{with}"));
        drop(inner);
        if meddled {
            self.announce();
            self.turn();
        }
        struck
    }

    /// The next request of this kind.
    pub fn next(&self, request: Request) -> At {
        At::Nth(request, self.lock().counts.get(&request).map_or(1, |count| count + 1))
    }

    /// Requests so far.
    pub fn requests(&self) -> u32 {
        self.lock().requests
    }
}

/// The policy of a workload in this situation; none for a node.
fn policy(key: &WorkloadKey, situation: &dyn Situation) -> Option<WorkloadPolicy> {
    let target = objects::controller_key(situation.targets()?, key);
    Some(objects::workload(key, target, situation.permits()))
}

impl Inner {
    /// Adds a line to the trace.
    pub fn note(&mut self, now: Timestamp, line: &str) {
        let millis = now.duration_since(base()).as_millis();
        self.trace.push(format!("{millis:>7} {line}"));
    }

    fn die(&mut self, life: u64) {
        self.dead.insert(life);
        if self.leader == life {
            self.leader = 0;
        }
    }

    /// Takes note of what forbids effects, and since when.
    fn look(&mut self, now: Timestamp) {
        let Self { server, audit, services, .. } = self;
        audit.look(server, services.keys(), now);
    }

    /// The API server took an effect.
    pub fn landed(&mut self, landed: Landed) {
        let now = landed.at;
        self.look(now);
        if self.lease.is_some() && landed.life != self.leader {
            let text = format!("Lease: {} had its effect by process {}", landed.action, landed.life);
            self.audit.zombies.push(format!("{text}, and process {} holds the lease", self.leader));
        }
        self.note(now, &format!("effect {} {} {}", landed.action, landed.kind, landed.object));
        self.audit.land(&self.server, landed);
    }

    /// The person answers what waits.
    fn answer(&mut self, now: Timestamp) {
        let decision = match self.person {
            Person::Approves => ApprovalDecision::Approve,
            Person::Denies => ApprovalDecision::Deny,
            Person::Away => return,
        };
        let waiting: Vec<_> = self
            .server
            .actions
            .values()
            .filter(|record| {
                record.state == ActionState::AwaitingApproval
                    && record.approval.is_none()
                    && now.duration_since(record.evidence.taken_at) >= PERSON
            })
            .cloned()
            .collect();
        for mut record in waiting {
            record.approval = Some(Approval {
                decision,
                approved_by: Name::from("jane"),
                evidence: record.evidence.id.clone(),
                digest: None,
                at: now,
            });
            self.note(now, &format!("person: {decision:?} {}", record.id));
            if decision == ApprovalDecision::Approve {
                self.audit.approvals.insert((record.id.clone(), record.evidence.id.clone()), now);
            }
            self.server.store_action(record);
        }
    }

    fn tenant(&mut self, name: &str, change: impl FnOnce(&mut homeostat_knowledge::TenantPolicy)) {
        if let Some(mut tenant) = self.server.tenants.get(&TenantName::new(name)).cloned() {
            change(&mut tenant);
            tenant.generation += 1;
            self.server.put_tenant(tenant);
        }
    }

    fn switch(&mut self, switch: KillSwitch) {
        let mut control = self.server.control.clone().unwrap_or_else(objects::control);
        control.kill_switch = switch;
        self.server.put_control(Some(control));
    }

    /// Somebody does something.
    pub fn meddle(&mut self, meddle: &Meddle, now: Timestamp) {
        self.note(now, &format!("meddle {meddle:?}"));
        let Self { server, services, .. } = self;
        match meddle {
            Meddle::SomebodyElse(workload) => {
                if let Some(service) = services.get(workload) {
                    service.situation.somebody_else(server, workload, now);
                }
            }
            Meddle::Touch(workload) => {
                if let Some(service) = services.get(workload) {
                    service.situation.touch(server, workload);
                }
            }
            Meddle::FallIll(workload) => {
                if let Some(service) = services.get(workload) {
                    service.situation.fall_ill(server, workload);
                }
            }
            Meddle::RecoverUnseen(workload, millis) => {
                let until = now + SignedDuration::from_millis(*millis);
                for stream in [Stream::Pods, Stream::Controllers, Stream::Telemetry] {
                    self.watches.frozen.insert(stream, until);
                }
                self.meddle(&Meddle::Recover(workload.clone()), now);
            }
            Meddle::Recover(workload) => {
                if let Some(service) = services.get(workload) {
                    service.situation.recover(server, workload);
                }
            }
            Meddle::Stubborn(workload, stubborn) => {
                if let Some(service) = services.get_mut(workload) {
                    service.stubborn = *stubborn;
                }
            }
            Meddle::Remember => server.remember(),
            Meddle::Freeze(stream, millis) => {
                let until = now + SignedDuration::from_millis(*millis);
                self.watches.frozen.insert(*stream, until);
            }
            Meddle::Miss(stream) => *self.watches.misses.entry(*stream).or_default() += 1,
            Meddle::Stir(stream) => server.stir(*stream),
            Meddle::Compact => server.compact(),
            Meddle::Engage => {
                self.switch(KillSwitch::Engaged { reason: Name::from("drill"), by: None });
            }
            Meddle::Release => self.switch(KillSwitch::Off),
            Meddle::DeleteSwitch => server.put_control(None),
            Meddle::Pause(workload) | Meddle::Unpause(workload) => {
                if let Some(mut policy) = server.workloads.get(workload).cloned() {
                    policy.paused = matches!(meddle, Meddle::Pause(_));
                    server.put_workload(policy);
                }
            }
            Meddle::PauseTenant(name, paused) => self.tenant(name, |tenant| tenant.paused = *paused),
            Meddle::SetLevel(name, level) => {
                let level = match level {
                    0 => Level::Observe,
                    1 => Level::Recommend,
                    2 => Level::Approve,
                    3 => Level::ActBounded,
                    _ => Level::ActFull,
                };
                self.tenant(name, |tenant| tenant.levels = objects::levels(level));
            }
            Meddle::Protect(workload, protect) => {
                let controller = objects::controller_key(ControllerKind::Deployment, workload);
                server.budgets.retain(|budget| budget.controller != controller);
                if *protect {
                    server.budgets.push(objects::Budget { controller, minimum: usize::MAX });
                }
            }
            Meddle::Window(name, seconds) => {
                let minute = (now.as_second() / 60 + 1) % 60;
                let freeze = Freeze {
                    name: Name::from("window"),
                    schedule: Name::from(format!("{minute} * * * *")),
                    time_zone: Name::from("UTC"),
                    duration: SignedDuration::from_secs(*seconds),
                };
                self.tenant(name, |tenant| tenant.freezes = vec![freeze]);
            }
            Meddle::NoWindows(name) => self.tenant(name, |tenant| tenant.freezes.clear()),
            Meddle::Control(workload, present) => {
                let known = services.get(workload).and_then(|service| policy(workload, service.situation));
                if let Some(policy) = known.filter(|_| *present) {
                    server.put_workload(policy);
                } else if !present {
                    server.remove_workload(workload);
                }
            }
            Meddle::Confuse(one, other) => self.confused = Some((one.clone(), other.clone())),
            Meddle::Depose => self.leader = 0,
            Meddle::Stop(millis) => {
                self.stopped.insert(self.leader, now + SignedDuration::from_millis(*millis));
            }
            Meddle::Away(millis) => {
                let until = now + SignedDuration::from_millis(*millis);
                self.away = Some(until);
                self.watches.frozen.extend(Stream::ALL.map(|stream| (stream, until)));
            }
            Meddle::Crash => {
                let leader = self.leader;
                self.die(leader);
            }
        }
        self.look(now);
    }
}
