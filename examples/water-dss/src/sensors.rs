//! A hundred days of a utility's sensors, made up: one reading a minute, and weekends unlike weekdays.

use crate::shape::weekend;

/// Days that a run looks back on.
const DAYS: usize = 100;
/// Readings of one sensor.
pub const READINGS: usize = DAYS * 24 * 60;
/// Hours of a week.
const WEEK: i64 = 168;

/// Demand in litres a second, without noise, at one of the readings of a run at `hour`; sensor after sensor, each with the
/// oldest reading first.
pub fn reading(hour: u32, index: usize) -> f64 {
    let (sensor, minute) = (index / READINGS, index % READINGS);
    // Minutes before the run, into hours since the simulated beginning; a week later is the same time of the week.
    let back = (READINGS - minute) as i64 / 60;
    let at = (i64::from(hour) - back).rem_euclid(WEEK);
    let of_day = (at % 24) as f64 + (minute % 60) as f64 / 60.0;
    let peak = |around: f64, width: f64| (-((of_day - around) / width).powi(2)).exp();
    // People get up later at weekends, and all day at home use more.
    let demand = if weekend(at as u32) {
        30.0 + 22.0 * peak(10.5, 2.5) + 12.0 * peak(20.0, 3.0)
    } else {
        25.0 + 30.0 * peak(7.0, 1.5) + 18.0 * peak(19.0, 2.5)
    };
    demand * (1.0 + 0.1 * (sensor % 7) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Demand at an hour of the day, so many days before a run on a Friday at midnight.
    fn at(days: usize, hour: usize) -> f64 {
        reading(0, READINGS - (days * 24 - hour) * 60)
    }

    #[test]
    fn mornings_of_weekdays_come_earlier_than_those_of_weekends() {
        // Two days before a Friday is a Wednesday, five days before a Sunday.
        assert!(at(2, 7) > 50.0 && at(2, 7) > at(2, 11) + 15.0);
        assert!(at(5, 11) > 45.0 && at(5, 11) > at(5, 7) + 10.0);
    }

    #[test]
    fn a_week_is_like_the_one_before_and_sensors_differ_in_size() {
        assert!((at(2, 7) - at(9, 7)).abs() < 1e-9);
        assert!(reading(0, READINGS + 100) > reading(0, 100));
    }
}
