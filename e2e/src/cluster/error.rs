//! What can go wrong with the test cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::image::ImageError;
use crate::toolchain::ToolchainError;

/// Why a cluster could not be started, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Something that the test cluster needs from this machine is not there.
    #[error(
        "this machine lacks {piece}: {why}. Either {remedy}, \
         or use a cluster of your own with CONTEXT=name (a context of your kubeconfig)"
    )]
    Missing {
        /// The missing piece.
        piece: String,
        /// What needs it.
        why: String,
        /// How to get it.
        remedy: String,
    },
    /// A cluster name that cannot be part of paths and cgroup names.
    #[error("`{0}` is not a cluster name: use 1 to 20 of a-z, 0-9 and `-`, starting with a letter")]
    Name(String),
    /// The cluster does not run.
    #[error("no cluster named `{name}` is running; start it with `e2e cluster up --name {name}`")]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The attempted operation.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A state file cannot be understood.
    #[error("{} is not readable as JSON: {source}; `e2e cluster down` removes it", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A command ended badly.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of its error output.
        stderr: String,
    },
    /// The supervisor refused or failed a request.
    #[error("the supervisor of cluster `{name}` answered: {message}")]
    Supervisor {
        /// The cluster.
        name: String,
        /// Its answer.
        message: String,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {} s{detail}", limit.as_secs())]
    Timeout {
        /// The awaited condition.
        what: String,
        /// How long it was awaited.
        limit: Duration,
        /// The last thing seen, starting with `: `, or nothing.
        detail: String,
    },
    /// `down` could not remove everything.
    #[error("cluster `{name}` left something behind: {what}")]
    LeftBehind {
        /// The cluster.
        name: String,
        /// What is still there.
        what: String,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate of {subject}: {source}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// The cause.
        source: rcgen::Error,
    },
    /// The Kubernetes API refused a request.
    #[error("the API server of cluster `{name}` refused to {action}: {source}")]
    Api {
        /// The cluster.
        name: String,
        /// The request.
        action: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The kubeconfig is not usable.
    #[error("cannot use the kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<kube::config::KubeconfigError>,
    },
    /// A container that was asked for does not run.
    #[error("no running container `{container}` in the pod with UID {pod}")]
    NoContainer {
        /// The pod's UID.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// A piece could not be found or built.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// An image could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl ClusterError {
    /// For `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err` on system calls.
    pub(crate) fn system<E: Into<std::io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System { action, source: source.into() }
    }
}
