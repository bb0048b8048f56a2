//! Signals that come from the cluster's external metrics API: asked for every 15 s, as an autoscaler does, while a Workload
//! names one. What does not answer is silent, which is never taken for zero.

use futures::StreamExt;
use homeostat_cluster::ClusterError;
use homeostat_cluster::external::{self, ExternalValue};
use homeostat_knowledge::observation::Sample;
use homeostat_knowledge::policy::ExternalPolicy;
use homeostat_knowledge::{
    Clock, Entity, Name, Observation, Signal, SignedDuration, Snapshot, SnapshotSource, Timestamp,
    WorkloadKey,
};
use homeostat_observe::{Counters, Fate, Outlet, SourceName, Tally};
use kube::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(15);
/// Questions at one time.
const AT_ONCE: usize = 8;
/// Questions in one round; signals beyond are not asked for, and counted.
const MOST: usize = 1_000;
/// Series taken from one answer.
const MOST_SERIES: usize = 20;
/// Adapters of clouds tell what was some minutes ago, and that is the newest there is. What is older is told as old as it is,
/// and does not count as seen.
const LAG: SignedDuration = SignedDuration::from_mins(5);

/// A signal that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    workload: WorkloadKey,
    signal: Name,
    metric: ExternalPolicy,
}

fn questions(snapshot: &Snapshot) -> Vec<Question> {
    let asked = snapshot.workloads.values().flat_map(|policy| {
        policy.signals.iter().filter_map(|signal| {
            let metric = signal.external.clone()?;
            Some(Question { workload: policy.key.clone(), signal: signal.name.clone(), metric })
        })
    });
    asked.collect()
}

/// The observations of one answer. What is no number is counted, and handed on as that: no value is not a value. It takes no
/// number's place.
fn samples(
    question: &Question,
    values: Vec<ExternalValue>,
    snapshot: &Snapshot,
    now: Timestamp,
    tally: &mut Tally,
) -> Vec<Observation> {
    if values.is_empty() {
        tally.add(Fate::NoData, 1);
    }
    let tenant = snapshot.tenant_of_namespace(&question.workload.namespace).map(|tenant| tenant.name.clone());
    let mut observations = Vec::new();
    let (mut numbers, mut others) = (0, 0);
    for found in values {
        let value = found.value.unwrap_or(f64::NAN);
        tally.add(Fate::NonFinite, u64::from(!value.is_finite()));
        let taken = if value.is_finite() { &mut numbers } else { &mut others };
        if *taken >= MOST_SERIES {
            tally.add(Fate::OverLimit, 1);
            continue;
        }
        *taken += 1;
        observations.push(Observation {
            tenant: tenant.clone(),
            entity: Entity::Workload { key: question.workload.clone() },
            event_time: found.at.filter(|at| now.duration_since(*at) > LAG).unwrap_or(now),
            arrival_time: now,
            signal: Signal::Sample(Sample {
                metric: question.signal.clone(),
                series: found.series,
                value,
                counter: false,
                asked_by: Some(question.workload.clone()),
            }),
        });
    }
    observations
}

fn fate(error: &ClusterError) -> Fate {
    match error {
        ClusterError::NotFound { .. } => Fate::NoData,
        ClusterError::Invalid { .. } => Fate::BadQuery,
        _ => Fate::QueryFailed,
    }
}

/// Asks until `stop`; batches go to `out`.
pub async fn run(
    client: Client,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    out: Outlet,
    stop: CancellationToken,
) {
    let mut ticker = tokio::time::interval(EVERY);
    // After a long round the next one waits its full time.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Told once, until it answers again.
    let mut silent: BTreeSet<(WorkloadKey, Name)> = BTreeSet::new();
    loop {
        tokio::select! {
            _ = ticker.tick() => {}
            () = stop.cancelled() => return,
        }
        let snapshot = snapshots.current();
        let mut asked = questions(&snapshot);
        let mut tally = Tally::default();
        tally.add(Fate::OverLimit, asked.len().saturating_sub(MOST) as u64);
        asked.truncate(MOST);
        silent.retain(|known| asked.iter().any(|one| (&one.workload, &one.signal) == (&known.0, &known.1)));
        let mut answers = futures::stream::iter(asked)
            .map(|question| {
                let client = &client;
                async move {
                    let answer = external::read(client, &question.workload.namespace, &question.metric).await;
                    (question, answer)
                }
            })
            .buffer_unordered(AT_ONCE);
        let mut batch = Vec::new();
        while let Some((question, answer)) = answers.next().await {
            let place = (question.workload.clone(), question.signal.clone());
            match answer {
                Ok(values) => {
                    silent.remove(&place);
                    batch.extend(samples(&question, values, &snapshot, clock.now(), &mut tally));
                }
                Err(error) => {
                    tally.add(fate(&error), 1);
                    if silent.insert(place) {
                        tracing::warn!(workload = %question.workload, signal = %question.signal, %error,
                            "An external metric cannot be read; an adapter must serve it, and the chart value \
                             externalMetrics must list it");
                    }
                }
            }
        }
        let items = batch.len() as u64;
        if items > 0 {
            let fate = if out.send_own(batch).is_ok() { Fate::Accepted } else { Fate::QueueFull };
            tally.add(fate, items);
        }
        counters.merge(SourceName::External, &tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            workload: WorkloadKey::new("shop", "workers"),
            signal: "jobs".into(),
            metric: ExternalPolicy { name: "s0-rabbitmq-jobs".into(), selector: "".into() },
        }
    }

    #[test]
    fn what_is_no_number_is_told_as_that_and_what_is_old_is_told_so() {
        let now = Timestamp::from_second(1_000).unwrap();
        let found = |series: &str, value, at: Option<i64>| ExternalValue {
            series: series.into(),
            value,
            at: at.and_then(|at| Timestamp::from_second(at).ok()),
        };
        let values = vec![
            found("a", Some(7.0), Some(699)),
            found("b", None, None),
            found("c", Some(1.0), Some(700)),
            found("d", Some(1.0), Some(2_000)),
        ];
        let mut tally = Tally::default();
        let told = samples(&question(), values, &Snapshot::default(), now, &mut tally);
        let times: Vec<i64> = told.iter().map(|one| one.event_time.as_second()).collect();
        assert_eq!(times, [699, 1_000, 1_000, 1_000]);
        let number =
            |one: &Observation| matches!(&one.signal, Signal::Sample(sample) if sample.value.is_finite());
        assert_eq!(told.iter().map(number).collect::<Vec<_>>(), [true, false, true, true]);
        assert_eq!(tally.get(Fate::NonFinite), 1);
        let many = (0..25).map(|n| found(&n.to_string(), Some(1.0), None)).collect();
        assert_eq!(samples(&question(), many, &Snapshot::default(), now, &mut tally).len(), MOST_SERIES);
        assert_eq!(tally.get(Fate::OverLimit), 5);
        assert!(samples(&question(), Vec::new(), &Snapshot::default(), now, &mut tally).is_empty());
        assert_eq!(tally.get(Fate::NoData), 1);
    }
}
