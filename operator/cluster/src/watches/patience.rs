//! Waiting between attempts to watch.

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use std::time::Duration;

/// Longest wait: after an outage nobody waits longer than this for the picture to be complete again.
const LONGEST: Duration = Duration::from_secs(10);

/// The runtime's own back-off (growing, with jitter, forgotten after two quiet minutes), with two differences.
///
/// The runtime forgets it at every success, and beginning a list counts as one, so a list that keeps failing, or a
/// watch that is told "gone" after every list, would be tried again about each second for ever, by every kind.
/// Here only quiet time counts. And it waits at most ten seconds.
#[derive(Default)]
pub(crate) struct Patience {
    inner: DefaultBackoff,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
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
    async fn it_grows_whatever_succeeds_in_between_and_is_forgotten_after_quiet_minutes() {
        let mut patience = Patience::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(patience.next().unwrap());
            patience.reset();
        }
        assert!(waits[0] < Duration::from_secs(2));
        assert!(waits[5..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST), "{waits:?}");
        tokio::time::advance(Duration::from_secs(121)).await;
        assert!(patience.next().unwrap() < Duration::from_secs(2));
    }
}
