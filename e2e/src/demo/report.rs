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

/// Columns of the table of faults, and whether each holds numbers.
const FAULT_COLUMNS: [(&str, bool); 12] = [
    ("Column", false),
    ("Fault", false),
    ("Service", false),
    ("Injected (UTC)", false),
    ("MTTD, s", true),
    ("MTTR, s", true),
    ("Downtime, s", true),
    ("Healed", false),
    ("Incidents", true),
    ("Top cause", false),
    ("Actions", true),
    ("Wrong actions", true),
];

/// `2026-11-26 18:23:15 UTC`.
fn people_time(at: At) -> String {
    match at.to_text() {
        Some(text) if text.len() > 19 => format!("{} {} UTC", &text[..10], &text[11..19]),
        _ => "at an unknown time".to_owned(),
    }
}

/// Text with what HTML would read as markup replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The whole page.
pub fn html(input: &Input<'_>) -> String {
    let mut page = String::new();
    let columns: Vec<&str> = input.runs.iter().map(|run| run.column.title()).collect();
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Homeostat beside plain Kubernetes</title><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\
         <header><h1>Homeostat beside plain Kubernetes</h1>\
         <p>{} faults; columns: {}; seed {}; begun {}.</p></header><main id=\"content\" tabindex=\"-1\">",
        input.result.faults.len(),
        escape(&columns.join(", ")),
        input.result.seed,
        people_time(input.begin)
    );
    figures(&mut page, input.figures);
    page.push_str("<h2>Downtime per fault</h2><p>One dot per fault, seconds on a logarithmic scale; a hollow dot was not healed and counts as 60 s. The line is the median.</p><div class=\"plots\">");
    for kind in input.rows.kinds.keys() {
        page.push_str(&plot::downtime(*kind, input.runs));
    }
    page.push_str("</div><h2>Timeline</h2><p>Bars last from the first failed attempt to the recovery, under the number of their fault; a hollow one was not healed. The tick is the detection, the diamond an action.</p>");
    for run in input.runs {
        page.push_str(&plot::timeline(run));
    }
    let _ = write!(
        page,
        "<h2>Tables</h2><pre role=\"region\" aria-label=\"Tables\" tabindex=\"0\">{}</pre>",
        escape(input.text)
    );
    definitions(&mut page);
    faults(&mut page, input.result);
    page.push_str("<h2>What happened</h2><details><summary>All lines, with seconds since the run began</summary><pre role=\"region\" aria-label=\"All lines\" tabindex=\"0\">");
    for line in input.lines.iter().take(MAX_LINES) {
        let _ = writeln!(page, "[{:8.2} s] {}", (line.at - input.begin).seconds(), escape(&line.text));
    }
    if input.lines.len() > MAX_LINES {
        let _ = writeln!(page, "and {} more", input.lines.len() - MAX_LINES);
    }
    page.push_str("</pre></details></main></body></html>\n");
    page
}

fn figures(page: &mut String, figures: &[Figure]) {
    page.push_str(
        "<h2 id=\"figures\">Figures</h2><p>PASS: what must hold does. MISS: it does not. ?: this run has too little to tell.</p>\
         <div class=\"scroll\" role=\"region\" aria-labelledby=\"figures\" tabindex=\"0\"><table><tr><th scope=\"col\">Holds</th>\
         <th scope=\"col\">What</th><th scope=\"col\">Measured</th><th scope=\"col\">Must</th></tr>",
    );
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
    page.push_str("</table></div>");
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
        "<h2 id=\"faults\">Faults</h2><details><summary>All of them, in their order</summary>\
         <div class=\"scroll\" role=\"region\" aria-labelledby=\"faults\" tabindex=\"0\"><table><tr>",
    );
    for (name, number) in FAULT_COLUMNS {
        let class = if number { " class=\"number\"" } else { "" };
        let _ = write!(page, "<th scope=\"col\"{class}>{name}</th>");
    }
    page.push_str("</tr>");
    let number =
        |value: Option<f64>| value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.3}"));
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
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"time\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td>{end}</td><td class=\"number\">{}</td><td>{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            fault.column,
            escape(&kind),
            escape(&fault.service),
            escape(fault.injected_at.as_deref().and_then(|at| at.get(11..23)).unwrap_or("no data")),
            number(fault.mttd_seconds),
            number(fault.mttr_seconds),
            number(fault.downtime_seconds),
            fault.incidents,
            escape(fault.top_cause.as_deref().unwrap_or("none")),
            fault.actions,
            fault.wrong_actions
        );
    }
    page.push_str("</table></div></details>");
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
        assert!(page.contains("begun 1970-01-01 00:00:00 UTC"), "times say their zone");
        assert_eq!(page.matches("<th ").count(), page.matches("<th scope=\"col\"").count());
        assert!(!page.contains("<th>"));
    }
}
