//! `homeostat release-held`: lets go of every node and run that Homeostat holds. Run by the chart before it is
//! removed.

use homeostat_cluster::client::{ConnectOptions, connect};
use homeostat_cluster::release::{NotReleased, Which, release_held};

/// Releases everything that carries our mark, and says what.
///
/// # Errors
/// There is no cluster, or what the API server refused, all of it.
pub async fn run() -> Result<(), ReleaseError> {
    let client = connect(&ConnectOptions::default()).await?;
    let answer = release_held(&client, Which::All).await;
    let released = match &answer {
        Ok(released) => released,
        Err(error) => &error.released,
    };
    for line in released {
        println!("{line} released");
    }
    answer.map(drop).map_err(ReleaseError::NotReleased)
}

/// Why something stays held.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// No API server.
    #[error(transparent)]
    Cluster(#[from] homeostat_cluster::ClusterError),
    /// Refused for some of it.
    #[error(transparent)]
    NotReleased(NotReleased),
}
