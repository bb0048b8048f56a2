//! Tells people outside of the cluster, as `spec.notify` of their Tenant says.
//!
//! [`told`] makes a message of an incident or an action, [`forms`] its body for each kind of receiver, [`lanes`] decides
//! what is sent when, [`address`] where to and what an answer means, [`standing`] what people see of a route that does not
//! work; [`courier`] reads the files of the Secrets and sends.

pub mod address;
pub mod courier;
pub mod forms;
pub mod lanes;
pub mod standing;
pub mod told;

pub use courier::{Inbox, Messages, Routes, messages, run};

#[cfg(test)]
mod tests;
