//! `spec.signals` of a `Workload`, and its backlog, become the signals of its policy.

use super::{Rejection, decimal};
use homeostat_crds::v1alpha1::WorkloadSpec;
use homeostat_crds::v1alpha1::workload::{
    Across as WireAcross, Backlog, BadDirection, Measures as WireMeasures, Signal as WireSignal,
};
use homeostat_knowledge::Name;
use homeostat_knowledge::forecast::{MEMORY, REQUESTS};
use homeostat_knowledge::policy::{Across, BACKLOG, Measures, MetricPolicy, SignalPolicy};

/// The signals that people name, and behind them the backlog as one.
pub fn signals(spec: &WorkloadSpec) -> Result<Vec<SignalPolicy>, Rejection> {
    let number =
        |field: &str, text: Option<&str>| text.map(|text| decimal(field, text, -1e24, 1e24)).transpose();
    let mut signals = Vec::with_capacity(spec.signals.len());
    for (index, signal) in spec.signals.iter().enumerate() {
        let field = |name: &str| format!("spec.signals[{index}].{name}");
        let (promql, metric) = asked(&field, signal)?;
        let threshold = number(&field("threshold"), signal.threshold.as_deref())?;
        let measures = signal.measures.map_or(Measures::Other, measures);
        if measures.stored() {
            // A rule of the schema asks for a number; text rules cannot compare it.
            if !threshold.is_some_and(|limit| limit > 0.0) {
                let found =
                    signal.threshold.as_ref().map_or("not set".to_owned(), |text| format!("`{text}`"));
                let rule = "it must be above 0: the capacity of the volume, or the hard limit of the quota";
                return Err(Rejection::field(field("threshold"), found, rule));
            }
            if [REQUESTS, MEMORY].contains(&signal.name.as_str()) {
                let rule = "its Forecast would have the name of another one; call it e.g. volume or quota";
                return Err(Rejection::field(field("name"), format!("`{}`", signal.name), rule));
            }
        }
        signals.push(SignalPolicy {
            name: Name::from(signal.name.as_str()),
            promql,
            metric,
            unit: Name::from(signal.unit.as_deref().unwrap_or_default()),
            bad_above: signal.bad_direction == BadDirection::Above,
            threshold,
            minimum_effect: number(&field("minimumEffect"), signal.minimum_effect.as_deref())?,
            measures,
        });
    }

    if let Some(backlog) = spec.scaling.as_ref().and_then(|scaling| scaling.backlog.as_ref()) {
        let (promql, metric) = waiting(backlog, &signals)?;
        signals.push(SignalPolicy {
            name: Name::from(BACKLOG),
            promql,
            metric,
            unit: Name::from("items"),
            bad_above: true,
            threshold: None,
            minimum_effect: None,
            measures: Measures::Load,
        });
    }
    Ok(signals)
}

/// What a signal is read from: a query, or a metric of the workload's own pods.
fn asked(
    field: &impl Fn(&str) -> String,
    signal: &WireSignal,
) -> Result<(Name, Option<MetricPolicy>), Rejection> {
    match (&signal.promql, &signal.metric) {
        (Some(_), Some(metric)) => {
            let rule = "it and promql exclude each other; leave one out";
            Err(Rejection::field(field("metric"), format!("`{metric}`"), rule))
        }
        (None, Some(metric)) if metric.trim().is_empty() => {
            Err(Rejection::field(field("metric"), "empty", "it must be the name of a metric"))
        }
        (None, Some(metric)) => {
            let across = match signal.across {
                None | Some(WireAcross::Sum) => Across::Sum,
                Some(WireAcross::Max) => Across::Max,
            };
            Ok((Name::from(""), Some(MetricPolicy { name: Name::from(metric.as_str()), across })))
        }
        (promql, None) => {
            let promql = promql.as_deref().unwrap_or_default();
            if promql.trim().is_empty() {
                let rule = "it must be a query, or metric the name of a metric that the pods send";
                return Err(Rejection::field(field("promql"), "empty", rule));
            }
            Ok((Name::from(promql), None))
        }
    }
}

/// What a backlog is read from: a query of its own, or what one of the signals is read from.
fn waiting(backlog: &Backlog, signals: &[SignalPolicy]) -> Result<(Name, Option<MetricPolicy>), Rejection> {
    match (&backlog.promql, &backlog.signal) {
        (Some(_), Some(name)) => {
            let rule = "it and promql exclude each other; leave one out";
            Err(Rejection::field("spec.scaling.backlog.signal", format!("`{name}`"), rule))
        }
        (None, Some(name)) => {
            let named = signals.iter().find(|signal| *signal.name == **name);
            let signal = named.ok_or_else(|| {
                let rule = "it must be the name of one of spec.signals";
                Rejection::field("spec.scaling.backlog.signal", format!("`{name}`"), rule)
            })?;
            Ok((signal.promql.clone(), signal.metric.clone()))
        }
        (promql, None) => {
            let promql = promql.as_deref().unwrap_or_default();
            if promql.trim().is_empty() {
                let rule = "it must be a query, or signal one of spec.signals";
                return Err(Rejection::field("spec.scaling.backlog.promql", "empty", rule));
            }
            Ok((Name::from(promql), None))
        }
    }
}

fn measures(wire: WireMeasures) -> Measures {
    match wire {
        WireMeasures::Backlog => Measures::Backlog,
        WireMeasures::MemoryBytes => Measures::MemoryBytes,
        WireMeasures::CpuCores => Measures::CpuCores,
        WireMeasures::VolumeBytes => Measures::VolumeBytes,
        WireMeasures::QuotaUsed => Measures::QuotaUsed,
        WireMeasures::CertificateSeconds => Measures::CertificateSeconds,
    }
}
