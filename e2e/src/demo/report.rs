//! The report: one HTML file without anything from elsewhere, light and dark, with a plot per fault
//! kind and the timeline of each column; the same without plots as Markdown.

mod markdown;
mod plot;

pub use markdown::markdown;

use std::fmt::Write as _;

use super::column::ColumnRun;
use super::figures::{Figure, Standing};
use super::live::Line;
use super::tables::Rows;
use crate::result::{FaultResult, RunResult};
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

const INJECTED: &str = "Injected (UTC)";

/// How the figures are measured.
const DEFINITIONS: [&str; 5] = [
    "Impact: end of the first failed attempt (error or timeout) on the broken service after the injection; for a double \
     kill after the second.",
    "Detected: the harness's own watch delivers an Incident, opened after the injection, that names the broken entity \
     among its causes.",
    "Mitigated: end of the first good attempt, started after the impact, that opens 3 s without a failure.",
    "MTTD = detected − impact, MTTR = mitigated − detected (never negative), downtime = mitigated − impact. Percentiles by \
     nearest rank; undetected is infinite.",
    "Homeostat's own clock is not used.",
];

/// Columns of the table of faults, and whether each holds numbers.
const FAULT_COLUMNS: [(&str, bool); 12] = [
    ("Column", false),
    ("Fault", false),
    ("Service", false),
    (INJECTED, false),
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
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Homeostat beside plain Kubernetes</title><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\
         <header><h1>Homeostat beside plain Kubernetes</h1>\
         <p>{}</p></header><main id=\"content\" tabindex=\"-1\">",
        escape(&head(input))
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
        let (class, word) = word(figure.standing);
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
    page.push_str("<details><summary>Definitions</summary><ul>");
    for definition in DEFINITIONS {
        let _ = write!(page, "<li>{}</li>", escape(definition));
    }
    page.push_str("</ul></details>");
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
    for fault in &result.faults {
        page.push_str("<tr>");
        for (text, (name, number)) in fault_cells(fault).iter().zip(FAULT_COLUMNS) {
            let class = match (number, name == INJECTED) {
                (true, _) => " class=\"number\"",
                (false, true) => " class=\"time\"",
                (false, false) => "",
            };
            let _ = write!(page, "<td{class}>{}</td>", escape(text));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div></details>");
}

/// One fault in the order of [`FAULT_COLUMNS`].
fn fault_cells(fault: &FaultResult) -> [String; 12] {
    let number =
        |value: Option<f64>| value.map_or_else(|| "no data".to_owned(), |value| format!("{value:.3}"));
    let kind = match &fault.variant {
        Some(variant) => format!("{} {variant}", fault.kind),
        None => fault.kind.to_string(),
    };
    let end = match (fault.healed, fault.handed_over) {
        (true, _) => "yes",
        (false, true) => "handed over",
        (false, false) => "no",
    };
    let injected = fault.injected_at.as_deref().and_then(|at| at.get(11..23)).unwrap_or("no data");
    [
        fault.column.to_string(),
        kind,
        fault.service.clone(),
        injected.to_owned(),
        number(fault.mttd_seconds),
        number(fault.mttr_seconds),
        number(fault.downtime_seconds),
        end.to_owned(),
        fault.incidents.to_string(),
        fault.top_cause.clone().unwrap_or_else(|| "none".to_owned()),
        fault.actions.to_string(),
        fault.wrong_actions.to_string(),
    ]
}

/// What ran, in one sentence.
fn head(input: &Input<'_>) -> String {
    let columns: Vec<&str> = input.runs.iter().map(|run| run.column.title()).collect();
    format!(
        "{} faults; columns: {}; seed {}; begun {}.",
        input.result.faults.len(),
        columns.join(", "),
        input.result.seed,
        people_time(input.begin)
    )
}

/// Class and word of a standing.
fn word(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Pass => ("pass", "PASS"),
        Standing::Miss => ("miss", "MISS"),
        Standing::Open => ("open", "?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::mode::Column;

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
    #[test]
    fn the_markdown_tells_the_same_and_its_tables_hold_together() {
        let fault = FaultResult {
            column: Column::Homeostat,
            kind: 3,
            variant: Some("a|b".into()),
            service: "order".into(),
            injected_at: Some("2026-11-26T18:23:15.123456Z".into()),
            impact_at: None,
            detected_at: None,
            mitigated_at: None,
            mttd_seconds: Some(0.4),
            mttr_seconds: None,
            downtime_seconds: Some(1.25),
            healed: true,
            handed_over: false,
            incidents: 1,
            top_cause: None,
            actions: 2,
            wrong_actions: 0,
        };
        let result = RunResult { faults: vec![fault], seed: 7, ..RunResult::default() };
        let figure =
            Figure { name: "a < b".into(), value: "1".into(), must: "2".into(), standing: Standing::Miss };
        let input = Input {
            runs: &[],
            result: &result,
            rows: &Rows::default(),
            figures: &[figure],
            text: "```\ntable",
            lines: &[],
            begin: At(0),
        };
        let text = markdown(&input);
        for part in [
            "1 faults; columns: ; seed 7; begun 1970-01-01 00:00:00 UTC.",
            "| MISS | a &lt; b | 1 | 2 |",
            "````text\n```\ntable\n````",
            "- MTTD = detected − impact",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let row = text.lines().last().expect("the fault");
        for part in
            ["3 a\\|b |", "| order | 18:23:15.123 | 0.400 | no data | 1.250 | yes | 1 | none | 2 | 0 |"]
        {
            assert!(row.contains(part), "{part}: {row}");
        }
        assert_eq!(row.replace("\\|", "").matches('|').count(), FAULT_COLUMNS.len() + 1);
        // The page says the same of the fault.
        let page = html(&input);
        for part in
            ["<td class=\"time\">18:23:15.123</td>", "<td class=\"number\">0.400</td>", "<td>yes</td>"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
