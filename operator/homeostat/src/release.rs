//! `homeostat release-held`: lets go of every node and run that Homeostat holds. Run by the chart before it is
//! removed.

use homeostat_cluster::client::{ConnectOptions, connect};
use homeostat_cluster::release::{Which, release_held};

/// Releases everything that carries our mark, and says what.
///
/// # Errors
/// What the API server answered.
pub async fn run() -> Result<(), homeostat_cluster::ClusterError> {
    let client = connect(&ConnectOptions::default()).await?;
    for line in release_held(&client, Which::All).await? {
        println!("{line} released");
    }
    Ok(())
}
