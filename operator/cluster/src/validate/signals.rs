//! `spec.signals` of a `Workload`, and its backlog, become the signals of its policy.

use super::{Rejection, SUBDOMAIN, bounded, decimal, object_name};
use homeostat_crds::v1alpha1::WorkloadSpec;
use homeostat_crds::v1alpha1::workload::{
    Across as WireAcross, Backlog, BadDirection, Measures as WireMeasures, Signal as WireSignal,
};
use homeostat_knowledge::forecast::{MEMORY, REQUESTS, RUNS, WAITING};
use homeostat_knowledge::policy::{
    Across, BACKLOG, ExternalPolicy, HEARTBEAT, HeartbeatPolicy, Measures, MetricPolicy, Permits,
    SignalPolicy,
};
use homeostat_knowledge::{Name, SignedDuration, WorkloadKey};

/// The signals that people name, and behind them the backlog as one.
pub fn signals(spec: &WorkloadSpec) -> Result<Vec<SignalPolicy>, Rejection> {
    let number =
        |field: &str, text: Option<&str>| text.map(|text| decimal(field, text, -1e24, 1e24)).transpose();
    let mut signals = Vec::with_capacity(spec.signals.len());
    for (index, signal) in spec.signals.iter().enumerate() {
        let field = |name: &str| format!("spec.signals[{index}].{name}");
        let Asked { promql, metric, external } = asked(&field, signal)?;
        let threshold = number(&field("threshold"), signal.threshold.as_deref())?;
        let measures = signal.measures.map_or(Measures::Other, measures);
        if measures.fills() {
            // A rule of the schema asks for a number; text rules cannot compare it. A container may have a limit of its own.
            if !threshold.map_or(!measures.stored(), |limit| limit > 0.0) {
                let found =
                    signal.threshold.as_ref().map_or("not set".to_owned(), |text| format!("`{text}`"));
                let rule = "it must be above 0: the capacity of the volume, the hard limit of the quota, or the most that a pod may keep on its node";
                return Err(Rejection::field(field("threshold"), found, rule));
            }
            if [REQUESTS, MEMORY, RUNS, WAITING].contains(&signal.name.as_str()) {
                let rule =
                    "its Forecast would have the name of another one; call it e.g. volume, quota or scratch";
                return Err(Rejection::field(field("name"), format!("`{}`", signal.name), rule));
            }
        }
        signals.push(SignalPolicy {
            name: Name::from(signal.name.as_str()),
            promql,
            metric,
            external,
            unit: Name::from(signal.unit.as_deref().unwrap_or_default()),
            bad_above: signal.bad_direction == BadDirection::Above,
            threshold,
            minimum_effect: number(&field("minimumEffect"), signal.minimum_effect.as_deref())?,
            measures,
        });
    }

    if let Some(backlog) = spec.scaling.as_ref().and_then(|scaling| scaling.backlog.as_ref()) {
        let Asked { promql, metric, external } = waiting(backlog, &signals)?;
        signals.push(SignalPolicy {
            name: Name::from(BACKLOG),
            promql,
            metric,
            external,
            unit: Name::from("items"),
            bad_above: true,
            threshold: None,
            minimum_effect: None,
            measures: Measures::Load,
        });
    }
    if let Some(promql) = spec.heartbeat.as_ref().and_then(|heartbeat| heartbeat.promql.as_deref()) {
        if promql.trim().is_empty() {
            let rule = "it must be a query for the Unix time of the last sign of life; leave it out where any telemetry is one";
            return Err(Rejection::field("spec.heartbeat.promql", "empty", rule));
        }
        signals.push(SignalPolicy {
            name: Name::from(HEARTBEAT),
            promql: Name::from(promql),
            metric: None,
            external: None,
            unit: Name::from("s"),
            bad_above: false,
            threshold: None,
            minimum_effect: None,
            measures: Measures::Heartbeat,
        });
    }
    Ok(signals)
}

/// How often a sign of life must come.
pub fn heartbeat(spec: &WorkloadSpec) -> Result<Option<HeartbeatPolicy>, Rejection> {
    let Some(heartbeat) = &spec.heartbeat else { return Ok(None) };
    let seconds =
        bounded("spec.heartbeat.maximumSilenceSeconds", heartbeat.maximum_silence_seconds, 1, 604_800)?;
    Ok(Some(HeartbeatPolicy {
        maximum_silence: SignedDuration::from_secs(i64::from(seconds)),
        queried: heartbeat.promql.is_some(),
    }))
}

/// Refuses what goes to zero and would stay there: all its loads are sent by its own pods, and without them nobody tells.
pub fn seen_at_zero(key: &WorkloadKey, signals: &[SignalPolicy], permits: &Permits) -> Result<(), Rejection> {
    let loads = permits.scaling.iter().flat_map(|scaling| &scaling.loads);
    let mut read =
        loads.filter_map(|load| signals.iter().find(|signal| signal.name == load.signal)).peekable();
    let own = |signal: &SignalPolicy| signal.metric.as_ref().is_some_and(|metric| metric.sender(key) == *key);
    let to_zero = permits.replicas.is_some_and(|bounds| bounds.min == 0);
    if to_zero && read.peek().is_some() && read.all(own) {
        let rule = "it must be 1 or more: every load in spec.scaling.loads and spec.scaling.backlog is a metric of the workload's \
                    own pods, which nobody sends at 0 replicas; or name the Workload that sends it in spec.signals[].from, or \
                    read one load by promql or external";
        return Err(Rejection::field("spec.scaling.replicas.min", 0, rule));
    }
    Ok(())
}

/// Where a value comes from: a query, a metric that pods send, or one of the external metrics API.
#[derive(Default)]
struct Asked {
    promql: Name,
    metric: Option<MetricPolicy>,
    external: Option<ExternalPolicy>,
}

/// What a signal is read from.
fn asked(field: &impl Fn(&str) -> String, signal: &WireSignal) -> Result<Asked, Rejection> {
    let others = "it, promql, metric and external exclude each other; leave one";
    match (&signal.promql, &signal.metric, &signal.external) {
        (Some(_), Some(metric), _) | (None, Some(metric), Some(_)) => {
            Err(Rejection::field(field("metric"), format!("`{metric}`"), others))
        }
        (Some(_), None, Some(external)) => {
            Err(Rejection::field(field("external"), format!("`{}`", external.name), others))
        }
        (None, Some(metric), None) if metric.trim().is_empty() => {
            Err(Rejection::field(field("metric"), "empty", "it must be the name of a metric"))
        }
        (None, Some(metric), None) => {
            let across = match signal.across {
                None | Some(WireAcross::Sum) => Across::Sum,
                Some(WireAcross::Max) => Across::Max,
            };
            if let Some(from) = &signal.from {
                let rule = "it must be the name of the Workload in this namespace whose pods send the metric";
                object_name(&field("from"), from, SUBDOMAIN, rule)?;
            }
            let from = signal.from.as_deref().map(Name::from);
            let metric = Some(MetricPolicy { name: Name::from(metric.as_str()), across, from });
            Ok(Asked { metric, ..Asked::default() })
        }
        (None, None, Some(external)) => {
            // The name becomes part of a path.
            if external.name.is_empty()
                || external.name.contains(['/', '?', '#', '%'])
                || external.name == ".."
            {
                let rule = "it must be the name of a metric of the external metrics API";
                return Err(Rejection::field(field("external.name"), format!("`{}`", external.name), rule));
            }
            let external = ExternalPolicy {
                name: Name::from(external.name.as_str()),
                selector: Name::from(external.selector.as_deref().unwrap_or_default().trim()),
            };
            Ok(Asked { external: Some(external), ..Asked::default() })
        }
        (promql, None, None) => {
            let promql = promql.as_deref().unwrap_or_default();
            if promql.trim().is_empty() {
                let rule = "it must be a query; or name a metric that the pods send (metric) or that the cluster serves (external)";
                return Err(Rejection::field(field("promql"), "empty", rule));
            }
            Ok(Asked { promql: Name::from(promql), ..Asked::default() })
        }
    }
}

/// What a backlog is read from: a query of its own, or what one of the signals is read from.
fn waiting(backlog: &Backlog, signals: &[SignalPolicy]) -> Result<Asked, Rejection> {
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
            Ok(Asked {
                promql: signal.promql.clone(),
                metric: signal.metric.clone(),
                external: signal.external.clone(),
            })
        }
        (promql, None) => {
            let promql = promql.as_deref().unwrap_or_default();
            if promql.trim().is_empty() {
                let rule = "it must be a query, or signal one of spec.signals";
                return Err(Rejection::field("spec.scaling.backlog.promql", "empty", rule));
            }
            Ok(Asked { promql: Name::from(promql), ..Asked::default() })
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
        WireMeasures::EphemeralStorageBytes => Measures::EphemeralStorageBytes,
        WireMeasures::CertificateSeconds => Measures::CertificateSeconds,
    }
}

#[cfg(test)]
mod tests {
    use super::super::workload::tests::policy;
    use homeostat_knowledge::ObjectKey;
    use serde_json::{Value, json};

    #[test]
    fn a_workload_whose_loads_only_its_own_pods_send_does_not_go_to_zero() {
        let asked = |min: u32, signal: Value, loads: Value| {
            policy(move |object| {
                object["spec"]["signals"] = json!([signal, { "name": "cpu", "promql": "sum(cpu)" }]);
                object["spec"]["scaling"] = json!({
                    "replicas": { "min": min, "max": 9 }, "loads": loads, "backlog": { "signal": "jobs" } });
            })
        };
        let own = || json!({ "name": "jobs", "metric": "jobs.waiting" });
        let refused = asked(0, own(), json!([])).unwrap_err().to_string();
        assert!(refused.starts_with("spec.scaling.replicas.min is 0"), "{refused}");
        assert!(refused.contains("1 or more") && refused.contains("spec.signals[].from"), "{refused}");
        let itself = json!({ "name": "jobs", "metric": "jobs.waiting", "from": "order" });
        assert!(asked(0, itself, json!([])).is_err());
        let other = json!({ "name": "jobs", "metric": "jobs.waiting", "from": "order-api" });
        let seen = asked(0, other, json!([])).unwrap();
        let sender = seen.signals[0].metric.as_ref().map(|metric| metric.sender(&seen.key));
        assert_eq!(sender, Some(ObjectKey::new("shop", "order-api")));
        assert!(asked(1, own(), json!([])).is_ok());
        assert!(asked(0, own(), json!([{ "signal": "cpu", "perReplica": "1" }])).is_ok(), "one is queried");
        let odd = json!({ "name": "jobs", "metric": "jobs.waiting", "from": "Order API" });
        let error = asked(1, odd, json!([])).unwrap_err().to_string();
        assert!(error.starts_with("spec.signals[0].from is `Order API`"), "{error}");
    }
}
