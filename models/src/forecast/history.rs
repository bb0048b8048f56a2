//! What a forecast starts from: values at a fixed step, with their place in time.

/// Values beyond this are taken as missing: sums of a million of them are still finite.
const LARGEST: f64 = 1e280;

/// A series at a fixed step. Missing points are NaN; they are skipped wherever they occur and never filled in.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    start: i64,
    step_seconds: u32,
    values: &'a [f64],
}

/// A history that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HistoryError {
    /// The step is zero or longer than a week.
    #[error("a step of {0} s cannot be forecast, it must be 1 to 604,800 s")]
    Step(u32),
}

impl<'a> History<'a> {
    /// `values[i]` is what was seen from `start_seconds + i * step_seconds` on, since 1970, for one step.
    pub fn new(start_seconds: i64, step_seconds: u32, values: &'a [f64]) -> Result<Self, HistoryError> {
        if !(1..=604_800).contains(&step_seconds) {
            return Err(HistoryError::Step(step_seconds));
        }
        Ok(Self { start: start_seconds.div_euclid(i64::from(step_seconds)), step_seconds, values })
    }

    /// Number of the first step since 1970.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Number of the first step to forecast.
    pub fn end(&self) -> i64 {
        self.start.saturating_add_unsigned(self.values.len() as u64)
    }

    /// Seconds of a step.
    pub fn step_seconds(&self) -> u32 {
        self.step_seconds
    }

    /// The values, missing ones not finite.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    /// What was known before the step with this number; `None` outside of the history.
    pub fn before(&self, origin: i64) -> Option<History<'a>> {
        let length = usize::try_from(origin.checked_sub(self.start)?).ok()?;
        Some(Self { values: self.values.get(..length)?, ..*self })
    }

    /// The same start and step with other values.
    pub(super) fn with<'b>(&self, values: &'b [f64]) -> History<'b> {
        History { start: self.start, step_seconds: self.step_seconds, values }
    }

    /// The number of steps in `seconds`, if it is whole.
    pub fn steps_in(&self, seconds: u32) -> Option<usize> {
        seconds.is_multiple_of(self.step_seconds).then_some((seconds / self.step_seconds) as usize)
    }
}

/// Whether a value takes part.
pub(super) fn usable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// Mean of the usable values, `None` without one.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values
        .into_iter()
        .filter(|value| usable(*value))
        .fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Median of usable values, which are put in order; the mean of the two in the middle when their number is even.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values {
        [] => None,
        values if values.len() % 2 == 1 => Some(values[half]),
        values => Some(values[half - 1] / 2.0 + values[half] / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_of_an_origin_ends_before_it() {
        let values = [1.0, 2.0, 3.0];
        let history = History::new(600, 300, &values).unwrap();
        assert_eq!((history.start(), history.end()), (2, 5));
        assert_eq!(history.before(4).unwrap().values(), &[1.0, 2.0]);
        assert!(history.before(6).is_none() && history.before(1).is_none());
        assert_eq!(History::new(0, 0, &values).unwrap_err(), HistoryError::Step(0));
    }

    #[test]
    fn missing_points_are_skipped() {
        assert_eq!(mean([1.0, f64::NAN, 3.0, f64::INFINITY]), Some(2.0));
        assert_eq!(mean([f64::NAN]), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }
}
