//! Even steps out of uneven points.

use super::Point;
use serde::{Deserialize, Serialize};

/// What stands for the values of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregate {
    /// Arithmetic mean.
    Mean,
    /// The latest one.
    Last,
    /// The largest one.
    Maximum,
    /// How many there are. A step without any is a gap, not zero.
    Count,
}

/// Setting of [`resample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResampleConfig {
    /// Length of a step, in the unit of the points' time.
    pub step: i64,
    /// What stands for a step.
    pub aggregate: Aggregate,
    /// Most steps that are given out; one wrong timestamp must not fill the memory with gaps.
    pub maximum_steps: usize,
}

impl Default for ResampleConfig {
    /// One minute of milliseconds.
    fn default() -> Self {
        Self { step: 60_000, aggregate: Aggregate::Mean, maximum_steps: 1_000_000 }
    }
}

/// What [`resample`] refuses.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResampleError {
    /// A step must be 1 or longer.
    #[error("step is {0}, it must be 1 or more")]
    Step(i64),
    /// A point is older than the one before it.
    #[error("a point at {at} follows one at {before}; give the points in the order of time")]
    OutOfOrder {
        /// Time of the point.
        at: i64,
        /// Time of the point before it.
        before: i64,
    },
    /// First and last point are too far apart.
    #[error(
        "{steps} steps lie between the first and the last point, at most {maximum} are allowed; take a longer step or a shorter range"
    )]
    TooLong {
        /// Steps that it would take.
        steps: u128,
        /// [`ResampleConfig::maximum_steps`].
        maximum: usize,
    },
}

#[derive(Default)]
struct Step {
    count: u64,
    mean: f64,
    last: f64,
    maximum: f64,
}

impl Step {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let count = self.count as f64;
        // Parts, not a difference: two huge values of opposite sign must not overflow.
        self.mean = self.mean * ((count - 1.0) / count) + value / count;
        self.last = value;
        self.maximum = if self.count == 1 { value } else { self.maximum.max(value) };
    }

    fn value(&self, aggregate: Aggregate) -> Option<f64> {
        (self.count > 0).then_some(match aggregate {
            Aggregate::Mean => self.mean,
            Aggregate::Last => self.last,
            Aggregate::Maximum => self.maximum,
            Aggregate::Count => self.count as f64,
        })
    }
}

/// One point a step, from the step of the first point to that of the last, at the start of the step.
///
/// Steps begin at multiples of `step`, so that series with different first points line up. A step without a finite value is
/// a gap; gaps are never filled. Takes points in the order of time (times may repeat).
pub fn resample(
    points: impl IntoIterator<Item = Point>,
    config: ResampleConfig,
) -> Result<Vec<Point>, ResampleError> {
    if config.step < 1 {
        return Err(ResampleError::Step(config.step));
    }
    let mut out: Vec<Point> = Vec::new();
    // The step at work, by its number.
    let mut open: Option<(i64, Step)> = None;
    let mut first = None;
    let mut before = i64::MIN;
    for point in points {
        if point.at < before {
            return Err(ResampleError::OutOfOrder { at: point.at, before });
        }
        before = point.at;
        let number = point.at.div_euclid(config.step);
        let steps = (i128::from(number) - i128::from(*first.get_or_insert(number)) + 1).unsigned_abs();
        if steps > config.maximum_steps as u128 {
            return Err(ResampleError::TooLong { steps, maximum: config.maximum_steps });
        }
        let mut step = Step::default();
        if let Some((at_work, earlier)) = open.take() {
            if at_work == number {
                step = earlier;
            } else {
                out.push(at(at_work, config.step, earlier.value(config.aggregate)));
                out.extend((at_work + 1..number).map(|empty| at(empty, config.step, None)));
            }
        }
        if let Some(value) = point.value.filter(|value| value.is_finite()) {
            step.add(value);
        }
        open = Some((number, step));
    }
    if let Some((number, step)) = open {
        out.push(at(number, config.step, step.value(config.aggregate)));
    }
    Ok(out)
}

fn at(number: i64, step: i64, value: Option<f64>) -> Point {
    // The step of the oldest time there is may begin before it.
    Point { at: number.saturating_mul(step), value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(at: i64, value: impl Into<Option<f64>>) -> Point {
        Point { at, value: value.into() }
    }

    fn of(step: i64, aggregate: Aggregate) -> ResampleConfig {
        ResampleConfig { step, aggregate, maximum_steps: 100 }
    }

    #[test]
    fn gaps_stay_gaps_and_each_aggregate_is_what_it_says() {
        let points = [
            point(-5, 4.0),
            point(10, 1.0),
            point(12, 3.0),
            point(19, 2.0),
            point(21, None),
            point(45, f64::INFINITY),
            point(50, 7.0),
        ];
        let values = |aggregate| {
            let steps = resample(points, of(10, aggregate)).unwrap();
            assert_eq!(steps.iter().map(|step| step.at).collect::<Vec<_>>(), [-10, 0, 10, 20, 30, 40, 50]);
            steps.iter().map(|step| step.value).collect::<Vec<_>>()
        };
        assert_eq!(values(Aggregate::Mean), [Some(4.0), None, Some(2.0), None, None, None, Some(7.0)]);
        assert_eq!(values(Aggregate::Last), [Some(4.0), None, Some(2.0), None, None, None, Some(7.0)]);
        assert_eq!(values(Aggregate::Maximum), [Some(4.0), None, Some(3.0), None, None, None, Some(7.0)]);
        assert_eq!(values(Aggregate::Count), [Some(1.0), None, Some(3.0), None, None, None, Some(1.0)]);
    }

    #[test]
    fn one_wrong_timestamp_is_refused_and_not_filled_with_gaps() {
        let error = resample([point(0, 1.0), point(i64::MAX, 1.0)], of(1, Aggregate::Mean)).unwrap_err();
        assert!(error.to_string().starts_with("9223372036854775808 steps lie between"), "{error}");
        let error = resample([point(0, 1.0), point(-1, 1.0)], of(1, Aggregate::Mean)).unwrap_err();
        assert_eq!(error, ResampleError::OutOfOrder { at: -1, before: 0 });
        assert_eq!(resample([], of(0, Aggregate::Mean)), Err(ResampleError::Step(0)));
    }

    proptest! {
        #[test]
        fn any_points_give_finite_steps_in_order(
            mut points in prop::collection::vec((-500_i64..500, any::<f64>()), 0..60),
            step in 1_i64..100,
        ) {
            points.sort_by_key(|(at, _)| *at);
            let points = points.into_iter().map(|(at, value)| point(at, value));
            let config = ResampleConfig { step, maximum_steps: 2_000, ..ResampleConfig::default() };
            let steps = resample(points, config).unwrap();
            prop_assert!(steps.windows(2).all(|pair| pair[1].at - pair[0].at == step));
            prop_assert!(steps.iter().all(|step| step.value.is_none_or(f64::is_finite)));
        }
    }
}
