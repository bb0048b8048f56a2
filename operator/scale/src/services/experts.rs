//! Experts: each says at every step how many replicas it would have. All are followed in the shadow.

use super::choice::Weighing;
use super::follower::{Best, Follower, Wish};
use super::outlook::{Outlook, RULES};
use super::target::{Band, TARGETS, Target};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Each rule of the outlook in two ways of going down, `2 * rule` and `2 * rule + 1`, then one for each target.
pub(super) const EXPERTS: usize = 2 * RULES + TARGETS.len();

/// Something followed in the shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Shadow {
    follower: Follower,
    /// Totals of the last steps, the newest last.
    totals: VecDeque<u32>,
}

impl Shadow {
    /// What the step that is over has cost it, in replica-steps: its replicas, and the price for the share of the time in
    /// which the load was above those that were ready. `None` before its first step.
    pub(super) fn cost(&self, samples: &[f64], price: f64) -> Option<f64> {
        let (ready, total) = (f64::from(*self.totals.iter().min()?), self.totals.back()?);
        let mut over = 0.0;
        let mut usable = 0.0;
        for load in samples.iter().filter(|load| load.is_finite()) {
            usable += 1.0;
            over += if *load > ready + 1e-9 { 1.0 } else { 0.0 };
        }
        Some(f64::from(*total) + price * over / f64::max(usable, 1.0))
    }

    /// What it has now.
    pub(super) fn total(&self) -> u32 {
        self.follower.replicas
    }

    /// Follows an expert. A rule has waited before it went down; a target's number jumps with the band.
    pub(super) fn follow(&mut self, experts: &Experts, expert: usize, lead: usize, how: &Weighing) {
        let total = experts.total(expert);
        if self.totals.is_empty() {
            self.follower = Follower::at(total);
        }
        let patience = if expert >= 2 * RULES { how.patience / 2.0 } else { 0.0 };
        self.follower.to(total, patience);
        self.push(lead);
    }

    fn push(&mut self, lead: usize) {
        while self.totals.len() > lead {
            self.totals.pop_front();
        }
        self.totals.push_back(self.follower.replicas);
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Experts {
    shadows: Vec<Shadow>,
    targets: Vec<Target>,
}

impl Default for Experts {
    fn default() -> Self {
        Self { shadows: vec![Shadow::default(); EXPERTS], targets: Vec::new() }
    }
}

impl Experts {
    /// What the step that is over has cost each; `None` before the first.
    pub(super) fn costs(&self, samples: &[f64], price: f64) -> Option<Vec<f64>> {
        self.shadows.iter().map(|shadow| shadow.cost(samples, price)).collect()
    }

    /// Lets each decide; `load` is the mean of the step that is over.
    pub(super) fn decide(&mut self, outlook: &Outlook, load: f64, current: u32, lead: usize, how: &Weighing) {
        if self.targets.is_empty() {
            self.targets = vec![Target::at(current); TARGETS.len()];
            for shadow in &mut self.shadows {
                shadow.follower = Follower::at(current);
            }
        }
        // A chance of less than one in as many steps as were seen is a guess of the tail: a price for which it would matter
        // asks for more than was learnt.
        let price = how.price.min(how.leading.careful.max(outlook.now.steps as f64));
        let (rules, targets) = self.shadows.split_at_mut(2 * RULES);
        for (rule, pair) in rules.chunks_mut(2).enumerate() {
            // Going down by what holds until a new replica would be ready, and by what holds then. The first is right for
            // peaks that last, the second for noise that no start can follow.
            let (then, until) = (outlook.row(&outlook.then, rule), outlook.row(&outlook.until, rule));
            let best = |chances| Best::of(chances, price, how.min, how.max);
            let best_then = best(then);
            let up = best_then.replicas;
            let wishes =
                [Wish { up, down: best(until), chances: until }, Wish { up, down: best_then, chances: then }];
            for (shadow, wish) in pair.iter_mut().zip(&wishes) {
                shadow.follower.wish(wish, price, how.patience);
                shadow.follower.clamp(how.min, how.max);
                shadow.push(lead);
            }
        }
        let band = Band::of(outlook, how);
        for ((shadow, target), share) in targets.iter_mut().zip(&mut self.targets).zip(TARGETS) {
            shadow.follower = Follower::at(target.look(share, load, band, how));
            shadow.push(lead);
        }
    }

    /// What one has now.
    pub(super) fn total(&self, expert: usize) -> u32 {
        self.shadows.get(expert).map_or(0, Shadow::total)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::services::choice::Leading;
    use crate::services::outlook::Learner;

    #[test]
    fn no_rule_reckons_with_a_dearer_price_than_so_many_steps_can_say_something_of() {
        let mut learner = Learner::new(50, 15, 30);
        let steps = (0..3_000).map(|step| 4.0 + f64::from(step * 7 % 11) / 10.0);
        let mut outlook = steps.map(|load| learner.observe(&[load], None)).last().unwrap().unwrap();
        let totals = |outlook: &Outlook, price: f64| -> Vec<u32> {
            let leading = Leading::default();
            let how = Weighing { price, patience: 0.0, min: 1, max: 50, steps_a_minute: 4.0, leading };
            let mut experts = Experts::default();
            experts.decide(outlook, 4.5, 5, 2, &how);
            (0..2 * RULES).map(|expert| experts.total(expert)).collect()
        };
        assert_eq!(totals(&outlook, 3_000.0), totals(&outlook, 1e12));
        assert_ne!(
            totals(&outlook, 2_048.0),
            totals(&outlook, 8.0),
            "a price that can be reckoned with counts"
        );
        outlook.now.steps = 40;
        assert_eq!(totals(&outlook, 2_048.0), totals(&outlook, 1e12));
        assert_ne!(totals(&outlook, 2_048.0), totals(&outlook, 40.0), "2,048 counts from the first step on");
        outlook.now.steps = u64::MAX;
        assert_ne!(totals(&outlook, 3_000.0), totals(&outlook, 1e12), "after more steps a dearer one does");
    }
}
