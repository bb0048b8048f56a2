//! How the runs of each workload do, for conditions.

use super::declared::Asked;
use super::desk::{Desk, Start, title};
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{RunsReport, WorkloadKey};
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::overload::{Cure, Overload};
use std::collections::BTreeMap;

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
            let problem = desk.refusal(key).cloned().or_else(|| because.map(str::to_owned));
            let problem = problem.or_else(|| {
                (one.mode == ScalingMode::Auto && one.paused).then(|| "automation is paused".to_owned())
            });
            let report = RunsReport {
                mode: one.mode,
                waiting,
                running,
                said: said.join("; "),
                late: desk
                    .late_in_parts(key)
                    .or_else(|| desk.overload().and_then(|overload| late(key, overload))),
                problem,
            };
            (key.clone(), report)
        })
        .collect()
}

/// The latest run of a workload and what would cure it.
fn late(key: &WorkloadKey, overload: &Overload) -> Option<String> {
    let own = format!("{} ", title(key));
    let mine: Vec<_> = overload.late.iter().filter(|late| late.title.starts_with(&own)).collect();
    let first = mine.first()?;
    let by = first.by.map_or_else(
        || "never finds room".to_owned(),
        |by| format!("will end {} s after it is due ({})", by.as_secs(), first.due),
    );
    let cure = match overload.cure {
        Cure::NotNeeded => String::new(),
        Cure::More(size) => format!("; {size} more for runs would make all in time"),
        Cure::Longer { by } => {
            format!("; no capacity helps: raise spec.scaling.deadlineSeconds by {}", by.as_secs() + 1)
        }
    };
    let others = match mine.len() {
        1 => String::new(),
        count => format!(", and {} more of this workload", count - 1),
    };
    Some(format!("{} {by}{others}{cure}", first.title))
}
