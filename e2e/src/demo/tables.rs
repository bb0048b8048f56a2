//! Tables that line up: per fault kind and per service, one block per column.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::column::ColumnRun;
use super::mode::Column;
use crate::faults::Kind;
use crate::result::RunResult;
use crate::truth::percentile::percentile;
use crate::truth::watch::Reached;

/// What is known of a group of faults in one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Faults.
    pub count: usize,
    /// Healed ones.
    pub healed: usize,
    /// Handed over to people.
    pub handed_over: usize,
    /// Seconds; infinite when undetected.
    pub mttd: Vec<f64>,
    /// Seconds; infinite when not healed; without those that recovered before they were detected.
    pub mttr: Vec<f64>,
    /// Seconds; 60 when not healed.
    pub downtime: Vec<f64>,
}

/// Figures by kind, by service and pooled, for each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// By kind of fault.
    pub kinds: BTreeMap<Kind, BTreeMap<Column, Cell>>,
    /// By what was broken.
    pub services: BTreeMap<String, BTreeMap<Column, Cell>>,
    /// Faults 1 to 4 together, as the figures want them.
    pub pooled: BTreeMap<Column, Cell>,
}

impl Cell {
    fn add(&mut self, judged: &crate::truth::Attributed) {
        let verdict = &judged.verdict;
        self.count += 1;
        self.healed += usize::from(verdict.healed);
        self.handed_over += usize::from(judged.handed_over);
        self.mttd.extend(verdict.mttd);
        self.mttr.extend(verdict.mttr);
        if verdict.impact.is_some() {
            self.downtime.push(verdict.downtime);
        }
    }

    /// Mean seconds; `None` without values.
    pub fn mean(values: &[f64]) -> Option<f64> {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// Gathers the figures of all columns.
pub fn rows(runs: &[ColumnRun]) -> Rows {
    let mut rows = Rows::default();
    for run in runs {
        for (record, judged) in run.records.iter().zip(&run.judged.faults) {
            let cell = rows.kinds.entry(record.kind).or_default().entry(run.column).or_default();
            cell.add(judged);
            if record.kind.can_be_healed() {
                let service = rows.services.entry(record.broken.service.clone()).or_default();
                service.entry(run.column).or_default().add(judged);
            }
            if record.kind.number() <= 4 {
                rows.pooled.entry(run.column).or_default().add(judged);
            }
        }
    }
    rows
}

/// `0.42`, `never` for infinity, `-` without values.
fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.is_infinite() => "never".to_owned(),
        Some(value) => format!("{value:.2}"),
    }
}

fn pair(values: &[f64]) -> String {
    format!("{:>6}/{:<6}", seconds(percentile(values, 50.0)), seconds(percentile(values, 95.0)))
}

fn block(cell: Option<&Cell>, column: Column) -> String {
    let Some(cell) = cell else {
        return match column {
            Column::Homeostat => format!("{:>7}  {:^13}  {:^13}  {:^13}", "-", "-", "-", "-"),
            _ => format!("{:>7}  {:^13}", "-", "-"),
        };
    };
    let healed = format!("{}/{}", cell.healed, cell.count);
    match column {
        Column::Homeostat => {
            format!("{healed:>7}  {}  {}  {}", pair(&cell.mttd), pair(&cell.mttr), pair(&cell.downtime))
        }
        _ => format!("{healed:>7}  {}", pair(&cell.downtime)),
    }
}

fn heading(column: Column) -> (String, String) {
    let (names, width) = match column {
        Column::Homeostat => {
            (format!("{:>7}  {:^13}  {:^13}  {:^13}", "healed", "MTTD", "MTTR", "downtime"), 52)
        }
        _ => (format!("{:>7}  {:^13}", "healed", "downtime"), 22),
    };
    (format!("{:^width$}", column.title()), names)
}

fn table(title: &str, columns: &[Column], lines: &[(String, BTreeMap<Column, Cell>)]) -> String {
    let mut out = format!("\n{title}\n");
    let headings: Vec<(String, String)> = columns.iter().map(|column| heading(*column)).collect();
    let join = |parts: Vec<String>| parts.join("  | ");
    let first = join(headings.iter().map(|(title, _)| title.clone()).collect());
    let second = join(headings.iter().map(|(_, names)| names.clone()).collect());
    let _ = writeln!(out, "{:<36}| {}", "", first.trim_end());
    let _ = writeln!(out, "{:<36}| {}", "", second.trim_end());
    for (name, cells) in lines {
        let blocks = columns.iter().map(|column| block(cells.get(column), *column)).collect();
        let _ = writeln!(out, "{name:<36}| {}", join(blocks).trim_end());
    }
    out
}

/// Every table and the lines below them.
pub fn all(rows: &Rows, runs: &[ColumnRun], result: &RunResult) -> String {
    let columns: Vec<Column> = runs.iter().map(|run| run.column).collect();
    let kinds: Vec<_> = rows.kinds.iter().map(|(kind, cells)| (format!("{kind}"), cells.clone())).collect();
    let services: Vec<_> = rows.services.iter().map(|(name, cells)| (name.clone(), cells.clone())).collect();
    let mut out =
        table("Seconds, p50/p95 by nearest rank, per fault (not healed counts as 60 s)", &columns, &kinds);
    out.push_str(&table("Per service, faults 1 to 6", &columns, &services));
    if let Some(cell) = rows.kinds.get(&Kind::BadConfig).and_then(|cells| cells.get(&Column::Homeostat)) {
        let provider = rows.kinds.get(&Kind::ProviderDown).and_then(|cells| cells.get(&Column::Homeostat));
        let (over, all) = provider.map_or((0, 0), |cell| (cell.handed_over, cell.count));
        let _ = writeln!(
            out,
            "\nFaults 7 and 8 cannot be healed by a machine; handed over to people: {} of {}.",
            cell.handed_over + over,
            cell.count + all
        );
    }
    let _ = writeln!(
        out,
        "\n{:<24}{:>10}{:>8}{:>10}{:>12}{:>9}{:>10}{:>8}",
        "users and attempts", "requests", "failed", "share", "attempts", "failed", "share", "lost"
    );
    for run in runs {
        let requests = result.requests.get(&run.column).copied().unwrap_or_default();
        let lost = run.proof.as_ref().map_or_else(|| "?".to_owned(), |proof| proof.lost.to_string());
        let _ = writeln!(
            out,
            "{:<24}{:>10}{:>8}{:>9.3}%{:>12}{:>9}{:>9.3}%{:>8}",
            run.column.title(),
            requests.total,
            requests.failed,
            requests.failed_percent(),
            requests.attempts,
            requests.failed_attempts,
            requests.failed_attempts_percent(),
            lost
        );
    }
    for run in runs {
        let _ = writeln!(out, "{}", notes(run));
    }
    out
}

fn notes(run: &ColumnRun) -> String {
    let mut parts =
        vec![format!("{}: {:.0} s of load", run.column.title(), (run.ended - run.began).seconds())];
    if let Some(proof) = &run.proof {
        parts.push(format!("{} orders acknowledged, {} lost", proof.acknowledged, proof.lost));
    }
    for (reached, what) in [
        (Reached::Listening, "process start to listening, new pods"),
        (Reached::CalledInPlace, "process start to first accepted connection, restarted in place"),
        (
            Reached::CalledAnew,
            "and to the first accepted connection there, once Kubernetes has seen them ready",
        ),
    ] {
        let all = run.milliseconds(reached);
        if let Some((p50, p95)) = percentile(&all, 50.0).zip(percentile(&all, 95.0)) {
            parts.push(format!("{what}: {p50:.0}/{p95:.0} ms (p50/p95 of {})", all.len()));
        }
    }
    if run.load.late * 100 > run.load.requests {
        parts.push(format!(
            "{} of {} requests were sent late: the machine had too little CPU, so these figures are too bad",
            run.load.late, run.load.requests
        ));
    }
    if run.load.missing > 0 {
        parts.push(format!("{} reads did not find what was acknowledged", run.load.missing));
    }
    if run.restored_by_harness > 0 {
        let faults = if run.restored_by_harness == 1 { "fault" } else { "faults" };
        parts.push(format!("{} {faults} restored by the harness", run.restored_by_harness));
    }
    if let Some(bytes) = run.measured.rss_peak_bytes {
        parts.push(format!("Homeostat peak RSS {:.1} MB", bytes as f64 / 1e6));
    }
    if let Some(cores) = run.measured.cpu_mean_cores {
        parts.push(format!("mean CPU {cores:.3} core"));
    }
    if let Some(idle) = run.measured.idle_share {
        parts.push(format!("machine {:.0} % idle", idle * 100.0));
    }
    if let Some(cores) = run.measured.load_cores {
        parts.push(format!("load generator {cores:.3} core"));
    }
    let faults = || run.judged.faults.iter().map(|fault| &fault.verdict);
    let before = faults().filter(|verdict| verdict.before_alert).count();
    if before > 0 && run.column == Column::Homeostat {
        parts.push(format!("{before} recovered before they were detected: no repair, so not in MTTR"));
    }
    let unnoticed = faults().filter(|verdict| verdict.impact.is_none()).count();
    if unnoticed > 0 {
        parts.push(format!("{unnoticed} without a failed attempt"));
    }
    if !run.skipped.is_empty() {
        parts.push(format!("{} faults could not be injected", run.skipped.len()));
    }
    parts.join("\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_missing() {
        let cell = Cell {
            count: 5,
            healed: 4,
            mttd: vec![0.1, 0.2, f64::INFINITY],
            mttr: vec![1.0],
            downtime: vec![1.5, 60.0],
            ..Cell::default()
        };
        let mut own = BTreeMap::from([(Column::Homeostat, cell.clone())]);
        let columns = [Column::Homeostat, Column::Plain];
        let one = table("t", &columns, &[("1 (process killed)".into(), own.clone())]);
        own.insert(Column::Plain, cell);
        let both = table("t", &columns, &[("1 (process killed)".into(), own)]);
        let bars = |text: &str| -> Vec<Vec<usize>> {
            text.lines().skip(2).map(|line| line.match_indices('|').map(|(at, _)| at).collect()).collect()
        };
        assert!(bars(&one).iter().chain(&bars(&both)).all(|at| *at == bars(&both)[0]), "{one}{both}");
        assert!(both.contains("never") && both.contains("4/5"), "{both}");
    }
}
