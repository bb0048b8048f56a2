//! Sizes services and jobs before their load comes. Pure: time, ids and randomness come in, the decision and its
//! reason go out; nothing here knows Kubernetes.

pub mod ahead;
pub mod jobs;
mod letters;
pub mod outlook;
pub mod services;
pub mod size;
pub mod sizer;
