//! Fault 3: the serving process is stopped. Connections still open, nothing is answered.

use nix::sys::signal::Signal;

use super::{FaultError, Injected, World};

/// Stops the process of the pod that serves.
pub async fn inject(world: &World, service: &str) -> Result<Injected, FaultError> {
    let pod = world.serving(service).await?;
    Ok(Injected::at(world.signal(&pod, Signal::SIGSTOP).await?))
}

/// Lets every process of the service go on, so that it can end in order.
pub async fn restore(world: &World, service: &str) -> Result<(), FaultError> {
    for pod in world.running(service) {
        // Gone by now, or never stopped: both fine.
        let _ = world.signal(&pod, Signal::SIGCONT).await;
    }
    Ok(())
}
