//! What a job adds that runs too seldom for the latest days to judge it: of one that comes once a week, two weeks hold two
//! runs, and most days none is among the latest.
//!
//! So its two newest runs judge it: each foretells the other to at least half, and no day without a run looks half like
//! them at the same time of day. That asks nothing of how the series varies: were the job nothing, any two of the days
//! would be as likely to stand out from all the others and to agree. Nothing is kept of older runs: without the days
//! around them, what they did could not be told from chance.

use super::history::{mean, median, usable};
use super::view::View;
use std::collections::BTreeSet;

/// Days without a run that are compared with, at least.
const OTHER_DAYS: usize = 8;
/// Share of a run by which the other one may differ, and of which another day may remind.
const HALF: f64 = 0.5;
/// Newest runs that are looked at: two, and two more where the edges of the history or gaps cut them short.
const NEWEST: usize = 4;

/// What a job adds at each of `length` steps since its start; `None` where that cannot be told from chance. `runs` are its
/// starts, oldest first, in steps since the oldest value: one that was on before it is negative. A day has `day` steps.
pub(super) fn effect(view: &View<'_>, runs: &[i64], length: usize, day: usize) -> Option<Vec<f64>> {
    if runs.len() < 2 || view.values.len() / day < OTHER_DAYS {
        return None;
    }
    let days = Days::new(*view, runs, length, day);
    let newest = &runs[runs.len().saturating_sub(NEWEST)..];
    let shapes: Vec<Vec<f64>> = newest.iter().rev().map(|run| days.shape(*run)).collect();
    let added = agreed(&shapes, length)?;
    let power: f64 = added.iter().map(|added| added * added).sum();
    let mut others = 0;
    for begin in newest.iter().flat_map(|run| days.without(*run)).collect::<BTreeSet<i64>>() {
        let shape = days.shape(begin);
        let pairs = shape.iter().zip(&added).filter(|(seen, _)| usable(**seen));
        let (seen, product) =
            pairs.fold((0_usize, 0.0_f64), |(count, sum), (seen, added)| (count + 1, sum + seen * added));
        if mostly(seen, length) {
            let alike = product / power;
            if alike.is_nan() || alike > HALF {
                return None;
            }
            others += 1;
        }
    }
    (others >= OTHER_DAYS).then_some(added)
}

/// The mean of the two newest runs that were seen at each step, where they did the same.
fn agreed(shapes: &[Vec<f64>], length: usize) -> Option<Vec<f64>> {
    let (mut both, mut apart) = (0_usize, 0.0_f64);
    let (mut later_sum, mut earlier_sum) = (0.0_f64, 0.0_f64);
    let mut added = Vec::with_capacity(length);
    for step in 0..length {
        let mut seen = shapes.iter().map(|shape| shape[step]).filter(|value| usable(*value));
        let later = seen.next()?;
        let Some(earlier) = seen.next() else {
            added.push(later);
            continue;
        };
        both += 1;
        apart += (later - earlier).abs();
        later_sum += later.abs();
        earlier_sum += earlier.abs();
        added.push(later / 2.0 + earlier / 2.0);
    }
    (mostly(both, length) && apart <= HALF * later_sum.min(earlier_sum)).then_some(added)
}

/// Whether so many steps are enough to speak of all of them.
fn mostly(steps: usize, length: usize) -> bool {
    4 * steps >= 3 * length
}

/// A history beside what is usual on its days without a run.
struct Days<'a> {
    view: View<'a>,
    length: usize,
    day: usize,
    /// Whether a run was on at each step.
    ran: Vec<bool>,
    /// Median of the days without a run, at each step of the day.
    usual: Vec<f64>,
}

impl<'a> Days<'a> {
    fn new(view: View<'a>, runs: &[i64], length: usize, day: usize) -> Self {
        let values = view.values;
        let mut ran = vec![false; values.len()];
        for run in runs {
            let place = |step: i64| usize::try_from(step).unwrap_or(0).min(values.len());
            ran[place(*run)..place(run.saturating_add(length as i64))].fill(true);
        }
        let usual = (0..day.min(values.len()))
            .map(|first| {
                let free = (first..values.len()).step_by(day).filter(|place| !ran[*place]);
                let mut seen: Vec<f64> =
                    free.map(|place| values[place]).filter(|value| usable(*value)).collect();
                median(&mut seen).unwrap_or(f64::NAN)
            })
            .collect();
        Self { view, length, day, ran, usual }
    }

    /// How far the value at a step is from what is usual; not a number where either is not known.
    fn deviation(&self, step: i64) -> f64 {
        let place = usize::try_from(step).ok().filter(|place| *place < self.view.values.len());
        place.map_or(f64::NAN, |place| self.view.values[place] - self.usual[place % self.day])
    }

    /// Deviations at each step since `begin`, against the moment before where that was seen. Noise is smoothed, and short
    /// gaps are bridged, over a short window.
    fn shape(&self, begin: i64) -> Vec<f64> {
        let moment = begin - self.view.medium() as i64;
        let before = mean((moment..begin).map(|step| self.deviation(step))).unwrap_or(0.0);
        let raw: Vec<f64> =
            (begin..begin + self.length as i64).map(|step| self.deviation(step) - before).collect();
        let reach = self.view.short() / 2;
        (0..self.length)
            .map(|step| {
                let near = step.saturating_sub(reach)..(step + reach + 1).min(self.length);
                mean(raw[near].iter().copied()).unwrap_or(f64::NAN)
            })
            .collect()
    }

    /// The same time of day as that of a run, on each day on which no run was on for as long.
    fn without(&self, run: i64) -> impl Iterator<Item = i64> {
        let last = self.view.values.len() as i64 - self.length as i64;
        let begins = (run.rem_euclid(self.day as i64)..=last).step_by(self.day);
        begins.filter(move |begin| !self.ran[*begin as usize..][..self.length].contains(&true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: usize = 288;
    /// An hour.
    const LENGTH: usize = 12;
    /// Eight o'clock on the fifth and the twelfth day.
    const RUNS: [i64; 2] = [4 * 288 + 96, 11 * 288 + 96];

    /// Two weeks of a daily wave: each day has a height of its own, and the noise of a moment stays for a while.
    fn series(seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / ((1_u64 << 52) as f64) - 1.0
        };
        let (mut height, mut noise) = (1.0, 0.0);
        (0..14 * DAY)
            .map(|step| {
                if step % DAY == 0 {
                    height = 1.0 + 0.25 * random();
                }
                noise = 0.9 * noise + 4.0 * random();
                let part = (step % DAY) as f64 / DAY as f64;
                height * (40.0 + 240.0 * part * (1.0 - part)) + noise
            })
            .collect()
    }

    /// A series to which the runs added so much.
    fn with(mut values: Vec<f64>, added: [f64; 2]) -> Vec<f64> {
        for (run, added) in RUNS.iter().zip(added) {
            for value in &mut values[*run as usize..][..LENGTH] {
                *value += added;
            }
        }
        values
    }

    fn learnt(values: &[f64], runs: &[i64]) -> Option<Vec<f64>> {
        let view = View { values, cycle: Some(DAY), week: None, horizon: 12, memory: 28 };
        effect(&view, runs, LENGTH, DAY)
    }

    #[test]
    fn two_runs_that_agree_are_enough_and_tell_how_much() {
        let found: Vec<Vec<f64>> =
            (0..100).filter_map(|seed| learnt(&with(series(seed), [100.0; 2]), &RUNS)).collect();
        assert!(found.len() >= 95, "found in {} of 100 series", found.len());
        for added in found {
            let mean = added.iter().sum::<f64>() / LENGTH as f64;
            assert!((mean - 100.0).abs() < 30.0, "{mean}");
        }
    }

    #[test]
    fn a_job_that_does_nothing_is_learnt_in_at_most_one_of_two_hundred_series() {
        let found = (0..600).filter(|seed| learnt(&series(*seed), &RUNS).is_some()).count();
        assert!(found <= 3, "learnt in {found} of 600 series");
    }

    #[test]
    fn one_run_two_that_disagree_and_what_other_days_have_too_teach_nothing() {
        for seed in 0..20 {
            let both = with(series(seed), [100.0; 2]);
            assert_eq!(learnt(&both, &RUNS[1..]), None, "one run");
            for added in [[100.0, 0.0], [0.0, 100.0], [100.0, 40.0], [40.0, 100.0], [100.0, -100.0]] {
                assert_eq!(learnt(&with(series(seed), added), &RUNS), None, "{added:?}");
            }
            let mut other = both;
            for value in &mut other[7 * DAY + 96..][..LENGTH] {
                *value += 100.0;
            }
            assert_eq!(learnt(&other, &RUNS), None, "a day without the job was like it");
        }
    }

    #[test]
    fn too_few_other_days_gaps_and_a_series_without_noise_are_no_evidence() {
        let both = with(series(1), [100.0; 2]);
        assert!(learnt(&both, &RUNS).is_some());
        assert_eq!(learnt(&both[4 * DAY..][..7 * DAY + 200], &[96, 7 * 288 + 96]), None, "a week");
        let mut gaps = both.clone();
        gaps[RUNS[1] as usize..][..4].fill(f64::NAN);
        assert_eq!(learnt(&gaps, &RUNS), None, "a third of a run was not seen");
        gaps = both;
        gaps[RUNS[1] as usize] = f64::NAN;
        assert!(learnt(&gaps, &RUNS).is_some(), "a step of one run was not seen");
        for value in [5.0, f64::NAN] {
            assert_eq!(learnt(&vec![value; 14 * DAY], &RUNS), None);
        }
    }

    #[test]
    fn a_run_that_the_edges_of_the_history_cut_in_two_is_put_together() {
        let mut values = series(3);
        // From the middle of one run to the middle of the next but one.
        let runs = [-6, 7 * 288 - 6, 14 * 288 - 6];
        for run in runs {
            for step in run..run + LENGTH as i64 {
                if let Some(value) = usize::try_from(step).ok().and_then(|place| values.get_mut(place)) {
                    *value += 100.0;
                }
            }
        }
        let added = learnt(&values, &runs).unwrap();
        assert!(added.iter().all(|added| (added - 100.0).abs() < 50.0), "{added:?}");
    }
}
