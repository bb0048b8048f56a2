//! Forecasts as metrics: what is expected of each, how good it is, when a limit is reached, and the size that follows.
//!
//! Labels are names that people give, so their number is bounded: of more than [`MOST`] the first by name are shown, and how
//! many are not.

use super::BySkill;
use homeostat_knowledge::forecast::REQUESTS;
use homeostat_knowledge::{ForecastRecord, ForecastSkill};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

/// Forecasts that have series of their own.
const MOST: usize = 1_000;

type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    namespace: String,
    workload: String,
    signal: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQuantile {
    namespace: String,
    workload: String,
    signal: String,
    quantile: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWorkload {
    namespace: String,
    workload: String,
}

/// The series about forecasts.
#[derive(Clone, Debug, Default)]
pub(super) struct Forecasts {
    skills: Family<BySkill, Gauge>,
    left_out: Gauge,
    limits_left_out: Gauge,
    now: Family<Of, Number>,
    peak: Family<OfQuantile, Number>,
    low: Family<OfQuantile, Number>,
    next_choice: Family<Of, Number>,
    error: Family<Of, Number>,
    limit: Family<Of, Number>,
    wanted: Family<OfWorkload, Gauge>,
    not_shown: Gauge,
}

impl Forecasts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "forecast_series",
            "Requests and other loads of Workloads with spec.scaling that are forecast, by whether the forecast beats the \
             naive ones",
            self.skills.clone(),
        );
        registry.register(
            "forecast_left_out",
            "Requests and other loads of Workloads with spec.scaling that are not forecast because there are too many",
            self.left_out.clone(),
        );
        registry.register(
            "forecast_limits_left_out",
            "Signals that fill up (memory, volumes, quotas, ephemeral storage) and are not forecast because there are too many",
            self.limits_left_out.clone(),
        );
        registry.register(
            "forecast_now",
            "The load of the last step; of signal runs the seconds that the last run took",
            self.now.clone(),
        );
        registry.register(
            "forecast_peak",
            "Highest expected load of a single step within the horizon; of signal runs the seconds of the next run",
            self.peak.clone(),
        );
        registry.register(
            "forecast_low",
            "Lowest expected load within the horizon, of means over some minutes; of signal runs the seconds of the next run",
            self.low.clone(),
        );
        registry.register_with_unit(
            "forecast_next_choice_timestamp",
            "When models are compared again at the latest, in seconds since 1970",
            Unit::Seconds,
            self.next_choice.clone(),
        );
        registry.register_with_unit(
            "forecast_error",
            "Back-tested error as a share of the seasonal naive forecast's",
            Unit::Ratios,
            self.error.clone(),
        );
        registry.register_with_unit(
            "forecast_limit",
            "Time until a limit is reached, median; only where a trend was proven",
            Unit::Seconds,
            self.limit.clone(),
        );
        registry.register(
            "wanted_replicas",
            "Replicas that a workload should have by its forecast and what is seen now",
            self.wanted.clone(),
        );
        registry.register(
            "forecasts_not_shown",
            "Forecasts beyond the first 1,000, which have no series of their own",
            self.not_shown.clone(),
        );
    }

    pub(super) fn skills(&self, skills: impl Iterator<Item = ForecastSkill>, left_out: usize) {
        for skill in ForecastSkill::ALL {
            self.skills.get_or_create(&BySkill { skill: skill.name() }).set(0);
        }
        for skill in skills {
            self.skills.get_or_create(&BySkill { skill: skill.name() }).inc();
        }
        self.left_out.set(i64::try_from(left_out).unwrap_or(i64::MAX));
    }

    pub(super) fn limits_left_out(&self, left_out: usize) {
        self.limits_left_out.set(i64::try_from(left_out).unwrap_or(i64::MAX));
    }

    /// What is not forecast any more has no series.
    pub(super) fn show(&self, sorted: &[&ForecastRecord]) {
        self.now.clear();
        self.peak.clear();
        self.low.clear();
        self.next_choice.clear();
        self.error.clear();
        self.limit.clear();
        self.wanted.clear();
        for record in sorted.iter().take(MOST) {
            self.one(record);
        }
        let beyond = sorted.len().saturating_sub(MOST);
        self.not_shown.set(i64::try_from(beyond).unwrap_or(i64::MAX));
    }

    fn one(&self, record: &ForecastRecord) {
        let of = Of {
            namespace: record.workload.namespace.to_string(),
            workload: record.workload.name.to_string(),
            signal: record.signal.to_string(),
        };
        let outlook = &record.outlook;
        if let Some(now) = outlook.now {
            self.now.get_or_create(&of).set(now);
        }
        let at_quantile = |quantile| {
            let (namespace, workload) = (of.namespace.clone(), of.workload.clone());
            OfQuantile { namespace, workload, signal: of.signal.clone(), quantile }
        };
        if let Some(peak) = outlook.peak {
            for (quantile, value) in [("0.5", peak.p50), ("0.9", peak.p90)] {
                self.peak.get_or_create(&at_quantile(quantile)).set(value);
            }
        }
        if let Some(low) = outlook.low() {
            self.low.get_or_create(&at_quantile("0.1")).set(low);
        }
        if let Some(next) = outlook.next_choice {
            self.next_choice.get_or_create(&of).set(next.as_second() as f64);
        }
        if let Some(error) = outlook.error {
            self.error.get_or_create(&of).set(error);
        }
        if let Some(limit) = &outlook.limit {
            self.limit.get_or_create(&of).set(limit.p50_seconds);
        }
        // The size follows from all loads of a workload and stands beside the first.
        let wanted = record.size.wanted.filter(|_| *record.signal == *REQUESTS);
        if let Some(wanted) = wanted {
            let labels = OfWorkload { namespace: of.namespace, workload: of.workload };
            self.wanted.get_or_create(&labels).set(i64::from(wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Metrics;
    use homeostat_knowledge::forecast::{ForecastPoint, LoadLimit, MEMORY, Outlook, Peak, REQUESTS};
    use homeostat_knowledge::policy::ScalingMode;
    use homeostat_knowledge::{ForecastRecord, ForecastSkill, Name, ObjectKey, SizeAdvice, Timestamp, Uid};

    fn forecast(name: &str, signal: &str) -> ForecastRecord {
        let made = Timestamp::UNIX_EPOCH;
        ForecastRecord {
            workload: ObjectKey::new("shop", name),
            workload_uid: Uid::new(name),
            tenant: None,
            signal: Name::from(signal),
            mode: ScalingMode::Auto,
            replicas: 2,
            outlook: Outlook {
                made,
                horizon_seconds: 3_600,
                now: Some(12.5),
                skill: ForecastSkill::Proven,
                model: Some("theta".into()),
                reason: String::new(),
                error: Some(0.8),
                peak: Some(Peak { p50: 30.0, p90: 40.5 }),
                points: [9.5, 8.25, 11.0]
                    .map(|p10| ForecastPoint { at: made, p10, p50: 20.0, p90: 30.0 })
                    .to_vec(),
                next_choice: Timestamp::from_second(86_400).ok(),
                limit: None,
            },
            size: SizeAdvice { wanted: Some(5), ..SizeAdvice::keep(made) },
            memory: None,
        }
    }

    #[test]
    fn each_forecast_is_shown_with_what_follows_from_it_and_goes_with_it() {
        let metrics = Metrics::new("0");
        let mut memory = forecast("order", MEMORY);
        memory.outlook.limit =
            Some(LoadLimit { load: 5e8, p10_seconds: None, p50_seconds: 5_400.0, reason: String::new() });
        let order = forecast("order", REQUESTS);
        metrics.forecast_values(&[&memory, &order]);
        let page = metrics.text();
        for line in [
            "homeostat_forecast_now{namespace=\"shop\",workload=\"order\",signal=\"requests\"} 12.5",
            "homeostat_forecast_peak{namespace=\"shop\",workload=\"order\",signal=\"requests\",quantile=\"0.9\"} 40.5",
            "homeostat_forecast_low{namespace=\"shop\",workload=\"order\",signal=\"requests\",quantile=\"0.1\"} 8.25",
            "homeostat_forecast_next_choice_timestamp_seconds{namespace=\"shop\",workload=\"order\",signal=\"requests\"} 86400.0",
            "homeostat_forecast_error_ratios{namespace=\"shop\",workload=\"order\",signal=\"requests\"} 0.8",
            "homeostat_forecast_limit_seconds{namespace=\"shop\",workload=\"order\",signal=\"memory\"} 5400.0",
            "homeostat_wanted_replicas{namespace=\"shop\",workload=\"order\"} 5",
            "homeostat_forecasts_not_shown 0",
        ] {
            assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
        }
        assert_eq!(page.matches("homeostat_wanted_replicas{").count(), 1);

        metrics.forecast_values(&[]);
        assert!(!metrics.text().contains("workload=\"order\""));
    }

    #[test]
    fn each_load_that_is_forecast_counts_not_each_workload() {
        let metrics = Metrics::new("0");
        let of_one = [ForecastSkill::Proven, ForecastSkill::Absent, ForecastSkill::Proven];
        metrics.forecasts(of_one.into_iter(), 4);
        metrics.limits_left_out(7);
        let page = metrics.text();
        for line in ["homeostat_forecast_left_out 4", "homeostat_forecast_limits_left_out 7"] {
            assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
        }
        for (skill, count) in [("proven", 2), ("absent", 1), ("unknown", 0)] {
            let line = format!("homeostat_forecast_series{{skill=\"{skill}\"}} {count}");
            assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
        }
        assert!(!page.contains("homeostat_forecast_workloads"), "{page}");
    }

    #[test]
    fn the_number_of_series_is_bounded_and_what_is_left_out_is_told() {
        let metrics = Metrics::new("0");
        let all: Vec<ForecastRecord> =
            (0..1_005).map(|number| forecast(&format!("w-{number:04}"), REQUESTS)).collect();
        metrics.forecast_values(&all.iter().collect::<Vec<_>>());
        let page = metrics.text();
        assert_eq!(page.matches("homeostat_forecast_now{").count(), 1_000);
        assert!(page.contains("homeostat_forecasts_not_shown 5"), "{page}");
    }
}
