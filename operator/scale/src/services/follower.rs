//! A number of replicas that goes up at once and down when that has been worth it for a while.

use super::levels;
use serde::{Deserialize, Serialize};

/// A number of replicas and what speaks against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Follower {
    pub(super) replicas: u32,
    /// What going down has promised since it was first thought of: replica-steps.
    promised: f64,
}

/// What a rule wants of the next step.
pub(super) struct Wish<'a> {
    /// At least so many.
    pub(super) up: u32,
    /// At most so many, and what that costs.
    pub(super) down: Best,
    /// Chances that decide the way down.
    pub(super) chances: &'a [f32],
}

/// The number of replicas whose cost and risk are least together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Best {
    pub(super) replicas: u32,
    /// Replicas, and the price times the chance that they are too few.
    pub(super) cost: f64,
}

impl Best {
    /// Of chances by level, each with its replicas, at a price. Bounds that lie between two levels count too.
    pub(super) fn of(chances: &[f32], price: f64, min: u32, max: u32) -> Self {
        let mut best = Self { replicas: max, cost: f64::INFINITY };
        let mut weigh = |replicas: u32, chance: f64| {
            let cost = f64::from(replicas) + price * chance;
            if cost < best.cost {
                best = Self { replicas, cost };
            }
            f64::from(replicas) < best.cost
        };
        let mut below: Option<(u32, f64)> = None;
        for (level, chance) in chances.iter().enumerate() {
            let (replicas, chance) = (levels::replicas(level), f64::from(*chance));
            let between = |bound: u32| {
                let (fewer, more) = below.filter(|(fewer, _)| *fewer < bound && bound < replicas)?;
                let share = f64::from(bound - fewer) / f64::from(replicas - fewer);
                Some((bound, more + share * (chance - more)))
            };
            let bounds = [between(min), between(max).filter(|_| max > min)];
            let level = Some((replicas, chance)).filter(|_| (min..=max).contains(&replicas));
            below = Some((replicas, chance));
            // In rising order: a bound between is below the level.
            let goes_on =
                bounds.into_iter().chain([level]).flatten().all(|(replicas, chance)| weigh(replicas, chance));
            if !goes_on || replicas > max {
                break;
            }
        }
        best
    }
}

impl Follower {
    /// At a number, with nothing against it.
    pub(super) fn at(replicas: u32) -> Self {
        Self { replicas, promised: 0.0 }
    }

    /// Moves to what a rule wants.
    pub(super) fn wish(&mut self, wish: &Wish<'_>, price: f64, patience: f64) {
        let down = wish.down.replicas.max(wish.up);
        if wish.up > self.replicas {
            *self = Self::at(wish.up);
        } else if down < self.replicas {
            let level = levels::of(f64::from(self.replicas)).min(wish.chances.len().saturating_sub(1));
            let chance = wish.chances.get(level).copied().unwrap_or_default();
            self.promise(
                f64::from(self.replicas) + price * f64::from(chance) - wish.down.cost,
                down,
                patience,
            );
        } else {
            self.promised = 0.0;
        }
    }

    /// Moves to a number.
    pub(super) fn to(&mut self, replicas: u32, patience: f64) {
        if replicas < self.replicas {
            self.promise(f64::from(self.replicas - replicas), replicas, patience);
        } else {
            *self = Self::at(replicas);
        }
    }

    fn promise(&mut self, more: f64, down: u32, patience: f64) {
        self.promised += more;
        if self.promised > patience {
            *self = Self::at(down);
        }
    }

    pub(super) fn clamp(&mut self, min: u32, max: u32) {
        self.replicas = self.replicas.clamp(min, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_decides_how_rare_is_rare_enough() {
        let chances = [1.0, 0.5, 0.05, 0.005, 0.0];
        let best = |price| Best::of(&chances, price, 1, 4).replicas;
        assert_eq!([best(1.0), best(10.0), best(100.0), best(1_000.0)], [1, 2, 3, 4]);
    }

    #[test]
    fn bounds_between_two_levels_are_reached() {
        let most = levels::count(100);
        let up_to = |load: f64| -> Vec<f32> {
            (0..most)
                .map(|level| if f64::from(levels::replicas(level)) < load { 1.0 } else { 0.001 })
                .collect()
        };
        assert_eq!(Best::of(&up_to(99.5), 10_000.0, 1, 100).replicas, 100);
        assert_eq!(Best::of(&up_to(1.0), 10.0, 100, 200).replicas, 100);
        assert_eq!(Best::of(&up_to(5.0), 10_000.0, 1, 100).replicas, 5);
    }

    #[test]
    fn up_goes_at_once_and_down_when_it_has_promised_enough() {
        let mut follower = Follower::at(2);
        follower.to(6, 5.0);
        assert_eq!(follower.replicas, 6);
        follower.to(4, 5.0);
        follower.to(4, 5.0);
        assert_eq!(follower.replicas, 6, "two steps of two replicas are no more than five");
        follower.to(4, 5.0);
        assert_eq!(follower.replicas, 4);
    }
}
