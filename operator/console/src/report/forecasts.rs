//! The forecasts of a report: what is expected, how sure that is, and what was done with it.

use super::band::Step;
use super::run::{Cell, Column, Table, Tone};
use super::text;
use homeostat_knowledge::forecast::{REQUESTS, RUNS};
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{ForecastRecord, ForecastSkill};

/// Forecasts in a report; more are in `kubectl get forecasts -A`.
const MOST: usize = 200;

/// A row for each forecast; `None` when there is none.
pub fn table(sorted: &[&ForecastRecord]) -> Option<Table> {
    if sorted.is_empty() {
        return None;
    }
    let beyond = sorted.len().saturating_sub(MOST);
    let more = if beyond == 0 { String::new() } else { format!(" {beyond} more: kubectl get forecasts -A.") };
    let columns = vec![
        Column::text("Workload"),
        Column::text("Signal"),
        Column::text("Ahead"),
        Column::text("Expected"),
        Column::number("Now"),
        Column::number("Low p10"),
        Column::number("Peak p50"),
        Column::number("Peak p90"),
        Column::text("Limit in"),
        Column::text("Replicas"),
        Column::text("Mode"),
        Column::text("What was done"),
        Column::number("Error"),
        Column::text("Model"),
        Column::text("Next choice"),
    ];
    Some(Table {
        title: "Forecasts".to_owned(),
        note: format!(
            "“Expected” is the median and the band from p10 to p90 over the time ahead, each drawn to a scale of its own. “Peak” is the highest single step within the time ahead, “Low” the lowest of its points. “Next choice” is when \
             models are compared again at the latest, and so the model can change. “Error” is the back-tested error as a \
             share of the seasonal naive forecast's: below 100 % the forecast is the better one. Of signal “runs” all are \
             seconds: “Now” of the last run, the others of the next one.{more}"
        ),
        columns,
        rows: sorted.iter().take(MOST).map(|record| row(record)).collect(),
    })
}

fn row(record: &ForecastRecord) -> Vec<Cell> {
    let (outlook, size) = (&record.outlook, &record.size);
    let number = |value: Option<f64>| value.map_or(Cell::NoData, |value| Cell::Text(text::number(value)));
    let tone = match outlook.skill {
        ForecastSkill::Proven => Tone::Good,
        ForecastSkill::Absent | ForecastSkill::Unknown => Tone::Plain,
    };
    let sized = *record.signal == *REQUESTS;
    // No size follows from the others; that is not the same as not known.
    let only_sized = |cell: Cell| if sized { cell } else { Cell::Text(String::new()) };
    vec![
        Cell::Text(record.workload.to_string()),
        Cell::Text(record.signal.to_string()),
        Cell::Text(if *record.signal == *RUNS {
            "next run".to_owned()
        } else {
            text::seconds(f64::from(outlook.horizon_seconds))
        }),
        Cell::Band(outlook.points.iter().map(|at| Step { p10: at.p10, p50: at.p50, p90: at.p90 }).collect()),
        number(outlook.now),
        number(outlook.low()),
        number(outlook.peak.map(|peak| peak.p50)),
        number(outlook.peak.map(|peak| peak.p90)),
        outlook.limit.as_ref().map_or_else(
            || Cell::Text("none".to_owned()),
            |limit| Cell::Toned(Tone::Bad, text::seconds(limit.p50_seconds)),
        ),
        only_sized(Cell::Text(replicas(record.replicas, size.wanted))),
        Cell::Text(mode(record.mode).to_owned()),
        only_sized(Cell::Text(size.done.clone().unwrap_or_else(|| "nothing".to_owned()))),
        outlook.error.map_or(Cell::NoData, |error| Cell::Toned(tone, text::percent(error))),
        outlook.model.as_ref().map_or(Cell::NoData, |model| Cell::Text(model.to_string())),
        outlook.next_choice.map_or(Cell::NoData, Cell::Instant),
    ]
}

/// One column for both, so that the table is no wider than a page.
fn replicas(now: u32, wanted: Option<u32>) -> String {
    match wanted {
        Some(wanted) if wanted == now => now.to_string(),
        Some(wanted) => format!("{now}, wanted {wanted}"),
        None => format!("{now}, wanted: no data"),
    }
}

fn mode(mode: ScalingMode) -> &'static str {
    match mode {
        ScalingMode::Observe => "observe",
        ScalingMode::Recommend => "recommend",
        ScalingMode::Auto => "auto",
    }
}
