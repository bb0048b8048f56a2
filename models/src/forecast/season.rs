//! Which calendar season a series has: the hour, the day, the week, or none.
//!
//! The sample autocorrelation (Box and Jenkins 1970) of short means, extremes cut to the 1st and 99th percentile, must
//! stand out at the cycle's lag: above 0.2, above the 95 % limit of white noise (Bartlett 1946), above that at half the
//! lag (a smooth series correlates at every short lag), and above that of a shorter season (what repeats daily repeats
//! weekly). Only calendar lengths are tried: in operations other periods are nearly always chance.

use super::history::{History, mean, usable};
use serde::{Deserialize, Serialize};

/// Least autocorrelation of a season.
const CLEAR: f64 = 0.2;
/// What a longer season must add to the autocorrelation of a shorter one.
const MORE: f64 = 0.02;

/// A calendar season.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Season {
    /// 3,600 s.
    Hour,
    /// 86,400 s.
    Day,
    /// 604,800 s.
    Week,
}

impl Season {
    /// Every season that is tried.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// Its length in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
        }
    }

    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
        }
    }
}

/// A season that a series was found to have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Which.
    pub season: Season,
    /// Its length in steps.
    pub steps: usize,
    /// Autocorrelation at its lag, up to 1.
    pub correlation: f64,
}

/// The seasons that the history shows, shortest first. A season needs two full cycles and four steps in each.
pub fn confirm(history: &History<'_>) -> Vec<Confirmed> {
    let mut found: Vec<Confirmed> = Vec::new();
    for season in Season::ALL {
        let Some(steps) = history.steps_in(season.seconds()) else { continue };
        // A twenty-fourth of the cycle, but an hour for the week: days must not blur into each other.
        let parts = if season == Season::Week { 168 } else { 24 };
        let Some(correlation) = correlation(history.values(), steps, (steps / parts).max(1)) else {
            continue;
        };
        if found.iter().all(|shorter| correlation > shorter.correlation + MORE) {
            found.push(Confirmed { season, steps, correlation });
        }
    }
    found
}

/// Autocorrelation of means over `block` steps at a lag of `steps`, if it is a season.
fn correlation(values: &[f64], steps: usize, block: usize) -> Option<f64> {
    if steps < 4 || values.len() < 2 * steps || !steps.is_multiple_of(block) {
        return None;
    }
    // Whole blocks, counted from the end so that the newest are in; sixty cycles are plenty.
    let from = values.len() % block;
    let blocks: Vec<f64> =
        values[from..].chunks(block).map(|part| mean(part.iter().copied()).unwrap_or(f64::NAN)).collect();
    let lag = steps / block;
    let blocks = &blocks[blocks.len().saturating_sub(60 * lag)..];
    let mut sorted: Vec<f64> = blocks.iter().copied().filter(|value| usable(*value)).collect();
    if sorted.len() < 2 * lag {
        return None;
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let edge = sorted.len() / 100;
    let (low, high) = (sorted[edge], sorted[sorted.len() - 1 - edge]);
    let scale = low.abs().max(high.abs());
    if scale <= 0.0 || low >= high {
        return None;
    }
    let cut = |value: f64| value.clamp(low, high) / scale;
    let centre = mean(sorted.iter().map(|value| cut(*value)))?;
    let variance: f64 =
        sorted.iter().map(|value| (cut(*value) - centre).powi(2)).sum::<f64>() / sorted.len() as f64;
    let at = |lag: usize| {
        let pairs = blocks.iter().zip(&blocks[lag..]).filter(|(one, other)| usable(**one) && usable(**other));
        let (sum, count) = pairs.fold((0.0, 0_u32), |(sum, count), (one, other)| {
            (sum + (cut(*one) - centre) * (cut(*other) - centre), count + 1)
        });
        (count > 0 && variance > 0.0).then(|| (sum / f64::from(count) / variance, f64::from(count)))
    };
    let (correlation, pairs) = at(lag)?;
    let least = CLEAR.max(2.0 / pairs.sqrt()).max(at((lag / 2).max(1))?.0);
    (correlation > least).then_some(correlation.min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seasons(values: &[f64]) -> Vec<Season> {
        confirm(&History::new(0, 300, values).unwrap()).iter().map(|found| found.season).collect()
    }

    #[test]
    fn what_repeats_daily_is_daily_not_hourly_or_weekly() {
        let wave: Vec<f64> = (0..288 * 20).map(|step| f64::from((step % 288_i32 - 144).abs())).collect();
        assert_eq!(seasons(&wave), [Season::Day]);
    }

    #[test]
    fn free_days_make_a_week() {
        let week: Vec<f64> = (0..288 * 21)
            .map(|step| if (step / 288) % 7 < 5 { f64::from((step % 288_i32 - 144).abs()) } else { 5.0 })
            .collect();
        assert_eq!(seasons(&week), [Season::Day, Season::Week]);
    }

    #[test]
    fn an_hourly_job_is_hourly() {
        let job: Vec<f64> = (0..288 * 3).map(|step| if step % 12 < 2 { 9.0 } else { 1.0 }).collect();
        assert_eq!(seasons(&job), [Season::Hour]);
    }

    #[test]
    fn noise_constants_and_scraps_have_none() {
        let mut state = 7_u64;
        let noise: Vec<f64> = (0..288 * 15)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64
            })
            .collect();
        assert!(seasons(&noise).is_empty());
        assert!(seasons(&[4.0; 2_000]).is_empty());
        assert!(seasons(&[f64::NAN; 2_000]).is_empty());
        assert!(seasons(&[1.0, 2.0]).is_empty());
    }
}
