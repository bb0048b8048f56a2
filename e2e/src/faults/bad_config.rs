//! Fault 7: the service's `ConfigMap` is broken, as after a bad change, and the process killed: it
//! ends at every start.

use nix::sys::signal::Signal;

use super::{FaultError, Injected, World};

/// Breaks the file, waits until the node has it, and kills the process.
pub async fn inject(world: &World, service: &str) -> Result<Injected, FaultError> {
    world.break_config(service).await?;
    let pod = world.serving(service).await?;
    Ok(Injected::at(world.signal(&pod, Signal::SIGKILL).await?))
}

/// Brings the good file back.
pub async fn restore(world: &World, service: &str) -> Result<(), FaultError> {
    world.mend_config(service).await
}
