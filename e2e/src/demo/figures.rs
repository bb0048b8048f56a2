//! What must hold, from what was measured: one line per figure, PASS, MISS or not measured.

use std::fmt::Write as _;

use super::column::ColumnRun;
use super::mode::{Column, Mode};
use super::tables::{Cell, Rows};
use crate::faults::Kind;
use crate::result::RunResult;
use crate::truth::percentile::percentile;

/// How a figure stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it must be.
    Pass,
    /// Not as it must be.
    Miss,
    /// This run does not tell.
    Open,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What.
    pub name: String,
    /// What was measured.
    pub value: String,
    /// What must be.
    pub must: String,
    /// How it stands.
    pub standing: Standing,
}

fn figure(name: &str, value: String, must: &str, standing: Option<bool>) -> Figure {
    let standing = match standing {
        Some(true) => Standing::Pass,
        Some(false) => Standing::Miss,
        None => Standing::Open,
    };
    Figure { name: name.to_owned(), value, must: must.to_owned(), standing }
}

fn shown(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "not measured".to_owned(),
        Some(value) if value.is_infinite() => "never".to_owned(),
        Some(value) => format!("{value:.2} {unit}"),
    }
}

/// Seconds from start to the first connection that MTTR may add, at most.
const START: f64 = 0.5;
/// The source's failed share, percent.
const SOURCE_FAILED: f64 = 0.25;
const RSS_BYTES: u64 = 80_000_000;
const CORES: f64 = 0.15;

/// Compares a run with what must be.
pub fn check(mode: Mode, runs: &[ColumnRun], rows: &Rows, result: &RunResult) -> Vec<Figure> {
    let own = runs.iter().find(|run| run.column == Column::Homeostat);
    let mut figures = Vec::new();
    if let Some(own) = own {
        detection(own, rows, &mut figures);
    }
    downtime(rows, &mut figures);
    if let Some(own) = own {
        conduct(own, result, &mut figures);
        let rss = result.homeostat.rss_peak_bytes;
        let value = shown(rss.map(|bytes| bytes as f64 / 1e6), "MB");
        figures.push(figure("Homeostat's peak RSS", value, "<= 80 MB", rss.map(|bytes| bytes <= RSS_BYTES)));
        let cpu = result.homeostat.cpu_mean_cores;
        let value = cpu.map_or_else(|| "not measured".to_owned(), |cores| format!("{cores:.3} core"));
        figures.push(figure("Homeostat's mean CPU", value, "<= 0.15 core", cpu.map(|cores| cores <= CORES)));
    }
    if mode == Mode::Source {
        let of = |column| result.requests.get(&column).map(crate::result::Requests::failed_percent);
        let (with, plain) = (of(Column::Homeostat), of(Column::Plain));
        let value = with.map_or_else(|| "not measured".to_owned(), |share| format!("{share:.3} %"));
        figures.push(figure(
            "failed share of requests",
            value,
            "<= 0.25 %",
            with.map(|share| share <= SOURCE_FAILED),
        ));
        let value =
            plain.map_or_else(|| "not measured".to_owned(), |share| format!("plain Kubernetes {share:.3} %"));
        let below = with.zip(plain).map(|(with, plain)| with < plain);
        figures.push(figure("failed share beside plain Kubernetes", value, "Homeostat below it", below));
    }
    for run in runs {
        let lost = run.proof.as_ref().map(|proof| proof.lost);
        let value = lost.map_or_else(|| "not measured".to_owned(), |lost| lost.to_string());
        let name = format!("acknowledged orders lost, {}", run.column);
        figures.push(figure(&name, value, "0", lost.map(|lost| lost == 0)));
    }
    figures
}

fn detection(own: &ColumnRun, rows: &Rows, figures: &mut Vec<Figure>) {
    let Some(pooled) = rows.pooled.get(&Column::Homeostat) else { return };
    let start = percentile(&own.own_starts(), 95.0).map(|milliseconds| milliseconds / 1e3);
    let value = shown(start, "s");
    figures.push(figure(
        "process start to first connection or listening, p95",
        value,
        "<= 0.5 s",
        start.map(|s| s <= START),
    ));
    let mttd = percentile(&pooled.mttd, 95.0);
    let name = format!("MTTD p95, faults 1 to 4 ({} faults)", pooled.mttd.len());
    figures.push(figure(&name, shown(mttd, "s"), "<= 2 s", mttd.map(|s| s <= 2.0)));
    let mttr = percentile(&pooled.mttr, 95.0);
    let name = format!("MTTR p95, faults 1 to 4 ({} faults)", pooled.mttr.len());
    let most = 3.0 + start.unwrap_or(0.0).min(START);
    figures.push(figure(&name, shown(mttr, "s"), "<= 3 s + start", mttr.map(|s| s <= most)));
    for (kind, cells) in rows.kinds.iter().filter(|(kind, _)| kind.number() <= 4) {
        let Some(cell) = cells.get(&Column::Homeostat) else { continue };
        let (mttd, mttr) = (percentile(&cell.mttd, 95.0), percentile(&cell.mttr, 95.0));
        let value = format!("{} / {}", shown(mttd, "s"), shown(mttr, "s"));
        let good = mttd.zip(mttr).map(|(mttd, mttr)| mttd <= 2.0 && mttr <= most);
        figures.push(figure(
            &format!("MTTD / MTTR p95, fault {kind}"),
            value,
            "<= 2 s / <= 3 s + start",
            good,
        ));
    }
}

fn downtime(rows: &Rows, figures: &mut Vec<Figure>) {
    let mean = |kind: Kind, column: Column| {
        rows.kinds.get(&kind).and_then(|cells| cells.get(&column)).and_then(|cell| Cell::mean(&cell.downtime))
    };
    for kind in [Kind::KillAgain, Kind::Hang, Kind::Errors, Kind::Slow] {
        let (own, probes) = (mean(kind, Column::Homeostat), mean(kind, Column::Probes));
        if let Some((own, probes)) = own.zip(probes) {
            let value = format!("{own:.2} s, {probes:.2} s with probes: {:.1}x less", probes / own.max(1e-3));
            let name = format!("mean downtime, fault {kind}");
            figures.push(figure(&name, value, ">= 3x less", Some(own * 3.0 <= probes)));
        }
    }
    let (own, plain) = (mean(Kind::Kill, Column::Homeostat), mean(Kind::Kill, Column::Plain));
    if let Some((own, plain)) = own.zip(plain) {
        let value = format!("{own:.2} s, plain {plain:.2} s");
        let name = format!("mean downtime, fault {}", Kind::Kill);
        figures.push(figure(&name, value, "<= plain + 0.2 s", Some(own <= plain + 0.2)));
    }
}

fn conduct(own: &ColumnRun, result: &RunResult, figures: &mut Vec<Figure>) {
    let quiet = result.quiet_incidents;
    figures.push(figure("incidents without a fault", quiet.to_string(), "0", Some(quiet == 0)));
    let faults = &own.judged.faults;
    if faults.is_empty() {
        return;
    }
    if !own.skipped.is_empty() {
        let value = format!("{} left out", own.skipped.len());
        figures.push(figure("planned faults that could be injected", value, "all", Some(false)));
    }
    let wrong: usize = faults.iter().map(|fault| fault.wrong_actions).sum();
    let actions: usize = faults.iter().map(|fault| fault.actions).sum();
    let value = format!("{wrong} of {actions}");
    figures.push(figure("wrong or useless actions", value, "0", Some(wrong == 0)));
    let single = faults.iter().filter(|fault| fault.incidents == 1).count();
    let value = format!("exactly one in {single} of {}", faults.len());
    figures.push(figure("incidents per fault", value, "1", Some(single == faults.len())));
    let right = faults.iter().filter(|fault| fault.top_cause_right).count();
    let share = 100.0 * right as f64 / faults.len() as f64;
    let value = format!("{right} of {} ({share:.0} %)", faults.len());
    figures.push(figure("top cause is the broken entity", value, ">= 95 %", Some(share >= 95.0)));
    let hopeless: Vec<_> = own
        .records
        .iter()
        .zip(faults)
        .filter(|(record, _)| !record.kind.can_be_healed())
        .map(|(_, fault)| fault.handed_over)
        .collect();
    if !hopeless.is_empty() {
        let over = hopeless.iter().filter(|over| **over).count();
        let value = format!("{over} of {}", hopeless.len());
        figures.push(figure("faults 7 and 8 handed over", value, "all", Some(over == hopeless.len())));
    }
}

/// The list for people.
pub fn text(figures: &[Figure]) -> String {
    let mut out = String::from("\nFigures\n");
    for figure in figures {
        let word = match figure.standing {
            Standing::Pass => "PASS",
            Standing::Miss => "MISS",
            Standing::Open => "  ? ",
        };
        let _ = writeln!(out, "  {word}  {:<58}{:<44} must {}", figure.name, figure.value, figure.must);
    }
    out
}
