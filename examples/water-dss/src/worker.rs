//! A worker: takes runs of one kind from the tenant's queue, one after the other, until it is told to go.

use clap::Args;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::queue::{Order, Queue, QueueError, Subject};
use crate::shape::{Kind, Which};
use crate::work::{self, Size};

/// What it works on.
#[derive(Args, Clone, Debug)]
pub struct WorkArgs {
    /// What is computed
    #[arg(long, value_enum)]
    kind: Kind,
    /// Address of the tenant's queue
    #[arg(long, env = "QUEUE", default_value = "nats://queue:4222")]
    queue: String,
    /// Number of the tenant
    #[arg(long, env = "TENANT", default_value_t = 0)]
    tenant: u32,
    /// Of all chance
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    size: Size,
}

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// It could never begin.
    #[error("{0}")]
    Size(String),
    /// No signals.
    #[error("cannot wait for SIGTERM: {0}")]
    Signal(#[from] std::io::Error),
    /// The queue is gone; the next worker tries again.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue's words end.
    #[error("the queue ended: {0}")]
    Ended(String),
}

/// Works until SIGTERM; what was taken is finished.
pub async fn work(args: WorkArgs) -> Result<(), WorkError> {
    let scale = args.size.scale().map_err(WorkError::Size)?;
    let (told, mut stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        // Nobody listens any more when the worker has ended by itself.
        let _ = told.send(true);
    });
    let queue = Queue::open(&args.queue).await?;
    let consumer = queue.consumer(Subject::Due(args.kind)).await?;
    let ended = |error: &dyn std::fmt::Display| WorkError::Ended(error.to_string());
    // One at a time: what is taken and not begun would wait here while another worker is idle.
    let messages = consumer.stream().max_messages_per_batch(1).messages().await;
    let mut messages = messages.map_err(|error| ended(&error))?;
    println!("waiting for {} runs in {}", args.kind.name(), args.queue);
    loop {
        let message = tokio::select! {
            biased;
            _ = stop.changed() => return Ok(()),
            message = messages.next() => message,
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(ended(&error)),
            None => return Err(ended(&"no more messages")),
        };
        let Ok(order) = serde_json::from_slice::<Order>(&message.payload) else {
            eprintln!("water-dss: what was taken from the queue is no order and is thrown away");
            message.ack().await.map_err(|error| ended(&error))?;
            continue;
        };
        let kind = args.kind;
        let which =
            Which { kind, tenant: args.tenant, hour: order.hour, seed: args.seed, grows: None, jumps: false };
        let (shape, seed) = (which.shape(scale), args.seed ^ u64::from(order.hour));
        let computed =
            tokio::task::spawn_blocking(move || work::compute(kind, &shape, false, order.hour, seed)).await;
        match computed {
            Ok(result) => println!("{} of hour {}: {result:.3}", kind.name(), order.hour),
            // Not acknowledged: another try comes by itself.
            Err(error) => {
                eprintln!("water-dss: {} of hour {} broke: {error}", kind.name(), order.hour);
                continue;
            }
        }
        if kind == Kind::Forecast {
            queue.put(Subject::Done(kind), order).await?;
        }
        message.ack().await.map_err(|error| ended(&error))?;
    }
}
