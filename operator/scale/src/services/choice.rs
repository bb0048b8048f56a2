//! The choice: the number of replicas whose cost and risk are least together.
//!
//! A minute of violation is worth `price` replica-minutes, so a number of replicas costs itself and the price times the
//! chance that it is too few (the newsvendor's rule, Arrow, Harris and Marschak 1951). Up goes what pays when a new
//! replica is ready; down what would pay until then. Several experts do that, and others follow the rule of an autoscaler
//! at one target within what the outlook thinks possible; the one that would have cost least so far is followed in fact.

use super::calm::Calm;
use super::experts::{EXPERTS, Experts};
use super::features::{Base, Features};
use super::follower::Follower;
use super::leaders::Leaders;
use super::levels;
use super::outlook::{Outlook, RULES};
use super::target::{self, TARGETS};
use serde::{Deserialize, Serialize};

/// Minutes in which little is known of a load.
const FIRST_MINUTES: f64 = 20.0;
/// Target of those minutes for a workload whose last safe number is known.
const RESUMED: f64 = 0.7;

/// How a choice weighs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weighing {
    /// Replica-minutes that a minute of violation is worth.
    pub price: f64,
    /// Replica-steps that a way down must have promised in a row before it is gone: calm against noise.
    pub patience: f64,
    /// Steps in a minute.
    pub steps_a_minute: f64,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// How the expert that is followed is chosen.
    pub leading: Leading,
}

impl Weighing {
    /// In the first minutes, and unless violations are dear, nobody grows beyond what the lowest target asks for the highest
    /// load of 5 min or the forecast, and one: how far a load goes is not known from a few steps, and the tail that stands
    /// for what was not seen is wide.
    fn at_first(&self, now: &Features, current: u32, safe: Option<u32>) -> Self {
        if self.price >= self.leading.careful || now.steps as f64 >= FIRST_MINUTES * self.steps_a_minute {
            return *self;
        }
        let forecast = now.bases[Base::Forecast as usize];
        let highest = now.highest[1].max(forecast);
        let most = match safe {
            // What was learnt is lost, what it had come to is not.
            Some(safe) => (highest / RESUMED).ceil().max(f64::from(safe)),
            None => (highest / TARGETS[0]).ceil() + 1.0,
        };
        let most = most.max(f64::from(current)).clamp(f64::from(self.min), f64::from(self.max));
        Self { max: most as u32, ..*self }
    }
}

/// How the expert that is followed is chosen from what all have cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leading {
    /// Minutes of violation, at their price, that an expert must be ahead of the leader to take its place: from `careful`
    /// on, and in the first 20 minutes of a situation, when one burst decides who seems best.
    pub margin: f64,
    /// From this price on a target leads first, the lower the dearer, until another is ahead by the margin. Below, the
    /// mixture leads until another is ahead at all, after those minutes: violations are many enough to tell.
    pub careful: f64,
    /// Up to this price situations may have leaders of their own.
    pub close: f64,
    /// Steps of the whole history that count beside a situation's own, per unit of the price.
    pub evidence: f64,
    /// How many times higher or lower than the outlook says a risk may be: the width of the band for targets.
    pub doubt: f64,
}

impl Default for Leading {
    fn default() -> Self {
        Self { margin: 1.0, careful: 2_048.0, close: 4_096.0, evidence: 8.0, doubt: 3.0 }
    }
}

impl Leading {
    /// The expert that leads at first.
    pub(super) fn first(&self, price: f64) -> usize {
        // The mixture, going down by what holds when a new replica is ready.
        if price >= self.careful { 2 * RULES + target::first(price) } else { 2 * RULES - 1 }
    }

    /// Replica-steps that an expert must be ahead to take the lead, after so many steps of a situation.
    pub(super) fn ahead(&self, how: &Weighing, steps: f64) -> f64 {
        let first = steps < FIRST_MINUTES * how.steps_a_minute;
        if first || how.price >= self.careful { self.margin * how.price * how.steps_a_minute } else { 0.0 }
    }
}

/// Follows all experts and chooses. Small; can be stored and restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    experts: Experts,
    leaders: Leaders,
    follower: Follower,
    calm: Calm,
    /// Mean load of the step that is over, in replicas' worth.
    load: f64,
    /// Replicas that existed at the last step.
    #[serde(default)]
    present: Option<u32>,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Replicas.
    pub replicas: u32,
    /// The rule of the outlook that is followed or, with a target, that the chance is from: an index of the outlook's.
    pub rule: usize,
    /// The target that is followed within what the outlook thinks possible, as a share.
    pub target: Option<f64>,
    /// Chance that these are too few when a replica started now is ready.
    pub chance: f64,
}

impl Choice {
    /// Charges every expert for the step that is over; `samples` are loads in replicas' worth, and a new replica is ready
    /// after `lead` steps.
    pub fn charge(&mut self, samples: &[f64], lead: usize, how: &Weighing) {
        let usable = samples.iter().filter(|load| load.is_finite());
        let (sum, count) = usable.fold((0.0, 0.0), |(sum, count), load| (sum + load, count + 1.0));
        self.load = sum / f64::max(count, 1.0);
        if let Some(costs) = self.experts.costs(samples, how.price) {
            self.leaders.charge(&costs, samples, lead, how);
        }
    }

    /// Chooses for the next step; `current` replicas exist, ready or starting, and a new one is ready after `lead` steps.
    pub fn choose(&mut self, outlook: &Outlook, current: u32, lead: usize, how: &Weighing) -> Chosen {
        self.choose_after(None, outlook, current, lead, how)
    }

    /// The same, of a workload that had `safe` replicas before all else was forgotten.
    pub fn choose_after(
        &mut self,
        safe: Option<u32>,
        outlook: &Outlook,
        current: u32,
        lead: usize,
        how: &Weighing,
    ) -> Chosen {
        let how = &how.at_first(&outlook.now, current, safe);
        self.experts.decide(outlook, self.load, current, lead, how);
        let (expert, total) = self.leaders.lead(&outlook.now, &self.experts, lead, how);
        // Whoever changed the number since the last step has a reason that holds against going down at once. A number that
        // nobody follows, as only a recommendation, is no such change.
        if current != self.follower.replicas && self.present != Some(current) {
            self.follower = Follower::at(current);
        }
        self.present = Some(current);
        let before = self.follower.replicas;
        self.follower.to(total, self.calm.wait(how.patience));
        self.follower.clamp(how.min, how.max);
        self.calm.step(before, self.follower.replicas, how.patience);
        let level = levels::of(f64::from(self.follower.replicas)).min(outlook.levels.saturating_sub(1));
        let target = expert.checked_sub(2 * RULES).and_then(|place| TARGETS.get(place)).copied();
        let rule = if target.is_some() { RULES - 1 } else { expert.min(EXPERTS) / 2 };
        let chance = outlook.row(&outlook.then, rule).get(level).copied().map_or(0.0, f64::from);
        Chosen { replicas: self.follower.replicas, rule, target, chance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Features = Features {
        bases: [1.0; 8],
        last: 0.5,
        change: 0.0,
        highest: [0.5; 4],
        means: [0.5; 2],
        yesterday: None,
        expected: None,
        hour: 0,
        steps: 240,
    };

    fn outlook(row: &[f32]) -> Outlook {
        let curves: Vec<f32> = (0..RULES).flat_map(|_| row.iter().copied()).collect();
        Outlook { then: curves.clone(), until: curves, levels: row.len(), now: NOW }
    }

    fn how(price: f64, leading: Leading) -> Weighing {
        Weighing { price, patience: 3.0, min: 1, max: 4, steps_a_minute: 4.0, leading }
    }

    #[test]
    fn the_price_decides_how_rare_is_rare_enough() {
        let seen = outlook(&[1.0, 0.5, 0.05, 0.005, 0.0]);
        let choose = |price| Choice::default().choose(&seen, 1, 2, &how(price, Leading::default())).replicas;
        assert_eq!([choose(1.0), choose(10.0), choose(100.0), choose(1_000.0)], [1, 2, 3, 4]);
    }

    #[test]
    fn an_expert_leads_only_when_it_is_ahead_by_the_margin() {
        // All want 1 but the mixture, which wants 3; the load is 0.5.
        let mut seen = outlook(&[1.0, 0.0, 0.0, 0.0, 0.0]);
        for curves in [&mut seen.then, &mut seen.until] {
            curves[(RULES - 1) * 5..].copy_from_slice(&[1.0, 1.0, 1.0, 0.0, 0.0]);
        }
        let steps = |margin: f64| {
            // One leader for everything, at first the mixture.
            let how = how(100.0, Leading { margin, careful: 100.0, close: 0.0, ..Leading::default() });
            let mut choice = Choice::default();
            choice.leaders.start_with(2 * RULES - 1);
            let mut current = 3;
            (0..2_000).find(|_| {
                choice.charge(&[0.5], 2, &how);
                current = choice.choose(&seen, current, 2, &how).replicas;
                current == 1
            })
        };
        // Two replicas fewer in each step, so a margin of 400 replica-steps takes 200 of them.
        assert!(steps(0.0).is_some_and(|steps| steps < 10), "{:?}", steps(0.0));
        assert!(steps(1.0).is_some_and(|steps| (200..220).contains(&steps)), "{:?}", steps(1.0));
    }

    #[test]
    fn in_the_first_minutes_one_burst_does_not_decide_who_leads() {
        let leading = Leading::default();
        let (few, dear) = (how(100.0, leading), how(4_096.0, leading));
        let ahead = |how: &Weighing, steps: [f64; 3]| steps.map(|steps| leading.ahead(how, steps) as u64);
        assert_eq!(ahead(&few, [0.0, 79.0, 80.0]), [400, 400, 0]);
        assert_eq!(ahead(&dear, [0.0, 79.0, 80.0]), [16_384; 3]);
    }

    #[test]
    fn where_violations_are_dear_a_target_leads_until_more_is_known() {
        let seen = outlook(&[1.0, 0.5, 0.05, 0.005, 0.0]);
        let mut choice = Choice::default();
        let how = how(1e6, Leading::default());
        choice.charge(&[0.5], 2, &how);
        assert_eq!(choice.choose(&seen, 1, 2, &how).target, Some(0.4));
    }
}
