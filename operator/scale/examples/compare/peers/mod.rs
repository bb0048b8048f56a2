//! Other autoscalers by their documented rules, each with its target swept. To add one: its file and a line in [`ALL`].

mod crane;
pub mod hpa;
mod keda;

use super::data::Series;
use super::simulate::Policy;

/// Makes a policy for a target (share of capacity).
pub type Make = Box<dyn Fn(f64) -> Box<dyn Policy>>;

/// Prepares a policy for a series.
pub type Prepare = fn(&Series) -> Make;

/// Names, and what prepares them.
pub const ALL: [(&str, Prepare); 3] =
    [("hpa", hpa::prepare), ("keda", keda::prepare), ("crane", crane::prepare)];

/// Targets, in percent.
pub fn targets() -> impl Iterator<Item = u32> {
    (40..=90).step_by(5)
}
