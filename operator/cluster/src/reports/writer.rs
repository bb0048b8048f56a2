//! Watches Reports and writes their statuses, while this replica leads.

#![allow(
    clippy::disallowed_methods,
    reason = "how often is looked, and how long the API server is waited for; nothing about the cluster is decided by it"
)]

use super::address::PagesUrl;
use super::judge::{Outcome, Scope, ahead_of_reading, not_found, of_a_period, of_an_incident, scope, status};
use super::read;
use super::record::{About, Book, ReportBody, ReportRecord, over, said};
use crate::elector::Leadership;
use crate::error::{ClusterError, chain};
use crate::janitor::Retention;
use crate::status::{StatusApi, keep_times};
use crate::watches::light::Light;
use crate::watches::patience::Patience;
use crate::watches::pulse::Pulse;
use futures::stream::select_all;
use futures::{Stream, StreamExt};
use homeostat_crds::Reason;
use homeostat_crds::v1alpha1::Report;
use homeostat_crds::v1alpha1::report::ReportStatus;
use homeostat_knowledge::{Clock, IncidentId, Name, ObjectKey, Snapshot, SnapshotSource, Timestamp};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Reports of one answer when they are listed.
const PAGE: u32 = 100;
/// How often is looked for Reports that are due. Reports are for people.
const LOOK: Duration = Duration::from_secs(1);
/// Reports that are made per look: each may read many pages. The rest waits, the longest waiting first.
const PER_LOOK: usize = 4;
/// One Report is looked at again no sooner, unless its spec changed.
const AGAIN: Duration = Duration::from_mins(1);
/// One of a long period, and one whose incident is not there.
const MUCH_LATER: Duration = Duration::from_mins(10);
/// Looks at a period while it lasts, about.
const LOOKS: i64 = 500;
/// All Reports are listed anew no sooner, when there is room for those that found none.
const RELIST: Duration = Duration::from_mins(1);

/// What the watches told, and of which namespace the one is that told it.
type Events =
    Pin<Box<dyn Stream<Item = (String, watcher::Result<watcher::Event<Light<ReportBody>>>)> + Send>>;

/// When a Report was looked at, for which spec, and when it may be again.
#[derive(Clone, Copy, Debug)]
struct Looked {
    generation: i64,
    at: Instant,
    next: Instant,
    failed: bool,
}

/// Serves Reports, while this replica leads.
pub struct ReportWriter {
    client: Client,
    namespaces: BTreeSet<String>,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    pages: Option<PagesUrl>,
    book: Book,
    looked: BTreeMap<ObjectKey, Looked>,
}

impl ReportWriter {
    /// A writer for Reports in these namespaces; empty means all. `retention` is what the janitor keeps; `pages` is where
    /// the pages are.
    pub fn new(
        client: Client,
        namespaces: BTreeSet<String>,
        snapshots: Arc<dyn SnapshotSource>,
        clock: Arc<dyn Clock>,
        retention: Retention,
        pages: Option<PagesUrl>,
    ) -> Self {
        let (book, looked) = (Book::default(), BTreeMap::new());
        Self { client, namespaces, snapshots, clock, retention, pages, book, looked }
    }

    /// Serves Reports until `shutdown`.
    pub async fn run(mut self, leadership: Leadership, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.lead(&leadership) => {}
            }
            // Another replica serves now: what is there is not known any more, and takes no room.
            (self.book, self.looked) = (Book::default(), BTreeMap::new());
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Watches and serves until the lead is lost, or there is room for Reports that found none.
    async fn lead(&mut self, leadership: &Leadership) {
        if !leadership.leads() {
            return;
        }
        let since = Instant::now();
        let mut events = self.events();
        let mut failing = false;
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some((namespace, Ok(event))) => {
                        // To begin a list is no success.
                        failing &= matches!(event, watcher::Event::Init);
                        self.book.take(&namespace, event);
                    }
                    Some((_, Err(error))) => {
                        if !failing {
                            tracing::warn!(error = chain(&error), "The watch of Reports was interrupted");
                        }
                        failing = true;
                    }
                    None => return,
                },
                _ = tick.tick() => {
                    if !leadership.leads() || self.book.has_room_again() && since.elapsed() >= RELIST {
                        return;
                    }
                    self.look(leadership).await;
                }
            }
        }
    }

    fn events(&self) -> Events {
        let watch = |namespace: &str, api: Api<Light<ReportBody>>| -> Events {
            let namespace = namespace.to_owned();
            let pulse = Pulse::new("reports");
            let patience = Patience::new(Arc::clone(&pulse));
            let events = watcher(api, watcher::Config::default().page_size(PAGE)).backoff(patience);
            Box::pin(events.map(move |event| {
                // To begin a list is no sign of life.
                if matches!(&event, Ok(event) if !matches!(event, watcher::Event::Init)) {
                    pulse.beat();
                }
                (namespace.clone(), event)
            }))
        };
        if self.namespaces.is_empty() {
            return watch("", Api::all(self.client.clone()));
        }
        let each = self.namespaces.iter().map(|one| watch(one, Api::namespaced(self.client.clone(), one)));
        Box::pin(select_all(each))
    }

    /// Makes the Reports that are due, some of them.
    async fn look(&mut self, leadership: &Leadership) {
        let snapshot = self.snapshots.current();
        if !snapshot.ready() {
            return;
        }
        let (now, at) = (self.clock.now(), Instant::now());
        let book = &self.book.records;
        self.looked.retain(|key, _| book.contains_key(key));
        let mut due: Vec<(Option<Instant>, ObjectKey)> = Vec::new();
        for (key, record) in book {
            let looked = self.looked.get(key).filter(|looked| looked.generation == record.generation);
            if looked.is_none_or(|looked| looked.next <= at) && record.due(now, open(record, &snapshot)) {
                due.push((looked.map(|looked| looked.at), key.clone()));
            }
        }
        due.sort();
        for (_, key) in due.into_iter().take(PER_LOOK) {
            let Some(record) = self.book.records.get(&key).cloned() else { continue };
            let made = self.make(&key, &record, &snapshot, leadership, now).await;
            let before = self.looked.get(&key).is_some_and(|looked| looked.failed);
            if let (Err(error), false) = (&made, before) {
                let category = error.category().name();
                tracing::warn!(report = %key, category, %error, "Report not made; it is tried again");
            }
            let next = at + if matches!(made, Ok(false)) { MUCH_LATER } else { again(&record, now) };
            let looked = Looked { generation: record.generation, at, next, failed: made.is_err() };
            self.looked.insert(key, looked);
        }
    }

    /// Makes one Report and writes its status where it says something else. `false`: what it is about is not there.
    async fn make(
        &mut self,
        key: &ObjectKey,
        record: &ReportRecord,
        snapshot: &Snapshot,
        leadership: &Leadership,
        now: Timestamp,
    ) -> Result<bool, ClusterError> {
        let scope = scope(key, record, snapshot, &self.namespaces);
        let outcome = match &scope {
            Err(refused) => refused.clone(),
            Ok(scope) => self.outcome(key, record, scope, now).await?,
        };
        let found = !matches!(outcome, Outcome::NotMade { reason: Reason::TargetNotFound, .. });
        let new = status(record, scope.as_ref().ok(), key, outcome, self.pages.as_ref(), now);
        let ended = match record.about {
            About::Period(_, to) => {
                new.generated.is_some() && now >= to && record.generated.is_none_or(|at| at < to)
            }
            About::Incident(_) => false,
        };
        if (said(&new) != record.said || ended) && leadership.leads() {
            self.write(key, new).await?;
        }
        Ok(found)
    }

    async fn outcome(
        &self,
        key: &ObjectKey,
        record: &ReportRecord,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Outcome, ClusterError> {
        let retention = self.retention.within(&scope.namespaces, &self.snapshots.current());
        match &record.about {
            About::Incident(name) => {
                let incident = ObjectKey { namespace: key.namespace.clone(), name: name.clone() };
                let found = read::incident(&self.client, scope, &incident).await?;
                Ok(match found {
                    Some((incident, facts)) => of_an_incident(&incident, &facts),
                    None => not_found(key, name, retention),
                })
            }
            About::Period(from, to) => {
                if let Some(outcome) = ahead_of_reading(*from, *to, retention, now) {
                    return Ok(outcome);
                }
                let facts = read::period(&self.client, scope, *from, *to).await?;
                Ok(of_a_period(&facts, scope, (*from, *to), retention, now))
            }
        }
    }

    async fn write(&mut self, key: &ObjectKey, mut new: ReportStatus) -> Result<(), ClusterError> {
        let api = StatusApi::new::<Report>(self.client.clone(), key.clone());
        let written = async {
            keep_times(&mut new.conditions, &api.times().await?.conditions);
            api.apply(&new).await
        };
        match written.await {
            // Deleted meanwhile.
            Err(ClusterError::NotFound { .. }) => return Ok(()),
            written => written?,
        }
        // Until the watch tells it.
        if let Some(record) = self.book.records.get_mut(key) {
            record.observed = new.observed_generation;
            record.generated = new.generated.map(Timestamp::from);
            (record.over, record.said) = (over(&new), said(&new));
        }
        Ok(())
    }
}

/// How long a Report is left alone: the longer its period the longer, but not beyond its end.
fn again(record: &ReportRecord, now: Timestamp) -> Duration {
    let About::Period(from, to) = record.about else { return AGAIN };
    let share = u64::try_from(to.duration_since(from).as_secs() / LOOKS).unwrap_or(0);
    let wait = Duration::from_secs(share).clamp(AGAIN, MUCH_LATER);
    let change = if now < from { from } else { to };
    match u64::try_from(change.duration_since(now).as_secs() + 1) {
        Ok(left) if change > now => wait.min(Duration::from_secs(left).max(AGAIN)),
        _ => wait,
    }
}

/// The incident that a Report is about is open now.
fn open(record: &ReportRecord, snapshot: &Snapshot) -> bool {
    let About::Incident(name) = &record.about else { return false };
    snapshot.incidents.contains_key(&IncidentId(Name::clone(name)))
}
