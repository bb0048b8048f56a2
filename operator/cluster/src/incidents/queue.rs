//! Incidents on their way to the API server: newest version only, urgent ones at once.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use super::store::{IncidentStore, Written, worth_retrying};
use crate::elector::Leadership;
use crate::error::ClusterError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use homeostat_knowledge::{Entity, FindingKind, Incident, IncidentId};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Incidents that may wait; more at once is a storm, and the newest state of these is what matters.
const CAPACITY: usize = 1_024;
/// Writes under way at once.
const PARALLEL: usize = 8;
/// Renewed evidence alone is written this often at most.
const EVIDENCE_INTERVAL: Duration = Duration::from_secs(5);
/// Changes that come this soon after a write go out together: while something is being repaired there are several steps
/// within a tenth of a second, and each write takes the API server from what the repair itself needs.
const TOGETHER: Duration = Duration::from_millis(300);
/// Attempts before an open incident is given up until its next change; about ten minutes.
const ATTEMPTS: u32 = 40;
/// That an incident is over is told once, by nobody else while this replica leads. A write of it that was refused, or failed
/// too often, is tried again after so long, and each time after twice that.
const CLOSING_FIRST: Duration = Duration::from_secs(15);
/// It is tried again at least so often.
const CLOSING_LATEST: Duration = Duration::from_mins(5);

/// What became of submitted incidents, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// New objects.
    pub created: u64,
    /// Statuses written.
    pub updated: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Incidents that found the queue full, or were given up.
    pub dropped: u64,
    /// Incidents that are over and whose last write was refused or failed too often: open for readers, until a write of it
    /// goes through.
    pub unclosed: u64,
}

struct Pending {
    incident: Arc<Incident>,
    due: Instant,
    attempts: u32,
}

#[derive(Default)]
struct State {
    pending: BTreeMap<IncidentId, Pending>,
    under_way: BTreeSet<IncidentId>,
    /// What matters of the last accepted version, and when its write began.
    last: BTreeMap<IncidentId, (u64, Instant)>,
    /// Those that are over and whose write was refused, and how often. No more than may wait or be under way.
    unclosed: BTreeMap<IncidentId, u32>,
    counts: QueueCounts,
}

impl State {
    /// Makes room: an open incident is submitted again with its next change. `false` when all that wait are over.
    fn displace_open(&mut self) -> bool {
        let open = self.pending.iter().find(|(_, pending)| !pending.incident.state.closed());
        let Some(id) = open.map(|(id, _)| id.clone()) else { return false };
        self.pending.remove(&id);
        self.counts.dropped += 1;
        true
    }
}

/// Takes incidents without waiting and writes them in the background. Cheap to clone.
#[derive(Clone)]
pub struct IncidentQueue {
    state: Arc<Mutex<State>>,
    wake: Arc<Notify>,
}

impl Default for IncidentQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl IncidentQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self { state: Arc::default(), wake: Arc::new(Notify::new()) }
    }

    /// Has the newest version of an incident written: at once when it is new, over or handed over, within 0.3 s when a person
    /// would notice the change, otherwise within five seconds. `false` when the queue is full; submit it again with its next change. One that is over has no
    /// next change, so it takes the place of an open one, which does.
    pub fn submit(&self, incident: Arc<Incident>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let matters = what_matters(&incident);
        let due = match state.last.get(&incident.id) {
            Some((last, at)) if *last == matters => *at + EVIDENCE_INTERVAL,
            Some((_, at)) if !incident.state.closed() && incident.handed_over.is_none() => *at + TOGETHER,
            _ => now,
        };
        let id = incident.id.clone();
        if let Some(pending) = state.pending.get_mut(&id) {
            // A write that is due stays due; one that waits after a failure goes with the news.
            pending.due = pending.due.min(due);
            pending.incident = incident;
        } else if state.pending.len() >= CAPACITY && !(incident.state.closed() && state.displace_open()) {
            state.counts.dropped += 1;
            return false;
        } else {
            state.pending.insert(id, Pending { incident, due, attempts: 0 });
        }
        drop(state);
        self.wake.notify_one();
        true
    }

    /// Counts since the start.
    pub fn counts(&self) -> QueueCounts {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        QueueCounts { unclosed: state.unclosed.len() as u64, ..state.counts }
    }

    /// Writes until `shutdown`, and only while this replica leads. What waits when leadership goes is forgotten: the next
    /// leader writes its own view. Only that an incident is over waits until this replica leads again: it is told once, and
    /// when no other led meanwhile (the API server was away) it would stay open for ever. On shutdown what is due is still
    /// written, within two seconds.
    pub async fn run(self, store: IncidentStore, leadership: Leadership, shutdown: CancellationToken) {
        let mut running = FuturesUnordered::new();
        let mut led = false;
        let mut stop_at: Option<Instant> = None;
        loop {
            let leads = leadership.leads();
            if leads && !led {
                store.forget();
            }
            led = leads;
            if shutdown.is_cancelled() && stop_at.is_none() {
                stop_at = Some(Instant::now() + Duration::from_secs(2));
            }
            let next_due = self.take_due(leads, PARALLEL - running.len(), |id, pending| {
                let store = &store;
                running.push(async move { (id, store.write(&pending.incident).await, pending) });
            });
            let finished = running.is_empty() && next_due.is_none_or(|due| due > Instant::now());
            if stop_at.is_some_and(|at| finished || Instant::now() >= at) {
                return;
            }
            // Losing and winning the lease is looked at each second; due writes wake on time.
            let latest = Instant::now() + Duration::from_secs(1);
            let wake_at = next_due.unwrap_or(latest).min(latest).min(stop_at.unwrap_or(latest));
            tokio::select! {
                Some((id, result, pending)) = running.next() => self.done(id, result, pending),
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(wake_at), if running.len() < PARALLEL => {}
                () = shutdown.cancelled(), if stop_at.is_none() => {}
            }
        }
    }

    /// Hands out what is due, at most `room` incidents; gives the next instant at which something is due.
    fn take_due(
        &self,
        leads: bool,
        room: usize,
        mut start: impl FnMut(IncidentId, Pending),
    ) -> Option<Instant> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !leads {
            state.pending.retain(|_, pending| pending.incident.state.closed());
            state.last.clear();
            return None;
        }
        let now = Instant::now();
        let due: Vec<IncidentId> = state
            .pending
            .iter()
            .filter(|(id, pending)| pending.due <= now && !state.under_way.contains(*id))
            .map(|(id, _)| id.clone())
            .take(room)
            .collect();
        for id in due {
            let Some(pending) = state.pending.remove(&id) else { continue };
            if state.last.len() >= CAPACITY {
                state.last.clear();
            }
            state.last.insert(id.clone(), (what_matters(&pending.incident), now));
            state.under_way.insert(id.clone());
            start(id, pending);
        }
        state
            .pending
            .iter()
            .filter(|(id, _)| !state.under_way.contains(*id))
            .map(|(_, pending)| pending.due)
            .min()
    }

    fn done(&self, id: IncidentId, result: Result<Written, ClusterError>, pending: Pending) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.under_way.remove(&id);
        let error = match result {
            Ok(written) => {
                state.unclosed.remove(&id);
                return match written {
                    Written::Created => state.counts.created += 1,
                    Written::Updated => state.counts.updated += 1,
                    Written::Unchanged => {}
                };
            }
            Err(error) => error,
        };
        state.counts.failed += 1;
        let category = error.category().name();
        let attempts = pending.attempts + 1;
        let wait = if worth_retrying(&error) && attempts < ATTEMPTS {
            if attempts == 1 {
                tracing::warn!(incident = %id, category, %error, "Incident not written yet");
            }
            // 0.1 s, 0.2 s, … 15 s.
            Duration::from_millis(100 << (attempts - 1).min(8)).min(Duration::from_secs(15))
        } else if pending.incident.state.closed() && !matches!(error, ClusterError::NotFound { .. }) {
            let refused = state.unclosed.entry(id.clone()).or_default();
            if *refused == 0 {
                tracing::error!(
                    incident = %id, category, %error,
                    "That an incident is over could not be written; it stays open for readers, and is tried again"
                );
            }
            let wait = CLOSING_FIRST.saturating_mul(1 << (*refused).min(5)).min(CLOSING_LATEST);
            *refused = refused.saturating_add(1);
            wait
        } else {
            // Open: its next change is written again. Over: its namespace is gone, and it with it.
            state.unclosed.remove(&id);
            state.counts.dropped += 1;
            tracing::error!(incident = %id, category, %error, "Incident could not be written");
            return;
        };
        let due = Instant::now() + wait;
        let newer = state.pending.entry(id).or_insert(Pending { due, ..pending });
        newer.attempts = attempts;
        newer.due = newer.due.max(due);
    }
}

/// What a person would notice: everything but renewed evidence.
fn what_matters(incident: &Incident) -> u64 {
    let mut hasher = DefaultHasher::new();
    let about = |entity: &Entity, kind: FindingKind, hasher: &mut DefaultHasher| {
        entity.hash(hasher);
        kind.hash(hasher);
    };
    incident.state.hash(&mut hasher);
    incident.severity.hash(&mut hasher);
    for cause in &incident.causes {
        about(&cause.entity, cause.kind, &mut hasher);
    }
    for finding in &incident.findings {
        about(&finding.entity, finding.kind, &mut hasher);
        finding.active.hash(&mut hasher);
    }
    incident.affected.hash(&mut hasher);
    let instants = &incident.instants;
    (instants.acknowledged, instants.mitigated, instants.resolved).hash(&mut hasher);
    incident.actions.hash(&mut hasher);
    (incident.timeline.len(), incident.reopen_count).hash(&mut hasher);
    incident.handed_over.hash(&mut hasher);
    incident.acknowledged_by.hash(&mut hasher);
    hasher.finish()
}
