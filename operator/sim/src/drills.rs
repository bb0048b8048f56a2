//! Drills at drawn moments: a leader that stands still for longer than its lease and goes on (T15), the kill switch (T64),
//! replicas with wrong clocks (T21), an API server that restarts (T05), effects that land late, processes that die young, reads that are slow. Each is drawn from one seed and judged by the oracles.

use crate::defects::Defect;
use crate::election::replica;
use crate::faults::{At, Fault, Meddle, Request, What};
use crate::objects::OWN_NAMESPACE;
use crate::oracle;
use crate::process::Handle;
use crate::run::{Lives, arm, overdue, simulate};
use crate::situations::{self, Situation};
use crate::world::World;
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{Level, SignedDuration, Timestamp, WorkloadKey};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TENANT: &str = "shop";
/// The illness begins when there is a leader and it is warm.
const ILL: Duration = Duration::from_secs(6);
/// Requests of an undisturbed life, at least.
const REQUESTS: u32 = 11;
/// Until everything is over, a takeover and a verification that does not help included.
const OVER: Duration = Duration::from_mins(2);
/// A lease may be taken over after 15 s; a process that stands still for longer has lost it.
const LEASE: i64 = 16_000;
/// Clocks that are off by more must do nothing; by less they may act. In between it depends on parts of a second.
const RIGHT: SignedDuration = SignedDuration::from_millis(1_500);
const WRONG: SignedDuration = SignedDuration::from_secs(4);

/// The last answer of the kill switch is no older than half a second, and the effect has its own way to go.
const SOON: SignedDuration = SignedDuration::from_millis(520);

/// Actions that are open at once when the API server restarts.
const MANY: u32 = 50;

/// A drill of programs that may have a defect.
pub type Mutated = fn(u64, Option<Defect>) -> std::io::Result<Drill>;

/// How a drill ended.
#[derive(Clone, Debug, Default)]
pub struct Drill {
    /// Its seed.
    pub seed: u64,
    /// Everything that did not hold.
    pub violations: Vec<String>,
    /// Effects that landed.
    pub effects: usize,
    /// Effects that landed although they must not any more.
    pub forbidden: usize,
    /// What is measured, in milliseconds: a takeover, or the time from the kill switch to the last effect.
    pub millis: Option<i64>,
    /// Something was under way at the drawn moment.
    pub busy: bool,
    /// What happened, line by line.
    pub trace: Vec<String>,
}

/// What is ill in this drill; every situation has its turn.
fn patient(seed: u64) -> (&'static dyn Situation, WorkloadKey) {
    let index = usize::try_from(seed).unwrap_or(0) % situations::ALL.len();
    let situation = situations::ALL.get(index).copied().unwrap_or(situations::CRASHING);
    let key = match situation.targets() {
        Some(_) => WorkloadKey::new(TENANT, "order"),
        None => WorkloadKey::new(OWN_NAMESPACE, "node-p"),
    };
    (situation, key)
}

fn world(situation: &'static dyn Situation, patient: &WorkloadKey) -> Arc<World> {
    let world = World::new(&[(TENANT, Level::ActFull), (PLATFORM_TENANT, Level::ActFull)]);
    world.crowd(TENANT, 18);
    world.add(patient, situation);
    world
}

/// Two replicas, one after the other.
struct Pair {
    world: Arc<World>,
    handles: Vec<Handle>,
}

impl Pair {
    async fn begin(world: &Arc<World>, skews: [SignedDuration; 2], defect: Option<Defect>) -> Self {
        let first = replica(world, skews[0], defect);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let second = replica(world, skews[1], defect);
        Self { world: Arc::clone(world), handles: vec![first, second] }
    }

    /// Nobody is ill, and nothing is under way or held.
    fn at_rest(&self) -> bool {
        let inner = self.world.lock();
        let ill = inner
            .services
            .iter()
            .any(|(key, service)| service.situation.ailing(&inner.server, key).is_some());
        let quiet = inner.server.holds().next().is_none() && inner.server.open_actions().next().is_none();
        !ill && quiet && self.handles.iter().all(|handle| handle.under_way() == 0)
    }

    /// Everything that did not hold.
    fn judge(&self, seed: u64, healed: bool) -> Drill {
        let mut violations: Vec<String> =
            self.handles.iter().flat_map(Handle::breaches).map(|breach| breach.to_string()).collect();
        if healed && !self.at_rest() {
            violations.push("ESR: the world did not come to rest".to_owned());
        }
        let inner = self.world.lock();
        violations.extend(oracle::violations(&inner));
        let (effects, trace) = (inner.audit.effects.len(), inner.trace.clone());
        Drill { seed, violations, effects, trace, ..Drill::default() }
    }
}

/// The leader stands still at a drawn request or moment of an action's life, for longer than its lease, and goes on.
pub fn frozen_leader(seed: u64) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let (situation, patient) = patient(seed);
        let world = world(situation, &patient);
        let pair = Pair::begin(&world, [SignedDuration::ZERO; 2], None).await;
        tokio::time::sleep(ILL).await;
        let stop = Meddle::Stop(draw.random_range(LEASE..45_000));
        let moment = draw.random_range(0..3_000);
        if draw.random_bool(0.5) {
            let number = world.requests() + draw.random_range(1..=REQUESTS);
            arm(&world, vec![Fault { at: At::Number(number), what: What::Meanwhile(stop) }]);
            world.meddle(&Meddle::FallIll(patient));
        } else {
            world.meddle(&Meddle::FallIll(patient));
            tokio::time::sleep(Duration::from_millis(moment)).await;
            world.meddle(&stop);
        }
        // The moment of the stop, and of the takeover: whoever holds the Lease changes once.
        let (mut stopped, mut taken) = (None, None);
        let end = world.now() + SignedDuration::try_from(OVER).unwrap_or_default();
        while world.now() < end && (taken.is_none() || !pair.at_rest()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = world.now();
            let inner = world.lock();
            if stopped.is_none() && !inner.stopped.is_empty() {
                stopped = Some(now);
            }
            if taken.is_none() && inner.leader == 2 {
                taken = Some(now);
            }
        }
        // The old leader goes on for a while.
        tokio::time::sleep(Duration::from_secs(30)).await;
        let mut drill = pair.judge(seed, true);
        drill.forbidden = world.lock().audit.zombies.len();
        drill.busy = stopped.is_some();
        drill.millis = stopped.zip(taken).map(|(from, to): (Timestamp, Timestamp)| {
            i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX)
        });
        drill
    })
}

/// The kill switch is engaged, or its object deleted, at a drawn request or moment while several workloads are ill.
pub fn kill_switch(seed: u64) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let (situation, patient) = patient(seed);
        let world = world(situation, &patient);
        {
            let mut inner = world.lock();
            if let Some(mut tenant) =
                inner.server.tenants.values().find(|tenant| &*tenant.name.0 == TENANT).cloned()
            {
                (tenant.limits.percent_per_10_minutes, tenant.limits.storm_percent) = (100, 100);
                inner.server.put_tenant(tenant);
            }
            let mut control = crate::objects::control();
            control.storm_percent = 100;
            inner.server.put_control(Some(control));
        }
        let others: Vec<_> =
            (0..4).map(|index| WorkloadKey::new(TENANT, format!("basket-{index}"))).collect();
        for other in &others {
            world.add(other, situations::CRASHING);
        }
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        let engage = if draw.random_bool(0.25) { Meddle::DeleteSwitch } else { Meddle::Engage };
        let by_request = draw.random_bool(0.5);
        if by_request {
            let number = world.requests() + draw.random_range(1..=3 * REQUESTS);
            arm(&world, vec![Fault { at: At::Number(number), what: What::Meanwhile(engage.clone()) }]);
        }
        world.meddle(&Meddle::FallIll(patient));
        for other in others {
            lives.pass(Duration::from_millis(draw.random_range(1..400))).await;
            world.meddle(&Meddle::FallIll(other));
        }
        if !by_request {
            lives.pass(Duration::from_millis(draw.random_range(0..1_500))).await;
            world.meddle(&engage);
        }
        // What engages the switch leaves a line of its own; the rest of the time shows what still comes.
        lives.pass(Duration::from_secs(40)).await;
        let mut violations = lives.breaches();
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        let Some(since) = inner.audit.switched() else {
            violations.push("the disturbance never happened".to_owned());
            return Drill { seed, violations, ..Drill::default() };
        };
        let late = inner.audit.effects.iter().map(|entry| entry.landed.at.duration_since(since));
        let late: Vec<_> = late.filter(homeostat_knowledge::SignedDuration::is_positive).collect();
        let under_way = |at: Option<Timestamp>, closed: Option<Timestamp>| {
            at.is_some_and(|at| at <= since) && closed.is_none_or(|closed| closed > since)
        };
        let busy = inner
            .server
            .actions
            .values()
            .any(|action| under_way(action.instants.intent, action.instants.closed));
        let millis = late.iter().max().map_or(0, |late| i64::try_from(late.as_millis()).unwrap_or(i64::MAX));
        Drill {
            seed,
            violations,
            effects: inner.audit.effects.len(),
            forbidden: late.iter().filter(|late| **late > SignedDuration::from_secs(2)).count(),
            millis: Some(millis),
            busy,
            trace: inner.trace.clone(),
        }
    })
}

/// Two replicas whose clocks are off by up to five minutes each, the second of them right in every other drill. The first
/// leads while something is ill; then it dies and the second takes over.
pub fn clocks(seed: u64, defect: Option<Defect>) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let (situation, patient) = patient(seed);
        let world = world(situation, &patient);
        let mut skew = |right: bool| {
            let most = if right { 1_500 } else { 300_000 };
            SignedDuration::from_millis(draw.random_range(-most..=most))
        };
        let skews = [skew(seed % 4 == 1), skew(seed.is_multiple_of(2))];
        let pair = Pair::begin(&world, skews, defect).await;
        tokio::time::sleep(ILL).await;
        world.meddle(&Meddle::FallIll(patient));
        tokio::time::sleep(Duration::from_secs(20)).await;
        let first = world.lock().leader;
        let before = world.lock().audit.effects.len();
        world.kill(first);
        let killed = world.now();
        let mut taken = None;
        let end = killed + SignedDuration::try_from(OVER).unwrap_or_default();
        while world.now() < end {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let holds = world.lock().leader;
            if holds != 0 && holds != first {
                taken.get_or_insert(world.now());
                if pair.at_rest() {
                    break;
                }
            }
        }
        let right = |skew: SignedDuration| skew.abs() <= RIGHT;
        let mut drill = pair.judge(seed, skews.into_iter().any(right));
        let inner = world.lock();
        let wrong = |life: u64| inner.skews.get(&life).is_some_and(|skew| skew.abs() > WRONG);
        let by_wrong = inner.audit.effects.iter().filter(|entry| wrong(entry.landed.life));
        drill.forbidden = by_wrong.count();
        if drill.forbidden > 0 {
            drill
                .violations
                .push(format!("Clock: {} effects by a replica with a wrong clock", drill.forbidden));
        }
        drill.busy = before > 0;
        drill.millis =
            taken.map(|at| i64::try_from(at.duration_since(killed).as_millis()).unwrap_or(i64::MAX));
        drill
    })
}

/// An effect lands up to fourteen seconds after its request was given up, in every other drill after its process died.
pub fn late_effect(seed: u64) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let (situation, patient) = patient(seed);
        let world = world(situation, &patient);
        let late = What::Late(draw.random_range(1..14_000));
        arm(&world, vec![Fault::nth(Request::Effect, 1, late)]);
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        world.meddle(&Meddle::FallIll(patient.clone()));
        lives.pass(Duration::from_millis(draw.random_range(600..4_000))).await;
        if draw.random_bool(0.5) {
            world.meddle(&Meddle::Crash);
        }
        if draw.random_bool(0.3) {
            world.meddle(&Meddle::SomebodyElse(patient));
        }
        let mut violations = Vec::new();
        if !lives.rest(OVER).await {
            violations.push("ESR: the world did not come to rest".to_owned());
        }
        lives.pass(Duration::from_secs(30)).await;
        violations.extend(lives.breaches());
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        let (effects, trace) = (inner.audit.effects.len(), inner.trace.clone());
        Drill { seed, violations, effects, busy: true, trace, ..Drill::default() }
    })
}

/// Reads before an effect succeed and take up to five seconds each. In the middle of one of them the kill switch is
/// engaged; half a minute later it is released.
pub fn slow_reads(seed: u64, defect: Option<Defect>) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let (situation, patient) = patient(seed);
        let world = world(situation, &patient);
        let reads = [Request::FreshRead, Request::Look, Request::Look, Request::KillSwitch];
        let read = *reads.choose(&mut draw).unwrap_or(&Request::Look);
        let engaged = (read, draw.random_range(1..=3));
        let engage = What::Meanwhile(Meddle::Engage);
        let mut faults = vec![Fault::nth(engaged.0, engaged.1, engage)];
        for request in [Request::Claim, Request::FreshRead, Request::Look, Request::KillSwitch] {
            for nth in 1..=3 {
                if (request, nth) == engaged || draw.random_bool(0.3) {
                    faults.push(Fault::nth(request, nth, What::Slow(draw.random_range(300..4_900))));
                }
            }
        }
        arm(&world, faults);
        let mut lives = Lives::begin(&world, defect);
        lives.pass(Duration::from_secs(4)).await;
        world.meddle(&Meddle::FallIll(patient));
        lives.pass(Duration::from_secs(30)).await;
        let since = world.lock().audit.switched();
        let released = world.now();
        world.lock().faults.clear();
        world.meddle(&Meddle::Release);
        let mut violations = Vec::new();
        if !lives.rest(OVER).await {
            violations.push("ESR: the world did not come to rest".to_owned());
        }
        violations.extend(lives.breaches());
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        let landed = inner.audit.effects.iter().map(|entry| entry.landed.at);
        let late: Vec<_> = landed
            .filter(|at| *at < released)
            .filter_map(|at| since.map(|since| at.duration_since(since)))
            .filter(SignedDuration::is_positive)
            .collect();
        let forbidden = late.iter().filter(|late| **late > SOON).count();
        if forbidden > 0 {
            violations.push(format!("S4: {forbidden} effects on an old answer of the kill switch: {late:?}"));
        }
        Drill {
            seed,
            violations,
            effects: inner.audit.effects.len(),
            forbidden,
            millis: late.iter().max().map(|late| i64::try_from(late.as_millis()).unwrap_or(i64::MAX)),
            busy: since.is_some(),
            trace: inner.trace.clone(),
        }
    })
}

/// The process dies just before its effect, and those after it live for five to fourteen seconds each: none of them long
/// enough to wait for what a request may still do.
pub fn short_lives(seed: u64) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let (situation, patient) = patient(seed);
        let world = world(situation, &patient);
        arm(&world, vec![Fault::nth(Request::Effect, 1, What::CrashBefore)]);
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        world.meddle(&Meddle::FallIll(patient));
        for _ in 0..8 {
            lives.pass(Duration::from_millis(draw.random_range(5_000..14_000))).await;
            world.meddle(&Meddle::Crash);
        }
        let first = world.lock().server.actions.values().find_map(|record| {
            let claimed = record.instants.claimed?;
            Some((claimed, record.instants.closed, record.state))
        });
        let mut violations = Vec::new();
        let (millis, busy) = match first {
            Some((claimed, Some(closed), _)) => {
                (i64::try_from(closed.duration_since(claimed).as_millis()).ok(), true)
            }
            Some((claimed, None, state)) => {
                violations.push(format!("ESR: claimed at {claimed} and {state:?} after eight lives"));
                (None, true)
            }
            None => (None, false),
        };
        if !lives.rest(OVER).await {
            violations.push("ESR: the world did not come to rest".to_owned());
        }
        violations.extend(lives.breaches());
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        let (effects, trace) = (inner.audit.effects.len(), inner.trace.clone());
        Drill { seed, violations, effects, millis, busy, trace, ..Drill::default() }
    })
}

/// The API server restarts while fifty actions are open, with limits that allow so many: the request of that moment is
/// carried out without a reply, all others are not for 2 to 40 s, and every watch is too old afterwards. In every other drill
/// the leader dies meanwhile.
pub fn server_restart(seed: u64) -> std::io::Result<Drill> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let world = World::new(&[(TENANT, Level::ActFull)]);
        wide_limits(&world, MANY);
        world.crowd(TENANT, 10);
        let patients: Vec<_> =
            (0..MANY).map(|index| WorkloadKey::new(TENANT, format!("basket-{index}"))).collect();
        for patient in &patients {
            world.add(patient, situations::CRASHING);
        }
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        world.fall_ill_together(&patients);
        let open = || world.lock().server.open_actions().count();
        let end = Instant::now() + OVER;
        while open() < patients.len() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(draw.random_range(0..1_500))).await;
        let (busy, away) = (open(), draw.random_range(2_000..40_000));
        arm(&world, vec![Fault { at: At::Number(world.requests() + 1), what: What::TimeoutDone }]);
        world.meddle(&Meddle::Away(away));
        lives.pass(Duration::from_millis(draw.random_range(0..2_000))).await;
        if draw.random_bool(0.5) {
            world.meddle(&Meddle::Crash);
        }
        let back = world.lock().away.unwrap_or_else(|| world.now());
        while world.now() < back {
            lives.pass(Duration::from_millis(100)).await;
        }
        world.meddle(&Meddle::Compact);
        let rested = lives.rest(OVER).await;
        let ended = world.lock().server.actions.values().filter_map(|action| action.instants.closed).max();
        let mut violations = overdue(&world, back, SignedDuration::from_secs(60));
        if !rested {
            violations.push("ESR: the world did not come to rest".to_owned());
        }
        violations.extend(lives.breaches());
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        Drill {
            seed,
            violations,
            effects: inner.audit.effects.len(),
            forbidden: 0,
            millis: ended.map(|at| i64::try_from(at.duration_since(back).as_millis()).unwrap_or(i64::MAX)),
            busy: busy == patients.len(),
            trace: inner.trace.clone(),
        }
    })
}

/// So many of a tenant may be acted on at once, and none of it is a storm.
fn wide_limits(world: &World, many: u32) {
    let mut inner = world.lock();
    let tenant = inner.server.tenants.values().find(|tenant| &*tenant.name.0 == TENANT).cloned();
    if let Some(mut tenant) = tenant {
        let limits = &mut tenant.limits;
        (limits.percent_per_10_minutes, limits.storm_percent) = (100, 100);
        (limits.in_flight_per_tenant, limits.per_tenant_hour) = (many, 10 * many);
        inner.server.put_tenant(tenant);
    }
    let mut control = crate::objects::control();
    (control.storm_percent, control.in_flight, control.per_hour) = (100, many, 10 * many);
    inner.server.put_control(Some(control));
}
