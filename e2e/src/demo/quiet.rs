//! Minutes without any fault: how many incidents Homeostat opens, and what it writes to the API
//! server meanwhile, by the audit log.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::mode::Column;
use super::{DemoError, Place, column, prepare};
use crate::demo::install;
use crate::demo::live::Live;
use crate::truth::At;

/// Arguments of `e2e quiet`.
#[derive(Args, Clone, Debug)]
pub struct QuietArgs {
    /// How long
    #[arg(long, default_value_t = 10)]
    pub minutes: u64,
    /// Decides the load.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuietResult {
    /// Minutes under load.
    pub minutes: f64,
    /// Incidents that were opened.
    pub incidents: u64,
    /// Actions with an effect.
    pub actions: u64,
    /// Writes per minute by Homeostat's service account, without its lease; null where there is no
    /// audit log.
    pub writes_per_minute: Option<f64>,
    /// The same by resource, counted.
    pub writes: BTreeMap<String, u64>,
    /// Requests of users.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Highest resident memory of Homeostat.
    pub rss_peak_bytes: Option<u64>,
    /// Its mean CPU.
    pub cpu_mean_cores: Option<f64>,
}

/// Runs Homeostat's column without faults.
pub async fn run(args: &QuietArgs) -> Result<QuietResult, DemoError> {
    let live = Live::aside();
    let stage = prepare(&args.place, &live, args.seed, true).await?;
    let duration = Duration::from_secs(args.minutes * 60);
    let run = column::run(&stage, Column::Homeostat, &[], Some(duration)).await?;
    super::application::remove(&stage.platform).await?;
    super::build::tidy(&stage.platform).await?;
    let minutes = (run.ended - run.calm).seconds() / 60.0;
    let writes = match stage.platform.own() {
        Some(cluster) => {
            let path = cluster.layout().audit_log();
            let log = std::fs::read_to_string(&path).map_err(DemoError::io("read", &path))?;
            Some(writes(log.lines(), run.calm, run.ended))
        }
        None => None,
    };
    let counted = writes.as_ref().map(|writes| writes.values().sum::<u64>());
    let result = QuietResult {
        minutes,
        incidents: run.judged.quiet_incidents as u64,
        actions: run.judged.quiet_actions as u64,
        writes_per_minute: counted.map(|count| count as f64 / minutes.max(1e-3)),
        writes: writes.unwrap_or_default(),
        requests: run.requests.total,
        failed: run.requests.failed,
        rss_peak_bytes: run.measured.rss_peak_bytes,
        cpu_mean_cores: run.measured.cpu_mean_cores,
    };
    let path = stage.out.join("quiet.json");
    write(&path, &result).map_err(DemoError::io("write", &path))?;
    Ok(result)
}

fn write(path: &Path, result: &QuietResult) -> std::io::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(result)? + "\n")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Option<Object>,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

/// Homeostat's writes in `[from, to)` by resource, without leases.
pub fn writes<'a>(log: impl Iterator<Item = &'a str>, from: At, to: At) -> BTreeMap<String, u64> {
    let account = format!("system:serviceaccount:{}:", install::NAMESPACE);
    let mut found = BTreeMap::new();
    for line in log {
        // Most lines are others'; looking for the name is cheaper than reading each as JSON.
        if !line.contains(&account) {
            continue;
        }
        let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
        let at = entry.request_received_timestamp.parse::<jiff::Timestamp>().map(At::from_timestamp);
        let object =
            entry.object_ref.unwrap_or(Object { resource: String::new(), subresource: String::new() });
        let changes =
            ["create", "update", "patch", "delete", "deletecollection"].contains(&entry.verb.as_str());
        // Reviews ask a question; the server files them under create.
        let question = object.resource.ends_with("reviews");
        let within = at.is_ok_and(|at| at >= from && at < to);
        if !changes
            || question
            || !within
            || object.resource == "leases"
            || !entry.user.username.starts_with(&account)
        {
            continue;
        }
        let name = match object.subresource.as_str() {
            "" => object.resource,
            sub => format!("{}/{sub}", object.resource),
        };
        *found.entry(name).or_default() += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_homeostats_own_writes_beside_its_lease_count() {
        let line = |user: &str, verb: &str, resource: &str, sub: &str, at: &str| {
            format!(
                r#"{{"kind":"Event","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"{resource}","subresource":"{sub}"}},"requestReceivedTimestamp":"{at}"}}"#
            )
        };
        let own = "system:serviceaccount:homeostat-system:homeostat";
        let log = [
            line(own, "update", "leases", "", "2026-01-01T00:00:10.000000Z"),
            line(own, "patch", "workloads", "status", "2026-01-01T00:00:10.000000Z"),
            line(own, "create", "events", "", "2026-01-01T00:00:11.000000Z"),
            line(own, "create", "events", "", "2026-01-01T00:02:00.000000Z"),
            line(own, "get", "pods", "", "2026-01-01T00:00:10.000000Z"),
            line(own, "create", "subjectaccessreviews", "", "2026-01-01T00:00:10.000000Z"),
            line("system:node:n", "patch", "nodes", "status", "2026-01-01T00:00:10.000000Z"),
            "not json".to_owned(),
        ];
        let at = |text: &str| At::from_timestamp(text.parse().unwrap());
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:01:00Z"));
        let writes = writes(log.iter().map(String::as_str), from, to);
        assert_eq!(writes, BTreeMap::from([("events".to_owned(), 1), ("workloads/status".to_owned(), 1)]));
    }
}
