//! Calm against noise: what a way down must have promised before it is gone.
//!
//! A way down that is taken back before it has saved enough was not worth the change, and the next one has to promise
//! twice as much; one that has saved enough halves that again. So a flat noisy load comes to rest, while a load that
//! really falls is followed at once.

use serde::{Deserialize, Serialize};

/// Patiences that a way down must save to have been worth it.
const WORTH: f64 = 8.0;
/// Patiences that a way down must promise at most.
const MOST: f64 = 64.0;

/// What became of the last ways down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Calm {
    /// Patiences that the next way down must have promised; none at first.
    wait: f64,
    /// The number before the way down that is not settled yet, and what it has saved: replica-steps.
    open: Option<(u32, f64)>,
}

impl Calm {
    /// Replica-steps that a way down must have promised.
    pub(super) fn wait(&self, patience: f64) -> f64 {
        self.wait * patience
    }

    /// Takes a step from one number to another.
    pub(super) fn step(&mut self, before: u32, after: u32, patience: f64) {
        if after > before {
            if self.open.take().is_some() {
                self.wait = (2.0 * self.wait).clamp(1.0, MOST);
            }
            return;
        }
        if after < before && self.open.is_none() {
            self.open = Some((before, 0.0));
        }
        if let Some((from, saved)) = &mut self.open {
            *saved += f64::from(from.saturating_sub(after));
            if *saved >= WORTH * patience {
                self.wait = if self.wait > 1.0 { self.wait / 2.0 } else { 0.0 };
                self.open = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_down_that_are_taken_back_make_the_next_one_wait_until_one_was_worth_it() {
        let mut calm = Calm::default();
        let mut waits = Vec::new();
        for _ in 0..3 {
            calm.step(5, 4, 8.0);
            calm.step(4, 5, 8.0);
            waits.push(calm.wait(8.0));
        }
        assert_eq!(waits, [8.0, 16.0, 32.0]);
        calm.step(5, 2, 8.0);
        for _ in 0..30 {
            calm.step(2, 2, 8.0);
        }
        assert_eq!(calm.wait(8.0), 16.0);
        calm.step(2, 5, 8.0);
        assert_eq!(calm.wait(8.0), 16.0, "a load that came later is no reason");
    }
}
