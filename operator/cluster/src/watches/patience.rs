//! Waiting between attempts to watch.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use super::pulse::Pulse;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait: after an outage nobody waits longer than this for the picture to be complete again.
const LONGEST: Duration = Duration::from_secs(10);
/// What was learned from failures is forgotten at most so often.
const FORGET: Duration = Duration::from_secs(20);

/// The runtime's own back-off (growing, with jitter), with two differences.
///
/// The runtime forgets it at every success, and beginning a list counts as one, so a list that keeps failing, or a
/// watch that is told "gone" after every list, would be tried again about each second for ever, by every kind.
/// Here it is forgotten when the server has answered since the last failure, and at most every 20 seconds: the one
/// "gone" after a restart of the API server costs a second, endless ones do not cost the server much.
/// And it waits at most ten seconds.
pub(crate) struct Patience {
    inner: DefaultBackoff,
    pulse: Arc<Pulse>,
    beats: u64,
    forgotten: Option<Instant>,
}

impl Patience {
    pub fn new(pulse: Arc<Pulse>) -> Self {
        Self { inner: DefaultBackoff::default(), pulse, beats: 0, forgotten: None }
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let (beats, now) = (self.pulse.beats(), Instant::now());
        let answered = beats != self.beats;
        self.beats = beats;
        if answered && self.forgotten.is_none_or(|at| now.duration_since(at) >= FORGET) {
            self.inner.reset();
            self.forgotten = Some(now);
        }
        let wait = self.inner.next()?;
        // Keep the jitter when cutting, so that kinds do not ask together.
        let half = LONGEST / 2;
        let cut =
            || half + Duration::from_nanos(u64::try_from(wait.as_nanos() % half.as_nanos()).unwrap_or(0));
        Some(if wait > LONGEST { cut() } else { wait })
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_grows_whatever_succeeds_in_between_and_is_forgotten_now_and_then() {
        let pulse = Pulse::new("pods");
        let mut patience = Patience::new(Arc::clone(&pulse));
        let mut waits = Vec::new();
        for _ in 0..12 {
            pulse.beat();
            waits.push(patience.next().unwrap());
            patience.reset();
        }
        assert!(waits[0] < Duration::from_secs(2));
        assert!(waits[5..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST), "{waits:?}");
        tokio::time::advance(FORGET).await;
        assert!(patience.next().unwrap() >= LONGEST / 2, "nobody answered since");
        pulse.beat();
        assert!(patience.next().unwrap() < Duration::from_secs(2));
    }
}
