//! Fault 4: business paths answer 500; the probe paths stay good, or fail too.

use serde_json::json;

use super::{FaultError, Injected, World};

/// Switches the fault on in the pod that serves.
pub async fn inject(world: &World, service: &str, probes: bool) -> Result<Injected, FaultError> {
    let pod = world.serving(service).await?;
    let at = world.switch(&pod, &json!({ "kind": "errors", "includeProbes": probes })).await?;
    Ok(Injected::at(at))
}
