//! How long the replicas of one workload take to start: from one being asked for to all being ready, as it was seen.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Starts that are remembered.
const MOST: usize = 5;
/// Seconds from asking for a replica to its readiness, before a start was seen.
pub(super) const UNSEEN: i64 = 30;
/// The longest that is believed, in seconds.
const LONGEST: i64 = 900;

/// What was seen of starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Starts {
    /// Seconds that the last starts took, the newest last.
    took: VecDeque<i64>,
    /// Replicas at the last look, when that was, and since when more of them begin.
    #[serde(skip)]
    replicas: Option<(i64, u32)>,
    #[serde(skip)]
    begun: Option<i64>,
}

impl Starts {
    /// Takes note of the replicas that there are, and of those that are ready, at this second.
    pub fn look(&mut self, now: i64, replicas: u32, ready: u32) {
        if let Some((at, before)) = self.replicas {
            if replicas > before {
                self.begun = self.begun.or(Some(at));
            } else if replicas < before {
                self.begun = None;
            }
        }
        self.replicas = Some((now, replicas));
        if ready >= replicas
            && let Some(since) = self.begun.take()
        {
            if self.took.len() >= MOST {
                self.took.pop_front();
            }
            self.took.push_back(now.saturating_sub(since).clamp(1, LONGEST));
        }
    }

    /// The longest of the last starts, in seconds.
    pub fn longest(&self) -> i64 {
        self.took.iter().copied().max().unwrap_or(UNSEEN)
    }

    /// What is kept over a restart; `None` when no start was seen.
    pub fn kept(&self) -> Option<Self> {
        (!self.took.is_empty()).then(|| Self { took: self.took.clone(), ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts that took so long, looked at every second.
    fn seen(took: &[i64]) -> Starts {
        let mut starts = Starts::default();
        let mut now = 0;
        for took in took {
            starts.look(now, 1, 1);
            starts.look(now + 1, 2, 1);
            starts.look(now + took, 2, 2);
            now += took + 1;
        }
        starts
    }

    #[test]
    fn the_longest_of_the_last_counts() {
        assert_eq!(Starts::default().longest(), 30, "before one was seen");
        assert_eq!(seen(&[80, 60, 500]).longest(), 500);
        assert_eq!(seen(&[500, 60, 60, 60, 60, 60]).longest(), 60);
        assert_eq!(seen(&[4_000]).longest(), 900);
    }

    #[test]
    fn one_that_is_given_up_before_it_is_ready_is_no_start() {
        let mut starts = Starts::default();
        starts.look(0, 1, 1);
        starts.look(15, 3, 1);
        starts.look(30, 1, 1);
        starts.look(45, 1, 1);
        assert_eq!(starts.kept(), None);
    }

    #[test]
    fn memory_is_bounded_and_survives_a_restart() {
        let starts = seen(&[40; 100]);
        assert_eq!(starts.took.len(), MOST);
        let text = serde_json::to_string(&starts.kept()).unwrap();
        let kept: Option<Starts> = serde_json::from_str(&text).unwrap();
        assert_eq!(kept.map(|kept| kept.longest()), Some(40));
    }
}
