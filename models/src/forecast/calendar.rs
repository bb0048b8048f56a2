//! Known jobs: what a caller knows of the calendar, and what it does to a series.
//!
//! A job that runs at told times (a nightly backup, a batch every seven hours, a release) is a regressor: its effect at
//! each step since its start is the median over past runs of the series' deviation from its usual profile, against the
//! moment before the run. Effects are taken out of the history before models see it, and added to the forecast. They are
//! used only when the back-test is better with them; jobs that run too seldom for it are judged by their two newest runs
//! (`seldom.rs`).

use super::history::{History, mean, median, usable};
use super::season::Season;
use super::seldom;
use super::view::View;
use serde::{Deserialize, Serialize};

/// Jobs that are read.
const EVENTS: usize = 32;
/// Runs that an effect must have been seen in, where the back-test judges it.
const RUNS: usize = 3;
/// Latest runs that are learnt from.
const LATEST: usize = 60;
/// Longest effect, in steps.
const LONGEST: usize = 2_000;

/// When a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Every `period_seconds`, at the times that leave `offset_seconds` when divided by it (seconds since 1970).
    Every {
        /// Distance of two starts.
        period_seconds: u32,
        /// Start of one run.
        offset_seconds: i64,
    },
    /// At these times, seconds since 1970, in any order. At most 10,000 are read.
    At(Vec<i64>),
}

/// A job that may show in the series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is called in a reason.
    pub name: String,
    /// Its starts.
    pub when: When,
    /// How long its effect lasts.
    pub duration_seconds: u32,
}

/// What is known of the calendar. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Jobs; at most 32 are read.
    pub events: Vec<Event>,
}

/// Effect of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Effect {
    event: Event,
    /// Added to the series at each step since the start.
    added: Vec<f64>,
}

/// Effects of all jobs that show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    effects: Vec<Effect>,
}

impl Event {
    fn steps(&self, step_seconds: u32) -> usize {
        (self.duration_seconds.div_ceil(step_seconds) as usize).clamp(1, LONGEST)
    }

    /// Starts in `[from, to)`, as step numbers, in order.
    fn starts(&self, from: i64, to: i64, step_seconds: u32) -> Vec<i64> {
        let step = i64::from(step_seconds);
        match &self.when {
            When::Every { period_seconds, offset_seconds } => {
                let period = i64::from((*period_seconds).max(step_seconds));
                let first = from.saturating_mul(step);
                let behind = offset_seconds.saturating_sub(first).rem_euclid(period);
                (0..10_000_i64)
                    .map(|run| first.saturating_add(behind).saturating_add(run * period).div_euclid(step))
                    .take_while(|start| *start < to)
                    .collect()
            }
            When::At(times) => {
                let mut starts: Vec<i64> =
                    times.iter().take(10_000).map(|time| time.div_euclid(step)).collect();
                starts.retain(|start| (from..to).contains(start));
                starts.sort_unstable();
                starts.dedup();
                starts
            }
        }
    }
}

impl Calendar {
    /// Jobs that the back-test of the steps from `since` on can judge, as they ran there and often enough before; and the
    /// others, which run too seldom for it.
    pub(super) fn split(&self, history: &History<'_>, since: i64) -> (Self, Self) {
        let step = history.step_seconds();
        let judged = |event: &Event| {
            event.starts(history.start(), since, step).len() >= RUNS
                && !event.starts(since, history.end(), step).is_empty()
        };
        let (often, others): (Vec<Event>, Vec<Event>) =
            self.events.iter().take(EVENTS).cloned().partition(judged);
        (Self { events: often }, Self { events: others })
    }
}

impl Effects {
    /// Learns from a history; `None` when no job was seen often enough. Jobs are learnt in the order they are given,
    /// each on what the ones before it leave.
    pub fn learn(history: &History<'_>, view: &View<'_>, calendar: &Calendar) -> Option<Self> {
        let mut values = history.values().to_vec();
        let mut effects = Vec::new();
        for event in calendar.events.iter().take(EVENTS) {
            let length = event.steps(history.step_seconds());
            let starts = event.starts(history.start(), history.end(), history.step_seconds());
            let starts = &starts[starts.len().saturating_sub(LATEST)..];
            let added = effect(&View { values: &values, ..*view }, history.start(), starts, length);
            if let Some(added) = added {
                let effect = Effect { event: event.clone(), added };
                effect.add(&mut values, history.start(), history.step_seconds(), -1.0);
                effects.push(effect);
            }
        }
        (!effects.is_empty()).then_some(Self { effects })
    }

    /// Learns from a history what jobs do that run seldom, each on what `former` and the ones before it leave; these and
    /// `former`.
    pub fn learn_seldom(
        history: &History<'_>,
        view: &View<'_>,
        calendar: &Calendar,
        former: Option<Self>,
    ) -> Option<Self> {
        let (start, step) = (history.start(), history.step_seconds());
        let Some(day) = history.steps_in(Season::Day.seconds()) else { return former };
        let Self { mut effects } = former.unwrap_or(Self { effects: Vec::new() });
        let mut values = history.values().to_vec();
        for effect in &effects {
            effect.add(&mut values, start, step, -1.0);
        }
        for event in calendar.events.iter().take(EVENTS) {
            let length = event.steps(step);
            // A run that is on as the history begins counts as far as it was seen.
            let from = start.saturating_add(1).saturating_sub_unsigned(length as u64);
            let runs: Vec<i64> = event
                .starts(from, history.end(), step)
                .iter()
                .filter_map(|run| run.checked_sub(start))
                .collect();
            let added = seldom::effect(&View { values: &values, ..*view }, &runs, length, day);
            if let Some(added) = added {
                let effect = Effect { event: event.clone(), added };
                effect.add(&mut values, start, step, -1.0);
                effects.push(effect);
            }
        }
        (!effects.is_empty()).then_some(Self { effects })
    }

    /// The history without them.
    pub fn clean(&self, history: &History<'_>) -> Vec<f64> {
        let mut values = history.values().to_vec();
        for effect in &self.effects {
            effect.add(&mut values, history.start(), history.step_seconds(), -1.0);
        }
        values
    }

    /// Adds them to values whose first is at step `start`.
    pub fn add(&self, values: &mut [f64], start: i64, step_seconds: u32) {
        for effect in &self.effects {
            effect.add(values, start, step_seconds, 1.0);
        }
    }

    /// Names of the jobs that show.
    pub fn names(&self) -> Vec<&str> {
        self.effects.iter().map(|effect| effect.event.name.as_str()).collect()
    }
}

impl Effect {
    fn add(&self, values: &mut [f64], start: i64, step_seconds: u32, sign: f64) {
        let end = start.saturating_add_unsigned(values.len() as u64);
        let from = start.saturating_sub_unsigned(self.added.len() as u64);
        for begin in self.event.starts(from, end, step_seconds) {
            for (step, added) in self.added.iter().enumerate() {
                let place = begin.saturating_add_unsigned(step as u64).saturating_sub(start);
                if let Some(value) = usize::try_from(place).ok().and_then(|place| values.get_mut(place)) {
                    *value += sign * added;
                }
            }
        }
    }
}

/// Median deviation at each step since the start, against the moment before.
fn effect(view: &View<'_>, start: i64, starts: &[i64], length: usize) -> Option<Vec<f64>> {
    let deviation = |place: usize| -> f64 {
        let Some(value) = view.values.get(place).copied().filter(|value| usable(*value)) else {
            return f64::NAN;
        };
        let usual = view.cycle.and_then(|cycle| view.profile(place, cycle, 7)).unwrap_or(0.0);
        value - usual
    };
    let mut per_step: Vec<Vec<f64>> = vec![Vec::new(); length];
    for begin in starts {
        let Ok(begin) = usize::try_from(begin - start) else { continue };
        let Some(before) = mean((begin.saturating_sub(view.medium())..begin).map(deviation)) else {
            continue;
        };
        for (step, seen) in per_step.iter_mut().enumerate() {
            let change = deviation(begin + step) - before;
            if usable(change) {
                seen.push(change);
            }
        }
    }
    per_step.iter_mut().map(|seen| if seen.len() >= RUNS { median(seen) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Event {
        Event {
            name: "backup".to_owned(),
            when: When::Every { period_seconds: 7 * 3_600, offset_seconds: 1_800 },
            duration_seconds: 1_200,
        }
    }

    #[test]
    fn starts_of_a_period_and_of_a_list() {
        assert_eq!(backup().starts(0, 200, 300), [6, 90, 174]);
        assert_eq!(backup().starts(7, 91, 300), [90]);
        let listed = Event { when: When::At(vec![900, 300, 310, -5]), ..backup() };
        assert_eq!(listed.starts(0, 10, 300), [1, 3]);
    }

    #[test]
    fn an_effect_is_found_taken_out_and_put_back() {
        let mut values: Vec<f64> = vec![20.0; 288 * 5];
        let event = backup();
        for start in event.starts(0, 288 * 5, 300) {
            for step in 0..4 {
                if let Some(value) = values.get_mut(start as usize + step) {
                    *value += 30.0;
                }
            }
        }
        let history = History::new(0, 300, &values).unwrap();
        let view = View { values: &values, cycle: Some(288), week: None, horizon: 12, memory: 28 };
        let effects = Effects::learn(&history, &view, &Calendar { events: vec![event] }).unwrap();
        assert_eq!(effects.names(), ["backup"]);
        let clean = effects.clean(&history);
        assert!(clean.iter().all(|value| (value - 20.0).abs() < 1e-9));
        let mut future = vec![0.0; 84];
        effects.add(&mut future, 288 * 5, 300);
        assert_eq!(future.iter().filter(|value| **value > 29.0).count(), 4);
    }

    #[test]
    fn two_runs_teach_nothing() {
        let values = [1.0; 100];
        let history = History::new(0, 300, &values).unwrap();
        let view = View { values: &values, cycle: None, week: None, horizon: 12, memory: 28 };
        assert!(Effects::learn(&history, &view, &Calendar { events: vec![backup()] }).is_none());
    }
}
