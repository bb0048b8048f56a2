//! Metrics of the external metrics API, `external.metrics.k8s.io/v1beta1`: what the adapters of KEDA, Prometheus and the
//! clouds serve for autoscalers
//! (<https://github.com/kubernetes/metrics/blob/master/pkg/apis/external_metrics/v1beta1/types.go>).

use crate::client::call;
use crate::error::ClusterError;
use homeostat_crds::{Quantity, clip};
use homeostat_knowledge::policy::ExternalPolicy;
use homeostat_knowledge::{Name, Timestamp};
use http::Request;
use kube::Client;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Longest name of a series.
const LONGEST_SERIES: usize = 256;

/// One item of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalValue {
    /// Its labels: `queue=orders,zone=a`.
    pub series: Name,
    /// Its value; `None` when it cannot be read as a number.
    pub value: Option<f64>,
    /// When it was taken, as the adapter says.
    pub at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    metric_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    value: Quantity,
}

/// The items of a metric in a namespace, by their labels.
///
/// # Errors
/// What the API server or the adapter behind it answered: `NotFound` where no adapter is installed or none knows the metric,
/// `Denied` where the chart does not grant it.
pub async fn read(
    client: &Client,
    namespace: &str,
    metric: &ExternalPolicy,
) -> Result<Vec<ExternalValue>, ClusterError> {
    let object = Name::from(format!("external metric {} in {namespace}", metric.name));
    let request = Request::get(path(namespace, metric)).body(Vec::new());
    let request = request.map_err(|error| ClusterError::Invalid {
        object: object.clone(),
        message: format!("its name or selector is no part of an address: {error}"),
    })?;
    let list: List = call("read", &object, client.request(request)).await?;
    let mut values: Vec<ExternalValue> = list.items.into_iter().map(value).collect();
    values.sort_by(|one, other| one.series.cmp(&other.series));
    Ok(values)
}

fn value(item: Item) -> ExternalValue {
    let labels = item.metric_labels.unwrap_or_default();
    let labels: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    ExternalValue {
        series: Name::from(clip(&labels.join(","), LONGEST_SERIES)),
        value: item.value.value().filter(|value| value.is_finite()),
        at: item.timestamp,
    }
}

fn path(namespace: &str, metric: &ExternalPolicy) -> String {
    let (namespace, name) = (encoded(namespace), encoded(&metric.name));
    let mut path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{name}");
    if !metric.selector.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(path, "?labelSelector={}", encoded(&metric.selector));
    }
    path
}

/// Percent-encoded but for what is never special (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_selectors_stay_one_part_of_the_address() {
        let metric = ExternalPolicy {
            name: "pubsub.googleapis.com|open".into(),
            selector: "queue in (a, b),tier=x".into(),
        };
        assert_eq!(
            path("shop", &metric),
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/pubsub.googleapis.com%7Copen\
             ?labelSelector=queue%20in%20%28a%2C%20b%29%2Ctier%3Dx"
        );
        let evil = ExternalPolicy { name: "../../secrets?x".into(), selector: "".into() };
        assert!(path("shop", &evil).ends_with("/shop/..%2F..%2Fsecrets%3Fx"));
    }

    #[test]
    fn quantities_are_numbers_and_what_is_none_is_told_apart() {
        let list: List = serde_json::from_value(serde_json::json!({
            "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
            "items": [
                { "metricName": "jobs", "metricLabels": { "zone": "b", "queue": "orders" },
                  "timestamp": "2026-11-22T09:14:00Z", "value": "1500m" },
                { "metricName": "jobs", "metricLabels": null, "timestamp": null, "value": "many" },
            ]
        }))
        .unwrap();
        let values: Vec<ExternalValue> = list.items.into_iter().map(value).collect();
        assert_eq!((&*values[0].series, values[0].value), ("queue=orders,zone=b", Some(1.5)));
        assert_eq!(values[0].at, "2026-11-22T09:14:00Z".parse().ok());
        assert_eq!((&*values[1].series, values[1].value, values[1].at), ("", None, None));
    }
}
