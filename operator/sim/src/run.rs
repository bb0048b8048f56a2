//! Lives of processes one after the other in one world, in virtual time, until the world is at rest.

use crate::defects::Defect;
use crate::faults::{Fault, Meddle};
use crate::process::{self, Handle};
use crate::world::World;
use homeostat_knowledge::{ActionState, ControllerKind, ControllerRecord, SignedDuration, Timestamp};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// From the death of a process to the next one.
const RESTART: Duration = Duration::from_secs(1);
/// From the loss of the lease to the next holder; longer than a request may take.
const TAKEOVER: Duration = Duration::from_secs(6);
/// How often it is looked whether anything is left to do.
const LOOK: Duration = Duration::from_millis(250);

/// The same while nothing is expected to happen.
const LONG_LOOK: Duration = Duration::from_secs(10);

/// What others do, by time since the beginning.
pub type Script = Vec<(Duration, Meddle)>;

/// Runs a future alone on this thread, in virtual time that begins with it.
pub fn simulate<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(future))
}

/// Does the same work for each item on all processors; the results come in the order of the items. Each run is alone on
/// its thread, so what it does depends on its item only.
pub fn spread<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Processes in a world.
pub struct Lives {
    world: Arc<World>,
    defect: Option<Defect>,
    all: Vec<Handle>,
    begun: Instant,
}

impl Lives {
    /// Starts the first process.
    pub fn begin(world: &Arc<World>, defect: Option<Defect>) -> Self {
        let first = process::start(world, defect);
        Self { world: Arc::clone(world), defect, all: vec![first], begun: Instant::now() }
    }

    /// Lets time pass. Whoever dies or loses the lease is followed by another process.
    pub async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let (dead, leads) = {
                let inner = self.world.lock();
                let newest = self.all.last().map_or(0, |handle| handle.life);
                (inner.dead.contains(&newest), inner.leader == newest)
            };
            if dead || !leads {
                let old = self.all.last().map_or(0, |handle| handle.life);
                tokio::time::sleep(if dead { RESTART } else { TAKEOVER }).await;
                self.all.push(process::start(&self.world, self.defect));
                if !dead {
                    let world = Arc::clone(&self.world);
                    tokio::spawn(async move {
                        // It lives on for a while without the lease.
                        tokio::time::sleep(TAKEOVER).await;
                        world.kill(old);
                    });
                }
            }
            let now = Instant::now();
            if now >= end {
                return;
            }
            // Long waits are for worlds at rest; nobody dies there.
            let look = if time > Duration::from_mins(1) { LONG_LOOK } else { LOOK };
            tokio::time::sleep(look.min(end - now)).await;
        }
    }

    /// Follows the script to its end.
    pub async fn follow(&mut self, script: &Script) {
        for (at, meddle) in script {
            self.pass((self.begun + *at).saturating_duration_since(Instant::now())).await;
            self.world.meddle(meddle);
        }
    }

    /// Lets time pass until nobody is ill, nothing is under way and no fault is left, at most so long. Returns whether
    /// that came.
    pub async fn rest(&mut self, most: Duration) -> bool {
        let end = Instant::now() + most;
        while Instant::now() < end {
            self.pass(LOOK).await;
            if self.at_rest() {
                return true;
            }
        }
        false
    }

    /// Nobody is ill, nothing is under way, nothing is held, and Kubernetes has done what was asked of it.
    pub fn at_rest(&self) -> bool {
        let quiet = {
            let inner = self.world.lock();
            let ill = inner
                .services
                .iter()
                .any(|(key, service)| service.situation.ailing(&inner.server, key).is_some());
            let held = inner.server.holds().next().is_some();
            let controllers = inner.server.controllers.values().map(|one| &one.record);
            let deployed = |record: &&ControllerRecord| record.key.kind == ControllerKind::Deployment;
            let as_wanted = |record: &ControllerRecord| {
                let serving = inner.server.pods_of(&record.key).filter(|pod| pod.record.serving()).count();
                let present = inner.server.pods_of(&record.key).count();
                usize::try_from(record.replicas).is_ok_and(|wanted| wanted == present && wanted == serving)
            };
            let done = controllers.filter(deployed).all(as_wanted);
            let open = inner.server.open_actions().next().is_some();
            !ill && !held && done && !open && inner.server.incidents.is_empty()
        };
        quiet && self.all.last().is_some_and(|handle| handle.under_way() == 0)
    }

    /// What the processes themselves found broken.
    pub fn breaches(&self) -> Vec<String> {
        self.all.iter().flat_map(Handle::breaches).map(|breach| breach.to_string()).collect()
    }
}

/// What must hold once the world is at rest: three more looks of everything write nothing, and ten minutes later it is
/// as it was. Returns what did not hold.
pub async fn stays_at_rest(world: &Arc<World>, lives: &mut Lives) -> Vec<String> {
    let state = || {
        let inner = world.lock();
        (crate::oracle::end_state(&inner), inner.audit.writes)
    };
    let mut found = Vec::new();
    let (before, writes) = state();
    for _ in 0..3 {
        lives.pass(Duration::from_secs(6)).await;
    }
    let (_, after) = state();
    if after != writes {
        found.push(format!("ESR: three more passes made {} writes", after - writes));
    }
    lives.pass(Duration::from_mins(10)).await;
    let (end, last) = state();
    if end != before || last != writes {
        found.push(format!("ESR: ten minutes later it was not as before: {before:?} became {end:?}"));
    }
    found
}

/// Actions that were open for longer than `limit` after `since`.
pub fn overdue(world: &World, since: Timestamp, limit: SignedDuration) -> Vec<String> {
    let now = world.now();
    let inner = world.lock();
    let late = |at: Timestamp| at.duration_since(since) > limit;
    inner
        .server
        .actions
        .values()
        .filter(|record| {
            if record.state == ActionState::Proposed && !record.guards.is_empty() {
                return false; // A recommendation stands until its incident is over.
            }
            let begun = record.instants.intent.unwrap_or(record.evidence.taken_at);
            begun <= since && record.instants.closed.map_or(late(now) && !record.state.ended(), late)
        })
        .map(|record| format!("ESR: {} was open for more than {} s", record.id, limit.as_secs()))
        .collect()
}

/// Puts faults into the world.
pub fn arm(world: &World, faults: Vec<Fault>) {
    world.lock().faults.extend(faults);
}
