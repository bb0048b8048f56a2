//! Fault 6: memory grows until the container's limit ends the process.

use serde_json::json;

use super::{FaultError, Injected, World};

/// Fast enough to reach a limit of 96 MiB within ten seconds, slow enough to be seen coming.
const MEBIBYTES_PER_SECOND: u32 = 12;

/// Switches the leak on in the pod that serves.
pub async fn inject(world: &World, service: &str) -> Result<Injected, FaultError> {
    let pod = world.serving(service).await?;
    let fault = json!({ "kind": "leak", "mebibytesPerSecond": MEBIBYTES_PER_SECOND });
    Ok(Injected::at(world.switch(&pod, &fault).await?))
}
