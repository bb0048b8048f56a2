//! Fault 8: the payment provider, outside of the application, has no pod any more.

use super::{FaultError, Injected, World};

/// Scales the provider to nothing.
pub async fn inject(world: &World, service: &str) -> Result<Injected, FaultError> {
    Ok(Injected::at(world.scale(service, 0).await?))
}

/// Brings it back.
pub async fn restore(world: &World, service: &str) -> Result<(), FaultError> {
    world.scale(service, 1).await?;
    Ok(())
}
