//! Pages of periods and of what this replica no longer has in memory.
#![allow(clippy::expect_used, reason = "a test's helper may end the test")]

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::{FixedClock, Snapshots, at, incident, snapshot};
use homeostat_console::archive::{Answer, Archive, ArchiveSource, Past};
use homeostat_console::recent::Closed;
use homeostat_console::{Console, ForecastSource, Heartbeat, Metrics, ReadyGate, RecentIncidents, router};
use homeostat_knowledge::forecast::LateItems;
use homeostat_knowledge::policy::{ScalingMode, TenantPolicy};
use homeostat_knowledge::{
    Incident, IncidentId, LateRun, Name, ObjectKey, RunsReport, SignedDuration, SizeAdvice, Snapshot,
    TenantName, Timestamp, Uid,
};
use http_body_util::BodyExt;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;

/// What the API server keeps.
#[derive(Clone, Default)]
struct Kept {
    incidents: Vec<Incident>,
    broken: bool,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Archive for Kept {
    fn incident(&self, id: IncidentId) -> Answer<'_, Option<Closed>> {
        self.asked.lock().expect("no panic").push(id.to_string());
        Box::pin(async move {
            if self.broken {
                return Err("list incidents: no answer".to_owned());
            }
            let found = self.incidents.iter().find(|incident| incident.id == id);
            Ok(found.map(|incident| Closed { incident: incident.clone(), actions: Vec::new() }))
        })
    }

    fn period(
        &self,
        _from: Timestamp,
        _to: Timestamp,
        tenant: Option<Name>,
        namespaces: Vec<Name>,
    ) -> Answer<'_, Past> {
        self.asked.lock().expect("no panic").push(format!("{tenant:?} {namespaces:?}"));
        Box::pin(async move {
            if self.broken {
                return Err("list incidents: no answer".to_owned());
            }
            let all = self.incidents.iter().cloned();
            let incidents = all.map(|incident| Closed { incident, actions: Vec::new() }).collect();
            Ok(Past { incidents, cut: false })
        })
    }
}

fn stored(name: &str) -> Incident {
    Incident { id: IncidentId::new(name), ..incident() }
}

/// Runs of one workload of which so many are late, the first by these seconds; without a number it finds no room now.
fn runs(late: &[Option<i64>], more: u32) -> RunsReport {
    let run = |(number, by): (usize, &Option<i64>)| LateRun {
        run: format!("2026-11-22T0{number}:00:00Z"),
        due: at(number as i64 * 3_600_000),
        by: by.map(SignedDuration::from_secs),
        help: "the cluster's capacity for runs has to grow by 2 vCPU, which costs 58.40 EUR a month"
            .to_owned(),
    };
    RunsReport {
        mode: ScalingMode::Auto,
        waiting: 1,
        running: 0,
        said: String::new(),
        late: (!late.is_empty()).then(|| "late".to_owned()),
        late_runs: late.len() as u32 + more,
        latest: late.iter().enumerate().map(run).collect(),
        problem: None,
    }
}

/// With runs in two tenants.
fn with_runs(all: &[(&str, &str, RunsReport)]) -> Console {
    let mut console = console(&Kept::default());
    let mut world = Snapshot::clone(&console.snapshots.current());
    for (namespace, name, report) in all {
        world.runs.insert_mut(ObjectKey::new(*namespace, *name), Arc::new(report.clone()));
    }
    console.snapshots = Arc::new(Snapshots(Arc::new(Mutex::new(Arc::new(world)))));
    console
}

/// The table of late runs as JSON; null where there is none.
async fn late_runs(console: &Console, query: &str) -> serde_json::Value {
    let (status, page) = get(console, &format!("/report.json{query}")).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let report: serde_json::Value = serde_json::from_str(&page).expect("valid JSON");
    let tables = report["tables"].as_array().expect("tables");
    tables.iter().find(|table| table["title"] == "Late runs").cloned().unwrap_or_default()
}

fn console(kept: &Kept) -> Console {
    let mut world = snapshot();
    for (name, namespaces) in [("food-delivery", vec!["shop", "stock"]), ("water", vec!["wells"])] {
        let names = namespaces.into_iter().map(Name::from);
        let tenant = TenantPolicy::new(TenantName::new(name), Uid::new(name), names);
        world.tenants.insert_mut(tenant.name.clone(), Arc::new(tenant));
    }
    Console {
        gate: ReadyGate::default(),
        heartbeat: Heartbeat::default(),
        metrics: Metrics::new("0.1.0"),
        before_scrape: None,
        snapshots: Arc::new(Snapshots(Arc::new(Mutex::new(Arc::new(world))))),
        forecasts: ForecastSource::default(),
        clock: Arc::new(FixedClock),
        recent: RecentIncidents::new(2),
        archive: ArchiveSource::new(Arc::new(kept.clone())),
        home: Name::from("homeostat-system"),
    }
}

async fn get(console: &Console, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).expect("a valid request");
    let response = router(console.clone()).oneshot(request).await.expect("an answer");
    let status = response.status();
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}

/// The period around the incident of these tests, and a day later.
fn query(days: i64) -> String {
    let (from, to) = (at(days * 86_400_000 - 1_000), at(days * 86_400_000 + 60_000));
    format!("from={from}&to={to}")
}

#[tokio::test]
async fn an_incident_that_only_the_api_server_still_has_gets_its_page_in_each_form() {
    let kept = Kept { incidents: vec![stored("long-ago")], ..Kept::default() };
    let console = console(&kept);
    for (path, part) in [
        ("/incidents/long-ago", "long-ago"),
        ("/incidents/long-ago/report.md", "# Incident long-ago"),
        ("/incidents/long-ago/report.json", "\"long-ago\""),
    ] {
        let (status, page) = get(&console, path).await;
        assert!(status == StatusCode::OK && page.contains(part), "{path}: {status} {page}");
    }
    let (status, _) = get(&console, "/incidents/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let asked = kept.asked.lock().expect("no panic").len();
    for path in ["/incidents/kitchen-hung-7t2kq", "/incidents/No%20Name"] {
        get(&console, path).await;
    }
    assert_eq!(
        kept.asked.lock().expect("no panic").len(),
        asked,
        "what is here, or no name, is not asked for"
    );
}

#[tokio::test]
async fn a_period_shows_what_is_here_and_what_is_kept_each_once() {
    let kept = Kept { incidents: vec![stored("kitchen-hung-7t2kq"), stored("long-ago")], ..Kept::default() };
    let console = console(&kept);
    let (status, page) = get(&console, &format!("/report.json?{}&tenant=food-delivery", query(0))).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let report: serde_json::Value = serde_json::from_str(&page).expect("valid JSON");
    let rows = report["tables"][0]["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["kitchen-hung-7t2kq", "long-ago"]);
    assert_eq!(report["title"], "Incidents of tenant food-delivery");
    assert_eq!(report["tables"].as_array().map(Vec::len), Some(1), "forecasts are of every tenant");
    let asked = kept.asked.lock().expect("no panic").clone();
    assert_eq!(asked, ["Some(\"food-delivery\") [\"shop\", \"stock\"]"]);
    get(&console, &format!("/report.md?{}", query(0))).await;
    let asked = kept.asked.lock().expect("no panic").last().expect("asked").clone();
    for namespace in ["shop", "stock", "wells", "homeostat-system"] {
        assert!(asked.contains(namespace), "incidents of nodes are of no tenant: {asked}");
    }
    let nothing = Kept::default();
    let (_, page) = get(&self::console(&nothing), &format!("/report.md?{}", query(1))).await;
    assert!(!page.contains("kitchen-hung-7t2kq"), "another day: {page}");
    let (_, page) = get(&self::console(&nothing), "/report.md?tenant=water").await;
    assert!(!page.contains("kitchen-hung-7t2kq"), "another tenant: {page}");
}

#[tokio::test]
async fn nonsense_and_unknown_tenants_are_refused_with_what_to_write() {
    let console = console(&Kept::default());
    for (query, code, told) in [
        ("from=yesterday&to=today", 400, "2030-01-01T00:00:00Z"),
        ("from=2026-11-22T00:00:00Z", 400, "give both"),
        ("from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z", 400, "before to"),
        ("from=2020-01-01T00:00:00Z&to=2026-11-22T00:00:00Z", 400, "366 days"),
        ("tenant=%3Cscript%3E", 400, "is no name"),
        ("limit=5", 400, "only from, to, tenant and namespace"),
        ("tenant=nobody", 404, "no tenant nobody"),
    ] {
        for form in ["", ".md", ".json"] {
            let (status, page) = get(&console, &format!("/report{form}?{query}")).await;
            assert_eq!(status.as_u16(), code, "{query}: {page}");
            assert!(page.contains(told) && !page.contains("<script>"), "{query}: {page}");
        }
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_told_and_what_is_here_is_still_shown() {
    let console = console(&Kept { broken: true, ..Kept::default() });
    let (status, page) = get(&console, &format!("/report.md?{}", query(0))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("kitchen-hung-7t2kq") && page.contains("could not be read"), "{page}");
    let (status, page) = get(&console, "/incidents/long-ago").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.contains("no answer"), "{page}");
}

#[tokio::test]
async fn late_runs_of_all_tenants_stand_latest_first_with_what_would_help_and_its_price() {
    let console = with_runs(&[
        ("shop", "plan", runs(&[Some(3_600), Some(60)], 0)),
        ("wells", "optimisation", runs(&[None, Some(600)], 0)),
        ("stock", "report", runs(&[], 0)),
    ]);
    let table = late_runs(&console, "").await;
    let rows = table["rows"].as_array().expect("rows");
    let order: Vec<(&str, &str)> =
        rows.iter().map(|row| (row[0].as_str().unwrap_or(""), row[1].as_str().unwrap_or(""))).collect();
    assert_eq!(
        order,
        [
            ("water", "wells/optimisation"),
            ("food-delivery", "shop/plan"),
            ("water", "wells/optimisation"),
            ("food-delivery", "shop/plan")
        ]
    );
    assert_eq!((&rows[0][4], &rows[1][4]), (&"finds no room now".into(), &3_600.0.into()));
    assert_eq!(rows[1][2], "2026-11-22T00:00:00Z");
    assert!(!table["note"].as_str().expect("a note").contains("more"), "{table}");
    for path in ["/report", "/report.md"] {
        let (_, page) = get(&console, path).await;
        for part in ["Late runs", "1 h 0 min", "58.40 EUR a month", "finds no room now"] {
            assert!(page.contains(part), "{path} lacks {part}: {page}");
        }
    }
}

#[tokio::test]
async fn late_runs_are_those_of_the_tenant_that_is_asked_for_and_none_is_said_too() {
    let console = with_runs(&[
        ("shop", "plan", runs(&[Some(60)], 0)),
        ("wells", "optimisation", runs(&[Some(600)], 0)),
        ("stock", "report", runs(&[], 0)),
    ]);
    let count = |table: serde_json::Value| table["rows"].as_array().map(Vec::len);
    assert_eq!(count(late_runs(&console, &format!("?{}", query(1))).await), Some(2), "whatever the period");
    assert_eq!(count(late_runs(&console, "?tenant=water").await), Some(1));
    assert_eq!(count(late_runs(&console, "?namespace=shop").await), Some(1));
    assert_eq!(count(late_runs(&console, "?namespace=stock").await), Some(0), "ordered, and none is late");
    assert_eq!(count(late_runs(&console, "?namespace=elsewhere").await), None, "no runs are ordered there");
}

#[tokio::test]
async fn a_backlog_that_its_workers_do_too_late_stands_among_the_late_runs_with_what_would_help() {
    let late = |more| {
        let mut console = with_runs(&[("wells", "plan", runs(&[Some(60)], 0))]);
        let mut world = Snapshot::clone(&console.snapshots.current());
        let late = LateItems { due: at(7_000), by: SignedDuration::from_secs(630), more };
        let size = SizeAdvice { late: Some(late), ..SizeAdvice::keep(at(0)) };
        world.sizes.insert_mut(ObjectKey::new("shop", "worker"), Arc::new(size));
        console.snapshots = Arc::new(Snapshots(Arc::new(Mutex::new(Arc::new(world)))));
        console
    };
    let table = late_runs(&late(25), "").await;
    let row = &table["rows"][0];
    assert_eq!((&row[1], &row[2], &row[4]), (&"shop/worker".into(), &"backlog".into(), &630.0.into()));
    assert_eq!(row[5], "spec.scaling.replicas.max has to grow by 25");
    let never = late_runs(&late(0), "?namespace=shop").await;
    let help = never["rows"][0][5].as_str().expect("what would help");
    assert!(help.contains("raise spec.scaling.deadlineSeconds"), "{never}");
}

#[tokio::test]
async fn of_many_late_runs_the_latest_are_shown_and_the_others_counted() {
    let names: Vec<String> = (0..30).map(|number| format!("plan-{number:02}")).collect();
    let all: Vec<(&str, &str, RunsReport)> =
        names.iter().map(|name| ("shop", name.as_str(), runs(&[Some(60); 5], 2))).collect();
    let table = late_runs(&with_runs(&all), "").await;
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(100));
    assert!(table["note"].as_str().expect("a note").contains("and 110 more"), "{table}");
}
