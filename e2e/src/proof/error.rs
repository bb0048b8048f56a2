//! Why the proof could not be carried out. That something was not proved is no error but a result.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::ClusterError;
use crate::demo::DemoError;

/// Why the proof could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The test cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A command.
    #[error(transparent)]
    Command(#[from] DemoError),
    /// The API server refused.
    #[error("the API server refused to {action}: {source}")]
    Api {
        /// What was asked.
        action: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// A file or a process.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The attempted operation.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The process under test could not reach the API server.
    #[error("the process under test: {0}")]
    Process(#[from] homeostat_cluster::ClusterError),
    /// A condition did not come true in time.
    #[error("{what} did not happen within {} s", limit.as_secs())]
    Timeout {
        /// The awaited condition.
        what: String,
        /// How long it was awaited.
        limit: Duration,
    },
    /// Something does not fit together.
    #[error("{0}")]
    Broken(String),
}

impl ProofError {
    /// For `map_err` on requests.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source: Box::new(source) }
    }

    /// For `map_err` on files and processes.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
