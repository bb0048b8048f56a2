//! Probes, metrics and pages as their clients see them.
#![allow(clippy::expect_used, reason = "a test's helper may end the test")]

mod common;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use common::{FixedClock, Snapshots, action, at, forecasts, incident, snapshot};
use homeostat_console::{
    ArchiveSource, Console, ForecastSource, Heartbeat, Metrics, Readiness, ReadyGate, RecentIncidents, router,
};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionKind, ActionRecord, ActionState, Clock, FindingKind, GuardName, GuardResult, Incident, IncidentId,
    Origin, SignedDuration,
};
use http_body_util::BodyExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;

fn console() -> Console {
    Console {
        gate: ReadyGate::default(),
        heartbeat: Heartbeat::default(),
        metrics: Metrics::new("0.1.0"),
        before_scrape: None,
        snapshots: Arc::new(Snapshots(Arc::new(Mutex::new(Arc::new(snapshot()))))),
        forecasts: ForecastSource::default(),
        clock: Arc::new(FixedClock),
        recent: RecentIncidents::new(2),
        archive: ArchiveSource::default(),
        home: homeostat_knowledge::Name::from("homeostat-system"),
    }
}

async fn get(console: &Console, path: &str) -> Response<Body> {
    let request = Request::get(path).body(Body::empty()).expect("a valid request");
    router(console.clone()).oneshot(request).await.expect("an answer")
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn ready_opens_once_and_closes_for_good_while_live_stays() {
    let console = console();
    let states = [(Readiness::Starting, 503), (Readiness::Ready, 200), (Readiness::Stopping, 503)];
    for (step, (readiness, code)) in states.into_iter().enumerate() {
        match step {
            0 => {}
            1 => console.gate.open(),
            _ => {
                console.gate.close();
                console.gate.open();
            }
        }
        assert_eq!(console.gate.readiness(), readiness);
        assert_eq!(get(&console, "/readyz").await.status().as_u16(), code);
        assert_eq!(get(&console, "/livez").await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_process_whose_loop_stands_still_is_not_alive() {
    let console = console();
    let now = FixedClock.now();
    for (ago, code) in [(0, 200), (60_000, 200), (60_001, 503)] {
        console.heartbeat.beat(now - SignedDuration::from_millis(ago));
        assert_eq!(get(&console, "/livez").await.status().as_u16(), code, "{ago} ms ago");
    }
}

/// Uses every metric once, with every label value.
fn use_everything(metrics: &Metrics) {
    metrics.leader(true);
    metrics.queue(3);
    metrics.step(Duration::from_millis(2), at(0));
    metrics.source_items("otlp", "accepted", 42);
    metrics.analysis_dropped([("calls", 5)].into_iter());
    for kind in FindingKind::ALL {
        metrics.finding(kind);
    }
    metrics.incident_opened(&incident());
    metrics.incident_mitigated(&incident());
    metrics.effect(Duration::from_millis(20));
    for kind in ActionKind::ALL {
        metrics.action(kind, ActionState::Verified);
    }
    for guard in GuardName::ORDER {
        for result in [GuardResult::Passed, GuardResult::Refused, GuardResult::Unset, GuardResult::Unknown] {
            metrics.guard(guard, result);
        }
    }
    metrics.api_requests("change", "conflict", 3);
    metrics.incident_writes("failed", 5);
    metrics.incidents_unclosed(1);
    metrics.audit_record(7, 2);
    metrics.store_full(true);
    metrics.messages("sent", 3);
    metrics.credentials_expire(Some(SignedDuration::from_mins(9)));
}

#[tokio::test]
async fn metrics_are_open_metrics_with_our_names_units_and_help() {
    let console = console();
    use_everything(&console.metrics);
    let response = get(&console, "/metrics").await;
    let media = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
    assert!(media.starts_with("application/openmetrics-text; version=1.0.0"), "{media}");
    let page = text(response).await;
    let (mut kinds, mut help) = (BTreeMap::new(), BTreeSet::new());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            assert!(lines.peek().is_none(), "nothing follows the end");
            break;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("name and type");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').expect("name and help");
            assert!(words.len() > 10, "{name} needs better help");
            help.insert(name.to_owned());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("name and unit");
            assert!(
                name.ends_with(&format!("_{unit}")) && ["seconds", "bytes", "ratio"].contains(&unit),
                "{line}"
            );
            continue;
        }
        let name = line.split(['{', ' ']).next().expect("a name");
        let value = line.rsplit(' ').next().expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (family, kind) = kinds
            .iter()
            .filter(|(family, _)| name.starts_with(family.as_str()))
            .max_by_key(|(family, _)| family.len())
            .expect("declared before");
        let suffix = &name[family.len()..];
        let allowed: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => unreachable!("type {other}"),
        };
        assert!(allowed.contains(&suffix), "{name} is a {kind}");
    }
    assert!(page.ends_with("# EOF\n"));
    assert_eq!(kinds.keys().cloned().collect::<BTreeSet<_>>(), help, "every metric has help");
    for name in kinds.keys() {
        assert!(name.starts_with("homeostat_"), "{name}");
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        assert!(!name.ends_with("_total"), "{name}: the suffix belongs to the sample");
    }
    for line in [
        "homeostat_build_info{version=\"0.1.0\"} 1",
        "homeostat_leader 1",
        "homeostat_source_items_total{source=\"otlp\",fate=\"accepted\"} 42",
        "homeostat_analysis_dropped_total{kind=\"calls\"} 5",
        "homeostat_open_incidents{state=\"Acting\",severity=\"Critical\"} 1",
        "homeostat_source_state{source=\"prometheus\",state=\"down\"} 1",
        "homeostat_kill_switch_state{state=\"off\"} 1",
        "homeostat_unread_actions 1",
        "homeostat_step_duration_seconds_count 1",
        "homeostat_effect_delay_seconds_sum 0.02",
        "homeostat_api_requests_total{verb=\"change\",result=\"conflict\"} 3",
        "homeostat_incident_writes_total{result=\"failed\"} 5",
        "homeostat_incidents_unclosed 1",
        "homeostat_audit_waiting 7",
        "homeostat_audit_lost_total 2",
        "homeostat_api_store_full 1",
        "homeostat_messages_total{outcome=\"sent\"} 3",
        "homeostat_credentials_expire_seconds{credential=\"token\"} 540",
        "homeostat_incident_detection_seconds_sum 0.812",
        "homeostat_snapshot_generation 4711",
    ] {
        assert!(page.contains(line), "missing: {line}\n{page}");
    }
    assert!(page.lines().count() < 1_000, "bounded by enumerations");
}

#[tokio::test]
async fn when_the_token_ends_is_told_while_it_is_known_and_goes_below_zero() {
    let console = console();
    for (left, told) in [(None, None), (Some(3_000), Some("3000")), (Some(-5), Some("-5")), (None, None)] {
        console.metrics.credentials_expire(left.map(SignedDuration::from_secs));
        let page = text(get(&console, "/metrics").await).await;
        let line = page.lines().find(|line| line.starts_with("homeostat_credentials_expire_seconds{"));
        assert_eq!(line.and_then(|line| line.rsplit(' ').next()), told, "{left:?}");
    }
}

#[tokio::test]
async fn numbers_that_others_keep_are_fetched_before_each_scrape() {
    let before: homeostat_console::http::BeforeScrape =
        Arc::new(|metrics| metrics.source_items("kubernetes", "accepted", 7));
    let console = Console { before_scrape: Some(before), ..console() };
    let page = text(get(&console, "/metrics").await).await;
    assert!(page.contains("homeostat_source_items_total{source=\"kubernetes\",fate=\"accepted\"} 7"));
}

#[tokio::test]
async fn the_front_page_shows_incidents_actions_sources_and_the_kill_switch() {
    let console = console();
    console.gate.open();
    // Closed before, and open again now.
    console.recent.add(incident(), vec![action()]);
    let closed = Incident { id: IncidentId::new("order-crash-1"), ..incident() };
    console.recent.add(closed, vec![action()]);
    let response = get(&console, "/").await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'"));
    let page = text(response).await;
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("status.html");
    std::fs::write(path, &page).expect("the target folder can be written");
    for part in [
        "1 open incident",
        "Kill switch is off",
        "kitchen-hung-7t2kq",
        "EvictPod",
        "1,159,040",
        "cannot be reached",
        "Recently closed",
    ] {
        assert!(page.contains(part), "missing: {part}");
    }
    let summary = text(get(&console, "/api/snapshot.json").await).await;
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("valid JSON");
    assert_eq!(summary["killSwitch"]["state"], "off");
    assert_eq!(summary["incidents"][0]["state"], "Acting");
    let closed: Vec<_> =
        summary["closed"].as_array().expect("a list").iter().map(|line| &line["name"]).collect();
    assert_eq!(closed, ["order-crash-1"], "what is open again is not called closed");
    assert_eq!(summary["readiness"], "ready");
}

#[tokio::test]
async fn a_run_is_shown_with_its_workload_and_leads_to_no_incident() {
    let mut world = snapshot();
    let run = ActionRecord { origin: Origin::Schedule, incident: IncidentId::new("run-plan-1"), ..action() };
    world.actions.insert_mut(run.id.clone(), Arc::new(run));
    let snapshots = Snapshots(Arc::new(Mutex::new(Arc::new(world))));
    let console = Console { snapshots: Arc::new(snapshots), ..console() };
    let page = text(get(&console, "/").await).await;
    assert!(page.contains("Schedule of shop&#x2f;kitchen"), "{page}");
    assert!(!page.contains("run-plan-1"), "there is no such incident");
    let summary = text(get(&console, "/api/snapshot.json").await).await;
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("valid JSON");
    assert_eq!(summary["actions"][0]["origin"], "Schedule");
    assert!(summary["actions"][0]["incident"].is_null());
}

#[tokio::test]
async fn an_incident_has_its_page_while_open_and_after_it_closed() {
    let console = console();
    let page = text(get(&console, "/incidents/kitchen-hung-7t2kq").await).await;
    assert!(page.contains("acting") && page.contains("EvictPod"));
    assert_eq!(get(&console, "/incidents/nothing").await.status(), StatusCode::NOT_FOUND);
    let mut closed = incident();
    for name in ["first", "second", "third"] {
        closed.id = homeostat_knowledge::IncidentId::new(name);
        console.recent.add(closed.clone(), Vec::new());
    }
    assert_eq!(
        get(&console, "/incidents/first").await.status(),
        StatusCode::NOT_FOUND,
        "the oldest gave way"
    );
    for (path, start) in
        [("/incidents/third/report.md", "# Incident third"), ("/incidents/third/report.json", "{\n")]
    {
        assert!(text(get(&console, path).await).await.starts_with(start), "{path}");
    }
}

async fn page_of(world: homeostat_knowledge::Snapshot, open: bool) -> String {
    let snapshots = Snapshots(Arc::new(Mutex::new(Arc::new(world))));
    let console = Console { snapshots: Arc::new(snapshots), ..console() };
    if open {
        console.gate.open();
    }
    text(get(&console, "/").await).await
}

#[tokio::test]
async fn what_the_kill_switch_leaves_half_done_stands_first_with_its_commands() {
    let world = |kill_switch| {
        let mut world = snapshot();
        let scale = ActionRecord {
            state: ActionState::Verifying,
            parameters: homeostat_knowledge::Parameters::ScaleUp { replicas: 6 },
            target: homeostat_knowledge::Target {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                ..action().target
            },
            ..action()
        };
        world.actions.insert_mut(scale.id.clone(), Arc::new(scale));
        world.control = Arc::new(homeostat_knowledge::ControlPolicy { kill_switch, ..Default::default() });
        world
    };
    let engaged = || KillSwitch::Engaged { reason: "drill".into(), by: None };
    let page = page_of(world(engaged()), true).await;
    let list = page.find("Left half done by the kill switch").expect("the list is shown");
    assert!(list < page.find("Open incidents").expect("incidents are shown"));
    let command = "kubectl -n shop scale deployment&#x2f;kitchen-5d8f7c9b6-x2x7q --replicas=1";
    assert!(page.contains(command), "{page}");
    assert!(page_of(world(KillSwitch::Unreadable), true).await.contains(command));
    for (switch, open) in [(KillSwitch::Off, true), (KillSwitch::Unreadable, false)] {
        let page = page_of(world(switch), open).await;
        assert!(!page.contains("half done"), "off, or not read yet");
    }
}

#[tokio::test]
async fn what_is_not_known_yet_or_not_seen_is_not_called_quiet() {
    let starting = page_of(homeostat_knowledge::Snapshot::default(), false).await;
    assert!(starting.contains("the cluster is not read yet"), "{starting}");
    assert!(starting.contains("No incident is open, as far as can be seen."), "{starting}");
    assert!(starting.contains("<h1>Nothing is known yet</h1>"), "{starting}");
    for unknowable in ["No Workload exists", "The ControlPlane object cannot be read", "<h1>No open incident"]
    {
        assert!(!starting.contains(unknowable), "nobody can know yet: {unknowable}");
    }
    let blind = page_of(snapshot(), true).await;
    assert!(!blind.contains("handed over"), "{blind}");
    assert!(blind.contains("Not seen now: what prometheus would show."), "{blind}");
    let mut quiet = homeostat_knowledge::Snapshot::default();
    quiet.control = snapshot().control;
    let quiet = page_of(quiet, true).await;
    assert!(quiet.contains("<title>Homeostat: no open incidents</title>"), "{quiet}");
    assert!(quiet.contains("No incident is open.") && quiet.contains("No Workload exists"), "{quiet}");
    assert!(!quiet.contains("Not seen now"), "{quiet}");
}

#[tokio::test]
async fn what_waits_for_a_person_stands_at_the_top_and_what_is_cut_is_counted() {
    let mut world = snapshot();
    for number in 0..30 {
        let id = homeostat_knowledge::ActionId::new(format!("evict-{number}"));
        let state = if number == 17 { ActionState::AwaitingApproval } else { ActionState::Verified };
        world.actions.insert_mut(id.clone(), Arc::new(ActionRecord { id, state, ..action() }));
    }
    let mut incident = incident();
    incident.state = homeostat_knowledge::IncidentState::HandedOver;
    world.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
    let page = page_of(world, true).await;
    assert!(page.contains("1 incident is handed over: people must go on."), "{page}");
    assert!(page.contains("1 action waits for a person."), "{page}");
    assert!(page.contains("20 of 31: those that wait for people, then the newest."), "{page}");
    let first =
        page.find("<td data-label=\"State\" class=\"short\"><span class=\"badge warn\">awaiting approval");
    assert!(first.is_some(), "it is among the lines: {page}");
}

#[tokio::test]
async fn an_open_breaker_says_that_no_repair_is_done_and_how_to_reset_it() {
    let page = |reset: Option<i64>| {
        let mut world = snapshot();
        let mut control = (*world.control).clone();
        control.breaker.opened = Some(common::at(60_000));
        control.breaker.reset = reset.map(common::at);
        world.control = Arc::new(control);
        page_of(world, true)
    };
    let open = page(None).await;
    assert!(open.contains("breaker is open since") && open.contains("homeostat resume --breaker"), "{open}");
    assert!(!page(Some(61_000)).await.contains("breaker is open"), "a person reset it");
}

#[tokio::test]
async fn a_ceiling_under_which_nothing_is_done_says_so() {
    let mut world = snapshot();
    world.control = Arc::new(homeostat_knowledge::ControlPolicy {
        kill_switch: homeostat_knowledge::policy::KillSwitch::Off,
        ceiling: homeostat_knowledge::Level::Recommend,
        ..homeostat_knowledge::ControlPolicy::default()
    });
    let page = page_of(world, true).await;
    assert!(page.contains("Kill switch is off, and nothing is changed:"), "{page}");
}

#[tokio::test]
async fn pages_lead_to_each_other_and_what_is_not_there_says_what_to_do() {
    let console = console();
    let page = text(get(&console, "/incidents/kitchen-hung-7t2kq").await).await.replace("&#x2f;", "/");
    // Relative, so that they hold behind a proxy that takes a prefix off.
    for (link, address) in [
        ("../", "/"),
        ("kitchen-hung-7t2kq/report.md", "/incidents/kitchen-hung-7t2kq/report.md"),
        ("kitchen-hung-7t2kq/report.json", "/incidents/kitchen-hung-7t2kq/report.json"),
    ] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}: {page}");
        assert_eq!(get(&console, address).await.status(), StatusCode::OK, "{address}");
    }
    for page in ["/", "/report"] {
        let page = text(get(&console, page).await).await.replace("&#x2f;", "/");
        assert!(
            page.contains("href=\"incidents/kitchen-hung-7t2kq\"") && !page.contains("href=\"/"),
            "{page}"
        );
    }
    for (address, home, command) in [
        ("/incidents/gone-1", "../", Some("metadata.name=gone-1 -o yaml")),
        ("/incidents/gone-1/report.md", "../../", Some("metadata.name=gone-1 -o yaml")),
        ("/incidents/$(reboot)", "../", None),
        ("/nowhere", "./", None),
        ("/a/b/c", "../../", None),
    ] {
        let answer = get(&console, address).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let page = text(answer).await.replace("&#x2f;", "/");
        assert!(page.contains(&format!("<a href=\"{home}\">What is open now</a>")), "{page}");
        assert!(!page.contains("reboot"), "a link's words never become a command: {page}");
        assert_eq!(page.contains("metadata.name="), command.is_some(), "{page}");
        assert!(command.is_none_or(|command| page.contains(command)), "{page}");
    }
}

#[tokio::test]
async fn what_became_of_an_action_after_its_incident_closed_is_shown() {
    let console = console();
    let closed = Incident { id: IncidentId::new("order-crash-1"), ..incident() };
    let now = action();
    let then = ActionRecord { state: homeostat_knowledge::ActionState::Proposed, ..now.clone() };
    assert_ne!(then.state, now.state);
    console.recent.add(closed, vec![then]);
    let page = text(get(&console, "/incidents/order-crash-1/report.json").await).await;
    let page: serde_json::Value = serde_json::from_str(&page).expect("valid JSON");
    assert_eq!(page["actions"][0]["state"], format!("{:?}", now.state), "{page}");
}

#[tokio::test]
async fn all_incidents_that_are_known_are_one_report_in_three_forms() {
    let console = console();
    let mut closed = incident();
    closed.id = IncidentId::new("order-crash-1");
    closed.state = homeostat_knowledge::IncidentState::Resolved;
    console.recent.add(closed, vec![action()]);
    let open = snapshot().incidents.keys().next().expect("one").to_string();
    for (path, media) in [
        ("/report", "text/html; charset=utf-8"),
        ("/report.md", "text/markdown; charset=utf-8"),
        ("/report.json", "application/json"),
    ] {
        let response = get(&console, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], media);
        assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        let page = text(response).await;
        for part in ["Incidents of this replica", "MTTR", "order-crash-1", &open, "kubectl get incidents -A"]
        {
            assert!(page.contains(part), "{path} lacks {part}: {page}");
        }
    }
    let json: serde_json::Value =
        serde_json::from_str(&text(get(&console, "/report.json").await).await).expect("JSON");
    assert_eq!(json["tables"][0]["rows"].as_array().map(Vec::len), Some(2));
    assert!(text(get(&console, "/").await).await.contains("href=\"report\""), "it can be found");
}

#[tokio::test]
async fn what_is_expected_is_in_metrics_and_in_the_report() {
    let mut console = console();
    let none = text(get(&console, "/report.json").await).await;
    assert!(!none.contains("Forecasts"), "no table where nothing is forecast");

    let expected = Arc::new(forecasts());
    console.forecasts = ForecastSource::new(move || vec![Arc::clone(&expected)]);
    let page = text(get(&console, "/metrics").await).await;
    assert!(page.contains("homeostat_wanted_replicas{namespace=\"shop\",workload=\"kitchen\"} 7"), "{page}");
    assert!(page.contains("signal=\"requests\",quantile=\"0.9\"} 531.2"), "{page}");
    assert!(page.contains("signal=\"runs\",quantile=\"0.9\"} 355.5"), "{page}");
    for path in ["/report", "/report.md"] {
        let page = text(get(&console, path).await).await;
        for part in [
            "Forecasts",
            "requests",
            "402.7 M",
            "4 h 0 min",
            "531.2",
            "187.6",
            "62 %",
            "scaled to 5",
            "next run",
            "355.5",
        ] {
            assert!(page.contains(part), "{path} lacks {part}: {page}");
        }
    }
    let page = text(get(&console, "/report").await).await;
    assert_eq!(page.matches("<svg class=\"band\"").count(), 3, "each is drawn");
    let page = text(get(&console, "/report.md").await).await;
    assert!(
        page.contains("median 223.8 first, 475.6 at most; p10 187.6 at least, p90 531.2 at most"),
        "or in words: {page}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&text(get(&console, "/report.json").await).await).expect("JSON");
    assert_eq!(json["tables"][1]["rows"][2][3], serde_json::json!([[270.2, 310.0, 355.5]]));
    assert_eq!(json["tables"][1]["rows"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["tables"][1]["rows"][0][1], "memory", "by workload and signal");
    let columns = json["tables"][1]["columns"].as_array().expect("columns");
    let place = columns.iter().position(|column| column == "Next choice").expect("when the model can change");
    assert_eq!(json["tables"][1]["rows"][1][place], "2026-11-23T01:04:05Z");
}
