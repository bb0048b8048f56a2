//! The table of the scenario, and its file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::jump::Jump;
use super::seen::Run;
use super::staging::Staging;
use super::weekend::Weekend;
use super::workers::{KINDS, Workers};
use super::{PREFIX, Played, WaterArgs};
use crate::truth::percentile::percentile;

/// Runs of a kind whose kills are learning.
const LEARNING: usize = 3;
/// After so many runs the growing tenant's memory must have become so many times as much.
const GROWN_AFTER: usize = 10;
const GROWN: f64 = 2.5;
/// The weekend's failure must be found within this, in seconds.
const FOUND: f64 = 60.0;
/// Where `make fit` leaves what it measured in virtual time, which catalogue it has to be of, and which of its policies counts.
const FIT: &str = "target/fit/result.json";
const CATALOGUE: &str = "water";
const FIXED: &str = "fixed-2-vcpu";

/// Used of what machines of two vCPU a tenant reserve, percent, as `make fit` measured it last; `None` where it did not.
pub fn fixed_machines(root: &Path) -> Option<f64> {
    utilisation(&std::fs::read_to_string(root.join(FIT)).ok()?)
}

fn utilisation(text: &str) -> Option<f64> {
    let said: serde_json::Value = serde_json::from_str(text).ok()?;
    if said["catalogue"] != CATALOGUE {
        return None;
    }
    let row = said["policies"].as_array()?.iter().find(|row| row["policy"] == FIXED)?;
    row["utilisation"].as_f64().map(|share| 100.0 * share)
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    tenants: u32,
    hours: u32,
    hour_seconds: u32,
    kinds: BTreeMap<String, Row>,
    all: Row,
    /// Workers on queues, all tenants together.
    workers: BTreeMap<String, Workers>,
    /// Containers of workers that were killed for memory.
    killed_workers: usize,
    growth: Growth,
    jump: Jump,
    /// From the creation of a run's pod until it ran: what the simulator calls `podStartSeconds`.
    pod_starts: PodStarts,
    weekend: Weekend,
    found_after_seconds: Option<f64>,
    staging: Staging,
    /// Used of what was reserved, percent, on machines of two vCPU per tenant: from the simulator, if it ran.
    simulated_fixed_utilisation: Option<f64>,
    runs: Vec<Run>,
}

/// How long pods of runs took to start, by nearest rank; the time until a node has room counts, too.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodStarts {
    pods: usize,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
}

impl PodStarts {
    fn of(seconds: &[f64]) -> Self {
        let (p50_seconds, p95_seconds) = (percentile(seconds, 50.0), percentile(seconds, 95.0));
        Self { pods: seconds.len(), p50_seconds, p95_seconds }
    }

    fn text(&self) -> String {
        match (self.p50_seconds, self.p95_seconds) {
            (Some(p50), Some(p95)) => {
                format!(
                    "{} pods of runs ran {p50:.0} s (p50) and {p95:.0} s (p95) after they were made",
                    self.pods
                )
            }
            _ => "no pod of a run ran".to_owned(),
        }
    }
}

/// The tenant whose memory grows threefold over ten runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Growth {
    tenant: String,
    runs: usize,
    /// What its first run, and the largest, was given.
    first_mebibytes: f64,
    most_mebibytes: f64,
    kills: usize,
}

impl Growth {
    fn of(tenant: String, runs: &[Run]) -> Self {
        let mut own: Vec<&Run> = runs.iter().filter(|run| run.tenant == tenant).collect();
        own.sort_by_key(|run| run.number);
        Self {
            runs: own.len(),
            first_mebibytes: own.first().map_or(0.0, |run| run.mebibytes),
            most_mebibytes: own.iter().map(|run| run.mebibytes).fold(0.0, f64::max),
            kills: own.iter().map(|run| run.killed).sum(),
            tenant,
        }
    }

    /// Threefold in ten runs, of which the sizes are steps: what was given follows what was needed.
    fn held(&self) -> bool {
        let share = if self.runs >= GROWN_AFTER { GROWN } else { 1.0 };
        self.kills == 0 && self.most_mebibytes > share * self.first_mebibytes
    }
}

/// Figures of some runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    runs: usize,
    ended: usize,
    missed_deadlines: usize,
    start_delay_p95_seconds: f64,
    failed_tries: usize,
    memory_kills: usize,
    memory_kills_after_third_run: usize,
    /// Kills of the run whose need jumps; not among those after the third run.
    sudden_memory_kills: usize,
    utilisation: f64,
}

impl Row {
    fn of<'a>(runs: impl Iterator<Item = &'a Run>) -> Self {
        let mut row = Self::default();
        let (mut delays, mut reserved, mut used) = (Vec::new(), 0.0, 0.0);
        for run in runs {
            row.runs += 1;
            row.ended += usize::from(run.ended.is_some());
            // Kubernetes tells the end to the second.
            row.missed_deadlines += usize::from(run.ended.is_none_or(|at| at.floor() > run.due));
            row.failed_tries += run.failed;
            row.memory_kills += run.killed;
            let known = run.number > LEARNING && !run.jumps;
            row.memory_kills_after_third_run += if known { run.killed } else { 0 };
            row.sudden_memory_kills += if run.jumps { run.killed } else { 0 };
            delays.extend(run.began.map(|began| (began - run.slot).max(0.0)));
            reserved += run.reserved;
            used += run.used;
        }
        delays.sort_by(f64::total_cmp);
        let rank = (delays.len() * 95).div_ceil(100).saturating_sub(1);
        row.start_delay_p95_seconds = delays.get(rank).copied().unwrap_or(0.0);
        row.utilisation = if reserved > 0.0 { 100.0 * used / reserved } else { 0.0 };
        row
    }
}

impl Summary {
    /// Counts.
    pub fn of(args: &WaterArgs, played: Played, fixed: Option<f64>) -> Self {
        let runs = played.runs;
        let mut kinds: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
        for run in &runs {
            kinds.entry(run.kind.clone()).or_default().push(run);
        }
        let mut workers: BTreeMap<String, Workers> = BTreeMap::new();
        for ((_, kind), one) in &played.workers.workers {
            workers.entry(kind.clone()).or_default().join(one);
        }
        Self {
            tenants: args.tenants,
            hours: args.hours,
            hour_seconds: args.hour_seconds,
            kinds: kinds.into_iter().map(|(kind, runs)| (kind, Row::of(runs.into_iter()))).collect(),
            all: Row::of(runs.iter()),
            workers,
            killed_workers: played.killed_workers,
            growth: Growth::of(format!("{PREFIX}{}", args.tenants - 1), &runs),
            jump: Jump::of(&runs, args.hours),
            pod_starts: PodStarts::of(&played.starts),
            found_after_seconds: played.weekend.found_after(),
            weekend: played.weekend,
            staging: played.staging,
            simulated_fixed_utilisation: fixed,
            runs,
        }
    }

    /// What must hold, each with whether it does.
    fn checks(&self) -> Vec<(String, bool)> {
        let zero = |kind: &str| self.workers.get(kind).is_some_and(|one| one.from_zero > 0 && one.done > 0);
        let away = |kind: &str| self.workers.get(kind).is_some_and(|one| one.to_zero > 0);
        let found = self.found_after_seconds;
        let after = found.map_or("not found".to_owned(), |after| format!("found after {after:.1} s"));
        let growth = &self.growth;
        let staged = self.staging.staged_at.zip(self.staging.released_at);
        let between = staged.map_or("not everywhere".to_owned(), |(staged, released)| {
            format!("everywhere {:.0} s later, after {} good runs", released - staged, self.staging.proved)
        });
        vec![
            ("workers came from zero and worked".to_owned(), KINDS.iter().all(|kind| zero(kind))),
            ("workers went to zero".to_owned(), KINDS.iter().all(|kind| away(kind))),
            (
                format!("weekend failure of {}: {after}", self.weekend.tenant),
                found.is_some_and(|after| after <= FOUND),
            ),
            (
                format!(
                    "memory of {}: {:.0} to {:.0} MiB in {} runs, {} kills",
                    growth.tenant, growth.first_mebibytes, growth.most_mebibytes, growth.runs, growth.kills
                ),
                growth.held(),
            ),
            (self.jump.text(), self.jump.held()),
            (
                format!(
                    "kills for memory after a kind's third run: {}, of workers on queues: {}",
                    self.all.memory_kills_after_third_run, self.killed_workers
                ),
                self.all.memory_kills_after_third_run == 0 && self.killed_workers == 0,
            ),
            (
                format!("release 2 to staging first, {between}"),
                staged.is_some_and(|(staged, at)| staged < at),
            ),
        ]
    }

    /// Whether all of it holds, and runs ended.
    pub fn passed(&self) -> bool {
        self.all.ended > 0 && self.checks().iter().all(|(_, holds)| *holds)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "\n{} tenants, {} simulated hours of {} s\n\n{:14} {:>5} {:>6} {:>7} {:>12} {:>7} {:>6} {:>14} {:>7} {:>12}\n",
            self.tenants,
            self.hours,
            self.hour_seconds,
            "",
            "runs",
            "ended",
            "missed",
            "p95 start s",
            "failed",
            "kills",
            "kills, 4th on",
            "sudden",
            "utilisation"
        );
        let rows = self.kinds.iter().map(|(kind, row)| (kind.as_str(), row));
        for (name, row) in rows.chain(std::iter::once(("all", &self.all))) {
            // Nobody fails to write into a text.
            let _ = writeln!(
                text,
                "{name:14} {:>5} {:>6} {:>7} {:>12.1} {:>7} {:>6} {:>14} {:>7} {:>10.0} %",
                row.runs,
                row.ended,
                row.missed_deadlines,
                row.start_delay_p95_seconds,
                row.failed_tries,
                row.memory_kills,
                row.memory_kills_after_third_run,
                row.sudden_memory_kills,
                row.utilisation
            );
        }
        let _ = writeln!(
            text,
            "\n{:14} {:>9} {:>6} {:>10} {:>9}",
            "workers", "runs done", "most", "from zero", "to zero"
        );
        for (kind, one) in &self.workers {
            let _ = writeln!(
                text,
                "{kind:14} {:>9} {:>6} {:>10} {:>9}",
                one.done, one.most, one.from_zero, one.to_zero
            );
        }
        text.push('\n');
        for (what, holds) in self.checks() {
            let _ = writeln!(text, "{} {what}", if holds { "yes" } else { "NO " });
        }
        let _ = writeln!(text, "    {}", self.pod_starts.text());
        let others = &self.weekend.others;
        let _ = writeln!(text, "    {} other incidents", others.len());
        for other in others {
            let _ = writeln!(text, "    {other}");
        }
        let fixed = match self.simulated_fixed_utilisation {
            Some(fixed) => format!(
                "Fixed machines (2 vCPU a tenant) use {fixed:.0} % of what they reserve on the same catalogue: {FIT}, by make fit."
            ),
            None => format!(
                "What fixed machines use of what they reserve is in {FIT} after make fit; it is not there."
            ),
        };
        let _ = writeln!(text, "\n{fixed}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: usize, ended: Option<f64>, killed: usize) -> Run {
        Run {
            kind: "forecast".to_owned(),
            number,
            slot: 100.0,
            began: Some(102.0),
            ended,
            due: 110.0,
            killed,
            reserved: 2.0,
            used: 1.5,
            ..Run::default()
        }
    }

    #[test]
    fn memory_must_have_grown_threefold_after_ten_runs_without_a_kill() {
        let runs = |most: f64, killed: usize| -> Vec<Run> {
            (1..=10)
                .map(|number| Run {
                    tenant: "water-7".to_owned(),
                    mebibytes: if number == 10 { most } else { 80.0 },
                    killed: if number == 9 { killed } else { 0 },
                    ..run(number, Some(105.0), 0)
                })
                .collect()
        };
        let held = |runs: &[Run]| Growth::of("water-7".to_owned(), runs).held();
        assert!(held(&runs(240.0, 0)));
        assert!(!held(&runs(120.0, 0)), "half as much again only");
        assert!(!held(&runs(240.0, 1)), "killed on the way");
        assert!(held(&runs(240.0, 0)[8..]), "two runs only: it grew at all");
        assert!(!held(&[]), "it never ran");
    }

    #[test]
    fn late_unfinished_and_killed_runs_are_counted() {
        let runs = [run(1, Some(105.0), 1), run(2, Some(110.4), 0), run(3, Some(111.0), 0), run(4, None, 0)];
        let row = Row::of(runs.iter());
        assert_eq!((row.runs, row.ended, row.missed_deadlines), (4, 3, 2));
        assert_eq!((row.memory_kills, row.memory_kills_after_third_run), (1, 0));
        assert!((row.utilisation - 75.0).abs() < 1e-9 && (row.start_delay_p95_seconds - 2.0).abs() < 1e-9);
        let later = Row::of([run(4, Some(105.0), 1)].iter());
        assert_eq!(later.memory_kills_after_third_run, 1);
        let jump = Row::of([Run { jumps: true, ..run(4, Some(105.0), 1) }].iter());
        let kills = (jump.memory_kills, jump.sudden_memory_kills, jump.memory_kills_after_third_run);
        assert_eq!(kills, (1, 1, 0), "a jump is counted apart");
    }

    #[test]
    fn starts_of_pods_are_told_by_their_quantiles() {
        let starts: Vec<f64> = (1..=20).map(f64::from).collect();
        let told = PodStarts::of(&starts);
        assert_eq!((told.pods, told.p50_seconds, told.p95_seconds), (20, Some(10.0), Some(19.0)));
        assert_eq!(PodStarts::of(&[]).text(), "no pod of a run ran");
    }

    #[test]
    fn what_fixed_machines_use_is_read_from_the_simulator_or_not_told() {
        let result = |catalogue: &str, policy: &str| {
            let row = serde_json::json!({ "policy": policy, "utilisation": 0.18 });
            serde_json::json!({ "catalogue": catalogue, "policies": [row] }).to_string()
        };
        assert!(utilisation(&result("water", "fixed-2-vcpu")).is_some_and(|used| (used - 18.0).abs() < 1e-9));
        assert_eq!(utilisation(&result("water", "homeostat")), None, "one policy only was measured");
        assert_eq!(utilisation(&result("other", "fixed-2-vcpu")), None, "another catalogue");
        assert_eq!(utilisation("not JSON"), None);
    }
}
