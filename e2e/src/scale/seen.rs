//! What is seen of a Deployment's size, second by second, and what that comes to.

use k8s_openapi::api::apps::v1::Deployment;
use serde::Serialize;

use super::load::Seen;
use super::shape::Part;

/// Replicas at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Asked for.
    pub wanted: i32,
    /// Ready or starting.
    pub there: i32,
    /// Ready.
    pub ready: i32,
}

impl Size {
    /// Of a Deployment.
    pub fn of(deployment: &Deployment) -> Self {
        let status = deployment.status.as_ref();
        Self {
            wanted: deployment.spec.replicas.unwrap_or(1),
            there: status.and_then(|status| status.replicas).unwrap_or(0),
            ready: status.and_then(|status| status.ready_replicas).unwrap_or(0),
        }
    }
}

/// One policy's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Who scaled.
    pub policy: String,
    /// Minutes in which the load was above what ready replicas carry.
    pub violation_minutes: f64,
    /// The same, by part of the load.
    pub violation_minutes_by_part: Vec<(String, f64)>,
    /// Replicas, ready or starting, over time.
    pub replica_minutes: f64,
    /// How often another number was asked for.
    pub changes: usize,
    /// Requests that failed or were slow, percent.
    pub failed_or_slow_percent: f64,
    /// What the callers saw.
    pub callers: Seen,
    /// Size of each second.
    pub sizes: Vec<Size>,
}

impl Row {
    /// Figures from sizes and loads of the same seconds; loads are in what one replica carries.
    pub fn of(policy: &str, loads: &[f64], sizes: Vec<Size>, parts: &[Part], callers: Seen) -> Self {
        let over: Vec<bool> =
            loads.iter().zip(&sizes).map(|(load, size)| *load > f64::from(size.ready) + 1e-9).collect();
        let minutes = |over: &[bool]| over.iter().filter(|over| **over).count() as f64 / 60.0;
        let part = |part: &Part| {
            let over = over.get(part.from..part.to.min(over.len())).unwrap_or_default();
            (part.name.to_owned(), minutes(over))
        };
        let asked = callers.requests.max(1) as f64;
        Self {
            policy: policy.to_owned(),
            violation_minutes: minutes(&over),
            violation_minutes_by_part: parts.iter().map(part).collect(),
            replica_minutes: sizes.iter().map(|size| f64::from(size.there)).sum::<f64>() / 60.0,
            changes: sizes.windows(2).filter(|pair| pair[0].wanted != pair[1].wanted).count(),
            failed_or_slow_percent: 100.0 * (callers.slow + callers.failed) as f64 / asked,
            callers,
            sizes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_a_violation_when_ready_replicas_carry_less_than_the_load() {
        let size = |wanted, there, ready| Size { wanted, there, ready };
        let sizes = vec![size(1, 1, 1), size(3, 1, 1), size(3, 3, 1), size(3, 3, 3), size(2, 3, 2)];
        let parts = [Part { name: "late", from: 2, to: 9 }];
        let callers = Seen { requests: 200, slow: 3, failed: 1, ..Seen::default() };
        let row = Row::of("HPA", &[0.5, 1.5, 2.0, 2.0, 2.0], sizes, &parts, callers);
        assert!((row.violation_minutes - 2.0 / 60.0).abs() < 1e-9, "{row:?}");
        assert_eq!(row.violation_minutes_by_part.len(), 1);
        assert!((row.violation_minutes_by_part[0].1 - 1.0 / 60.0).abs() < 1e-9);
        assert!((row.replica_minutes - 11.0 / 60.0).abs() < 1e-9);
        assert_eq!(row.changes, 2);
        assert!((row.failed_or_slow_percent - 2.0).abs() < 1e-9);
    }
}
