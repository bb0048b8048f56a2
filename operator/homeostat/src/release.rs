//! `homeostat release-held`: lets go of everything that Homeostat holds: nodes, runs, bounds of autoscalers. Run by the
//! chart before it is removed.
//!
//! The record of decisions has one writer, the replica that leads, and lies on its volume, so what is let go here is told by
//! an Event of each object and in this program's log. The replica, which may be gone by then, records the marks that it sees
//! go.

use homeostat_cluster::client::{ConnectOptions, connect};
use homeostat_cluster::recorder::{Fact, publish};
use homeostat_cluster::release::{NotReleased, Which, release_held};

/// Releases everything that carries our mark, and says what.
///
/// # Errors
/// There is no cluster, or what the API server refused, all of it. An Event that is refused only costs the Event.
pub async fn run() -> Result<(), ReleaseError> {
    let client = connect(&ConnectOptions::default()).await?;
    // Nothing is to stay held by what is gone, so neither lease nor kill switch stops it.
    let answer = release_held(&client, Which::All, || std::future::ready(true)).await;
    let released = match &answer {
        Ok(released) => released,
        Err(error) => &error.released,
    };
    for one in released {
        println!("{one} {}", one.note());
    }
    let facts: Vec<Fact> = released.iter().filter_map(Fact::of_release).collect();
    if let Err(error) = publish(client, "release-held", &facts).await {
        println!("Not every Event was published, so this log alone tells of all of it: {error}");
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
