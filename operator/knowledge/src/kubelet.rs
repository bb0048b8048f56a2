//! Reasons of containers that wait or ended, in the kubelet's words, by what they mean.

/// It cannot get an image.
pub const NO_IMAGE: [&str; 4] = ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"];
/// It has what it needs to begin, but cannot make the container: something of its configuration is missing or wrong.
pub const NOT_MADE: [&str; 2] = ["CreateContainerConfigError", "CreateContainerError"];
/// It reached its memory limit and was killed.
pub const OUT_OF_MEMORY: &str = "OOMKilled";
