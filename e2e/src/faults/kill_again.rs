//! Fault 2: killed, and as soon as the service serves again killed once more, so that the kubelet
//! waits before the next restart. Impact counts from the second kill.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{FaultError, Injected, World};
use crate::truth::At;

/// The first restart takes about a second; under load or after earlier crashes longer.
const RESTART: Duration = Duration::from_secs(90);
/// The second kill comes within 2 s of the restart, also when no attempt came in by then.
const SERVES: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(50);

/// Kills, waits for the restart (by whomever), and kills again.
pub async fn inject(
    world: &World,
    service: &str,
    announce: &(dyn Fn(At) + Sync),
) -> Result<Injected, FaultError> {
    let pod = world.serving(service).await?;
    let first = world.signal(&pod, Signal::SIGKILL).await?;
    announce(first);
    let end = Instant::now() + RESTART;
    let killed = pod.running.clone();
    let next = loop {
        let running = {
            let seen = world.observer.lock();
            seen.pods
                .of(service)
                .find(|pod| !pod.deleting && pod.running.is_some() && pod.running != killed)
                .cloned()
        };
        if let Some(pod) = running {
            break pod;
        }
        if Instant::now() > end {
            return Err(FaultError::NotServing { service: service.to_owned(), limit: RESTART });
        }
        world.observer.changed(LOOK).await;
    };
    let end = Instant::now() + SERVES;
    while Instant::now() < end && !served_since(world, service, first) {
        tokio::time::sleep(LOOK).await;
    }
    let second = world.signal(&next, Signal::SIGKILL).await?;
    Ok(Injected { at: first, second: Some(second) })
}

/// A good attempt that started after the first kill and after the last failed one.
fn served_since(world: &World, service: &str, first: At) -> bool {
    let attempts = world.observer.lock().history.on(service, first, At(i64::MAX));
    attempts.last().is_some_and(|last| !last.outcome.failed() && last.start > first)
}
