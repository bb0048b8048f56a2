//! Seasonal level: the median profile of past cycles, moved to the current level.
//!
//! A classical decomposition by medians (after Cleveland et al. 1990, where means are local) with additive level.

use super::history::mean;
use super::view::View;

/// Cycles that make the profile.
const CYCLES: usize = 7;

/// How the profile is smoothed and how long the current deviation lasts.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Steps on either side that the profile is averaged over.
    smooth: usize,
    /// Steps that the current deviation is measured over.
    window: usize,
    /// What is left of it after one step.
    decay: f64,
}

/// The profile as it is, moved by the deviation of the last quarter of a horizon, which stays.
pub fn sharp(view: &View<'_>, out: &mut [f64]) -> Option<()> {
    forecast(view, Shape { smooth: 0, window: view.medium(), decay: 1.0 }, out)
}

/// The profile smoothed over a horizon, moved by the deviation of the last horizon, which fades: for noisy series.
pub fn steady(view: &View<'_>, out: &mut [f64]) -> Option<()> {
    forecast(view, Shape { smooth: view.horizon / 2, window: view.horizon, decay: view.fast_decay() }, out)
}

fn forecast(view: &View<'_>, shape: Shape, out: &mut [f64]) -> Option<()> {
    let cycle = view.cycle?;
    let origin = view.values.len();
    if origin < cycle + shape.window + shape.smooth {
        return None;
    }
    // One profile for all that is needed: the window before the origin, the steps after it, and the edges.
    let from = origin - shape.window - shape.smooth;
    let ahead = out.len().min(cycle);
    let profile: Vec<f64> = (from..origin + ahead + shape.smooth)
        .map(|place| view.profile(place, cycle, CYCLES).unwrap_or(f64::NAN))
        .collect();
    let smooth = |place: usize| {
        mean(profile[place - from - shape.smooth..=place - from + shape.smooth].iter().copied())
    };
    let deviation = mean(
        (origin - shape.window..origin)
            .map(|place| smooth(place).map_or(f64::NAN, |usual| view.values[place] - usual)),
    )
    .unwrap_or(0.0);
    let mut left = deviation;
    for step in 0..out.len() {
        left *= shape.decay;
        out[step] = if step < cycle { smooth(origin + step)? + left } else { out[step - cycle] };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_day_is_forecast_raised() {
        let mut values: Vec<f64> = (0..288 * 4).map(|step| f64::from((step % 288_i32 - 144).abs())).collect();
        let raised = values.len() - 24;
        for value in &mut values[raised..] {
            *value += 50.0;
        }
        let view = View { values: &values, cycle: Some(288), week: None, horizon: 12, memory: 28 };
        let mut out = [0.0; 12];
        sharp(&view, &mut out).unwrap();
        assert!((out[0] - 194.0).abs() < 1e-9 && (out[11] - 183.0).abs() < 1e-9, "{out:?}");
        steady(&view, &mut out).unwrap();
        assert!(out[0] > 180.0 && out[11] < 160.0, "{out:?}");
    }
}
