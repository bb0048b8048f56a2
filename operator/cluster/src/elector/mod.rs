//! Which replica acts. All replicas observe; only the leader writes.
//!
//! Leading is not a fence: a paused process may wake up after another one took over. Every effect is therefore
//! conditioned on its target by itself, and [`Leadership::leads`] compares with the clock at each call, so that a
//! replica that slept past its deadline knows it before it acts.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge of the election: the rules take each instant as an argument"
)]

pub mod lease;
/// The rules, next to the port that they stand behind, so that the simulator elects by them too.
pub use homeostat_execute::election as machine;

use crate::error::{Category, ClusterError};
use homeostat_knowledge::{Clock, Timestamp};
use lease::LeaseApi;
use machine::{Intent, InvalidTiming, Machine, Timing};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One uninterrupted time of leading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Counts holder changes over all replicas: a later leader has a higher number.
    pub number: i32,
    /// Since when without a break, by the own wall clock; for people only. `None` without an election.
    pub since: Option<Timestamp>,
    /// May act until then, unless renewed.
    pub until: Instant,
}

/// Tells whether this replica leads. Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: watch::Receiver<Option<Term>>,
    full: watch::Receiver<bool>,
}

impl Leadership {
    /// Whether this replica may act at this very moment.
    pub fn leads(&self) -> bool {
        self.term.borrow().as_ref().is_some_and(|term| Instant::now() < term.until)
    }

    /// The present term; `None` when this replica does not lead.
    pub fn term(&self) -> Option<Term> {
        self.term.borrow().clone().filter(|term| Instant::now() < term.until)
    }

    /// Whether the API server's store was full at the last attempt to write the lease. The leader's attempts tell it, and
    /// once nobody can lead those of every replica.
    pub fn store_full(&self) -> bool {
        *self.full.borrow()
    }

    /// Waits until this replica begins or ceases to lead (renewals do not count); gives whether it leads now.
    /// Never returns after the elector ended and leadership is gone.
    pub async fn changed(&mut self) -> bool {
        let before = self.leads();
        loop {
            let until = self.term.borrow_and_update().as_ref().map(|term| term.until);
            if self.leads() != before {
                return !before;
            }
            let expiry = async {
                match until.filter(|until| *until > Instant::now()) {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.term.changed() => if changed.is_err() {
                    // The elector ended; what it said last holds until its deadline.
                    match until.filter(|until| *until > Instant::now()) {
                        Some(until) => tokio::time::sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                },
                () = expiry => {}
            }
        }
    }

    /// A replica that always leads; for tools and tests without an election.
    pub fn always() -> Self {
        let far = Instant::now() + std::time::Duration::from_hours(100 * 365 * 24);
        let term = watch::channel(Some(Term { number: 0, since: None, until: far })).1;
        Self { term, full: watch::channel(false).1 }
    }
}

/// Runs for leadership.
pub struct Elector<L> {
    api: L,
    machine: Machine,
    timing: Timing,
    clock: Arc<dyn Clock>,
    since: Option<Timestamp>,
    term: watch::Sender<Option<Term>>,
    full: watch::Sender<bool>,
}

impl<L: LeaseApi> Elector<L> {
    /// An elector that has not asked yet. `identity` must differ between replicas and restarts, e.g. pod name and
    /// process start. `clock` only fills the times in the Lease that people read.
    pub fn new(
        api: L,
        identity: impl Into<String>,
        timing: Timing,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Leadership), InvalidTiming> {
        let timing = timing.check()?;
        let (term, receiver) = watch::channel(None);
        let (full, told) = watch::channel(false);
        let machine = Machine::new(identity, timing);
        let elector = Self { api, machine, timing, clock, since: None, term, full };
        Ok((elector, Leadership { term: receiver, full: told }))
    }

    /// Runs until `shutdown`, then gives the lease away so that another replica leads at its next attempt.
    /// Stop acting before cancelling `shutdown`: releasing ends the term first and tells the server second.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut attempt: u64 = 0;
        let mut failing = false;
        loop {
            let began = Instant::now();
            // An attempt may not outlast the right to act.
            let limit = self.machine.leads_until().unwrap_or(began + self.timing.renew_deadline);
            // It is not cut off by a shutdown either: a release needs the version of the last write.
            match tokio::time::timeout_at(limit, self.attempt()).await {
                Ok(Ok(())) => failing = false,
                Ok(Err(error)) => {
                    if !failing {
                        tracing::warn!(category = error.category().name(), %error, "Lease could not be renewed or taken");
                    }
                    failing = true;
                }
                Err(_) => {
                    if !failing {
                        tracing::warn!("Lease request had no answer in time");
                    }
                    failing = true;
                }
            }
            let expired = self.machine.expire(Instant::now());
            self.publish();
            if expired {
                tracing::warn!("Leadership given up: the lease could not be renewed before the deadline");
            }
            if shutdown.is_cancelled() {
                break;
            }
            attempt += 1;
            let wake = self.machine.wake(began, attempt);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.release().await;
    }

    async fn attempt(&mut self) -> Result<(), ClusterError> {
        let seen = self.api.get().await?;
        let version = seen.as_ref().map(|(_, version)| version.clone());
        let (now, wall) = (Instant::now(), self.clock.now());
        let sent = now;
        let (record, written) = match self.machine.observe(seen, now, wall) {
            Intent::Held { .. } => {
                self.machine.lost();
                // A lease that ran out in a full store counts again only when somebody could write it.
                self.full.send_replace(false);
                return Ok(());
            }
            Intent::Create(record) => {
                let written = self.api.create(&record).await;
                (record, written)
            }
            Intent::Update(record) => {
                let written = self.api.update(&record, version.as_deref().unwrap_or_default()).await;
                (record, written)
            }
        };
        self.full.send_if_modified(|full| {
            let now = written.as_ref().is_err_and(ClusterError::store_full);
            // No answer says nothing of it.
            let known = now || written.is_ok();
            known && std::mem::replace(full, now) != now
        });
        match written {
            Ok(version) => {
                let first = self.machine.leads_until().is_none();
                self.machine.written(record, version, sent, Instant::now());
                if first {
                    self.since = Some(wall);
                    tracing::info!(term = self.machine.term(), "This replica leads");
                }
                Ok(())
            }
            // Somebody was faster; who, is seen at the next attempt. An own earlier write that got no
            // answer looks the same, so a term in progress goes on until its deadline.
            Err(error) if error.category() == Category::Conflict => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn publish(&self) {
        let since = self.since;
        let led = self.machine.leads_until().zip(self.machine.term());
        let term = led.map(|(until, number)| Term { number, since, until });
        self.term.send_if_modified(|old| {
            let changed = *old != term;
            *old = term;
            changed
        });
    }

    async fn release(mut self) {
        let record = self.machine.release(self.clock.now());
        self.publish();
        let Some((record, version)) = record else { return };
        match tokio::time::timeout(self.timing.retry, self.api.update(&record, &version)).await {
            Ok(Ok(_)) => tracing::info!("Lease released"),
            Ok(Err(error)) => tracing::warn!(%error, "Lease not released; it runs out by itself"),
            Err(_) => tracing::warn!("Lease not released in time; it runs out by itself"),
        }
    }
}
