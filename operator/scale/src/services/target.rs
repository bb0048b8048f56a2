//! The rule of the `HorizontalPodAutoscaler` at one target, kept within what the outlook thinks possible.
//!
//! The rule itself: load over target, no change within a tolerance of 10 %, up by at most the larger of 100 % and 4
//! replicas in one look, down to the highest wish of 300 s. It knows nothing of the series, so it is good from the first
//! step on, and costs head room in proportion to the load whether that varies or not. The outlook knows the series, but
//! not how far it can be trusted. Its band is what would be best if the true risks were some times higher and lower than
//! it says; inside of it the rule decides, outside the edge does.

use super::choice::Weighing;
use super::follower::{Best, Follower};
use super::outlook::{Outlook, RULES};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Targets that are followed, as shares of what ready replicas carry.
pub(super) const TARGETS: [f64; 12] =
    [0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95];
/// No change within this share of the target.
const TOLERANCE: f64 = 0.1;
/// Minutes whose highest wish holds against going down.
const WINDOW: f64 = 5.0;
/// Replicas by which it may grow in one look, however few there are.
const GROW: u32 = 4;
/// Rules of the outlook that make the band: the highest of 5 min, of 1 h, and situations like this one.
const BAND: [usize; 3] = [2, 4, RULES - 1];

/// Followed in the shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Target {
    /// Wishes of the window, the newest last.
    wishes: VecDeque<u32>,
    /// What the rule alone would have.
    alone: u32,
    /// Within the band.
    follower: Follower,
}

/// Numbers of replicas that the outlook thinks possible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) least: u32,
    pub(super) most: u32,
}

impl Band {
    pub(super) fn of(outlook: &Outlook, how: &Weighing) -> Self {
        let (mut least, mut most) = (how.max, how.min);
        for rule in BAND {
            let best =
                |curves: &[f32], price| Best::of(outlook.row(curves, rule), price, how.min, how.max).replicas;
            least = least.min(best(&outlook.then, how.price / how.leading.doubt));
            most = most.max(best(&outlook.until, how.price * how.leading.doubt));
        }
        Self { least: least.min(most), most }
    }
}

impl Target {
    pub(super) fn at(replicas: u32) -> Self {
        Self { wishes: VecDeque::new(), alone: replicas, follower: Follower::at(replicas) }
    }

    /// One look at the mean load of the last step, in replicas' worth; what it would have now.
    pub(super) fn look(&mut self, target: f64, load: f64, band: Band, how: &Weighing) -> u32 {
        let have = self.alone.max(1);
        let ratio = load / (target * f64::from(have));
        let wish = if (ratio - 1.0).abs() <= TOLERANCE {
            have
        } else {
            (load / target - 1e-9).ceil().max(1.0) as u32
        };
        let window = (WINDOW * how.steps_a_minute).round().max(1.0) as usize;
        while self.wishes.len() >= window {
            self.wishes.pop_front();
        }
        self.wishes.push_back(wish);
        let highest = self.wishes.iter().copied().max().unwrap_or(wish);
        let next = if wish > have {
            wish.min(have.saturating_mul(2).max(have.saturating_add(GROW)))
        } else {
            highest.min(have)
        };
        self.alone = next.clamp(how.min.max(1), how.max.max(1));
        self.follower.to(self.alone.clamp(band.least, band.most), how.patience);
        self.follower.clamp(how.min, how.max);
        self.follower.replicas
    }
}

/// The target that leads first where violations are dear: 90 % at a price of 32, 40 % at 2^20, in between by the logarithm
/// of the price.
pub(super) fn first(price: f64) -> usize {
    let target = 0.9 - 0.5 * (price.log2() - 5.0) / 15.0;
    let nearest = TARGETS
        .iter()
        .enumerate()
        .min_by(|one, other| (one.1 - target).abs().total_cmp(&(other.1 - target).abs()));
    nearest.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::choice::Leading;

    const HOW: Weighing = Weighing {
        price: 100.0,
        patience: 0.0,
        min: 1,
        max: 50,
        steps_a_minute: 4.0,
        leading: Leading { margin: 1.0, careful: 2_048.0, close: 4_096.0, evidence: 8.0, doubt: 3.0 },
    };
    const WIDE: Band = Band { least: 1, most: 50 };

    #[test]
    fn alone_it_does_what_the_autoscaler_documents() {
        let mut target = Target::at(4);
        let mut look = |load| target.look(0.5, load, WIDE, &HOW);
        assert_eq!(look(2.1), 4, "within the tolerance");
        assert_eq!(look(3.0), 6);
        assert_eq!(look(20.0), 12, "twice as many at most");
        assert_eq!(look(20.0), 24);
        let down: Vec<u32> = (0..25).map(|_| look(2.0)).collect();
        assert_eq!((down[0], down[18], down[24]), (24, 24, 4), "after 300 s: {down:?}");
    }

    #[test]
    fn the_band_bounds_it_both_ways() {
        let mut target = Target::at(4);
        assert_eq!(target.look(0.4, 4.0, Band { least: 1, most: 6 }, &HOW), 6);
        assert_eq!(target.look(0.4, 4.0, Band { least: 12, most: 14 }, &HOW), 12);
    }

    #[test]
    fn dear_violations_begin_with_a_low_target() {
        let percent = |price| (100.0 * TARGETS[first(price)]).round() as u32;
        assert_eq!([32.0, 1_024.0, 65_536.0, 1e6, 1e9].map(percent), [90, 75, 55, 40, 40]);
    }
}
