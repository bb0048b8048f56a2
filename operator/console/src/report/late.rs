//! The late runs of a report: which, by how much, and what would help at what price.

use super::run::{Cell, Column, Table, Tone};
use homeostat_knowledge::{LateRun, Name, RunsReport, SignedDuration, Snapshot, TenantPolicy, WorkloadKey};
use std::cmp::Reverse;

/// Late runs in a report; condition `RunsInTime` of each Workload tells of the others.
const MOST: usize = 100;

/// A run with whose it is.
struct Row<'a> {
    tenant: Option<&'a Name>,
    workload: &'a WorkloadKey,
    late: &'a LateRun,
}

/// Late runs of the workloads that `shows` lets through, latest first; `None` where no runs of them are ordered.
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
    if shown.is_empty() {
        return None;
    }
    let all: usize = shown.iter().map(|(_, _, report)| report.late_runs as usize).sum();
    let mut rows: Vec<Row<'_>> = shown
        .iter()
        .flat_map(|(tenant, workload, report)| {
            let tenant = tenant.map(|tenant| &tenant.name.0);
            report.latest.iter().map(move |late| Row { tenant, workload, late })
        })
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
            "Runs of Jobs that are or will be late, of those that run, wait or come within 24 hours, as of when this report \
             was made, whatever its period.{more}"
        ),
        columns,
        rows: rows.iter().map(cells).collect(),
    })
}

fn cells(row: &Row<'_>) -> Vec<Cell> {
    let never = || Cell::Toned(Tone::Bad, "never finds room".to_owned());
    vec![
        row.tenant.map_or(Cell::NoData, |name| Cell::Text(name.to_string())),
        Cell::Text(row.workload.to_string()),
        Cell::Text(row.late.run.clone()),
        Cell::Instant(row.late.due),
        row.late.by.map_or_else(never, |by| Cell::Seconds(by.as_secs_f64())),
        Cell::Text(row.late.help.clone()),
    ]
}
