//! The tenant's queue: a stream of NATS `JetStream` in which a run waits until somebody has worked it off.

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use async_nats::jetstream::{self, Context};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::shape::Kind;

/// Name of the stream.
const STREAM: &str = "runs";
/// More is refused: whoever asks for a run is told.
const MOST_WAITING: i64 = 10_000;
/// Who takes a run and says nothing for so long has lost it to another.
const LOST: Duration = Duration::from_mins(1);
/// A run that was taken so often is given up.
const MOST_TRIES: i64 = 5;

/// Why the queue could not be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nobody answers.
    #[error("cannot reach the queue {url}: {source}; is the tenant's NATS running?")]
    Unreachable {
        /// Its address.
        url: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refuses.
    #[error("the queue refused to {what}: {source}")]
    Refused {
        /// What was asked of it.
        what: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn refused<E: std::error::Error + Send + Sync + 'static>(what: &str) -> impl FnOnce(E) -> QueueError {
    let what = what.to_owned();
    move |source| QueueError::Refused { what, source: Box::new(source) }
}

/// What waits in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Hour of the run since the simulated beginning.
    pub hour: u32,
}

/// What is said in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A run of this kind is due.
    Due(Kind),
    /// A run of this kind is done.
    Done(Kind),
}

impl Subject {
    fn name(self) -> String {
        match self {
            Self::Due(kind) => format!("due.{}", kind.name()),
            Self::Done(kind) => format!("done.{}", kind.name()),
        }
    }

    /// Consumers have no dots in their names.
    fn consumer(self) -> String {
        self.name().replace('.', "-")
    }
}

/// How many runs wait or are under way, and how many are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Nobody has worked them off.
    pub waiting: u64,
    /// Somebody has.
    pub done: u64,
}

/// The queue of one tenant.
#[derive(Clone)]
pub struct Queue {
    context: Context,
}

impl Queue {
    /// Connects, and makes the stream if this is the first who comes.
    pub async fn open(url: &str) -> Result<Self, QueueError> {
        let client = async_nats::ConnectOptions::new()
            .connection_timeout(Duration::from_secs(2))
            .connect(url)
            .await
            .map_err(|source| QueueError::Unreachable { url: url.to_owned(), source: Box::new(source) })?;
        let context = jetstream::new(client);
        context
            .get_or_create_stream(Config {
                name: STREAM.to_owned(),
                subjects: vec!["due.*".to_owned(), "done.*".to_owned()],
                // What is worked off is gone.
                retention: RetentionPolicy::WorkQueue,
                max_messages: MOST_WAITING,
                discard: jetstream::stream::DiscardPolicy::New,
                ..Config::default()
            })
            .await
            .map_err(refused("make the stream"))?;
        Ok(Self { context })
    }

    /// Puts a run into the queue; the same one only once.
    pub async fn put(&self, subject: Subject, order: Order) -> Result<(), QueueError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}-{}", subject.name(), order.hour).as_str());
        let text = serde_json::to_vec(&order).map_err(refused("write an order"))?;
        let sent = self.context.publish_with_headers(subject.name(), headers, text.into()).await;
        sent.map_err(refused("take an order"))?.await.map_err(refused("store an order"))?;
        Ok(())
    }

    /// Whoever takes what is said about a subject.
    pub async fn consumer(&self, subject: Subject) -> Result<PullConsumer, QueueError> {
        let stream = self.context.get_stream(STREAM).await.map_err(refused("find the stream"))?;
        let config = pull::Config {
            durable_name: Some(subject.consumer()),
            filter_subject: subject.name(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: LOST,
            max_deliver: MOST_TRIES,
            ..pull::Config::default()
        };
        stream.get_or_create_consumer(&subject.consumer(), config).await.map_err(refused("make a consumer"))
    }

    /// How long the queue of a kind is.
    pub async fn count(&self, kind: Kind) -> Result<Count, QueueError> {
        let mut consumer = self.consumer(Subject::Due(kind)).await?;
        let info = consumer.info().await.map_err(refused("count"))?;
        Ok(Count {
            waiting: info.num_pending + info.num_ack_pending as u64,
            done: info.delivered.consumer_sequence.saturating_sub(info.num_ack_pending as u64),
        })
    }
}
