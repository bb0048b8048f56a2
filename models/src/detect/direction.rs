//! Which side of a series is bad.

use serde::{Deserialize, Serialize};

/// Which side is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Large values.
    Above,
    /// Small values.
    Below,
    /// Both.
    Both,
}
