//! How many replicas a load takes.

use super::OutlookConfig;
use homeostat_knowledge::policy::{Bounds, Fallback};

/// What people allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Fewest and most replicas.
    pub bounds: Option<Bounds>,
    /// Size when the load is not seen for long.
    pub fallback: Option<Fallback>,
}

/// What is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Load of the last minute.
    pub now: Option<f64>,
    /// Highest 90th percentile ahead; `None` without skill.
    pub p90: Option<f64>,
    /// Highest load of the recent past.
    pub recent: Option<f64>,
    /// Minutes since a load was seen; `None` when there never was one.
    pub silent: Option<usize>,
    /// Load that one replica carries.
    pub per_replica: Option<f64>,
    /// Healthy minutes with requests that were seen.
    pub healthy: u32,
    /// The last size that was said.
    pub before: Option<u32>,
}

/// Replicas and why; `None` when nothing can be said, with what to change.
pub(super) fn size(config: &OutlookConfig, known: &Known, given: &Given) -> (Option<u32>, String) {
    let Some(bounds) = given.bounds else {
        return (None, "spec.scaling.replicas is not set; set its min and max to be told a size".to_owned());
    };
    if bounds.min > bounds.max {
        let text = format!(
            "spec.scaling.replicas.min {} exceeds its max {}; correct one of them",
            bounds.min, bounds.max
        );
        return (None, text);
    }
    let Some(silent) = known.silent else {
        let text = "no request was seen yet; send traces with server spans over OTLP";
        return (None, text.to_owned());
    };
    if silent >= config.silent {
        return silence(silent, known, given, bounds);
    }
    let Some(each) = known.per_replica else {
        let text = format!(
            "what one replica carries is not known yet: {} of {} healthy minutes with requests were seen",
            known.healthy, config.healthy_minutes
        );
        return (None, text);
    };
    let now = known.now.unwrap_or(0.0);
    let horizon = config.forecast.horizon;
    let (load, from) = match (known.p90, known.recent) {
        (Some(p90), _) if p90 >= now => {
            (p90, format!("p90 of the next {horizon} min reaches {} requests/s", short(p90)))
        }
        (Some(_), _) => (now, format!("{} requests/s now, above the forecast", short(now))),
        (None, recent) => {
            let highest = recent.unwrap_or(now).max(now);
            let percent = config.margin * 100.0;
            let text = format!(
                "no proven skill: the highest of the last {} min, {} requests/s, and {percent:.0} % more",
                config.recent,
                short(highest)
            );
            (highest * (1.0 + config.margin), text)
        }
    };
    // A hair below a whole number is that number.
    let needed = (load / each - 1e-9).ceil().max(0.0);
    let wanted = needed.clamp(bounds.min as f64, bounds.max as f64);
    let each = short(each);
    let mut why = format!("{from}; one replica was seen to carry {each} while healthy");
    if needed > wanted {
        why =
            format!("{why}; {} would be needed, spec.scaling.replicas.max is {}", short(needed), bounds.max);
    } else if needed < wanted {
        why = format!("{why}; {needed:.0} would do, spec.scaling.replicas.min is {}", bounds.min);
    }
    (Some(wanted as u32), why)
}

/// No load is seen: the last safe size, then the declared one, never zero.
fn silence(silent: usize, known: &Known, given: &Given, bounds: Bounds) -> (Option<u32>, String) {
    let hint = "check that traces with server spans arrive over OTLP";
    let fallback = given.fallback.filter(|fallback| silent as i64 * 60 >= fallback.after.as_secs());
    if let Some(fallback) = fallback {
        let wanted = u64::from(fallback.replicas).clamp(bounds.min, bounds.max).max(1);
        let text = format!("no load was seen for {silent} min: spec.scaling.fallback counts; {hint}");
        return (u32::try_from(wanted).ok(), text);
    }
    match known.before {
        Some(before) => {
            let wanted = u64::from(before).clamp(bounds.min, bounds.max).max(1);
            let text = format!("no load was seen for {silent} min: the last size stays; {hint}");
            (u32::try_from(wanted).ok(), text)
        }
        None => (None, format!("no load was seen for {silent} min and no size was said before; {hint}")),
    }
}

/// A number for a sentence.
fn short(value: f64) -> String {
    if value.abs() < 1e7 { format!("{value:.1}") } else { format!("{value:.2e}") }
}
