//! `homeostat install-defaults`: creates objects that do not exist yet. Run by the chart after an install or
//! upgrade; what people changed meanwhile is never overwritten.

use std::path::Path;

/// Why the defaults could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// Path as given.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cluster.
    #[error("the defaults could not be created")]
    Cluster(#[from] homeostat_cluster::ClusterError),
}

/// Creates every object of the file that does not exist, and says which.
pub async fn run(path: &Path) -> Result<(), InstallError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| InstallError::File { path: path.display().to_string(), source })?;
    let client =
        homeostat_cluster::client::connect(&homeostat_cluster::client::ConnectOptions::default()).await?;
    for line in homeostat_cluster::install::create_missing(client, &text).await? {
        println!("{line}");
    }
    Ok(())
}
