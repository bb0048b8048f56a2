//! What runs to completion: a `CronJob` whose Jobs are made suspended, and its Workload.

use super::{FIRST, Options, ZONES, mebibytes, variables};
use crate::shape::Kind;
use serde_json::{Value, json};

/// The `CronJob` of a kind.
pub fn cron_job(options: &Options, tenant: u32, namespace: &str, kind: Kind) -> Value {
    let cpu = format!("{:.0}m", (kind.nominal().0 / options.divide_cpu).max(1.0));
    let memory = mebibytes(options, kind, FIRST);
    let mut environment = variables(options, tenant);
    let mut set = |name: &str| environment.push(json!({ "name": name, "value": "true" }));
    if options.grows && kind == Kind::Optimisation && tenant + 1 == options.tenants {
        set("GROWS");
    }
    if options.weekdays_only == Some(tenant) && kind == Kind::Optimisation {
        set("WEEKDAYS_ONLY");
    }
    if let Some(hour) = options.jump_hour.filter(|_| options.jumps == Some(tenant))
        && kind == Kind::Optimisation
    {
        environment.push(json!({ "name": "JUMP_HOUR", "value": hour.to_string() }));
    }
    let container = json!({
        "name": "run",
        "image": options.image,
        "args": ["run", "--kind", kind.name()],
        "env": environment,
        "resources": { "requests": { "cpu": cpu, "memory": memory }, "limits": { "memory": memory } },
    });
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": kind.name(), "namespace": namespace },
        "spec": {
            "schedule": kind.cron(),
            "timeZone": ZONES[tenant as usize % ZONES.len()],
            "suspend": options.clock.is_some(),
            "successfulJobsHistoryLimit": 10,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": { "spec": {
                "suspend": true,
                "backoffLimit": 0,
                "template": { "spec": {
                    "restartPolicy": "Never",
                    "enableServiceLinks": false,
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                } },
            } },
        },
    })
}

/// The Workload of a kind: a deadline, and bounds of its memory.
pub fn workload(options: &Options, namespace: &str, kind: Kind) -> Value {
    let deadline = (kind.due_minutes() * 60.0 / options.divide_time).round().max(1.0);
    let mut spec = json!({
        "targetRef": { "apiVersion": "batch/v1", "kind": "CronJob", "name": kind.name() },
        "archetype": "Batch",
        "repeatable": true,
        "scaling": {
            "mode": "Auto",
            "deadlineSeconds": deadline as i64,
            "resources": { "memory": { "min": "16Mi", "max": mebibytes(options, kind, 8.0) } },
        },
    });
    // With a beat an optimisation is made when its forecast is done.
    if kind == Kind::Optimisation && options.clock.is_none() {
        spec["dependencies"] = json!([{ "name": Kind::Forecast.name(), "kind": "Workload" }]);
    }
    super::workload(namespace, kind.name(), &spec)
}
