//! What speaks against an entity.

use serde::{Deserialize, Serialize};

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It spends more time of its own: its time less that of those it calls.
    OwnTime,
    /// The time between its callers' spans and its own grew: the network to it, or its queue.
    Network,
    /// Failures that begin with it.
    Errors,
    /// Steps that usually follow no longer do.
    MissingSpans,
    /// Log templates that are new or became frequent.
    RareTemplates,
    /// It uses more processor or memory than usual.
    Resources,
    /// It was changed shortly before.
    Changes,
}

impl Kind {
    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnTime => "own time",
            Self::Network => "network",
            Self::Errors => "errors",
            Self::MissingSpans => "missing spans",
            Self::RareTemplates => "rare templates",
            Self::Resources => "resources",
            Self::Changes => "changes",
        }
    }
}

/// One reason to suspect an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of which kind.
    pub kind: Kind,
    /// How much it says: about the logarithm of how much more likely it is with the fault than without. At least 0.
    pub strength: f64,
    /// What was usual, in the unit that `text` names.
    pub usual: f64,
    /// What is seen now.
    pub seen: f64,
    /// The reason in words, with its numbers.
    pub text: String,
}
