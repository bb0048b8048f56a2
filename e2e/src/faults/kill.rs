//! Fault 1: the serving process gets SIGKILL.

use nix::sys::signal::Signal;

use super::{FaultError, Injected, World};

/// Kills the process of the pod that serves.
pub async fn inject(world: &World, service: &str) -> Result<Injected, FaultError> {
    let pod = world.serving(service).await?;
    Ok(Injected::at(world.signal(&pod, Signal::SIGKILL).await?))
}
