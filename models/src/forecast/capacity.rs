//! Capacity: when will a series reach a limit?
//!
//! Peaks of whole blocks (days, hours, or steps in a short history) are put on a robust line (Theil 1950, Sen 1968). The
//! interval of the slope is Sen's, by Kendall's variance, widened for dependence between blocks; the scatter of the peaks
//! adds to the level. A line only counts as skill when, fitted on the first three quarters, it foretold the last quarter
//! better than "as it is now".

use super::history::{History, mean, median, usable};
use super::season::Season;
use super::trend;
use serde::{Deserialize, Serialize};

/// Blocks that a line is drawn through.
const BLOCKS: usize = 60;
/// Blocks below which nothing is said.
const FEW: usize = 8;
/// A line must foretell the last quarter with at most this share of the error of no change.
const SKILL: f64 = 0.8;
/// Half the width of an 80 % interval of the normal distribution, in deviations.
const TENTH: f64 = 1.2816;
/// Median absolute deviation of a normal distribution, in deviations.
const MAD: f64 = 0.6745;

/// When a limit is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeToLimit {
    /// Seconds from the end of the history that are too early in nine of ten cases; 0 when it is reached already. `None`:
    /// not within `within_seconds`.
    pub p10: Option<f64>,
    /// Median, likewise.
    pub p50: Option<f64>,
    /// Seconds that are enough in nine of ten cases, likewise.
    pub p90: Option<f64>,
    /// Whether the line foretold the past; without skill nobody should act on it.
    pub skill: bool,
    /// Level, slope, and what they were judged by, in words and numbers.
    pub reason: String,
}

/// Time until the series reaches `limit` from below (from above if it lies below the current level), looking ahead
/// `within_seconds`. Scale and step are the history's; missing points are left out.
pub fn time_to_limit(history: &History<'_>, limit: f64, within_seconds: f64) -> TimeToLimit {
    let nothing = |reason: String| TimeToLimit { p10: None, p50: None, p90: None, skill: false, reason };
    if !usable(limit) {
        return nothing("the limit is not a number".to_owned());
    }
    let Some(now) = mean(history.values().iter().rev().take(12).copied()) else {
        return nothing("no usable point in the last 12".to_owned());
    };
    // Turned so that the limit is always above.
    let sign = if limit >= now { 1.0 } else { -1.0 };
    let (block, unit) = block(history);
    let peaks = peaks(history.values(), block, sign);
    let Some((level, slope)) = trend::line(&peaks).filter(|_| peaks.len() >= FEW) else {
        return nothing(format!("{} {unit} are too few for a line, {FEW} are needed", peaks.len()));
    };
    let (low, high) = slopes(&peaks, level, slope);
    let scatter = scatter(&peaks, level, slope);
    let seconds = block as f64 * f64::from(history.step_seconds());
    let time = |level: f64, slope: f64| {
        let distance = sign * limit - level;
        if distance <= 0.0 {
            Some(0.0)
        } else if slope > 0.0 {
            Some(distance / slope * seconds).filter(|time| *time <= within_seconds)
        } else {
            None
        }
    };
    let (line, flat) = foretold(&peaks);
    let skill = slope > 0.0 && line < SKILL * flat;
    TimeToLimit {
        p10: time(level + scatter, high),
        p50: time(level, slope),
        p90: time(level - scatter, low),
        skill,
        reason: format!(
            "{}: peaks of {} {unit} rise by {:.4} each ({:.4} to {:.4}) from {:.4} towards {:.4}; over the last quarter the line was wrong by {line:.4}, no change by {flat:.4}",
            if skill { "skill" } else { "no skill" },
            peaks.len(),
            sign * slope,
            sign * low,
            sign * high,
            sign * level,
            limit,
        ),
    }
}

/// Steps of a block and what it is called: the longest of day, hour and step that gives enough of them.
fn block(history: &History<'_>) -> (usize, &'static str) {
    let length = history.values().len();
    [(Season::Day, "days"), (Season::Hour, "hours")]
        .into_iter()
        .filter_map(|(season, name)| Some((history.steps_in(season.seconds())?, name)))
        .find(|(steps, _)| *steps > 0 && length / steps >= FEW)
        .unwrap_or((1, "steps"))
}

/// The 90th percentile of every whole block, oldest first; NaN for a block without a usable point.
fn peaks(values: &[f64], block: usize, sign: f64) -> Vec<f64> {
    let blocks = (values.len() / block).min(BLOCKS);
    values[values.len() - blocks * block..]
        .chunks(block)
        .map(|part| {
            let mut seen: Vec<f64> =
                part.iter().filter(|value| usable(**value)).map(|value| sign * value).collect();
            seen.sort_unstable_by(f64::total_cmp);
            seen.get((seen.len() * 9 / 10).min(seen.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
        })
        .collect()
}

/// What is left of the peaks beside the line.
fn left(peaks: &[f64], level: f64, slope: f64) -> Vec<f64> {
    let last = peaks.len() as f64 - 1.0;
    let beside = |(place, value): (usize, &f64)| value - level + slope * (last - place as f64);
    peaks.iter().enumerate().map(beside).filter(|value| usable(*value)).collect()
}

/// A tenth of the peaks lie further above the line than this.
fn scatter(peaks: &[f64], level: f64, slope: f64) -> f64 {
    let mut sizes: Vec<f64> = left(peaks, level, slope).iter().map(|value| value.abs()).collect();
    median(&mut sizes).unwrap_or(0.0) * (TENTH / MAD)
}

/// The 80 % interval of the slope.
fn slopes(peaks: &[f64], level: f64, slope: f64) -> (f64, f64) {
    let mut pairs: Vec<f64> = Vec::new();
    for (late, value) in peaks.iter().enumerate() {
        for (early, before) in peaks[..late].iter().enumerate() {
            let rise = (value - before) / (late - early) as f64;
            if usable(rise) {
                pairs.push(rise);
            }
        }
    }
    if pairs.is_empty() {
        return (slope, slope);
    }
    pairs.sort_unstable_by(f64::total_cmp);
    let beside = left(peaks, level, slope);
    let count = beside.len() as f64;
    // Neighbours that go together tell less than their number: variance grows by (1 + r) / (1 - r).
    let square: f64 = mean(beside.iter().map(|value| value * value)).unwrap_or(0.0);
    let product = mean(beside.iter().zip(&beside[1..]).map(|(one, other)| one * other)).unwrap_or(0.0);
    let together = if square > 0.0 { (product / square).clamp(0.0, 0.9) } else { 0.0 };
    let variance = count * (count - 1.0) * (2.0 * count + 5.0) / 18.0 * (1.0 + together) / (1.0 - together);
    let half = TENTH * variance.sqrt();
    let at = |rank: f64| pairs[(rank.round().max(0.0) as usize).min(pairs.len() - 1)];
    let middle = pairs.len() as f64 / 2.0;
    (at(middle - half / 2.0).min(slope), at(middle + half / 2.0).max(slope))
}

/// Mean errors over the last quarter: of the line through what came before, and of no change since then.
fn foretold(peaks: &[f64]) -> (f64, f64) {
    let cut = peaks.len() - (peaks.len() / 4).max(1);
    let (early, late) = peaks.split_at(cut);
    let Some((level, slope)) = trend::line(early) else { return (f64::INFINITY, f64::INFINITY) };
    let flat = mean(early.iter().rev().take(3).copied()).unwrap_or(level);
    let line = mean(
        late.iter().enumerate().map(|(ahead, value)| (value - level - slope * (ahead + 1) as f64).abs()),
    );
    let still = mean(late.iter().map(|value| (value - flat).abs()));
    (line.unwrap_or(f64::INFINITY), still.unwrap_or(f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;

    /// A disk that fills by `rise` a day, with a daily wave and a little noise; hourly steps.
    fn disk(days: usize, rise: f64) -> Vec<f64> {
        (0..days * 24)
            .map(|hour| {
                let wave = (hour % 24) as f64 / 24.0;
                let noise = (hour * 7_919 % 101) as f64 / 101.0;
                40.0 + rise * hour as f64 / 24.0 + wave + noise
            })
            .collect()
    }

    #[test]
    fn a_filling_disk_is_full_when_the_line_says() {
        let values = disk(20, 1.5);
        let history = History::new(0, 3_600, &values).unwrap();
        let said = time_to_limit(&history, 100.0, 90.0 * DAY);
        // 100 is reached about (100 - 41.5) / 1.5 = 39 days after the start, 19 from now.
        let (p10, p50, p90) = (said.p10.unwrap() / DAY, said.p50.unwrap() / DAY, said.p90.unwrap() / DAY);
        assert!((17.0..21.0).contains(&p50), "{p50}");
        assert!(p10 <= p50 && p50 <= p90 && p90 < 25.0, "{p10} {p50} {p90}");
        assert!(said.skill, "{}", said.reason);
        assert!(said.reason.contains("20 days"), "{}", said.reason);
    }

    #[test]
    fn a_falling_reserve_reaches_its_limit_from_above() {
        let values: Vec<f64> = disk(20, 1.5).iter().map(|value| 200.0 - value).collect();
        let history = History::new(0, 3_600, &values).unwrap();
        let said = time_to_limit(&history, 100.0, 90.0 * DAY);
        assert!((17.0..21.0).contains(&(said.p50.unwrap() / DAY)) && said.skill, "{}", said.reason);
    }

    #[test]
    fn a_flat_series_never_gets_there_and_says_so() {
        let values = disk(20, 0.0);
        let history = History::new(0, 3_600, &values).unwrap();
        let said = time_to_limit(&history, 100.0, 90.0 * DAY);
        assert_eq!((said.p50, said.skill), (None, false), "{}", said.reason);
    }

    #[test]
    fn a_limit_that_is_reached_is_now() {
        let mut values = disk(20, 1.5);
        values.truncate(20 * 24);
        let history = History::new(0, 3_600, &values).unwrap();
        // Inside the daily wave: the peaks are above it already.
        let now = mean(values.iter().rev().take(12).copied()).unwrap();
        assert_eq!(time_to_limit(&history, now, DAY).p50, Some(0.0));
    }

    #[test]
    fn too_little_or_nothing_is_no_skill() {
        for values in [vec![], vec![1.0; 3], vec![f64::NAN; 500]] {
            let history = History::new(0, 300, &values).unwrap();
            let said = time_to_limit(&history, 5.0, DAY);
            assert!(said.p50.is_none() && !said.skill && !said.reason.is_empty());
        }
        let history = History::new(0, 300, &[1.0, 2.0]).unwrap();
        assert!(!time_to_limit(&history, f64::NAN, DAY).skill);
    }
}
