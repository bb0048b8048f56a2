//! Whether the API server still speaks to us, per watched kind.
//!
//! The watcher keeps bookmarks to itself and waits on a silent connection, so life is taken where it cannot be
//! missed: each kind's client reports every successful answer and every byte of its watch.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use bytes::Bytes;
use futures::future::BoxFuture;
use homeostat_knowledge::Name;
use homeostat_knowledge::observation::{SourceReport, SourceState};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use kube::Client;
use kube::client::Body;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Longest wait for the first byte of an answer.
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// Longest wait for the next byte of an answer. Watches are given up earlier by the watcher itself.
const STALLED: Duration = Duration::from_mins(1);

/// Limits after which a watch counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseLimits {
    /// Without any byte. Watches end and begin again well within it, so a living server is always heard.
    pub silence: Duration,
    /// Errors without a success between them. Shorter breaks (a restarted API server) are bridged by the watch.
    pub errors: Duration,
    /// Until the first full list.
    pub start: Duration,
}

impl Default for PulseLimits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(90),
            errors: Duration::from_secs(3),
            start: Duration::from_secs(30),
        }
    }
}

/// Signs of life of one watch.
#[derive(Debug)]
pub(crate) struct Pulse {
    name: Name,
    began: Instant,
    /// Milliseconds from `began` to the last sign of life.
    last: AtomicU64,
    beats: AtomicU64,
    synced: AtomicBool,
    failure: Mutex<Option<(Instant, String)>>,
    accepted: AtomicU64,
    dropped: AtomicU64,
}

impl Pulse {
    pub fn new(name: impl Into<Name>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            began: Instant::now(),
            last: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            synced: AtomicBool::new(false),
            failure: Mutex::new(None),
            accepted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// A sign of life.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        let elapsed = Instant::now().duration_since(self.began);
        self.last.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many signs of life there were.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// The watch reported an error.
    pub fn failed(&self, why: String) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failure.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *failure = Some((since, why));
    }

    /// The first full list is complete.
    pub fn synced(&self) {
        self.synced.store(true, Ordering::Relaxed);
    }

    /// An object was taken in.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// An object could not be used.
    pub fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Why this watch cannot be relied on; `None` when it can. `Err` while it is still starting.
    fn trouble(&self, limits: PulseLimits, now: Instant) -> Result<Option<String>, ()> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((since, why)) = failure
            && now.duration_since(since) >= limits.errors
            && (self.synced.load(Ordering::Relaxed) || now.duration_since(self.began) >= limits.start)
        {
            return Ok(Some(format!("{}: {why}", self.name)));
        }
        if !self.synced.load(Ordering::Relaxed) {
            if now.duration_since(self.began) < limits.start {
                return Err(());
            }
            return Ok(Some(format!("{}: the first list is not complete", self.name)));
        }
        let last = self.began + Duration::from_millis(self.last.load(Ordering::Relaxed));
        let silent = now.saturating_duration_since(last);
        Ok((silent >= limits.silence).then(|| format!("{}: no word for {} s", self.name, silent.as_secs())))
    }
}

/// The report over all watches; `None` while they are starting.
pub(crate) fn report(pulses: &[Arc<Pulse>], limits: PulseLimits, now: Instant) -> Option<SourceReport> {
    let sum = |count: fn(&Pulse) -> &AtomicU64| {
        pulses.iter().map(|pulse| count(pulse).load(Ordering::Relaxed)).sum::<u64>()
    };
    let mut starting = false;
    let mut down = None;
    for pulse in pulses {
        match pulse.trouble(limits, now) {
            Ok(Some(why)) => down = down.or(Some(why)),
            Ok(None) => {}
            Err(()) => starting = true,
        }
    }
    let state = match down {
        Some(why) => SourceState::Down(Name::from(why)),
        None if starting => return None,
        None => SourceState::Healthy,
    };
    Some(SourceReport { state, accepted: sum(|pulse| &pulse.accepted), dropped: sum(|pulse| &pulse.dropped) })
}

/// The same client, with signs of life reported to `pulse`.
pub(crate) fn listening(client: &Client, pulse: &Arc<Pulse>) -> Client {
    let (inner, pulse) = (client.clone(), Arc::clone(pulse));
    let service = tower::service_fn(move |request: Request<Body>| -> BoxFuture<'static, kube::Result<_>> {
        let (inner, pulse) = (inner.clone(), Arc::clone(&pulse));
        Box::pin(async move {
            // A connection whose other end vanished never answers; kube waits for the first byte for ever.
            let answer = tokio::time::timeout(FIRST_BYTE, inner.send(request)).await;
            let response: Response<Body> = answer.map_err(|late| kube::Error::Service(late.into()))??;
            // The text of a refusal is no sign of life of the watch: each would hide the failures before it.
            let good = response.status().is_success();
            if good {
                pulse.beat();
            }
            let stalled = Box::pin(tokio::time::sleep(STALLED));
            Ok(response.map(|body| Listening { body, pulse: good.then_some(pulse), stalled }))
        })
    });
    Client::new(service, client.default_namespace())
}

struct Listening {
    body: Body,
    /// Told of every byte; `None` for the text of a refusal.
    pulse: Option<Arc<Pulse>>,
    stalled: Pin<Box<Sleep>>,
}

impl HttpBody for Listening {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                if let Some(pulse) = &self.pulse {
                    pulse.beat();
                }
                self.stalled.as_mut().reset(Instant::now() + STALLED);
            }
            Poll::Pending if self.stalled.as_mut().poll(context).is_ready() => {
                let why = "the answer stopped in the middle";
                return Poll::Ready(Some(Err(kube::Error::Service(why.into()))));
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pulses: &[Arc<Pulse>]) -> Option<SourceState> {
        report(pulses, PulseLimits::default(), Instant::now()).map(|report| report.state)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_errors_and_a_start_that_never_ends_are_told() {
        let (pods, nodes) = (Pulse::new("pods"), Pulse::new("nodes"));
        let both = [pods.clone(), nodes.clone()];
        assert_eq!(state(&both), None, "nothing is said while lists are loading");
        pods.beat();
        pods.synced();
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(matches!(state(&both), Some(SourceState::Down(why)) if why.contains("nodes")));
        nodes.beat();
        nodes.synced();
        assert_eq!(state(&both), Some(SourceState::Healthy));

        pods.failed("connection refused".into());
        assert_eq!(state(&both), Some(SourceState::Healthy), "a short break is no news");
        tokio::time::advance(Duration::from_secs(2)).await;
        pods.failed("connection refused".into());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(state(&both), Some(SourceState::Down(why)) if why.contains("refused")));
        pods.beat();
        assert_eq!(state(&both), Some(SourceState::Healthy));

        tokio::time::advance(Duration::from_secs(89)).await;
        nodes.beat();
        assert_eq!(state(&both), Some(SourceState::Healthy));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(
            matches!(state(&both), Some(SourceState::Down(why)) if why.as_ref() == "pods: no word for 90 s")
        );
    }
}
