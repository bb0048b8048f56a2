//! Robust trend: the median slope of a recent window, fading, from the current level.
//!
//! Theil (1950) and Sen (1968): the median of the slopes of all pairs, here of pairs half a window apart (Conover's
//! short form), so that a third of the points may be wild. Damped as in Gardner and `McKenzie` (1985).

use super::history::{mean, median, usable};
use super::view::View;

/// Trend over the last three horizons.
pub fn forecast(view: &View<'_>, out: &mut [f64]) -> Option<()> {
    let window = 3 * view.horizon;
    let recent = &view.values[view.values.len().checked_sub(window)?..];
    let slope = slope(recent)?;
    let level = view.level(view.medium())?;
    let decay = view.fast_decay();
    let (mut gain, mut left) = (0.0, 1.0);
    for value in out {
        left *= decay;
        gain += left;
        *value = level + slope * gain;
    }
    Some(())
}

/// Median slope per step of the pairs half the values apart; `None` when fewer than four pairs are whole.
pub fn slope(values: &[f64]) -> Option<f64> {
    let half = values.len() / 2;
    let mut slopes: Vec<f64> = values
        .iter()
        .zip(&values[half..])
        .filter(|(early, late)| usable(**early) && usable(**late))
        .map(|(early, late)| (late - early) / half as f64)
        .collect();
    if slopes.len() < 4 {
        return None;
    }
    median(&mut slopes)
}

/// Level and slope of a line through all values by medians: slope of [`slope`], level the median of what is left at
/// the last value.
pub fn line(values: &[f64]) -> Option<(f64, f64)> {
    let slope = slope(values)?;
    let last = values.len() as f64 - 1.0;
    let mut levels: Vec<f64> = values
        .iter()
        .enumerate()
        .filter(|(_, value)| usable(**value))
        .map(|(place, value)| value + slope * (last - place as f64))
        .collect();
    let level = median(&mut levels)?;
    mean([level]).map(|level| (level, slope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_points_do_not_bend_the_line() {
        let mut values: Vec<f64> = (0..36).map(|step| 10.0 + 2.0 * f64::from(step)).collect();
        values[7] = 1e9;
        values[20] = -1e9;
        values[30] = f64::NAN;
        let (level, slope) = line(&values).unwrap();
        assert!((slope - 2.0).abs() < 1e-9 && (level - 80.0).abs() < 1e-9);
        assert!(line(&[f64::NAN; 30]).is_none());
        assert!(line(&[1.0]).is_none());
    }
}
