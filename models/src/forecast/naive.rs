//! Naive forecasts: what every other model must beat.

use super::view::View;

/// The value one cycle earlier; beyond a cycle it repeats. A missing value is looked for further back.
pub fn seasonal(view: &View<'_>, cycle: usize, out: &mut [f64]) -> Option<()> {
    let length = view.values.len();
    if cycle == 0 || length < cycle {
        return None;
    }
    for (step, value) in out.iter_mut().enumerate() {
        let newest = length - cycle + step % cycle;
        *value = (0..view.memory)
            .map_while(|back| newest.checked_sub(back * cycle))
            .map(|place| view.values[place])
            .find(|value| super::history::usable(*value))?;
    }
    Some(())
}

/// The last value, for every step.
pub fn last(view: &View<'_>, out: &mut [f64]) -> Option<()> {
    out.fill(view.last()?);
    Some(())
}

/// The mean of the last horizon, for every step.
pub fn level(view: &View<'_>, out: &mut [f64]) -> Option<()> {
    out.fill(view.level(view.horizon).or_else(|| view.last())?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: &[f64], other: &[f64]) -> bool {
        one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-12)
    }

    #[test]
    fn repeats_the_cycle_and_looks_past_gaps() {
        let values = [1.0, 2.0, 3.0, 4.0, f64::NAN, 6.0];
        let view = View { values: &values, cycle: Some(3), week: None, horizon: 3, memory: 5 };
        let mut out = [0.0; 4];
        seasonal(&view, 3, &mut out).unwrap();
        assert!(close(&out, &[4.0, 2.0, 6.0, 4.0]), "{out:?}");
        last(&view, &mut out).unwrap();
        assert!(close(&out, &[6.0; 4]), "{out:?}");
        level(&view, &mut out).unwrap();
        assert!(close(&out, &[5.0; 4]), "{out:?}");
        assert!(seasonal(&view, 7, &mut out).is_none());
    }
}
