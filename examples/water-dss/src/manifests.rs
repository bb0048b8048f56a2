//! What a cluster needs for the tenants: a namespace each, a `CronJob` per kind whose Jobs are made suspended, and one
//! Workload per kind for Homeostat. The rendered copy in `manifests/` is compared with it by a test.

use crate::shape::Kind;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Tenants live in three time zones in turn, as in the catalogue.
const ZONES: [&str; 3] = ["Europe/Lisbon", "Europe/Madrid", "Europe/Athens"];
/// Memory that a first run is given, as a share of what its kind needs.
const FIRST: f64 = 1.25;

/// How many, how large, how fast.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Tenants
    #[arg(long, default_value_t = 2)]
    tenants: u32,
    /// Image of every run
    #[arg(long, default_value = "water-dss:dev")]
    image: String,
    /// Minutes become so much shorter; 1 is as it is
    #[arg(long, default_value_t = 1.0)]
    divide_time: f64,
    /// CPU becomes so much less
    #[arg(long, default_value_t = 1.0)]
    divide_cpu: f64,
    /// Memory becomes so much less
    #[arg(long, default_value_t = 1.0)]
    divide_memory: f64,
    /// Of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Somebody else makes the Jobs from the `CronJob`s, on a clock of their own
    #[arg(long)]
    beat: bool,
    /// The last tenant's optimisation needs three times the memory after ten runs
    #[arg(long)]
    grows: bool,
}

/// Prints all objects as YAML documents.
pub fn print(options: &Options) -> ExitCode {
    match render(options) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("water-dss: {message}");
            ExitCode::FAILURE
        }
    }
}

fn render(options: &Options) -> Result<String, String> {
    let parts = [options.divide_time, options.divide_cpu, options.divide_memory];
    if parts.iter().any(|part| !(part.is_finite() && *part >= 0.01)) {
        return Err("--divide-time, --divide-cpu and --divide-memory must be numbers from 0.01 on".to_owned());
    }
    if !(1..=999).contains(&options.tenants) {
        return Err(format!("--tenants is {}, it must be 1 to 999", options.tenants));
    }
    let mut text = String::from("# Rendered by `water-dss manifests`; edit the code, not this file.\n");
    for object in objects(options) {
        text.push_str("---\n");
        let yaml = serde_saphyr::to_string(&object).map_err(|error| error.to_string())?;
        text.push_str(yaml.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn objects(options: &Options) -> Vec<Value> {
    let mut all = Vec::new();
    for tenant in 0..options.tenants {
        let name = format!("water-{tenant}");
        all.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
        for kind in Kind::ALL {
            all.push(cron_job(options, tenant, &name, kind));
        }
        all.push(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
            "spec": {
                "namespaces": [name],
                "automation": [
                    { "actions": ["StartJob"], "level": "ActBounded" },
                    { "actions": ["ResizePod"], "level": "ActFull" },
                ],
            },
        }));
        for kind in Kind::ALL {
            all.push(workload(options, &name, kind));
        }
    }
    all
}

fn mebibytes(options: &Options, kind: Kind, share: f64) -> String {
    format!("{:.0}Mi", (kind.nominal().1 * share / options.divide_memory).ceil().max(16.0))
}

fn cron_job(options: &Options, tenant: u32, namespace: &str, kind: Kind) -> Value {
    let cpu = format!("{:.0}m", (kind.nominal().0 / options.divide_cpu).max(1.0));
    let memory = mebibytes(options, kind, FIRST);
    let grows = options.grows && kind == Kind::Optimisation && tenant + 1 == options.tenants;
    let variable = |name: &str, value: String| json!({ "name": name, "value": value });
    let mut environment = vec![
        variable("TENANT", tenant.to_string()),
        variable("SEED", options.seed.to_string()),
        variable("DIVIDE_TIME", options.divide_time.to_string()),
        variable("DIVIDE_CPU", options.divide_cpu.to_string()),
        variable("DIVIDE_MEMORY", options.divide_memory.to_string()),
    ];
    if grows {
        environment.push(variable("GROWS", "true".to_owned()));
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
            "suspend": options.beat,
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

fn workload(options: &Options, namespace: &str, kind: Kind) -> Value {
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
    if kind == Kind::Optimisation {
        spec["dependencies"] = json!([{ "name": Kind::Forecast.name(), "kind": "Workload" }]);
    }
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
        "metadata": { "name": kind.name(), "namespace": namespace }, "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &[&str]) -> Options {
        Line::parse_from(std::iter::once(&"manifests").chain(line)).options
    }

    #[test]
    fn the_committed_manifests_are_what_the_program_prints() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/two-tenants.yaml");
        let rendered = render(&options(&[])).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &rendered).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(committed == rendered, "run: UPDATE=1 cargo test --package water-dss");
    }

    #[test]
    fn jobs_are_made_suspended_and_never_repeated_by_kubernetes() {
        let all = objects(&options(&["--tenants", "3", "--divide-time", "60"]));
        assert_eq!(all.len(), 3 * 8);
        for cron in all.iter().filter(|object| object["kind"] == "CronJob") {
            let job = &cron["spec"]["jobTemplate"]["spec"];
            assert_eq!((&job["suspend"], &job["backoffLimit"]), (&json!(true), &json!(0)));
        }
        let due = all.iter().filter(|object| object["kind"] == "Workload");
        let due: Vec<i64> =
            due.filter_map(|object| object["spec"]["scaling"]["deadlineSeconds"].as_i64()).take(3).collect();
        assert_eq!(due, [20, 55, 240]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_option() {
        assert!(render(&options(&["--tenants", "0"])).unwrap_err().contains("--tenants"));
        assert!(render(&options(&["--divide-time", "0"])).unwrap_err().contains("--divide-time"));
        assert!(render(&options(&["--divide-cpu=-1"])).unwrap_err().contains("--divide-cpu"));
    }
}
