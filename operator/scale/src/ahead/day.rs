//! What a service carries now, beside the most that it carried within a day.

use std::collections::VecDeque;

/// Minutes whose mean is the load of now: a single minute is chance.
const LATELY: usize = 5;
/// Hours that are remembered.
const HOURS: usize = 24;
/// Minutes that must have been seen before a share says anything.
const FEW: u32 = 60;

/// The load of one service over a day. Small: five minutes, and the highest of each hour.
#[derive(Clone, Debug, Default)]
pub struct Day {
    lately: VecDeque<f64>,
    hours: VecDeque<(i64, f64)>,
    seen: u32,
}

impl Day {
    /// The load of one minute, counted since any moment; `None` when it was not seen. Minutes come in order.
    pub fn observe(&mut self, minute: i64, load: Option<f64>) {
        let Some(load) = load.filter(|load| load.is_finite() && *load >= 0.0) else {
            self.lately.clear();
            return;
        };
        self.seen = self.seen.saturating_add(1);
        self.lately.push_back(load);
        if self.lately.len() > LATELY {
            self.lately.pop_front();
        }
        let Some(now) = self.now() else { return };
        let hour = minute.div_euclid(60);
        match self.hours.back_mut() {
            Some((last, highest)) if *last == hour => *highest = highest.max(now),
            _ => self.hours.push_back((hour, now)),
        }
        let day = i64::try_from(HOURS).unwrap_or(i64::MAX);
        self.hours.retain(|(known, _)| hour - known < day);
    }

    /// The load of now as a share of the day's highest; NaN while it is not known.
    pub fn share(&self) -> f64 {
        let highest = self.hours.iter().map(|(_, highest)| *highest).fold(0.0, f64::max);
        match self.now() {
            Some(now) if self.seen >= FEW && highest > 0.0 => now / highest,
            _ => f64::NAN,
        }
    }

    fn now(&self) -> Option<f64> {
        (!self.lately.is_empty()).then(|| self.lately.iter().sum::<f64>() / self.lately.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_quiet_beside_the_highest_of_its_day() {
        let mut day = Day::default();
        let load = |minute: i64| if minute % 1_440 < 720 { 100.0 } else { 20.0 };
        for minute in 0..30 {
            day.observe(minute, Some(load(minute)));
        }
        assert!(day.share().is_nan(), "half an hour says nothing of a day");
        for minute in 30..720 {
            day.observe(minute, Some(load(minute)));
        }
        assert!((day.share() - 1.0).abs() < 1e-9);
        for minute in 720..730 {
            day.observe(minute, Some(load(minute)));
        }
        assert!((day.share() - 0.2).abs() < 1e-9);
        // A day later the busy hours are forgotten.
        for minute in 730..2_880 {
            day.observe(minute, Some(20.0));
        }
        assert!((day.share() - 1.0).abs() < 1e-9);
        assert!(day.hours.len() <= HOURS && day.lately.len() <= LATELY);
        day.observe(2_881, None);
        assert!(day.share().is_nan(), "what is not seen is not quiet");
        let mut idle = Day::default();
        (0..100).for_each(|minute| idle.observe(minute, Some(0.0)));
        assert!(idle.share().is_nan(), "nothing was ever carried");
    }
}
