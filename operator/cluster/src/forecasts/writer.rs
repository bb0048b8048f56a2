//! Writes forecasts that differ from what was written, while this replica leads.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use super::mapping::{differs, key, object, statements, status};
use crate::client::{FIELD_MANAGER, call, label};
use crate::elector::Leadership;
use crate::error::ClusterError;
use crate::status::StatusApi;
use futures::{StreamExt, stream};
use homeostat_crds::MicroTime;
use homeostat_crds::conditions::{Condition, set};
use homeostat_crds::v1alpha1::Forecast;
use homeostat_knowledge::{ForecastRecord, ObjectKey};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Writes per pass; the rest waits for the next one: newest forecasts only, so nothing piles up.
const PER_LOOK: usize = 200;
/// Writes under way at once.
const PARALLEL: usize = 4;
/// A pass that left something is followed by the next after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// All forecasts that there should be; `None` until that is known.
pub type Forecasts = Option<Arc<Vec<ForecastRecord>>>;

/// What was written, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForecastWriterCounts {
    /// Forecasts written.
    pub written: u64,
    /// Forecasts removed.
    pub removed: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// What the API server holds of one forecast.
#[derive(Clone, Debug)]
struct Held {
    record: ForecastRecord,
    uid: Option<String>,
    generation: Option<i64>,
    conditions: Vec<Condition>,
}

/// Creates forecasts, applies their statuses, and removes those of workloads that are not scaled any more.
pub struct ForecastWriter {
    client: Client,
    newest: watch::Receiver<Forecasts>,
    held: BTreeMap<ObjectKey, Held>,
    /// Objects whose last write failed: attempts, and when to try again.
    later: BTreeMap<ObjectKey, (u32, Instant)>,
    counts: ForecastWriterCounts,
}

/// One change to make.
enum Work {
    Write(Box<ForecastRecord>, Option<Held>),
    Remove(Held),
}

impl ForecastWriter {
    /// A writer of the newest of `newest`.
    pub fn new(client: Client, newest: watch::Receiver<Forecasts>) -> Self {
        Self {
            client,
            newest,
            held: BTreeMap::new(),
            later: BTreeMap::new(),
            counts: ForecastWriterCounts::default(),
        }
    }

    /// Writes what differs until `shutdown`, or until nobody forecasts any more.
    pub async fn run(mut self, leadership: Leadership, shutdown: CancellationToken) {
        let mut unfinished = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.newest.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AGAIN), if unfinished => {}
            }
            if leadership.leads() {
                unfinished = self.look(&leadership).await;
            } else {
                // Another replica writes now: what is there is not known any more.
                self.held.clear();
                self.later.clear();
                unfinished = false;
            }
        }
    }

    /// Counts since the start.
    pub fn counts(&self) -> ForecastWriterCounts {
        self.counts
    }

    /// One pass: makes at most 200 changes; `true` when something is left.
    pub async fn look(&mut self, leadership: &Leadership) -> bool {
        let Some(newest) = self.newest.borrow_and_update().clone() else { return false };
        let at = Instant::now();
        let (mut due, mut left) = (Vec::new(), false);
        let mut wanted = BTreeSet::new();
        let mut plan = |key: ObjectKey, work: Work, later: &BTreeMap<ObjectKey, (u32, Instant)>| {
            if later.get(&key).is_some_and(|(_, when)| *when > at) || due.len() >= PER_LOOK {
                left = true;
            } else {
                due.push((key, work));
            }
        };
        for record in newest.iter() {
            let key = key(record);
            let held = self.held.get(&key);
            if held.is_none_or(|held| differs(&held.record, record)) {
                plan(key.clone(), Work::Write(Box::new(record.clone()), held.cloned()), &self.later);
            }
            wanted.insert(key);
        }
        for (key, held) in self.held.iter().filter(|(key, _)| !wanted.contains(*key)) {
            plan(key.clone(), Work::Remove(held.clone()), &self.later);
        }
        let client = &self.client;
        let changes: Vec<_> = due
            .into_iter()
            .map(|(key, work)| async move {
                // A lost lease ends the pass before the next write.
                if !leadership.leads() {
                    return (key, None);
                }
                let result = match work {
                    Work::Write(record, held) => write(client, &key, *record, held).await.map(Some),
                    Work::Remove(held) => remove(client, &key, held).await.map(|()| None),
                };
                (key, Some(result))
            })
            .collect();
        let mut changes = stream::iter(changes).buffer_unordered(PARALLEL);
        while let Some((key, result)) = changes.next().await {
            match result {
                None => {}
                Some(Ok(held)) => {
                    self.later.remove(&key);
                    if let Some(held) = held {
                        self.counts.written += 1;
                        self.held.insert(key, held);
                    } else {
                        self.counts.removed += 1;
                        self.held.remove(&key);
                    }
                }
                Some(Err(error)) => {
                    self.counts.failed += 1;
                    let (attempts, when) = self.later.entry(key.clone()).or_insert((0, at));
                    if *attempts == 0 {
                        tracing::warn!(forecast = %key, category = error.category().name(), %error, "Forecast not written");
                    }
                    *attempts = attempts.saturating_add(1);
                    *when = Instant::now() + Duration::from_secs(1 << (*attempts).min(6));
                    left = true;
                }
            }
        }
        let held = &self.held;
        self.later.retain(|key, _| wanted.contains(key) || held.contains_key(key));
        left
    }
}

/// Creates the object where it is not known to be there, then applies its status.
async fn write(
    client: &Client,
    key: &ObjectKey,
    record: ForecastRecord,
    held: Option<Held>,
) -> Result<Held, ClusterError> {
    // That of another Workload of the same name goes away with it.
    let same = held.filter(|held| held.record.workload_uid == record.workload_uid);
    let mut fresh = same.is_none();
    let mut held = match same {
        Some(held) => held,
        None => create(client, key, &record).await?,
    };
    let statuses = StatusApi::new::<Forecast>(client.clone(), key.clone());
    loop {
        let mut wire = status(&record, held.generation);
        for statement in statements(&record) {
            set(&mut held.conditions, statement, held.generation, MicroTime::new(record.outlook.made));
        }
        wire.conditions.clone_from(&held.conditions);
        match statuses.apply(&wire).await {
            // Somebody deleted it; it is still true.
            Err(ClusterError::NotFound { .. }) if !fresh => {
                held = create(client, key, &record).await?;
                fresh = true;
            }
            Err(error) => return Err(error),
            Ok(()) => return Ok(Held { record, ..held }),
        }
    }
}

/// Creates the object, or reads the one that is there.
async fn create(client: &Client, key: &ObjectKey, record: &ForecastRecord) -> Result<Held, ClusterError> {
    let api: Api<Forecast> = Api::namespaced(client.clone(), &key.namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let label = label("Forecast", key);
    let there = match call("create", &label, api.create(&params, &object(record))).await {
        Err(ClusterError::Exists { .. }) => call("get", &label, api.get(&key.name)).await?,
        created => created?,
    };
    Ok(Held {
        record: record.clone(),
        uid: there.metadata.uid,
        generation: there.metadata.generation,
        conditions: there.status.map(|status| status.conditions).unwrap_or_default(),
    })
}

/// Removes what we wrote: nothing is forecast for it any more.
async fn remove(client: &Client, key: &ObjectKey, held: Held) -> Result<(), ClusterError> {
    let api: Api<Forecast> = Api::namespaced(client.clone(), &key.namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: held.uid, resource_version: None }),
        ..DeleteParams::default()
    };
    match call("delete", &label("Forecast", key), api.delete(&key.name, &params)).await {
        // Gone with its Workload, or somebody's own of the same name.
        Ok(_) | Err(ClusterError::NotFound { .. } | ClusterError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
