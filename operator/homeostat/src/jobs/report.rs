//! How the runs of each workload do, for conditions.

use super::declared::Asked;
use super::desk::{Desk, Start, title};
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{LateRun, RunsReport, SignedDuration, WorkloadKey};
use homeostat_scale::jobs::Size;
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::overload::{Late, Limit, Overload};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Late runs of one workload that are named; of more the latest.
const NAMED: usize = 10;

/// One report per workload that is asked for at this desk. `would` is what would be started; `because` why nothing is,
/// where it is not the workload's own mode or level.
pub fn of(
    desk: &Desk,
    asked: &BTreeMap<WorkloadKey, Asked>,
    would: &[Start],
    because: Option<&str>,
) -> BTreeMap<WorkloadKey, RunsReport> {
    asked
        .iter()
        .map(|(key, one)| {
            let (waiting, running) = desk.counts(key);
            let mut said = vec![format!("{waiting} wait, {running} run")];
            match desk.next_slot(key) {
                Some(Ok(next)) => said.push(format!("next slot {next}")),
                Some(Err(why)) => said.push(why.to_owned()),
                None => {}
            }
            if let Orderer::Kueue { queue, reason } = &one.orderer {
                said.push(format!("left to queue {queue} of Kueue: {reason}"));
            }
            if let Some(start) = would.iter().find(|start| start.workload == *key) {
                said.push(format!("would start a run with {}: {}", start.size, start.why));
            } else if let Some(last) = desk.last_start(key) {
                said.push(format!("last turn: {last}"));
            }
            if let Some(reason) = desk.waits_for(key) {
                said.push(format!("the next run {reason}"));
            }
            if let Some(reason) = desk.parts_said(key) {
                said.push(format!("it would have {reason}"));
            }
            said.extend(desk.stuck_said(key));
            said.extend(desk.memory_said(key));
            let problem = desk.refusal(key).cloned().or_else(|| because.map(str::to_owned));
            let problem = problem.or_else(|| {
                (one.mode == ScalingMode::Auto && one.paused).then(|| "automation is paused".to_owned())
            });
            let (latest, late) = late(key, one, desk);
            let report = RunsReport {
                mode: one.mode,
                waiting,
                running,
                said: said.join("; "),
                late: latest.first().map(|first| said_of(key, first, late)),
                late_runs: u32::try_from(late).unwrap_or(u32::MAX),
                latest,
                problem,
            };
            (key.clone(), report)
        })
        .collect()
}

/// Late runs of a workload, latest first, and how many there are.
fn late(key: &WorkloadKey, asked: &Asked, desk: &Desk) -> (Vec<LateRun>, usize) {
    let own = format!("{} run of ", title(key));
    // What is known of a run by its own number of pods is closer than what its place in line says.
    let mut runs = desk.late_in_parts(key);
    let in_parts: Vec<String> = runs.iter().map(|late| late.run.clone()).collect();
    let mut count = runs.len();
    if let Some(overload) = desk.overload() {
        let mine = overload.late.iter().filter_map(|late| Some((late.title.strip_prefix(&own)?, late)));
        let others: Vec<(&str, &Late)> =
            mine.filter(|(run, _)| in_parts.iter().all(|known| known != run)).collect();
        count += others.len();
        // They come latest first.
        let standing = desk.stands(&asked.job.tenant);
        let named = others.into_iter().take(NAMED);
        runs.extend(named.map(|(run, late)| in_line(run, late, overload, (asked, standing))));
    }
    runs.sort_by_key(|late| (Reverse(late.by.unwrap_or(SignedDuration::MAX)), late.due));
    runs.truncate(NAMED);
    (runs, count)
}

/// A run that waits too long for those before it, and what would cure that at what price.
fn in_line(run: &str, late: &Late, overload: &Overload, of: (&Asked, Size)) -> LateRun {
    let mut help: Vec<String> = overload.cures(late).into_iter().map(|cure| grows(cure, of)).collect();
    if let Some(by) = late.alone {
        let why = if help.is_empty() { "no capacity helps: raise" } else { "and raise" };
        help.push(format!("{why} spec.scaling.deadlineSeconds by {}", by.as_secs() + 1));
    }
    LateRun { run: run.to_owned(), due: late.due, by: late.by, help: help.join("; ") }
}

/// The latest of so many late runs of a workload, in words.
fn said_of(key: &WorkloadKey, first: &LateRun, count: usize) -> String {
    let by = first.by.map_or_else(
        || "finds no room now".to_owned(),
        |by| format!("will end {} s after it is due ({})", by.as_secs().max(1), first.due),
    );
    let others = match count {
        0 | 1 => String::new(),
        count => format!(", and {} more of this workload", count - 1),
    };
    let said = format!("{} run of {} {by}{others}", title(key), first.run);
    if first.help.is_empty() { said } else { format!("{said}; {}", first.help) }
}

/// What has to grow by how much, and what that costs; or who has to ask for less: other pods have `standing` of the quota.
fn grows((limit, more): (Limit<'_>, Size), (asked, standing): (&Asked, Size)) -> String {
    let what = match limit {
        Limit::Quota(tenant) => format!("the quota of tenant {tenant} (spec.quota)"),
        Limit::Capacity => "the cluster's capacity for runs".to_owned(),
    };
    let mine = !matches!(limit, Limit::Quota(tenant) if tenant != asked.job.tenant);
    let prices = asked.prices.as_ref().filter(|_| mine);
    let cost = prices.and_then(|prices| prices.month(more.vcpu(), more.gib()));
    let cost = cost.map_or_else(String::new, |cost| format!(", which costs {cost}"));
    let own_quota = matches!(limit, Limit::Quota(tenant) if tenant == asked.job.tenant);
    let less = if own_quota && standing != Size::default() {
        format!(
            ", or other pods (services, workers) have to ask for less (fewer replicas): they use {standing} of it"
        )
    } else {
        String::new()
    };
    format!("{what} has to grow by {more}{cost}{less}")
}
