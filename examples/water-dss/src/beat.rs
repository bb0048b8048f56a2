//! The beat: says every simulated hour what is due. Forecasts and key figures go into the queue; when an hour's forecast is
//! done, its optimisation becomes a Job, suspended, made from the tenant's `CronJob` as that one's controller would.

use async_nats::jetstream::AckKind;
use clap::Args;
use futures::StreamExt;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

use crate::queue::{Order, Queue, QueueError, Subject};
use crate::shape::Kind;

/// Hour at which key figures are due, in Lisbon's winter: two in the night in Lisbon, Athens and São Paulo in turn.
const NIGHT: [u32; 3] = [2, 0, 5];
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A Job that could not be made is tried again after this.
const AGAIN: Duration = Duration::from_secs(2);
/// Hours before memory begins to grow.
const KNOWN: u32 = 6;
/// Where a Job says which slot it is of, as the `CronJob` controller does.
const SLOT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Its clock.
#[derive(Args, Clone, Debug)]
pub struct BeatArgs {
    /// Address of the tenant's queue
    #[arg(long, env = "QUEUE", default_value = "nats://queue:4222")]
    queue: String,
    /// Number of the tenant
    #[arg(long, env = "TENANT", default_value_t = 0)]
    tenant: u32,
    /// Moment, in seconds since 1970, at which the first hour begins
    #[arg(long, env = "BEGAN")]
    began: i64,
    /// The first hour, since a Friday at midnight
    #[arg(long, env = "FIRST_HOUR", default_value_t = 0)]
    first_hour: u32,
    /// So many hours are said
    #[arg(long, env = "HOURS", default_value_t = 24)]
    hours: u32,
    /// Seconds that an hour takes
    #[arg(long, env = "HOUR_SECONDS", default_value_t = 3_600)]
    hour_seconds: u32,
}

/// Why the beat ended.
#[derive(Debug, thiserror::Error)]
pub enum BeatError {
    /// No signals.
    #[error("wait for SIGTERM: {0}")]
    Signal(#[from] std::io::Error),
    /// The queue is gone; the next beat tries again.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue's words end.
    #[error("the queue ended: {0}")]
    Ended(String),
    /// No way to the API server.
    #[error("cannot reach the API server: {0}; does the pod have the service account `beat`?")]
    Kube(#[from] Box<kube::Error>),
}

impl BeatArgs {
    /// Moment at which an hour begins.
    fn slot(&self, hour: u32) -> Option<Timestamp> {
        let after = i64::from(hour.saturating_sub(self.first_hour)) * i64::from(self.hour_seconds);
        Timestamp::from_second(self.began).ok()?.checked_add(SignedDuration::from_secs(after)).ok()
    }
}

/// Says what is due until SIGTERM. After a restart it begins with the hour under way; what was said before is not said again.
pub async fn keep(args: BeatArgs) -> Result<(), BeatError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let client = Client::try_default().await.map_err(Box::new)?;
    let queue = Queue::open(&args.queue).await?;
    let consumer = queue.consumer(Subject::Done(Kind::Forecast)).await?;
    let ended = |error: &dyn std::fmt::Display| BeatError::Ended(error.to_string());
    let mut forecasts = consumer.messages().await.map_err(|error| ended(&error))?;
    let mut next = None;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(()),
            message = forecasts.next() => {
                let Some(message) = message else { return Err(ended(&"no more messages")) };
                let message = message.map_err(|error| ended(&error))?;
                let made = match serde_json::from_slice::<Order>(&message.payload) {
                    Ok(order) => make(&client, &args, order.hour).await,
                    Err(error) => { eprintln!("water-dss: not an order: {error}"); Ok(()) }
                };
                let answer = match made {
                    Ok(()) => AckKind::Ack,
                    Err(error) => {
                        eprintln!("water-dss: no Job for an optimisation: {error}");
                        AckKind::Nak(Some(AGAIN))
                    }
                };
                message.ack_with(answer).await.map_err(|error| ended(&error))?;
            }
            () = tokio::time::sleep(LOOK) => {
                let Some(hour) = hour_at(&args, Timestamp::now().as_second()) else { continue };
                if next.is_some_and(|next| hour < next) {
                    continue;
                }
                for kind in due(args.tenant, hour) {
                    queue.put(Subject::Due(kind), Order { hour }).await?;
                }
                println!("hour {hour}");
                next = Some(hour + 1);
            }
        }
    }
}

/// The hour under way; `None` before the first and after the last.
fn hour_at(args: &BeatArgs, now: i64) -> Option<u32> {
    let passed = u32::try_from(now - args.began).ok()? / args.hour_seconds.max(1);
    (passed < args.hours).then_some(args.first_hour + passed)
}

/// What goes into the queue at an hour.
fn due(tenant: u32, hour: u32) -> Vec<Kind> {
    let mut due = vec![Kind::Forecast];
    if hour % 24 == NIGHT[tenant as usize % NIGHT.len()] {
        due.push(Kind::Kpi);
    }
    due
}

/// Makes the Job of an hour's optimisation, unless it is there.
async fn make(client: &Client, args: &BeatArgs, hour: u32) -> Result<(), kube::Error> {
    let crons: Api<CronJob> = Api::default_namespaced(client.clone());
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let cron = crons.get(Kind::Optimisation.name()).await?;
    let job = &cron.spec.job_template;
    let Some(slot) = args.slot(hour) else { return Ok(()) };
    let mut spec = job.spec.clone().unwrap_or_default();
    // Memory that grows does so once its runs are known.
    let first = args.first_hour + KNOWN;
    for container in spec.template.spec.iter_mut().flat_map(|pod| &mut pod.containers) {
        let environment = container.env.get_or_insert_default();
        let number = hour.saturating_sub(first);
        for (name, value) in [("HOUR", hour), ("NUMBER", number)] {
            environment.push(EnvVar {
                name: name.to_owned(),
                value: Some(value.to_string()),
                ..EnvVar::default()
            });
        }
    }
    let owner = OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "CronJob".to_owned(),
        name: cron.name_any(),
        uid: cron.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    };
    let job = Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hour:03}", cron.name_any())),
            annotations: Some(BTreeMap::from([(SLOT.to_owned(), slot.to_string())])),
            owner_references: Some(vec![owner]),
            labels: job.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    };
    match jobs.create(&PostParams::default(), &job).await {
        Ok(_) => Ok(()),
        // Made before a restart.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> BeatArgs {
        BeatArgs {
            queue: String::new(),
            tenant: 0,
            began: 1_000,
            first_hour: 12,
            hours: 10,
            hour_seconds: 18,
        }
    }

    #[test]
    fn key_figures_come_once_a_day_in_each_zone() {
        for tenant in 0..6 {
            let nights = (0..48).filter(|hour| due(tenant, *hour).contains(&Kind::Kpi)).count();
            assert_eq!(nights, 2, "{tenant}");
        }
        assert_eq!(due(0, 5), [Kind::Forecast]);
    }

    #[test]
    fn hours_are_said_from_the_first_to_the_last() {
        assert_eq!(hour_at(&args(), 999), None);
        assert_eq!(hour_at(&args(), 1_000), Some(12));
        assert_eq!(hour_at(&args(), 1_018), Some(13));
        assert_eq!(hour_at(&args(), 1_179), Some(21));
        assert_eq!(hour_at(&args(), 1_180), None, "the last hour is over");
        assert_eq!(args().slot(13).map(Timestamp::as_second), Some(1_018));
    }
}
