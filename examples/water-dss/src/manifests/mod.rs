//! What a cluster needs for the tenants: a namespace each, a `CronJob` per kind whose Jobs are made suspended, and one
//! Workload per kind for Homeostat. On a clock of their own (`--clock`) tenants have a queue, a beat, an API and workers, too.
//! The rendered copy in `manifests/` is compared with it by a test.

mod jobs;
mod parts;

use crate::shape::Kind;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Tenants live in three time zones in turn, as in the catalogue.
const ZONES: [&str; 3] = ["Europe/Lisbon", "Europe/Athens", "America/Sao_Paulo"];
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
    /// Only the tenant of this number
    #[arg(long)]
    only: Option<u32>,
    /// The tenants' own clock begins at this moment, in seconds since 1970: a beat says what is due, not the cluster
    #[arg(long, requires = "queue_image")]
    clock: Option<i64>,
    /// Image of the tenants' queues, NATS
    #[arg(long, requires = "clock")]
    queue_image: Option<String>,
    /// First hour of that clock, since a Friday at midnight
    #[arg(long, default_value_t = 0)]
    first_hour: u32,
    /// Hours that the beat says
    #[arg(long, default_value_t = 24)]
    hours: u32,
    /// The tenant of this number has no profile of weekends: its optimisations fail there
    #[arg(long)]
    weekdays_only: Option<u32>,
    /// The last tenant's optimisation needs three times the memory after ten runs
    #[arg(long)]
    grows: bool,
    /// The tenant of this number has one run of its optimisation whose memory jumps within a second
    #[arg(long, requires = "jump_hour")]
    jumps: Option<u32>,
    /// The hour of that run, since a Friday at midnight
    #[arg(long, requires = "jumps")]
    jump_hour: Option<u32>,
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
    if let Some(only) = options.only.filter(|only| *only >= options.tenants) {
        return Err(format!("--only is {only}, tenants have the numbers 0 to {}", options.tenants - 1));
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
    let chosen = options.only.map_or(0..options.tenants, |only| only..only + 1);
    chosen.flat_map(|tenant| one(options, tenant)).collect()
}

/// Everything of one tenant.
fn one(options: &Options, tenant: u32) -> Vec<Value> {
    let name = format!("water-{tenant}");
    let stage = if options.clock.is_some() && tenant == 0 { "staging" } else { "production" };
    let mut all = vec![json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "stage": stage } },
    })];
    let mut automation = vec![
        json!({ "actions": ["StartJob"], "level": "ActBounded" }),
        json!({ "actions": ["ResizePod"], "level": "ActFull" }),
    ];
    // With a queue of its own, workers take what is due; else every run is a Job.
    let kinds = match (&options.queue_image, options.clock) {
        (Some(image), Some(_)) => {
            automation.push(json!({ "actions": ["ScaleUp", "ScaleDown"], "level": "ActBounded" }));
            all.extend(parts::parts(options, tenant, &name, image));
            vec![Kind::Optimisation]
        }
        _ => Kind::ALL.to_vec(),
    };
    all.extend(kinds.iter().map(|kind| jobs::cron_job(options, tenant, &name, *kind)));
    all.push(json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": { "namespaces": [name], "automation": automation },
    }));
    all.extend(kinds.iter().map(|kind| jobs::workload(options, &name, *kind)));
    all
}

fn workload(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
        "metadata": { "name": name, "namespace": namespace }, "spec": spec,
    })
}

fn mebibytes(options: &Options, kind: Kind, share: f64) -> String {
    format!("{:.0}Mi", (kind.nominal().1 * share / options.divide_memory).ceil().max(16.0))
}

/// What every program of a tenant is told.
fn variables(options: &Options, tenant: u32) -> Vec<Value> {
    [
        ("TENANT", tenant.to_string()),
        ("SEED", options.seed.to_string()),
        ("DIVIDE_TIME", options.divide_time.to_string()),
        ("DIVIDE_CPU", options.divide_cpu.to_string()),
        ("DIVIDE_MEMORY", options.divide_memory.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| json!({ "name": name, "value": value }))
    .collect()
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
    fn tenants_live_in_the_zones_of_the_catalogue() {
        let catalogue = include_str!("../../../../operator/scale/catalogue/water.yaml");
        let zones = format!("zones: [{}]", ZONES.join(", "));
        assert!(catalogue.lines().any(|line| line == zones), "{zones}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_option() {
        assert!(render(&options(&["--tenants", "0"])).unwrap_err().contains("--tenants"));
        assert!(render(&options(&["--divide-time", "0"])).unwrap_err().contains("--divide-time"));
        assert!(render(&options(&["--divide-cpu=-1"])).unwrap_err().contains("--divide-cpu"));
        assert!(render(&options(&["--only", "2"])).unwrap_err().contains("--only"));
    }

    #[test]
    fn on_a_clock_of_its_own_a_tenant_is_one_file_with_queue_beat_api_and_workers_at_zero() {
        let line = ["--tenants", "8", "--only", "3", "--clock", "1000", "--queue-image", "nats:dev"];
        let all = objects(&options(&line));
        let named = |kind: &str| -> Vec<&str> {
            all.iter()
                .filter(|one| one["kind"] == kind)
                .filter_map(|one| one["metadata"]["name"].as_str())
                .collect()
        };
        assert_eq!(named("Deployment"), ["queue", "beat", "api", "forecast", "kpi"]);
        assert_eq!(named("CronJob"), ["optimisation"]);
        assert_eq!(named("Workload"), ["forecast", "kpi", "optimisation"]);
        assert_eq!(named("Tenant"), ["water-3"]);
        let workers = all.iter().filter(|one| one["kind"] == "Deployment" && one["spec"]["replicas"] == 0);
        assert_eq!(workers.clone().count(), 2);
        let limits = workers.map(|one| {
            let container = &one["spec"]["template"]["spec"]["containers"][0];
            container["resources"]["limits"]["memory"].as_str().unwrap_or_default()
        });
        assert_eq!(
            limits.collect::<Vec<_>>(),
            ["1296Mi", "1936Mi"],
            "a run's memory, and the client of the queue"
        );
        assert!(
            all.iter().all(|one| one["metadata"]["namespace"].as_str().is_none_or(|name| name == "water-3"))
        );
    }

    #[test]
    fn one_tenants_optimisation_knows_the_hour_of_its_jump() {
        let all = objects(&options(&["--tenants", "3", "--jumps", "1", "--jump-hour", "22"]));
        let told: Vec<(&Value, &Value)> = all
            .iter()
            .filter(|one| one["kind"] == "CronJob" && one.to_string().contains("JUMP_HOUR"))
            .map(|one| (&one["metadata"]["namespace"], &one["metadata"]["name"]))
            .collect();
        assert_eq!(told, [(&json!("water-1"), &json!("optimisation"))]);
        assert!(Line::try_parse_from(["manifests", "--jumps", "1"]).is_err(), "when?");
    }

    #[test]
    fn one_tenant_is_staging_and_one_has_no_weekends() {
        let line = ["--tenants", "3", "--weekdays-only", "1", "--clock", "1000", "--queue-image", "nats:dev"];
        let all = objects(&options(&line));
        let stages: Vec<&Value> = all
            .iter()
            .filter(|one| one["kind"] == "Namespace")
            .map(|one| &one["metadata"]["labels"]["stage"])
            .collect();
        assert_eq!(stages, ["staging", "production", "production"]);
        let without: Vec<&Value> = all
            .iter()
            .filter(|one| one["kind"] == "CronJob" && one.to_string().contains("WEEKDAYS_ONLY"))
            .map(|one| &one["metadata"]["namespace"])
            .collect();
        assert_eq!(without, ["water-1"]);
    }
}
