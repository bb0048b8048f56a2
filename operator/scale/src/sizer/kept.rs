//! What survives a restart: what was decided, and what one replica carries. What was learnt of the load itself is learnt
//! anew; until then the last safe size stays.

use super::Sizer;
use super::due::Due;
use super::starts::Starts;
use crate::services::{Decided, PolicyError, State};
use serde::{Deserialize, Serialize};

/// What is kept of a [`Sizer`]: about a kilobyte as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptSize {
    decided: Decided,
    /// Load per replica by bin: which, requests, requests outside of the objective.
    carried: Vec<(u16, f32, f32)>,
    taught: u32,
    /// What waits and until when; of a backlog with a deadline only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Due>,
    /// How long starts take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    starts: Option<Starts>,
}

impl Sizer {
    /// What is kept.
    pub fn kept(&self) -> KeptSize {
        KeptSize {
            decided: self.state.decided(),
            carried: self.capacity.kept(),
            taught: self.taught,
            due: self.due.kept(),
            starts: self.starts.kept(),
        }
    }

    /// Takes up what was kept. Fails on a policy that cannot work.
    pub fn restore(&mut self, kept: &KeptSize) -> Result<(), PolicyError> {
        // What is kept is as old as its last writing, and nobody listened in between: silence counts from the start.
        let seen = kept.decided.seen.map(|seen| seen.max(self.began));
        self.starts = kept.starts.clone().unwrap_or_default();
        self.state = State::resume(&self.policy, Decided { seen, ..kept.decided })?;
        self.capacity = self.capacity.restored(&kept.carried);
        self.taught = kept.taught;
        self.due = kept.due.clone().unwrap_or_default();
        self.seen = kept.decided.seen.is_some();
        Ok(())
    }
}
