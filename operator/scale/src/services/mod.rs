//! Services: how many replicas, from a forecast and from what is seen now.
//!
//! [`decide()`] is the whole of it: what was seen, the bounds, who else scales, and the state of last time go in, an
//! absolute number with its reason comes out. Within: [`Learner`] keeps how likely each number is too few, [`Choice`] weighs
//! that against its cost.

mod calm;
pub mod capacity;
mod choice;
mod contexts;
mod decide;
mod experts;
mod features;
mod follower;
mod leaders;
pub mod levels;
mod outlook;
mod policy;
mod ratios;
mod target;
#[cfg(test)]
mod tests;

pub use choice::{Choice, Chosen, Leading, Weighing};
pub(crate) use decide::effect_of;
pub use decide::{Asked, Case, Decided, Decision, Effect, Limit, Observations, State, decide, decide_all};
pub use features::{Base, Expected, Features};
pub use outlook::{Learner, Outlook, RULES};
pub use policy::{Fallback, Mode, Owner, Policy, PolicyError, WhenOwned};
