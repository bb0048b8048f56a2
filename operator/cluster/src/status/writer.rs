//! Writes statuses that differ from what the API server holds.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use super::desired::{DesiredStatus, SelfFacts, desired_status};
use super::restraints::restraints;
use super::routes::RouteStandings;
use super::{StatusApi, Times, digest};
use crate::elector::Leadership;
use crate::error::ClusterError;
use crate::validate::Catalogue;
use futures::{StreamExt, stream};
use homeostat_crds::conditions::Condition;
use homeostat_crds::v1alpha1::control_plane::SourceStatus;
use homeostat_crds::v1alpha1::{ControlPlane, Playbook, Tenant, Workload};
use homeostat_execute::RootHistory;
use homeostat_execute::ports::{NoRecorder, Recorder};
use homeostat_knowledge::{Clock, ObjectKey, Restraint, SignedDuration, SnapshotSource};
use kube::Client;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the picture is looked at; statuses are for people, incidents have their own, faster way.
const LOOK: Duration = Duration::from_secs(1);
/// Storms, breakers and warm-up end by time alone; so long at most until that shows.
const REFRESH: Duration = Duration::from_secs(15);
/// Writes per look. The rest waits for the next one: newest state only, so nothing piles up.
const PER_LOOK: usize = 200;
/// Writes under way at once.
const PARALLEL: usize = 4;
/// A write comes back through the watch within so long. One that did not was to an object that is another by now, or gone.
const ECHO: Duration = Duration::from_secs(30);
/// Time for which roots are remembered for the storm condition.
const KEEP_ROOTS: SignedDuration = SignedDuration::from_hours(24);

/// Kind and key of an object.
type Id = (&'static str, ObjectKey);

/// What was written, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterCounts {
    /// Statuses written.
    pub written: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// A write that failed.
struct Later {
    attempts: u32,
    /// When it is tried again.
    when: Instant,
    /// What was stored before it, where that was read: the write may be there all the same, and then what is new in it is
    /// recorded when that is seen.
    before: Option<Times>,
}

/// What came of a write.
struct Written {
    /// What was stored before it, and before those that failed before it.
    before: Option<Times>,
    /// What is new in it and is a decision of ours.
    news: Vec<Restraint>,
    result: Result<(), ClusterError>,
}

/// Writes statuses of tenants, workloads and the control plane, while this replica leads.
pub struct StatusWriter {
    client: Client,
    catalogue: Catalogue,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    me: SelfFacts,
    routes: Option<watch::Receiver<RouteStandings>>,
    recorder: Arc<dyn Recorder>,
    roots: RootHistory,
    /// What was written and has not come back through the watch yet: digest then seen, digest written, and when.
    written: HashMap<Id, (u64, u64, Instant)>,
    /// Objects whose last write failed.
    later: HashMap<Id, Later>,
    counts: WriterCounts,
}

impl StatusWriter {
    /// A writer. `catalogue` comes from [`crate::Watches::catalogue`].
    pub fn new(
        client: Client,
        catalogue: Catalogue,
        snapshots: Arc<dyn SnapshotSource>,
        clock: Arc<dyn Clock>,
        me: SelfFacts,
    ) -> Self {
        Self {
            client,
            catalogue,
            snapshots,
            clock,
            me,
            routes: None,
            recorder: Arc::new(NoRecorder),
            roots: RootHistory::default(),
            written: HashMap::new(),
            later: HashMap::new(),
            counts: WriterCounts::default(),
        }
    }

    /// With the condition of tenants that says whether people can be told, from what comes in by `routes`.
    #[must_use]
    pub fn with_routes(self, routes: watch::Receiver<RouteStandings>) -> Self {
        Self { routes: Some(routes), ..self }
    }

    /// With one that keeps what is decided with a status: levels that are lowered, breakers that open.
    #[must_use]
    pub fn with_recorder(self, recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder, ..self }
    }

    /// Writes what differs until `shutdown`.
    pub async fn run(mut self, leadership: Leadership, shutdown: CancellationToken) {
        let mut last: Option<(u64, u64, Instant)> = None;
        let mut unfinished = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if !leadership.leads() {
                (last, unfinished) = (None, false);
                self.written.clear();
                continue;
            }
            let now = (self.snapshots.current().generation, self.catalogue.revision().await, Instant::now());
            let told = self.routes.as_ref().is_some_and(|routes| routes.has_changed().unwrap_or(false));
            let same = !told
                && last.is_some_and(|(generation, revision, at)| {
                    (generation, revision) == (now.0, now.1) && now.2.duration_since(at) < REFRESH
                });
            if same && !unfinished {
                continue;
            }
            last = Some(now);
            unfinished = self.look(&leadership).await;
        }
    }

    /// Counts since the start.
    pub fn counts(&self) -> WriterCounts {
        self.counts
    }

    /// One pass: writes what differs, at most 200 statuses; `true` when something is left to write.
    pub async fn look(&mut self, leadership: &Leadership) -> bool {
        let view = self.catalogue.view().await;
        if !view.ready {
            return false;
        }
        let (snapshot, now) = (self.snapshots.current(), self.clock.now());
        self.roots.observe(&snapshot, now, KEEP_ROOTS);
        let leading_since = leadership.term().and_then(|term| term.since);
        let routes = self.routes.as_mut().map(|routes| RouteStandings::clone(&routes.borrow_and_update()));
        let me = SelfFacts { leading_since, routes: routes.unwrap_or_default(), ..self.me.clone() };
        let all = desired_status(&view, &snapshot, &self.roots, &me, now);
        let at = Instant::now();
        self.written.retain(|_, (.., since)| at.saturating_duration_since(*since) < ECHO);
        // What was due since then and was not tried is not there any more.
        self.later.retain(|_, later| at.saturating_duration_since(later.when) < ECHO);
        let mut due = Vec::new();
        let mut left = false;
        for (desired, seen) in all {
            let (id, wanted) = (identity(&desired), desired_digest(&desired));
            let there = match self.written.get(&id) {
                // Our write has not come back yet: what we wrote counts, not what we see.
                Some((before, written, _)) if *before == seen => *written,
                Some(_) => {
                    self.written.remove(&id);
                    seen
                }
                None => seen,
            };
            if there == wanted {
                // The write that seemed to fail is there.
                if let Some(before) = self.later.remove(&id).and_then(|later| later.before) {
                    self.record(&restraints(&before, &desired));
                }
            } else if self.later.get(&id).is_some_and(|later| later.when > at) || due.len() >= PER_LOOK {
                left = true;
            } else {
                let before = self.later.get(&id).and_then(|later| later.before.clone());
                due.push((id, desired, seen, wanted, before));
            }
        }
        let client = &self.client;
        let writes: Vec<_> = due
            .into_iter()
            .map(|(id, desired, seen, wanted, before)| async move {
                // A lost lease ends the pass before the next write.
                let written =
                    if leadership.leads() { Some(write(client, desired, before).await) } else { None };
                (id, seen, wanted, written)
            })
            .collect();
        let mut writes = stream::iter(writes).buffer_unordered(PARALLEL);
        while let Some((id, seen, wanted, written)) = writes.next().await {
            let Some(Written { before, news, result }) = written else { continue };
            match result {
                // Deleted meanwhile, or no longer ours to write.
                Err(ClusterError::NotFound { .. }) => {}
                Ok(()) => {
                    self.counts.written += 1;
                    self.later.remove(&id);
                    self.written.insert(id, (seen, wanted, Instant::now()));
                    self.record(&news);
                }
                Err(error) => {
                    self.counts.failed += 1;
                    let later =
                        self.later.entry(id.clone()).or_insert(Later { attempts: 0, when: at, before: None });
                    if later.attempts == 0 {
                        let (kind, key) = &id;
                        tracing::warn!(kind, object = %key, category = error.category().name(), %error, "Status not written");
                    }
                    later.attempts = later.attempts.saturating_add(1);
                    later.when = Instant::now() + Duration::from_secs(1 << later.attempts.min(6));
                    later.before = before;
                    left = true;
                }
            }
        }
        left
    }

    fn record(&self, news: &[Restraint]) {
        for one in news {
            self.recorder.restrained(one);
        }
    }
}

fn identity(desired: &DesiredStatus) -> (&'static str, ObjectKey) {
    match desired {
        DesiredStatus::Workload(key, _) => ("Workload", key.clone()),
        DesiredStatus::Tenant(key, _) => ("Tenant", key.clone()),
        DesiredStatus::Playbook(key, _) => ("Playbook", key.clone()),
        DesiredStatus::Control(key, _) => ("ControlPlane", key.clone()),
    }
}

fn desired_digest(desired: &DesiredStatus) -> u64 {
    match desired {
        DesiredStatus::Workload(_, status) => digest(Some(status)),
        DesiredStatus::Tenant(_, status) => digest(Some(status)),
        DesiredStatus::Playbook(_, status) => digest(Some(status)),
        DesiredStatus::Control(_, status) => digest(Some(status)),
    }
}

/// Reads the transition times that are there and writes the status with them. `before`: what was stored before earlier tries.
async fn write(client: &Client, desired: DesiredStatus, before: Option<Times>) -> Written {
    let client = client.clone();
    let api = match &desired {
        DesiredStatus::Workload(key, _) => StatusApi::new::<Workload>(client, key.clone()),
        DesiredStatus::Tenant(key, _) => StatusApi::new::<Tenant>(client, key.clone()),
        DesiredStatus::Playbook(key, _) => StatusApi::new::<Playbook>(client, key.clone()),
        DesiredStatus::Control(key, _) => StatusApi::new::<ControlPlane>(client, key.clone()),
    };
    let there = match api.times().await {
        Ok(there) => there,
        Err(error) => return Written { before, news: Vec::new(), result: Err(error) },
    };
    let before = before.unwrap_or_else(|| there.clone());
    let news = restraints(&before, &desired);
    let result = match desired {
        DesiredStatus::Workload(_, mut status) => {
            keep_times(&mut status.conditions, &there.conditions);
            api.apply(&status).await
        }
        DesiredStatus::Tenant(_, mut status) => {
            keep_times(&mut status.conditions, &there.conditions);
            api.apply(&status).await
        }
        DesiredStatus::Playbook(_, mut status) => {
            keep_times(&mut status.conditions, &there.conditions);
            api.apply(&status).await
        }
        DesiredStatus::Control(_, mut status) => {
            keep_times(&mut status.conditions, &there.conditions);
            keep_changes(&mut status.sources, &there.sources);
            api.apply(&status).await
        }
    };
    Written { before: Some(before), news, result }
}

/// A transition time moves only when the status of its condition does.
pub(crate) fn keep_times(new: &mut [Condition], old: &[Condition]) {
    for condition in new {
        let before = old.iter().find(|one| one.type_ == condition.type_ && one.status == condition.status);
        if let Some(before) = before {
            condition.last_transition_time = before.last_transition_time;
        }
    }
}

/// The same for the states of sources.
fn keep_changes(new: &mut [SourceStatus], old: &[SourceStatus]) {
    for source in new {
        let before = old.iter().find(|one| one.name == source.name && one.state == source.state);
        if let Some(changed) = before.and_then(|one| one.changed) {
            source.changed = Some(changed);
        }
    }
}
