//! Fault 5: every answer comes 2 s later; the probe paths stay fast, or are slow too.

use serde_json::json;

use super::{FaultError, Injected, World};

/// Switches the fault on in the pod that serves.
pub async fn inject(world: &World, service: &str, probes: bool) -> Result<Injected, FaultError> {
    let pod = world.serving(service).await?;
    let fault = json!({ "kind": "slow", "delayMilliseconds": 2000, "includeProbes": probes });
    Ok(Injected::at(world.switch(&pod, &fault).await?))
}
