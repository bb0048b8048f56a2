//! Drawn histories: fifty steps of whatever may happen, from one seed. The same seed gives the same history, line by
//! line.

use crate::defects::Defect;
use crate::faults::{At, Fault, Meddle, Request, What};
use crate::objects::OWN_NAMESPACE;
use crate::oracle;
use crate::run::{Lives, arm, overdue, simulate};
use crate::server::Stream;
use crate::situations;
use crate::world::{Person, World};
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{Level, SignedDuration, TenantName, WorkloadKey};
use rand::Rng;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::Duration;

/// Steps of one history.
pub const STEPS: usize = 50;
/// An action that is open when the faults stop ends within this time.
const END: SignedDuration = SignedDuration::from_secs(60);
const TENANTS: [&str; 2] = ["shop", "bank"];

/// How a history ended.
#[derive(Clone, Debug)]
pub struct History {
    /// Its seed.
    pub seed: u64,
    /// Everything that did not hold.
    pub violations: Vec<String>,
    /// Effects that landed.
    pub effects: usize,
    /// What happened, line by line.
    pub trace: Vec<String>,
}

/// Workloads of each tenant that can fall ill, one of them with a pod that crashes.
const EACH: usize = 4;
/// Workloads of each tenant.
const ALL: usize = 18;

/// The workloads of a history: drawn actions for each tenant, and a node for each action on nodes.
fn workloads(world: &World, draw: &mut ChaCha8Rng) -> Vec<WorkloadKey> {
    let (nodes, others): (Vec<_>, Vec<_>) =
        situations::ALL.iter().copied().partition(|situation| situation.targets().is_none());
    let mut keys = Vec::new();
    let mut add = |key: WorkloadKey, situation| {
        world.add(&key, situation);
        keys.push(key);
    };
    for situation in nodes {
        let name = format!("node-{}", situation.kind().name().to_lowercase());
        add(WorkloadKey::new(OWN_NAMESPACE, name), situation);
    }
    for tenant in TENANTS {
        add(WorkloadKey::new(tenant, format!("{tenant}-0")), situations::CRASHING);
        for (index, situation) in others.choose_multiple(draw, EACH - 1).enumerate() {
            add(WorkloadKey::new(tenant, format!("{tenant}-{}", index + 1)), *situation);
        }
        world.crowd(tenant, ALL - EACH);
    }
    keys
}

/// Limits that are met within a few minutes, different in each history.
fn limits(world: &World, draw: &mut ChaCha8Rng) {
    let mut inner = world.lock();
    for name in TENANTS.into_iter().chain([PLATFORM_TENANT]) {
        let Some(mut tenant) = inner.server.tenants.get(&TenantName::new(name)).cloned() else { continue };
        let limits = &mut tenant.limits;
        limits.in_flight_per_tenant = draw.random_range(1..=3);
        limits.per_workload_hour = draw.random_range(1..=4);
        limits.per_tenant_hour = draw.random_range(2..=8);
        limits.percent_per_10_minutes = draw.random_range(5..=30);
        limits.cooldown_success = SignedDuration::from_secs(draw.random_range(0..=60));
        limits.cooldown_failure = SignedDuration::from_secs(draw.random_range(1..=60));
        inner.server.put_tenant(tenant);
    }
}

fn stream(draw: &mut ChaCha8Rng) -> Stream {
    *Stream::ALL.choose(draw).unwrap_or(&Stream::Pods)
}

/// A fault at one of the next requests.
fn fault(draw: &mut ChaCha8Rng, world: &World, workload: &WorkloadKey) -> Fault {
    let at = match draw.random_range(0..10) {
        0..=4 => At::Number(world.requests() + draw.random_range(1..=12)),
        5 | 6 => world.next(Request::Effect),
        7 => world.next(Request::Claim),
        8 => world.next(Request::FreshRead),
        _ => world.next(Request::Acknowledge),
    };
    let what = match draw.random_range(0..15) {
        0 => What::CrashBefore,
        1 => What::CrashReplyLost,
        2 => What::CrashAfter,
        3 => What::Conflict,
        4 => What::TooManyRequests,
        5 => What::ServerError,
        6 => What::Unavailable,
        7 => What::Denied,
        8 => What::TimeoutDone,
        9 => What::TimeoutLost,
        10 => What::Stale,
        11 => What::Meanwhile(Meddle::SomebodyElse(workload.clone())),
        12 => What::Meanwhile(Meddle::Touch(workload.clone())),
        13 => What::Slow(draw.random_range(100..4_900)),
        _ => What::Meanwhile(Meddle::Engage),
    };
    Fault { at, what }
}

/// One step that is not a fault at a request.
fn meddle(draw: &mut ChaCha8Rng, all: &[WorkloadKey]) -> Meddle {
    let tenant = *[TENANTS[0], TENANTS[1], TENANTS[0], TENANTS[1], PLATFORM_TENANT]
        .choose(draw)
        .unwrap_or(&TENANTS[0]);
    let one = all.choose(draw).cloned().unwrap_or_else(|| WorkloadKey::new(tenant, "none"));
    let other = all.choose(draw).cloned().unwrap_or_else(|| one.clone());
    match draw.random_range(0..32) {
        0..=9 => Meddle::FallIll(one),
        10 => Meddle::SomebodyElse(one),
        11 if draw.random_bool(0.5) => Meddle::Recover(one),
        11 => Meddle::RecoverUnseen(one, draw.random_range(5_000..20_000)),
        12 => Meddle::Remember,
        13 => match stream(draw) {
            // News of policies must arrive within two seconds; see `Point::Stale` in the plans.
            Stream::Policies => Meddle::Freeze(Stream::Policies, draw.random_range(100..1_500)),
            stream => Meddle::Freeze(stream, draw.random_range(100..20_000)),
        },
        14 => match stream(draw) {
            Stream::Policies => Meddle::Compact,
            stream => Meddle::Miss(stream),
        },
        15 => Meddle::Compact,
        16 => Meddle::Engage,
        17 | 18 => Meddle::Release,
        19 => Meddle::DeleteSwitch,
        20 => Meddle::Pause(one),
        21 => Meddle::Unpause(one),
        22 => Meddle::PauseTenant(tenant, draw.random_bool(0.3)),
        23 | 24 => Meddle::SetLevel(tenant, *[1, 2, 2, 4, 4, 4].choose(draw).unwrap_or(&4)),
        25 => Meddle::Protect(one, draw.random_bool(0.5)),
        26 => Meddle::Window(tenant, draw.random_range(5..40)),
        27 => Meddle::Confuse(one, other),
        28 => Meddle::Depose,
        29 | 30 => Meddle::Stubborn(one, draw.random_bool(0.7)),
        _ => Meddle::Crash,
    }
}

/// How long until the next step: mostly moments, sometimes long enough for an action to be verified.
fn pause(draw: &mut ChaCha8Rng) -> Duration {
    let most = match draw.random_range(0..10) {
        0..=3 => 20,
        4..=6 => 500,
        7 | 8 => 4_000,
        _ => 15_000,
    };
    Duration::from_millis(draw.random_range(1..=most))
}

/// Everything that was put in the way is taken away.
fn clear(world: &World, all: &[WorkloadKey]) {
    {
        let mut inner = world.lock();
        inner.faults.clear();
        inner.watches = crate::world::Watches::default();
        inner.person = Person::Approves;
        inner.confused = None;
    }
    world.meddle(&Meddle::Release);
    world.meddle(&Meddle::Compact);
    for tenant in TENANTS.into_iter().chain([PLATFORM_TENANT]) {
        world.meddle(&Meddle::NoWindows(tenant));
        world.meddle(&Meddle::PauseTenant(tenant, false));
    }
    for workload in all {
        world.meddle(&Meddle::Unpause(workload.clone()));
        world.meddle(&Meddle::Protect(workload.clone(), false));
    }
}

/// Draws and runs one history.
pub fn run(seed: u64, defect: Option<Defect>) -> std::io::Result<History> {
    simulate(async move {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let levels = [Level::Approve, Level::ActFull, Level::ActFull];
        let names = [TENANTS[0], TENANTS[1], PLATFORM_TENANT];
        let tenants = names.map(|name| (name, *levels.choose(&mut draw).unwrap_or(&Level::ActFull)));
        let world = World::new(&tenants);
        let all = workloads(&world, &mut draw);
        limits(&world, &mut draw);
        let mut lives = Lives::begin(&world, defect);
        lives.pass(Duration::from_secs(4)).await;
        for _ in 0..STEPS {
            if draw.random_bool(0.02) {
                drill(&mut draw, &world, &mut lives, &all).await;
            } else {
                step(&mut draw, &world, &all);
            }
            lives.pass(pause(&mut draw)).await;
        }
        clear(&world, &all);
        let stopped = world.now();
        lives.rest(Duration::from_secs(62)).await;
        let mut violations = overdue(&world, stopped, END);
        violations.extend(lives.breaches());
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        History { seed, violations, effects: inner.audit.effects.len(), trace: inner.trace.clone() }
    })
}

/// Somebody falls ill while the switch is on, and gets well without news of it. When the switch is released again, all
/// that is left is what was known before: too old to act on.
async fn drill(draw: &mut ChaCha8Rng, world: &Arc<World>, lives: &mut Lives, all: &[WorkloadKey]) {
    let one = all.choose(draw).cloned().unwrap_or_else(|| WorkloadKey::new(TENANTS[0], "none"));
    world.meddle(&Meddle::Engage);
    world.meddle(&Meddle::FallIll(one.clone()));
    lives.pass(Duration::from_millis(600)).await;
    world.meddle(&Meddle::RecoverUnseen(one, 30_000));
    lives.pass(Duration::from_secs(13)).await;
    world.meddle(&Meddle::Release);
    lives.pass(Duration::from_secs(10)).await;
}

fn step(draw: &mut ChaCha8Rng, world: &Arc<World>, all: &[WorkloadKey]) {
    if draw.random_bool(0.25) {
        let workload = all.choose(draw).cloned().unwrap_or_else(|| WorkloadKey::new(TENANTS[0], "none"));
        let fault = fault(draw, world, &workload);
        arm(world, vec![fault]);
    } else if draw.random_bool(0.05) {
        let people = [Person::Approves, Person::Denies, Person::Away];
        world.lock().person = *people.choose(draw).unwrap_or(&Person::Approves);
    } else {
        let meddle = meddle(draw, all);
        world.meddle(&meddle);
        if matches!(meddle, Meddle::FallIll(_)) && draw.random_bool(0.4) {
            // Two at once: what the one takes from the budget the other must see.
            let other = all.choose(draw).cloned().unwrap_or_else(|| WorkloadKey::new(TENANTS[0], "none"));
            world.meddle(&Meddle::FallIll(other));
        }
    }
}
