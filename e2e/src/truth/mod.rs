//! Ground truth: what really happened to attempts and requests, and what Homeostat said and did
//! about it, seen from outside.
//!
//! [`judge`] and [`attribution`] are pure: they turn a history into figures by the definitions of
//! the comparison. [`follow`] and [`watch`] only gather that history.

pub mod action;
pub mod at;
pub mod attempt;
pub mod attribution;
pub mod follow;
pub mod incident;
pub mod judge;
pub mod percentile;
pub mod pods;
pub mod request;
pub mod watch;

pub use action::ActionView;
pub use at::{At, Span};
pub use attempt::{Attempt, History, Outcome, Peer};
pub use attribution::{Attributed, FaultRecord, attribute};
pub use incident::{Broken, Delivery, Incidents};
pub use judge::{CALM, Verdict};
pub use pods::{PodView, Pods};
pub use watch::{Observer, Seen};
