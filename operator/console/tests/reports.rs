//! Reports as their readers see them. The pages are also written to `target/tmp` to be looked at.
#![allow(clippy::expect_used, reason = "a test's helper may end the test")]

mod common;

use common::{action, at, incident, snapshot};
use homeostat_console::http::actions_of;
use homeostat_console::report::timeline::Hue;
use homeostat_console::report::{Bar, Cell, Column, KeyFigure, Lane, Mark, Plot, Table, Tone, Unit};
use homeostat_console::{IncidentReport, RunReport};
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{Entity, Evidence, FindingKind, IncidentState, Name};

fn report() -> IncidentReport {
    IncidentReport { incident: incident(), actions: vec![action()], made_at: at(90_000) }
}

fn keep(name: &str, content: &str) {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(path, content).expect("the target folder can be written");
}

/// Tags that open and close: an unbalanced page is a broken page.
fn assert_balanced(page: &str) {
    for tag in [
        "html", "head", "body", "main", "table", "thead", "tbody", "tr", "td", "div", "figure", "svg",
        "details", "dl", "p", "ul",
    ] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
}

#[test]
fn an_incident_page_tells_what_why_what_was_done_and_whether_it_helped() {
    let page = report().html().expect("a page");
    keep("incident.html", &page);
    assert_balanced(&page);
    for part in [
        "kitchen-5d8f7c9b6-x2x7q (Hung): calls without an answer: 12 of 12 in 0.8 s (usual 0 of 1,000)",
        "812 ms",
        "2.1 s",
        "2.9 s",
        "detected − impact start",
        "mitigated − detected",
        "2026-11-22 13:04:05.812 UTC",
        "EvictPod",
        "412 good calls and no failure",
        "kill switch",
        "5 of 5 let it pass",
        "94 %",
        "shop/order, shop/gateway",
        "First moments",
        "Whole incident",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.replace("&#x2f;", "/").contains(part), "missing: {part}");
    }
    for outside in ["http://", "https://", "<script", "<link", "<img", "@import", "url("] {
        assert!(!page.contains(outside), "not self-contained: {outside}");
    }
    assert_eq!(page, report().html().expect("a page"), "the same input gives the same bytes");
}

#[test]
fn an_open_incident_is_open_and_never_zero() {
    let mut report = report();
    report.incident.state = IncidentState::HandedOver;
    report.incident.handed_over =
        Some("two restarts did not help; look at ConfigMap kitchen-config".to_owned());
    report.incident.instants.acknowledged = None;
    report.incident.instants.mitigated = None;
    report.incident.instants.resolved = None;
    report.actions.clear();
    let page = report.html().expect("a page");
    keep("incident-open.html", &page);
    assert_balanced(&page);
    assert_eq!(page.matches("<div class=\"value\">open</div>").count(), 3);
    assert!(page.contains("People must take over.") && page.contains("ConfigMap kitchen-config"));
    assert!(page.contains("<dt>mitigated</dt><dd>no data</dd>"));
    let json: serde_json::Value = serde_json::from_str(&report.json().expect("JSON")).expect("valid JSON");
    assert_eq!(json["figures"][2]["name"], "MTTR");
    assert!(json["figures"][2]["seconds"].is_null() && json["instants"]["mitigated"].is_null());
}

#[test]
fn names_and_evidence_are_data_never_markup() {
    const ATTACK: &str = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&";
    let mut report = report();
    let incident = &mut report.incident;
    incident.causes[0].evidence = vec![Evidence::new(ATTACK, ATTACK).usual(ATTACK)];
    incident.causes[0].entity = Entity::External { address: Name::from(ATTACK) };
    incident.findings[0].evidence = incident.causes[0].evidence.clone();
    incident.findings[0].entity = incident.causes[0].entity.clone();
    incident.findings[0].kind = FindingKind::DependencyDown;
    incident.handed_over = Some(ATTACK.to_owned());
    incident.acknowledged_by = Some(Name::from(ATTACK));
    incident.record(at(5_000), TimelineKind::Person, ATTACK);
    incident.record(at(900), TimelineKind::Action, ATTACK);
    report.actions[0].message = ATTACK.to_owned();
    report.actions[0].target.key.name = Name::from(ATTACK);
    report.actions[0].guards[0].observed = ATTACK.to_owned();
    let page = report.html().expect("a page");
    assert_balanced(&page);
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.matches("&lt;script&gt;").count() >= 10);
    let markdown = report.markdown();
    assert!(!markdown.contains("<script") && !markdown.contains("<img"));
    serde_json::from_str::<serde_json::Value>(&report.json().expect("JSON")).expect("valid JSON");
}

#[test]
fn markdown_tables_line_up() {
    let text = report().markdown();
    keep("incident.md", &text);
    let lines: Vec<&str> = text.lines().collect();
    let mut tables = 0;
    for pair in lines.windows(2) {
        if pair[0].starts_with('|') && pair[1].starts_with('|') {
            assert_eq!(pair[0].chars().count(), pair[1].chars().count(), "{}\n{}", pair[0], pair[1]);
            tables += 1;
        }
    }
    assert!(tables > 20, "there are tables");
    assert!(text.contains("| MTTD            | 812 ms | Mean time to detect"), "{text}");
    assert!(text.contains("| detected     | 2026-11-22 13:04:05.812 UTC |"), "{text}");
}

fn run() -> RunReport {
    let text = |text: &str| Cell::Text(text.to_owned());
    let row = |service: &str, fault: &str, mttd: Option<f64>, mttr: Option<f64>, healed: bool| {
        let seconds = |value: Option<f64>| value.map_or(Cell::NoData, Cell::Seconds);
        vec![
            text(service),
            text(fault),
            seconds(mttd),
            seconds(mttr),
            if healed {
                Cell::Toned(Tone::Good, "healed".to_owned())
            } else {
                Cell::Toned(Tone::Bad, "not healed".to_owned())
            },
        ]
    };
    RunReport {
        title: "Food delivery under faults, Homeostat beside plain Kubernetes".to_owned(),
        introduction: vec!["Eight kinds of faults, seed 42.".to_owned()],
        period: Some((at(0), at(1_260_000))),
        made_at: at(1_300_000),
        figures: vec![
            KeyFigure::new(
                "MTTD",
                "detected − impact",
                Unit::Seconds,
                [Some(0.8), Some(1.1), Some(f64::INFINITY)],
            ),
            KeyFigure::new("MTTR", "mitigated − detected", Unit::Seconds, [Some(2.1), None, Some(1.9)]),
            KeyFigure::new("Failed requests", "failed ÷ all at the gateway", Unit::Share, [Some(0.0012)]),
        ],
        tables: vec![Table {
            title: "Per fault".to_owned(),
            note: "One line per fault.".to_owned(),
            columns: vec![
                Column::text("Service"),
                Column::text("Fault"),
                Column::number("MTTD"),
                Column::number("MTTR"),
                Column::text("Result"),
            ],
            rows: vec![
                row("order", "killed", Some(0.812), Some(2.13), true),
                row("kitchen", "hung", Some(1.1), Some(1.9), true),
                row("accounting", "ConfigMap broken", Some(f64::INFINITY), None, false),
            ],
        }],
        plots: vec![Plot {
            title: "Run".to_owned(),
            start: at(0),
            end: at(1_260_000),
            lanes: vec![Lane {
                name: "Faults".to_owned(),
                bars: vec![Bar {
                    from: at(60_000),
                    to: Some(at(64_000)),
                    label: "order killed".to_owned(),
                    hue: Hue::Bad,
                }],
                marks: vec![Mark { at: at(60_000), label: "order killed".to_owned(), hue: Hue::Warn }],
            }],
            instants: Vec::new(),
        }],
        notes: vec!["Percentiles are nearest rank.".to_owned()],
    }
}

#[test]
fn a_run_report_prints_definitions_counts_and_what_is_not_known() {
    let page = run().html().expect("a page");
    keep("run.html", &page);
    assert_balanced(&page);
    for part in ["detected − impact", "failed ÷ all", "never", "no data", "not healed", "812 ms", "0.12 %"]
    {
        assert!(page.contains(part), "missing: {part}");
    }
    let markdown = run().markdown();
    keep("run.md", &markdown);
    assert!(markdown.contains("- **MTTD**: detected − impact"));
    let json: serde_json::Value = serde_json::from_str(&run().json().expect("JSON")).expect("valid JSON");
    assert_eq!(json["tables"][0]["rows"][0][2], 0.812);
    assert!(json["tables"][0]["rows"][2][2].is_null(), "JSON has no infinity");
    assert_eq!((&json["figures"][1]["count"], &json["figures"][1]["open"]), (&2.into(), &1.into()));
    assert!(json["figures"][0]["p95"].is_null() && json["figures"][0]["median"] == 1.1);
}

#[test]
fn links_lead_only_where_they_may() {
    let mut run = run();
    run.tables[0].rows[0][0] = Cell::Link("order".to_owned(), "javascript:alert(1)".to_owned());
    run.tables[0].rows[1][0] = Cell::Link("kitchen".to_owned(), "/incidents/kitchen-1".to_owned());
    let page = run.html().expect("a page");
    assert!(!page.contains("javascript:"));
    assert!(page.replace("&#x2f;", "/").contains("href=\"/incidents/kitchen-1\""));
}

#[test]
fn what_was_well_before_it_was_recognised_took_no_time_and_what_only_tells_is_no_case() {
    let mut early = report();
    early.incident.instants.mitigated = Some(early.incident.instants.impact_start);
    let mut told = report();
    for cause in &mut told.incident.causes {
        cause.kind = homeostat_knowledge::FindingKind::FaultExpected;
    }
    let period = RunReport::of_incidents("Week 47", (at(0), at(90_000)), &[early, told], at(90_000));
    let mttr = period.figures.iter().find(|figure| figure.name == "MTTR").expect("MTTR");
    assert_eq!((mttr.count, mttr.mean), (1, Some(0.0)));
    assert_eq!(period.tables[0].rows.len(), 2, "both are listed");
    assert!(period.notes.iter().any(|note| note.contains("nothing was wrong yet")), "{:?}", period.notes);
}

#[test]
fn a_period_is_reported_from_its_incidents() {
    let snapshot = snapshot();
    let open = snapshot.incidents.values().next().expect("one incident");
    let open = IncidentReport {
        incident: (**open).clone(),
        actions: actions_of(&snapshot, open),
        made_at: at(90_000),
    };
    let period = RunReport::of_incidents("Week 47", (at(0), at(90_000)), &[report(), open], at(90_000));
    let mttr = period.figures.iter().find(|figure| figure.name == "MTTR").expect("MTTR");
    assert_eq!((mttr.count, mttr.open), (1, 1));
    assert!((mttr.mean.expect("one value") - 2.128).abs() < 1e-9);
    let page = period.html().expect("a page");
    keep("period.html", &page);
    assert_balanced(&page);
    let nothing = RunReport::of_incidents("Quiet week", (at(0), at(1)), &[], at(1));
    assert!(nothing.html().expect("a page").contains("no data"));
    assert!(nothing.markdown().contains("no data"));
}

#[test]
fn times_say_their_zone_and_another_day_its_date() {
    let mut report = report();
    report.incident.record(at(86_400_000), TimelineKind::State, "still watched on the next day");
    let page = report.html().expect("a page");
    for part in [
        "Sent (UTC)</th>",
        "Last seen (UTC)</th>",
        "<td data-label=\"Time (UTC)\" class=\"time\">13:04:05.812</td>",
        "<td data-label=\"Time (UTC)\" class=\"time\">2026-11-23 13:04:05.000</td>",
        "time since 2026-11-22 13:04:05.000 UTC.",
    ] {
        assert!(page.contains(part), "missing: {part}");
    }
}

/// Without its column's name a cell cannot be read on a narrow screen, where the head is not shown.
#[test]
fn every_cell_names_its_column_and_every_column_its_scope() {
    for page in [report().html().expect("a page"), run().html().expect("a page")] {
        assert!(page.matches("<td").count() > 10);
        assert_eq!(page.matches("<td").count(), page.matches("<td data-label=\"").count());
        assert_eq!(page.matches("<th ").count(), page.matches("<th scope=\"col\"").count());
        assert!(!page.contains("<th>"));
        for landmark in ["class=\"skip\" href=\"#content\"", "<main id=\"content\"", "<header>", "<footer>"] {
            assert!(page.contains(landmark), "missing: {landmark}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("class=\"plot\" role=\"group\"").count());
    }
}

#[test]
fn a_file_has_no_links_that_lead_nowhere() {
    assert!(!report().html().expect("a page").contains("href=\"/"));
}
