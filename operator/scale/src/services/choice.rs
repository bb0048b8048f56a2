//! The choice: the number of replicas whose cost and risk are least together.
//!
//! A minute of violation is worth `price` replica-minutes, so a number of replicas costs itself and the price times the
//! chance that it is too few (the newsvendor's rule, Arrow, Harris and Marschak 1951). Up goes what pays when a new
//! replica is ready; down what would pay until then. Every rule of the outlook is followed in the shadow all the time, and
//! the one that would have cost least so far is followed in fact (follow the leader, with full information). It takes the
//! lead only when it is ahead by a margin that grows with the price: where a violation is dear, few of them tell rules apart.

use super::levels;
use super::outlook::{Outlook, RULES};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

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
    /// How the rule that is followed is chosen.
    pub leading: Leading,
}

/// How the rule that is followed is chosen from what all have cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leading {
    /// Minutes of violation, at their price, that a rule must be ahead of the leader to take its place.
    pub margin: f64,
    /// From this price on the highest of 5 minutes leads until another rule is ahead by the margin. Below, the mixture leads
    /// until another is ahead at all: violations are many enough to tell, and the calmer rules win sooner on flat noise.
    pub careful: f64,
}

impl Default for Leading {
    fn default() -> Self {
        Self { margin: 1.0, careful: 2_048.0 }
    }
}

impl Leading {
    /// The way that leads at first: `2 * rule`, and one more for going down by what holds when a new replica is ready.
    fn first(&self, price: f64) -> usize {
        if price >= self.careful { 2 * ROBUST } else { 2 * RULES - 1 }
    }

    /// Replica-steps that a rule must be ahead to take the lead.
    fn ahead(&self, how: &Weighing) -> f64 {
        if how.price >= self.careful { self.margin * how.price * how.steps_a_minute } else { 0.0 }
    }
}

/// The rule of few surprises: the highest of the last 5 minutes, with what came beyond it.
const ROBUST: usize = 2;

/// A number of replicas and what speaks against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Follower {
    replicas: u32,
    /// What a change has promised since it was first thought of: replica-steps.
    promised: f64,
}

/// One rule, followed in the shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shadow {
    follower: Follower,
    /// Totals of the last steps, the newest last.
    totals: VecDeque<u32>,
    /// What it would have cost: replica-steps.
    cost: f64,
}

/// Follows all rules and chooses. Small; can be stored and restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Each rule in two ways: `2 * rule` and `2 * rule + 1`.
    shadows: Vec<Shadow>,
    leader: Option<usize>,
    follower: Follower,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Replicas.
    pub replicas: u32,
    /// The rule that is followed: an index of the outlook's.
    pub rule: usize,
    /// Chance that these are too few when a replica started now is ready.
    pub chance: f64,
}

impl Default for Choice {
    fn default() -> Self {
        Self { shadows: vec![Shadow::default(); 2 * RULES], leader: None, follower: Follower::default() }
    }
}

impl Choice {
    /// Charges every rule for the step that is over; `samples` are loads in replicas' worth.
    pub fn charge(&mut self, samples: &[f64], how: &Weighing) {
        let usable = samples.iter().filter(|load| load.is_finite()).count().max(1) as f64;
        for shadow in &mut self.shadows {
            let (Some(ready), Some(total)) = (shadow.totals.iter().min(), shadow.totals.back()) else {
                continue;
            };
            let over = samples.iter().filter(|load| **load > f64::from(*ready) + 1e-9).count() as f64;
            shadow.cost += f64::from(*total) + how.price * over / usable;
        }
    }

    /// Chooses for the next step; `current` replicas exist, ready or starting, and a new one is ready after `lead` steps.
    pub fn choose(&mut self, outlook: &Outlook, current: u32, lead: usize, how: &Weighing) -> Chosen {
        // Each rule twice: going down by what holds until a new replica would be ready, and by what holds then. The first
        // is right for peaks that last, the second for noise that no start can follow.
        let wishes: Vec<Wish<'_>> = (0..RULES).flat_map(|rule| Wish::of(outlook, rule, how)).collect();
        for (shadow, wish) in self.shadows.iter_mut().zip(&wishes) {
            if shadow.totals.is_empty() {
                shadow.follower.replicas = current;
            }
            shadow.follower.follow(wish, how);
            if shadow.totals.len() > lead {
                shadow.totals.pop_front();
            }
            shadow.totals.push_back(shadow.follower.replicas);
        }
        let least = self.shadows.iter().map(|shadow| shadow.cost).fold(f64::INFINITY, f64::min);
        let mut leader = self.leader.unwrap_or(how.leading.first(how.price)).min(self.shadows.len() - 1);
        if self.shadows[leader].cost > least + how.leading.ahead(how) {
            leader = self.shadows.iter().position(|shadow| shadow.cost <= least).unwrap_or(leader);
        }
        self.leader = Some(leader);
        if current != self.follower.replicas {
            self.follower = Follower { replicas: current, promised: 0.0 };
        }
        self.follower.follow(&wishes[leader], how);
        let level = levels::of(f64::from(self.follower.replicas)).min(outlook.levels - 1);
        let rule = leader / 2;
        Chosen {
            replicas: self.follower.replicas,
            rule,
            chance: f64::from(outlook.then[rule * outlook.levels + level]),
        }
    }
}

/// What a rule wants of the next step.
struct Wish<'a> {
    /// At least so many.
    up: u32,
    /// At most so many, and what that costs.
    down: (u32, f64),
    /// Chances that decide the way down.
    chances: &'a [f32],
}

impl<'a> Wish<'a> {
    /// A rule, going down in the first and the second way.
    fn of(outlook: &'a Outlook, rule: usize, how: &Weighing) -> [Self; 2] {
        let row = |curves: &'a [f32]| &curves[rule * outlook.levels..(rule + 1) * outlook.levels];
        let (then, until) = (row(&outlook.then), row(&outlook.until));
        let best_then = best(then, how);
        [
            Self { up: best_then.0, down: best(until, how), chances: until },
            Self { up: best_then.0, down: best_then, chances: then },
        ]
    }
}

impl Follower {
    /// Moves to what a rule wants.
    fn follow(&mut self, wish: &Wish<'_>, how: &Weighing) {
        let down = wish.down.0.max(wish.up);
        if wish.up > self.replicas {
            *self = Self { replicas: wish.up, promised: 0.0 };
        } else if down < self.replicas {
            let level = levels::of(f64::from(self.replicas)).min(wish.chances.len() - 1);
            self.promised +=
                f64::from(self.replicas) + how.price * f64::from(wish.chances[level]) - wish.down.1;
            if self.promised > how.patience {
                *self = Self { replicas: down, promised: 0.0 };
            }
        } else {
            self.promised = 0.0;
        }
        self.replicas = self.replicas.clamp(how.min, how.max);
    }
}

/// The number of replicas that costs least, and that cost.
fn best(chances: &[f32], how: &Weighing) -> (u32, f64) {
    let mut best = (how.max, f64::INFINITY);
    for (level, chance) in chances.iter().enumerate() {
        let replicas = levels::replicas(level);
        if replicas < how.min {
            continue;
        }
        if replicas > how.max || f64::from(replicas) >= best.1 {
            break;
        }
        let cost = f64::from(replicas) + how.price * f64::from(*chance);
        if cost < best.1 {
            best = (replicas, cost);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(row: &[f32]) -> Outlook {
        let curves: Vec<f32> = (0..RULES).flat_map(|_| row.iter().copied()).collect();
        Outlook { then: curves.clone(), until: curves, levels: row.len() }
    }

    const HOW: Weighing = Weighing {
        price: 100.0,
        patience: 3.0,
        min: 1,
        max: 4,
        steps_a_minute: 4.0,
        leading: Leading { margin: 1.0, careful: 256.0 },
    };

    #[test]
    fn the_price_decides_how_rare_is_rare_enough() {
        let seen = outlook(&[1.0, 0.5, 0.05, 0.005, 0.0]);
        let choose = |price| Choice::default().choose(&seen, 1, 2, &Weighing { price, ..HOW }).replicas;
        assert_eq!([choose(1.0), choose(10.0), choose(100.0), choose(1_000.0)], [1, 2, 3, 4]);
    }

    #[test]
    fn a_rule_leads_only_when_it_is_ahead_by_the_margin() {
        // The highest of 5 minutes wants 3, the others 1; the load is 0.5.
        let mut seen = outlook(&[1.0, 0.0, 0.0, 0.0, 0.0]);
        for curves in [&mut seen.then, &mut seen.until] {
            curves[ROBUST * 5..(ROBUST + 1) * 5].copy_from_slice(&[1.0, 1.0, 1.0, 0.0, 0.0]);
        }
        let steps = |margin: f64| {
            let how = Weighing { leading: Leading { margin, careful: 0.0 }, ..HOW };
            let mut choice = Choice::default();
            let mut current = 3;
            (0..2_000).find(|_| {
                choice.charge(&[0.5], &how);
                current = choice.choose(&seen, current, 2, &how).replicas;
                current == 1
            })
        };
        // Two replicas fewer in each step, so a margin of 400 replica-steps takes 200 of them.
        assert!(steps(0.0).is_some_and(|steps| steps < 10), "{:?}", steps(0.0));
        assert!(steps(1.0).is_some_and(|steps| (200..220).contains(&steps)), "{:?}", steps(1.0));
    }

    #[test]
    fn up_goes_at_once_and_down_when_it_has_promised_enough() {
        let mut choice = Choice::default();
        assert_eq!(choice.choose(&outlook(&[1.0, 1.0, 1.0, 0.0, 0.0]), 1, 2, &HOW).replicas, 3);
        let low = outlook(&[1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(choice.choose(&low, 3, 2, &HOW).replicas, 3);
        assert_eq!(choice.choose(&low, 3, 2, &HOW).replicas, 1);
    }
}
