//! The report: one HTML file without anything from elsewhere, light and dark, with a plot per fault
//! kind and the timeline of each column.

mod plot;

use std::fmt::Write as _;

use super::column::ColumnRun;
use super::figures::{Figure, Standing};
use super::live::Line;
use super::tables::Rows;
use crate::result::RunResult;
use crate::truth::At;

const STYLE: &str = include_str!("report/style.css");
/// Lines of the run that are shown.
const MAX_LINES: usize = 5000;

/// What the report shows.
pub struct Input<'a> {
    /// Columns.
    pub runs: &'a [ColumnRun],
    /// Figures per fault.
    pub result: &'a RunResult,
    /// Groups.
    pub rows: &'a Rows,
    /// What must hold.
    pub figures: &'a [Figure],
    /// The tables as printed.
    pub text: &'a str,
    /// Everything that was said.
    pub lines: &'a [Line],
    /// When it began.
    pub begin: At,
}

/// Text with what HTML would read as markup replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The whole page.
pub fn html(input: &Input<'_>) -> String {
    let mut page = String::new();
    let began = input.begin.to_text().unwrap_or_default();
    let columns: Vec<&str> = input.runs.iter().map(|run| run.column.title()).collect();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Homeostat beside plain Kubernetes</title><style>{STYLE}</style></head><body>\
         <h1>Homeostat beside plain Kubernetes</h1>\
         <p>{} faults; columns: {}; seed {}; begun {}.</p>",
        input.result.faults.len(),
        escape(&columns.join(", ")),
        input.result.seed,
        escape(&began)
    );
    figures(&mut page, input.figures);
    page.push_str("<h2>Downtime per fault</h2><p>One dot per fault, seconds on a logarithmic scale; a hollow dot was not healed and counts as 60 s. The line is the median.</p><div class=\"plots\">");
    for kind in input.rows.kinds.keys() {
        page.push_str(&plot::downtime(*kind, input.runs));
    }
    page.push_str("</div><h2>Timeline</h2><p>Bars last from the first failed attempt to the recovery; the tick is the detection, the diamond an action.</p>");
    for run in input.runs {
        page.push_str(&plot::timeline(run));
    }
    let _ = write!(page, "<h2>Tables</h2><pre>{}</pre>", escape(input.text));
    definitions(&mut page);
    faults(&mut page, input.result);
    page.push_str("<h2>What happened</h2><details><summary>All lines</summary><pre>");
    for line in input.lines.iter().take(MAX_LINES) {
        let _ = writeln!(page, "[{:8.2} s] {}", (line.at - input.begin).seconds(), escape(&line.text));
    }
    page.push_str("</pre></details></body></html>\n");
    page
}

fn figures(page: &mut String, figures: &[Figure]) {
    page.push_str("<h2>Figures</h2><table><tr><th></th><th>What</th><th>Measured</th><th>Must</th></tr>");
    for figure in figures {
        let (class, word) = match figure.standing {
            Standing::Pass => ("pass", "PASS"),
            Standing::Miss => ("miss", "MISS"),
            Standing::Open => ("open", "?"),
        };
        let _ = write!(
            page,
            "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&figure.name),
            escape(&figure.value),
            escape(&figure.must)
        );
    }
    page.push_str("</table>");
}

fn definitions(page: &mut String) {
    page.push_str(
        "<details><summary>Definitions</summary><ul>\
         <li>Impact: end of the first failed attempt (error or timeout) on the broken service after the injection; \
         for a double kill after the second.</li>\
         <li>Detected: the harness's own watch delivers an Incident, opened after the injection, that names the broken \
         entity among its causes.</li>\
         <li>Mitigated: end of the first good attempt, started after the impact, that opens 3 s without a failure.</li>\
         <li>MTTD = detected &minus; impact, MTTR = mitigated &minus; detected (never negative), downtime = mitigated \
         &minus; impact. Percentiles by nearest rank; undetected is infinite.</li>\
         <li>Homeostat's own clock is not used.</li></ul></details>",
    );
}

fn faults(page: &mut String, result: &RunResult) {
    page.push_str(
        "<h2>Faults</h2><details><summary>All of them</summary><table><tr><th>Column</th><th>Fault</th><th>Service</th>\
         <th>Injected</th><th>MTTD s</th><th>MTTR s</th><th>Downtime s</th><th>Healed</th><th>Incidents</th>\
         <th>Top cause</th><th>Actions</th><th>Wrong</th></tr>",
    );
    let number =
        |value: Option<f64>| value.map_or_else(|| "&ndash;".to_owned(), |value| format!("{value:.3}"));
    for fault in &result.faults {
        let kind = match &fault.variant {
            Some(variant) => format!("{} {variant}", fault.kind),
            None => fault.kind.to_string(),
        };
        let end = match (fault.healed, fault.handed_over) {
            (true, _) => "yes",
            (false, true) => "handed over",
            (false, false) => "no",
        };
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{end}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            fault.column,
            escape(&kind),
            escape(&fault.service),
            escape(fault.injected_at.as_deref().unwrap_or("")),
            number(fault.mttd_seconds),
            number(fault.mttr_seconds),
            number(fault.downtime_seconds),
            fault.incidents,
            escape(fault.top_cause.as_deref().unwrap_or("")),
            fault.actions,
            fault.wrong_actions
        );
    }
    page.push_str("</table></details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_shows_texts_as_they_are() {
        let lines = [Line { at: At(1_500_000), text: "incident <script>".into() }];
        let figure =
            Figure { name: "a < b".into(), value: "1".into(), must: "2".into(), standing: Standing::Miss };
        let page = html(&Input {
            runs: &[],
            result: &RunResult::default(),
            rows: &Rows::default(),
            figures: &[figure],
            text: "t",
            lines: &lines,
            begin: At(0),
        });
        assert!(page.contains("a &lt; b") && page.contains("    1.50 s] incident &lt;script&gt;"));
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
