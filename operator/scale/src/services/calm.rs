//! Calm against noise: what a way down must have promised before it is gone.
//!
//! A way down that is taken back before it has saved enough was not worth the change, and the next one has to promise more
//! first; one that has saved enough ends that. So a flat noisy load comes to rest, while a load that really falls is
//! followed at once. Longer waits, doubling with each way down that was taken back, made flat loads no calmer and cost
//! replicas on loads with bursts (docs/scaling-services.md).

use serde::{Deserialize, Serialize};

/// Patiences that a way down must save to have been worth it.
const WORTH: f64 = 8.0;

/// What became of the last way down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Calm {
    /// The last way down that is settled was taken back too soon.
    wary: bool,
    /// The number before the way down that is not settled yet, and what it has saved: replica-steps.
    open: Option<(u32, f64)>,
}

impl Calm {
    /// Replica-steps that a way down must have promised.
    pub(super) fn wait(&self, patience: f64) -> f64 {
        if self.wary { patience } else { 0.0 }
    }

    /// Takes a step from one number to another.
    pub(super) fn step(&mut self, before: u32, after: u32, patience: f64) {
        if after > before {
            self.wary |= self.open.take().is_some();
            return;
        }
        if after < before && self.open.is_none() {
            self.open = Some((before, 0.0));
        }
        if let Some((from, saved)) = &mut self.open {
            *saved += f64::from(from.saturating_sub(after));
            if *saved >= WORTH * patience {
                *self = Self::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "waits are set, not computed")]

    use super::*;

    #[test]
    fn a_way_down_that_is_taken_back_makes_the_next_one_wait_until_one_was_worth_it() {
        let mut calm = Calm::default();
        assert_eq!(calm.wait(8.0), 0.0, "a load that falls is followed at once");
        calm.step(5, 4, 8.0);
        calm.step(4, 5, 8.0);
        assert_eq!(calm.wait(8.0), 8.0);
        calm.step(5, 2, 8.0);
        for _ in 0..30 {
            calm.step(2, 2, 8.0);
        }
        assert_eq!(calm.wait(8.0), 0.0);
        calm.step(2, 5, 8.0);
        assert_eq!(calm.wait(8.0), 0.0, "a load that came later is no reason");
    }
}
