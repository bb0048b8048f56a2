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
    /// Minutes of violation that a rule must be ahead of the leader to take its place. The margin grows with the price:
    /// where a violation is dear, a single one proves little.
    pub margin: f64,
    /// How fast a near miss loses its weight: a load of a share of what is ready counts as that share to this power of a
    /// violation. Violations are rare, near misses are not, so rules are told apart sooner. 0: only violations count.
    pub near: f64,
    /// Instead of one leader, the weighted median of all rules, where this many minutes of violation more make a rule's
    /// weight smaller by a factor of e (exponentially weighted average forecaster). 0: one leader.
    pub hedge: f64,
    /// The way that leads until another has proved better: `2 * rule`, and one more for going down by what holds then.
    pub first: usize,
}

impl Default for Leading {
    fn default() -> Self {
        Self { margin: 0.0, near: 0.0, hedge: 0.0, first: 2 * RULES - 1 }
    }
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
            let ready = f64::from(*ready).max(1e-3);
            let counts = |load: f64| match load / ready {
                _ if load > ready + 1e-9 => 1.0,
                share if how.leading.near > 0.0 => share.min(1.0).powf(how.leading.near),
                _ => 0.0,
            };
            let over: f64 = samples.iter().filter(|load| load.is_finite()).map(|load| counts(*load)).sum();
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
        let mut leader = self.leader.unwrap_or(how.leading.first).min(self.shadows.len() - 1);
        if self.shadows[leader].cost > least + how.leading.margin * how.price * how.steps_a_minute {
            leader = self.shadows.iter().position(|shadow| shadow.cost <= least).unwrap_or(leader);
        }
        self.leader = Some(leader);
        if current != self.follower.replicas {
            self.follower = Follower { replicas: current, promised: 0.0 };
        }
        if how.leading.hedge > 0.0 {
            self.follower.replicas = self.median(least, how).clamp(how.min, how.max);
        } else {
            self.follower.follow(&wishes[leader], how);
        }
        let level = levels::of(f64::from(self.follower.replicas)).min(outlook.levels - 1);
        let rule = leader / 2;
        Chosen {
            replicas: self.follower.replicas,
            rule,
            chance: f64::from(outlook.then[rule * outlook.levels + level]),
        }
    }

    /// The median of what all rules hold in the shadow, each weighed by what it has cost beyond the least.
    fn median(&self, least: f64, how: &Weighing) -> u32 {
        let scale = how.leading.hedge * how.price * how.steps_a_minute;
        let mut held: Vec<(u32, f64)> = self
            .shadows
            .iter()
            .map(|shadow| (shadow.follower.replicas, (-(shadow.cost - least) / scale).exp()))
            .collect();
        held.sort_by_key(|(replicas, _)| *replicas);
        let half = held.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let middle = held.iter().find(|(_, weight)| {
            sum += weight;
            sum >= half
        });
        middle.map_or(how.max, |(replicas, _)| *replicas)
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
        leading: Leading { margin: 0.0, near: 0.0, hedge: 0.0, first: 2 * RULES - 1 },
    };

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
