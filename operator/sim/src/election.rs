//! Replicas that run for one Lease by the product's own rules ([`homeostat_execute::election`]), in virtual time. The
//! requests are answered by the world at once and are not counted among the requests that faults are put at.

use crate::client::{Lease, Term};
use crate::defects::Defect;
use crate::process::{self, Handle};
use crate::world::{Inner, World};
use homeostat_execute::election::{Intent, Machine, Timing};
use homeostat_knowledge::{SignedDuration, Timestamp};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time that a request for the Lease takes.
const LATENCY: Duration = Duration::from_millis(3);

/// Starts a replica whose clock is so far ahead. It leads once its elector has the Lease.
pub fn replica(world: &Arc<World>, skew: SignedDuration, defect: Option<Defect>) -> Handle {
    let life = {
        let mut inner = world.lock();
        inner.life += 1;
        let life = inner.life;
        if !skew.is_zero() {
            inner.skews.insert(life, skew);
        }
        inner.note(world.now(), &format!("replica {life} starts, its clock {} s ahead", skew.as_secs()));
        life
    };
    let term = Term::default();
    let elector = Elector {
        world: Arc::clone(world),
        life,
        machine: Machine::new(format!("replica-{life}"), Timing::default()),
        term: Arc::clone(&term),
    };
    tokio::spawn(elector.run());
    process::run(world, Lease { world: Arc::clone(world), life, term: Some(term) }, defect)
}

/// The loop around the rules, as the product has it: one attempt, what it means, a wait.
struct Elector {
    world: Arc<World>,
    life: u64,
    machine: Machine,
    term: Term,
}

impl Elector {
    async fn run(mut self) {
        let timing = Timing::default();
        for attempt in 1.. {
            let began = Instant::now();
            let limit = self.machine.leads_until().unwrap_or(began + timing.renew_deadline);
            // An attempt without an answer in time is one that failed.
            let _late = tokio::time::timeout_at(limit, self.attempt()).await;
            self.machine.expire(Instant::now());
            *self.term.lock().unwrap_or_else(PoisonError::into_inner) = self.machine.leads_until();
            self.world.leader.tell();
            tokio::time::sleep_until(self.machine.wake(began, attempt)).await;
            self.world.moving(self.life).await;
            if self.world.lock().dead.contains(&self.life) {
                return;
            }
        }
    }

    async fn attempt(&mut self) {
        let seen = self.ask(|inner| inner.lease.clone()).await;
        let version = seen.as_ref().map(|(_, version)| *version);
        let seen = seen.map(|(record, version)| (record, version.to_string()));
        let (sent, wall) = (Instant::now(), self.wall());
        let record = match self.machine.observe(seen, sent, wall) {
            Intent::Held { .. } => return self.machine.lost(),
            Intent::Create(record) | Intent::Update(record) => record,
        };
        let (life, wanted, world) = (self.life, record.clone(), Arc::clone(&self.world));
        let written = self
            .ask(|inner| {
                let found = inner.lease.as_ref().map(|(_, version)| *version);
                if found != version {
                    return None; // Somebody was faster.
                }
                let next = found.unwrap_or(0) + 1;
                inner.lease = Some((wanted, next));
                if inner.leader != life {
                    inner.leader = life;
                    inner.note(world.now(), &format!("replica {life} has the lease"));
                }
                Some(next)
            })
            .await;
        if let Some(next) = written {
            self.machine.written(record, next.to_string(), sent, Instant::now());
        }
    }

    /// One request: on its way, answered, and the answer on its way. A replica that stands still neither sends nor hears.
    async fn ask<T>(&self, answer: impl FnOnce(&mut Inner) -> T) -> T {
        self.world.moving(self.life).await;
        tokio::time::sleep(LATENCY).await;
        if self.world.lock().dead.contains(&self.life) {
            return std::future::pending().await;
        }
        let answer = answer(&mut self.world.lock());
        self.world.moving(self.life).await;
        answer
    }

    fn wall(&self) -> Timestamp {
        self.world.clock(self.life)
    }
}
