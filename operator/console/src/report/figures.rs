//! Key figures with their printed definitions. Percentiles by nearest rank; what is still open is counted as
//! open, never as zero.

use super::text;
use homeostat_knowledge::{Incident, Instants, Timestamp};
use serde::{Deserialize, Serialize};

/// Unit of a key figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Seconds, shown as a duration.
    Seconds,
    /// A share from 0 to 1, shown in percent.
    Share,
    /// A whole number.
    Count,
}

/// One key figure over some values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyFigure {
    /// Name, e.g. `MTTD`.
    pub name: String,
    /// What it means, in words and with its anchors.
    pub definition: String,
    /// Unit of the values.
    pub unit: Unit,
    /// Number of values that it stands on.
    pub count: usize,
    /// Number of cases that have no value yet because they are still open.
    pub open: usize,
    /// Mean; `None` without values. Infinite when a case will never have one.
    pub mean: Option<f64>,
    /// Median (nearest rank).
    pub median: Option<f64>,
    /// 90th percentile (nearest rank).
    pub p90: Option<f64>,
    /// 95th percentile (nearest rank).
    pub p95: Option<f64>,
    /// Largest value.
    pub maximum: Option<f64>,
}

impl KeyFigure {
    /// A figure over cases; `None` is a case that is still open. NaN counts as open, too.
    pub fn new(
        name: impl Into<String>,
        definition: impl Into<String>,
        unit: Unit,
        cases: impl IntoIterator<Item = Option<f64>>,
    ) -> Self {
        let (mut values, mut open) = (Vec::new(), 0);
        for case in cases {
            match case {
                Some(value) if !value.is_nan() => values.push(value),
                _ => open += 1,
            }
        }
        values.sort_by(f64::total_cmp);
        let count = values.len();
        Self {
            name: name.into(),
            definition: definition.into(),
            unit,
            count,
            open,
            mean: (count > 0).then(|| values.iter().sum::<f64>() / count as f64),
            median: nearest_rank(&values, 0.5),
            p90: nearest_rank(&values, 0.9),
            p95: nearest_rank(&values, 0.95),
            maximum: values.last().copied(),
        }
    }

    /// A value in the figure's unit, for people.
    pub fn show(&self, value: Option<f64>) -> String {
        value.map_or_else(
            || text::NO_DATA.to_owned(),
            |value| match self.unit {
                Unit::Seconds => text::seconds(value),
                Unit::Share => text::percent(value),
                Unit::Count if value.is_finite() && value >= 0.0 => text::count(value.round() as u64),
                Unit::Count => text::NO_DATA.to_owned(),
            },
        )
    }
}

/// The smallest value that at least the share `quantile` of all values does not exceed. `sorted` is ascending.
pub fn nearest_rank(sorted: &[f64], quantile: f64) -> Option<f64> {
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

type Anchors = fn(&Instants) -> (Timestamp, Option<Timestamp>);

/// Name, definition and anchors of every figure of an incident.
const INCIDENT_FIGURES: [(&str, &str, Anchors); 4] = [
    (
        "MTTD",
        "Mean time to detect: detected − impact start, from the first bad sample or failed request until \
         Homeostat recognised it.",
        |at| (at.impact_start, Some(at.detected)),
    ),
    (
        "MTTA",
        "Mean time to acknowledge: acknowledged − detected, until automation or a person took it.",
        |at| (at.detected, at.acknowledged),
    ),
    (
        "MTTR",
        "Mean time to repair: mitigated − detected, from recognition until it was back inside its objective.",
        |at| (at.detected, at.mitigated),
    ),
    ("Time to restore", "Mitigated − impact start: how long users felt it.", |at| {
        (at.impact_start, at.mitigated)
    }),
];

/// The figures of some incidents, each with its definition.
pub fn of_incidents(incidents: &[&Incident]) -> Vec<KeyFigure> {
    INCIDENT_FIGURES
        .into_iter()
        .map(|(name, definition, anchors)| {
            let cases = incidents.iter().filter_map(|incident| {
                let (from, to) = anchors(&incident.instants);
                // What was well again before it was recognised took no time to repair.
                let seconds = to.map(|to| to.duration_since(from).as_secs_f64().max(0.0));
                // What nobody did before the incident was over will never be done.
                (seconds.is_some() || !incident.state.closed()).then_some(seconds)
            });
            KeyFigure::new(name, definition, Unit::Seconds, cases)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(nearest_rank(&values, 0.5), Some(10.0));
        assert_eq!(nearest_rank(&values, 0.95), Some(19.0));
        assert_eq!(nearest_rank(&values[..1], 0.95), Some(1.0));
        assert_eq!(nearest_rank(&values, 0.0), Some(1.0));
        assert_eq!(nearest_rank(&[], 0.95), None);
    }

    #[test]
    fn open_cases_are_counted_and_no_data_is_never_zero() {
        let figure = KeyFigure::new("MTTR", "", Unit::Seconds, [Some(2.0), None, Some(1.0), Some(f64::NAN)]);
        assert_eq!((figure.count, figure.open, figure.mean), (2, 2, Some(1.5)));
        let nothing = KeyFigure::new("MTTR", "", Unit::Seconds, [None]);
        assert_eq!((nothing.mean, nothing.show(nothing.mean)), (None, "no data".to_owned()));
        let lost = KeyFigure::new("MTTD", "", Unit::Seconds, [Some(1.0), Some(f64::INFINITY)]);
        assert_eq!(lost.show(lost.p95), "never");
    }
}
