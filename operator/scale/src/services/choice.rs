//! The choice: the number of replicas whose cost and risk are least together.
//!
//! A minute of violation is worth `price` replica-minutes, so a number of replicas costs itself and the price times the
//! chance that it is too few (the newsvendor's rule, Arrow, Harris and Marschak 1951). Up goes what pays when a new
//! replica is ready; down what would pay until then. Every rule of the outlook is followed in the shadow all the time, and
//! the one that would have cost least so far is followed in fact (follow the leader, with full information).

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
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
}

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
    leader: usize,
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
        // The mixture leads until another has proved better.
        Self {
            shadows: vec![Shadow::default(); 2 * RULES],
            leader: 2 * RULES - 1,
            follower: Follower::default(),
        }
    }
}

impl Choice {
    /// Charges every rule for the step that is over; `samples` are loads in replicas' worth.
    pub fn charge(&mut self, samples: &[f64], price: f64) {
        let usable = samples.iter().filter(|load| load.is_finite()).count().max(1) as f64;
        for shadow in &mut self.shadows {
            let (Some(ready), Some(total)) = (shadow.totals.iter().min(), shadow.totals.back()) else {
                continue;
            };
            let over = samples.iter().filter(|load| **load > f64::from(*ready) + 1e-9).count() as f64;
            shadow.cost += f64::from(*total) + price * over / usable;
        }
    }

    /// Chooses for the next step; `current` replicas exist, ready or starting, and a new one is ready after `lead` steps.
    pub fn choose(&mut self, outlook: &Outlook, current: u32, lead: usize, how: &Weighing) -> Chosen {
        // Each rule twice: going down by what holds until a new replica would be ready, and by what holds then. The first
        // is right for peaks that last, the second for noise that no start can follow.
        let wishes: Vec<Wish<'_>> = (0..2 * RULES).map(|way| Wish::of(outlook, way, how)).collect();
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
        if self.shadows[self.leader].cost > least {
            self.leader = self.shadows.iter().position(|shadow| shadow.cost <= least).unwrap_or(self.leader);
        }
        if current != self.follower.replicas {
            self.follower = Follower { replicas: current, promised: 0.0 };
        }
        self.follower.follow(&wishes[self.leader], how);
        let level = levels::of(f64::from(self.follower.replicas)).min(outlook.levels - 1);
        let rule = self.leader / 2;
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
    /// Rule `way / 2`, going down in the first or the second way.
    fn of(outlook: &'a Outlook, way: usize, how: &Weighing) -> Self {
        let from = way / 2 * outlook.levels;
        let row = |curves: &'a [f32]| &curves[from..from + outlook.levels];
        let then = row(&outlook.then);
        let chances = if way.is_multiple_of(2) { row(&outlook.until) } else { then };
        Self { up: best(then, how).0, down: best(chances, how), chances }
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

    const HOW: Weighing = Weighing { price: 100.0, patience: 3.0, min: 1, max: 4 };

    #[test]
    fn the_price_decides_how_rare_is_rare_enough() {
        let seen = outlook(&[1.0, 0.5, 0.05, 0.005, 0.0]);
        let choose = |price| Choice::default().choose(&seen, 1, 2, &Weighing { price, ..HOW }).replicas;
        assert_eq!([choose(1.0), choose(10.0), choose(100.0), choose(1_000.0)], [1, 2, 3, 4]);
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
