//! Work beside the loop, at a pace: forecasts and sizes are made in a thread of their own, as a comparison of models or
//! thousands of decisions take longer than a task should that others wait behind.

use homeostat_knowledge::{Clock, Snapshot, SnapshotSource, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Does `work` just after each full step of so many seconds, with the newest snapshot that is ready, and gives what came of
/// it to `out`; until `stop`.
///
/// # Panics
/// With what `work` panicked with, so that the part of the process that it belongs to breaks down, and with it the process.
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
                tracing::error!(%error, what, "Work beside the loop broke down; it begins anew with the process");
                match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends.
                    Err(_cancelled) => return,
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::clock::SystemClock;
    use crate::parts::parts;
    use homeostat_knowledge::observation::{ObjectChange, ObjectKind};

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_ends_its_part_although_the_rest_of_it_goes_on() {
        let mut ready = Snapshot::default();
        for kind in ObjectKind::REQUIRED {
            ready.commit(&ObjectChange::Synced(kind), Timestamp::UNIX_EPOCH);
        }
        let board = Board::default();
        board.publish(ready);
        let world: (Arc<dyn SnapshotSource>, Arc<dyn Clock>, _) =
            (Arc::new(board), Arc::new(SystemClock), CancellationToken::new());
        let (parts, mut first) = parts();
        parts.start("breaks", async move {
            let work = |_: &Snapshot, now: Timestamp| assert!(now < Timestamp::MIN, "as it is meant to");
            tokio::join!(each(1, "a test", world, work, |()| {}), std::future::pending::<()>());
        });
        let first = tokio::time::timeout(Duration::from_mins(1), first.wait()).await;
        assert_eq!(first, Ok("breaks"));
    }
}
