//! Work beside the loop, at a pace: forecasts and sizes are made in a thread of their own, as a comparison of models or
//! thousands of decisions take longer than a task should that others wait behind.

use homeostat_knowledge::{Clock, Snapshot, SnapshotSource, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Does `work` just after each full step of so many seconds, with the newest snapshot that is ready, and gives what came of
/// it to `out`; until `stop`. Work that panics ends with a line in the log.
pub async fn each<T: Send + 'static>(
    seconds: u32,
    what: &'static str,
    (snapshots, clock, stop): (Arc<dyn SnapshotSource>, Arc<dyn Clock>, CancellationToken),
    mut work: impl FnMut(&Snapshot, Timestamp) -> T + Send + 'static,
    mut out: impl FnMut(T),
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(until_next(seconds, clock.now())) => {}
        }
        let (snapshot, now) = (snapshots.current(), clock.now());
        if !snapshot.ready() {
            continue;
        }
        let done = tokio::task::spawn_blocking(move || {
            let came = work(&snapshot, now);
            (work, came)
        });
        let came;
        (work, came) = match done.await {
            Ok(both) => both,
            Err(error) => {
                tracing::error!(%error, what, "Work beside the loop ended; it begins anew with the process");
                return;
            }
        };
        out(came);
    }
}

/// Time until just after the next full step of so many seconds.
pub fn until_next(seconds: u32, now: Timestamp) -> Duration {
    let step = i64::from(seconds.max(1)) * 1_000;
    let left = step - now.as_millisecond().rem_euclid(step);
    Duration::from_millis(left.unsigned_abs()) + Duration::from_millis(250)
}
