//! Drawings in SVG: dots of downtimes, and the timeline of a column.

use std::fmt::Write as _;

use super::super::column::ColumnRun;
use super::escape;
use crate::demo::application::{PROVIDER, SERVICES};
use crate::faults::Kind;
use crate::truth::percentile::percentile;
use crate::truth::{At, Span};

const WIDTH: f64 = 340.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 325.0;
/// Ends of the logarithmic scale in seconds.
const SHORTEST: f64 = 0.1;
const LONGEST: f64 = 60.0;

fn across(seconds: f64) -> f64 {
    let clamped = seconds.clamp(SHORTEST, LONGEST);
    let share = (clamped / SHORTEST).ln() / (LONGEST / SHORTEST).ln();
    LEFT + share * (RIGHT - LEFT)
}

/// Downtimes of one kind, a row per column.
pub fn downtime(kind: Kind, runs: &[ColumnRun]) -> String {
    let height = 34.0 + 26.0 * runs.len() as f64 + 18.0;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Downtimes of fault {0}\"><text x=\"4\" y=\"14\">Fault {0}</text>",
        escape(&kind.to_string())
    );
    let bottom = height - 18.0;
    for tick in [0.1, 1.0, 10.0, 60.0] {
        let x = across(tick);
        let _ = write!(
            out,
            "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"24\" y2=\"{bottom:.1}\"/>\
             <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick} s</text>",
            bottom + 13.0
        );
    }
    for (row, run) in runs.iter().enumerate() {
        let y = 40.0 + 26.0 * row as f64;
        let class = run.column.name();
        let _ = write!(out, "<text x=\"4\" y=\"{:.1}\">{class}</text>", y + 4.0);
        let faults = run.records.iter().zip(&run.judged.faults);
        let shown: Vec<_> = faults
            .filter(|(record, judged)| record.kind == kind && judged.verdict.impact.is_some())
            .collect();
        for (index, (_, judged)) in shown.iter().enumerate() {
            // Side by side where they would hide each other.
            let dy = (index % 3) as f64 * 4.0 - 4.0;
            let hollow = if judged.verdict.healed { "" } else { " hollow" };
            let _ = write!(
                out,
                "<circle class=\"{class}{hollow}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{:.2} s</title></circle>",
                across(judged.verdict.downtime),
                y + dy,
                judged.verdict.downtime
            );
        }
        let values: Vec<f64> = shown.iter().map(|(_, judged)| judged.verdict.downtime).collect();
        if let Some(median) = percentile(&values, 50.0) {
            let x = across(median);
            let _ = write!(
                out,
                "<line class=\"{class}\" stroke-width=\"2\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                y - 10.0,
                y + 10.0
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// Seconds between two ticks: round, and at most eight of them.
fn step(whole: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
    steps.into_iter().find(|step| whole / step <= 8.0).unwrap_or(whole)
}

/// One column over time, a row per service.
pub fn timeline(run: &ColumnRun) -> String {
    const WIDE: f64 = 1060.0;
    const FROM: f64 = 120.0;
    let services: Vec<&str> = SERVICES.iter().copied().chain([PROVIDER]).collect();
    let height = 30.0 + 20.0 * services.len() as f64 + 20.0;
    let whole = (run.ended - run.began).seconds().max(1.0);
    let x = |at: At| FROM + ((at - run.began).seconds() / whole).clamp(0.0, 1.0) * (WIDE - FROM - 10.0);
    let class = run.column.name();
    let mut out = format!(
        "<div class=\"scroll\" role=\"group\" aria-label=\"Timeline of {0}\" tabindex=\"0\"><svg class=\"wide\" \
         viewBox=\"0 0 {WIDE} {height}\" role=\"img\" aria-label=\"Timeline of {0}\"><text x=\"4\" y=\"14\">{0}</text>\
         <text class=\"soft\" x=\"4\" y=\"{1:.1}\">since its start</text>",
        escape(run.column.title()),
        height - 4.0
    );
    for (row, service) in services.iter().enumerate() {
        let y = 34.0 + 20.0 * row as f64;
        let _ = write!(
            out,
            "<text x=\"4\" y=\"{:.1}\">{service}</text><line class=\"axis\" x1=\"{FROM}\" x2=\"{WIDE}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            y + 4.0
        );
        for (record, judged) in run.records.iter().zip(&run.judged.faults) {
            if record.broken.service != *service {
                continue;
            }
            let Some(impact) = judged.verdict.impact else { continue };
            let end = judged.verdict.mitigated.unwrap_or(record.restored).max(impact + Span::from_millis(1));
            let (left, right) = (x(impact), x(end));
            let hollow = if judged.verdict.healed { "" } else { " hollow" };
            let _ = write!(
                out,
                "<rect class=\"{class}{hollow}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\"><title>{}</title></rect>",
                y - 5.0,
                (right - left).max(2.0),
                escape(&format!("fault {}: {:.2} s", record.kind, judged.verdict.downtime))
            );
            let _ = write!(
                out,
                "<text class=\"soft\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>",
                y - 7.0,
                record.kind.number()
            );
            if let Some(detected) = judged.verdict.detected {
                let at = x(detected);
                let _ = write!(
                    out,
                    "<line class=\"mark\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                    y - 7.0,
                    y + 7.0
                );
            }
        }
    }
    for (at, service) in &run.effects {
        let Some(row) = services.iter().position(|name| name == service) else { continue };
        let (at, y) = (x(*at), 34.0 + 20.0 * row as f64);
        let _ = write!(
            out,
            "<path class=\"mark\" d=\"M{at:.1} {:.1}l3 4l-3 4l-3 -4z\"><title>action</title></path>",
            y - 4.0
        );
    }
    let step = step(whole);
    for tick in 0..=(whole / step).floor() as u32 {
        let seconds = f64::from(tick) * step;
        let at = FROM + seconds / whole * (WIDE - FROM - 10.0);
        let label =
            if step < 60.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) };
        let anchor = if at > WIDE - 30.0 { "end" } else { "middle" };
        let _ = write!(
            out,
            "<text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
            height - 4.0
        );
    }
    out.push_str("</svg></div>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let steps = [4.0, 90.0, 357.0, 1_618.0, 1e6].map(|whole| step(whole) as u64);
        assert_eq!(steps, [1, 20, 60, 300, 1_000_000]);
    }

    #[test]
    fn the_scale_is_logarithmic_and_bounded() {
        assert!((across(0.1) - LEFT).abs() < 1e-9 && (across(60.0) - RIGHT).abs() < 1e-9);
        assert!((across(0.001) - LEFT).abs() < 1e-9 && (across(600.0) - RIGHT).abs() < 1e-9);
        let step = across(1.0) - across(0.1);
        assert!((across(10.0) - across(1.0) - step).abs() < 1e-9);
    }
}
