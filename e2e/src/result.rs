//! `result.json`: what a demo measured, one object per fault.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::demo::mode::Column;
use crate::truth::{At, Attributed, FaultRecord};

/// The whole file. Unknown values are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    /// One object per fault, in the order of the run.
    pub faults: Vec<FaultResult>,
    /// Requests and attempts per column.
    pub requests: BTreeMap<Column, Requests>,
    /// Incidents without a fault.
    pub quiet_incidents: u64,
    /// What Homeostat used in its column.
    pub homeostat: Usage,
    /// Repeats order, services and pauses of the faults.
    pub seed: u64,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultResult {
    /// Who looked after the application.
    pub column: Column,
    /// 1 to 8.
    pub kind: u8,
    /// `probesGood` or `probesFailing`, for kinds that have variants.
    pub variant: Option<String>,
    /// What was broken.
    pub service: String,
    /// RFC 3339, UTC.
    pub injected_at: Option<String>,
    /// End of the first failed attempt on the broken service after the injection.
    pub impact_at: Option<String>,
    /// Delivery of the first Incident that names the broken entity among its causes.
    pub detected_at: Option<String>,
    /// End of the first good attempt, started after impact, that opened 3 s without a failure.
    pub mitigated_at: Option<String>,
    /// Null without impact, and when undetected (infinite).
    pub mttd_seconds: Option<f64>,
    /// Null without impact, when undetected, and when not healed (infinite).
    pub mttr_seconds: Option<f64>,
    /// 60 when not healed.
    pub downtime_seconds: Option<f64>,
    /// Served again before the harness restored.
    pub healed: bool,
    /// Handed over to people with an incident.
    pub handed_over: bool,
    /// Different incidents.
    pub incidents: u64,
    /// Best cause, as `Kind/name (what)`.
    pub top_cause: Option<String>,
    /// Actions with an effect.
    pub actions: u64,
    /// Those that were wrong.
    pub wrong_actions: u64,
}

/// Requests at the gateway and attempts between services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Requests of users.
    pub total: u64,
    /// Those that failed for the user.
    pub failed: u64,
    /// Attempts of all services.
    pub attempts: u64,
    /// Those that failed, before retries.
    pub failed_attempts: u64,
}

impl Requests {
    /// Share of requests that failed, percent.
    pub fn failed_percent(&self) -> f64 {
        100.0 * self.failed as f64 / self.total.max(1) as f64
    }

    /// Share of attempts that failed, percent.
    pub fn failed_attempts_percent(&self) -> f64 {
        100.0 * self.failed_attempts as f64 / self.attempts.max(1) as f64
    }
}

/// What Homeostat used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Highest resident memory.
    pub rss_peak_bytes: Option<u64>,
    /// Mean over its column.
    pub cpu_mean_cores: Option<f64>,
}

impl FaultResult {
    /// From what the injector did and what the judge found.
    pub fn new(column: Column, record: &FaultRecord, judged: &Attributed) -> Self {
        let verdict = &judged.verdict;
        let finite = |value: Option<f64>| value.filter(|seconds| seconds.is_finite()).map(rounded);
        let text = |at: Option<At>| at.and_then(At::to_text);
        Self {
            column,
            kind: record.kind.number(),
            variant: record.variant.map(str::to_owned),
            service: record.broken.service.clone(),
            injected_at: record.injected.to_text(),
            impact_at: text(verdict.impact),
            detected_at: text(verdict.detected),
            mitigated_at: text(verdict.mitigated),
            mttd_seconds: finite(verdict.mttd),
            mttr_seconds: finite(verdict.mttr),
            downtime_seconds: Some(rounded(verdict.downtime)),
            healed: verdict.healed,
            handed_over: judged.handed_over,
            incidents: judged.incidents as u64,
            top_cause: judged.top_cause.clone(),
            actions: judged.actions as u64,
            wrong_actions: judged.wrong_actions as u64,
        }
    }
}

/// To the microsecond, which is what was measured.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// Writes the file.
pub fn write(path: &Path, result: &RunResult) -> std::io::Result<()> {
    let mut text = serde_json::to_string_pretty(result)?;
    text.push('\n');
    std::fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Kind;
    use crate::truth::{Broken, Verdict};

    #[test]
    fn undetected_and_unhealed_are_null_and_fields_have_their_names() {
        let record = FaultRecord {
            kind: Kind::Errors,
            useful_effects: usize::MAX,
            variant: Some("probesGood"),
            broken: Broken::new("order"),
            injected: At(1_000_000),
            second: None,
            restored: At(61_000_000),
            settled: At(70_000_000),
        };
        let judged = Attributed {
            verdict: Verdict {
                impact: Some(At(1_100_000)),
                detected: None,
                mitigated: None,
                mttd: Some(f64::INFINITY),
                mttr: Some(f64::INFINITY),
                downtime: 60.0,
                healed: false,
                before_alert: false,
            },
            incidents: 0,
            top_cause: None,
            top_cause_right: false,
            handed_over: false,
            actions: 0,
            wrong_actions: 0,
        };
        let result = RunResult {
            faults: vec![FaultResult::new(Column::Plain, &record, &judged)],
            requests: [(Column::Plain, Requests { total: 2, failed: 1, attempts: 3, failed_attempts: 2 })]
                .into(),
            quiet_incidents: 0,
            homeostat: Usage::default(),
            seed: 7,
        };
        let value = serde_json::to_value(&result).unwrap();
        let fault = value["faults"][0].as_object().unwrap();
        let names: Vec<&str> = fault.keys().map(String::as_str).collect();
        let mut expected = vec![
            "column",
            "kind",
            "variant",
            "service",
            "injectedAt",
            "impactAt",
            "detectedAt",
            "mitigatedAt",
            "mttdSeconds",
            "mttrSeconds",
            "downtimeSeconds",
            "healed",
            "handedOver",
            "incidents",
            "topCause",
            "actions",
            "wrongActions",
        ];
        expected.sort_unstable();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        assert!(fault["mttdSeconds"].is_null() && fault["mttrSeconds"].is_null());
        assert_eq!(fault["downtimeSeconds"], 60.0);
        assert_eq!(value["requests"]["plain"]["failedAttempts"], 2);
        assert!(value["homeostat"]["rssPeakBytes"].is_null());
        assert_eq!(serde_json::from_value::<RunResult>(value).unwrap(), result);
    }
}
