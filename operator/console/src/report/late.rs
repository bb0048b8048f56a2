//! The late runs of a report, and backlogs whose workers are late: which, by how much, and what would help at what price.

use super::run::{Cell, Column, Table, Tone};
use homeostat_knowledge::forecast::LateItems;
use homeostat_knowledge::{LateRun, Name, RunsReport, SignedDuration, Snapshot, TenantPolicy, WorkloadKey};
use std::borrow::Cow;
use std::cmp::Reverse;

/// Late runs in a report; condition `RunsInTime` of each Workload tells of the others.
const MOST: usize = 100;

/// A run with whose it is.
struct Row<'a> {
    tenant: Option<&'a Name>,
    workload: &'a WorkloadKey,
    late: Cow<'a, LateRun>,
}

/// Late runs and backlogs of the workloads that `shows` lets through, latest first; `None` where no runs of them are ordered
/// and no backlog is late.
pub fn table(
    snapshot: &Snapshot,
    shows: impl Fn(Option<&TenantPolicy>, &WorkloadKey) -> bool,
) -> Option<Table> {
    let shown: Vec<(Option<&TenantPolicy>, &WorkloadKey, &RunsReport)> = snapshot
        .runs
        .iter()
        .map(|(key, report)| {
            (snapshot.tenant_of_namespace(&key.namespace).map(|tenant| &**tenant), key, &**report)
        })
        .filter(|(tenant, key, _)| shows(*tenant, key))
        .collect();
    let backlogs: Vec<Row<'_>> = snapshot
        .sizes
        .iter()
        .filter_map(|(workload, size)| {
            let late = size.late?;
            let tenant = snapshot.tenant_of_namespace(&workload.namespace).map(|tenant| &**tenant);
            let row = || Row {
                tenant: tenant.map(|tenant| &tenant.name.0),
                workload,
                late: Cow::Owned(of_items(snapshot, tenant, workload, late)),
            };
            shows(tenant, workload).then(row)
        })
        .collect();
    if shown.is_empty() && backlogs.is_empty() {
        return None;
    }
    let runs: usize = shown.iter().map(|(_, _, report)| report.late_runs as usize).sum();
    let all = runs + backlogs.len();
    let mut rows: Vec<Row<'_>> = shown
        .iter()
        .flat_map(|(tenant, workload, report)| {
            let tenant = tenant.map(|tenant| &tenant.name.0);
            report.latest.iter().map(move |late| Row { tenant, workload, late: Cow::Borrowed(late) })
        })
        .chain(backlogs)
        .collect();
    // The sort is stable: those that are late by the same and due at once stand by workload.
    rows.sort_by_key(|row| (Reverse(row.late.by.unwrap_or(SignedDuration::MAX)), row.late.due));
    rows.truncate(MOST);
    let more = match all.saturating_sub(rows.len()) {
        0 => String::new(),
        more => format!(" These are the latest, and {more} more: see condition RunsInTime of each Workload."),
    };
    let columns = vec![
        Column::text("Tenant"),
        Column::text("Workload"),
        Column::text("Run"),
        Column::text("Due"),
        Column::number("Late by"),
        Column::text("What would help, and its price"),
    ];
    Some(Table {
        title: "Late runs".to_owned(),
        note: format!(
            "Runs of Jobs that are or will be late, of those that run, wait or come within 24 hours, and backlogs that their \
             workers will do after the deadline, as of when this report was made, whatever its period.{more}"
        ),
        columns,
        rows: rows.iter().map(cells).collect(),
    })
}

/// A backlog as a late run, with what would help.
fn of_items(
    snapshot: &Snapshot,
    tenant: Option<&TenantPolicy>,
    workload: &WorkloadKey,
    late: LateItems,
) -> LateRun {
    let LateItems { due, by, more } = late;
    let help = if more == 0 {
        "no number of replicas keeps the deadline; raise spec.scaling.deadlineSeconds".to_owned()
    } else {
        let cost = month(snapshot, tenant, workload, more);
        let cost = cost.map(|cost| format!(", which costs {cost}")).unwrap_or_default();
        format!("spec.scaling.replicas.max has to grow by {more}{cost}")
    };
    LateRun { run: "backlog".to_owned(), due, by: Some(by), help }
}

/// What so many replicas more cost in a month, by what a pod of the workload asks for.
fn month(
    snapshot: &Snapshot,
    tenant: Option<&TenantPolicy>,
    workload: &WorkloadKey,
    more: u32,
) -> Option<String> {
    let prices = tenant?.prices.as_ref()?;
    let pod = snapshot.pods_of(workload).next()?;
    let millis: u64 = pod.containers.iter().filter_map(|one| one.cpu_request).sum();
    let bytes: u64 = pod.containers.iter().filter_map(|one| one.memory.request).sum();
    let times = |amount: f64| amount * f64::from(more);
    prices.month(times(millis as f64 / 1e3), times(bytes as f64 / f64::from(1 << 30)))
}

fn cells(row: &Row<'_>) -> Vec<Cell> {
    let nowhere = || Cell::Toned(Tone::Bad, "finds no room now".to_owned());
    vec![
        row.tenant.map_or(Cell::NoData, |name| Cell::Text(name.to_string())),
        Cell::Text(row.workload.to_string()),
        Cell::Text(row.late.run.clone()),
        Cell::Instant(row.late.due),
        row.late.by.map_or_else(nowhere, |by| Cell::Seconds(by.as_secs_f64())),
        Cell::Text(row.late.help.clone()),
    ]
}
