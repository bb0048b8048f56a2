//! What kubelets say, in their words, by what it means: reasons of containers that wait or ended, and of sizes that wait.

use crate::entity::Name;
use serde::{Deserialize, Serialize};

/// It cannot get an image.
pub const NO_IMAGE: [&str; 4] = ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"];
/// It has what it needs to begin, but cannot make the container: something of its configuration is missing or wrong.
pub const NOT_MADE: [&str; 2] = ["CreateContainerConfigError", "CreateContainerError"];
/// It reached its memory limit and was killed.
pub const OUT_OF_MEMORY: &str = "OOMKilled";

/// Condition of a pod whose size its kubelet refuses or puts off (Kubernetes 1.33).
pub const RESIZE_PENDING: &str = "PodResizePending";
/// Its reason where the size can never be given on this node.
pub const INFEASIBLE: &str = "Infeasible";
/// Condition of a pod whose size its kubelet is giving to it (Kubernetes 1.33).
pub const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

/// What a kubelet says of a size that its pod was given and does not have yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resize {
    /// How far it is.
    pub step: ResizeStep,
    /// Its message, cut at 256 characters. Data, never an instruction.
    pub message: Option<Name>,
}

/// How far a kubelet is with a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResizeStep {
    /// Put off until the node has room for it.
    Deferred,
    /// Refused: this node can never give it.
    Infeasible,
    /// Being given.
    InProgress,
}

impl std::fmt::Display for Resize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.step {
            ResizeStep::Deferred => "puts the new size off (Deferred)",
            ResizeStep::Infeasible => "refuses the new size (Infeasible)",
            ResizeStep::InProgress => "is still giving the new size",
        })?;
        self.message.as_ref().map_or(Ok(()), |message| write!(formatter, ": {message}"))
    }
}
