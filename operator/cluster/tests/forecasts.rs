//! Forecasts written, against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod support;

use homeostat_cluster::Leadership;
use homeostat_cluster::forecasts::{ForecastWriter, Forecasts, differs, kept_runs};
use homeostat_knowledge::forecast::{
    ForecastPoint, LoadLimit, MEMORY, Outlook, Peak, REQUESTS, RUNS, SizeTrouble,
};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{
    Clock, ForecastRecord, ForecastSkill, Name, ObjectKey, SignedDuration, SizeAdvice, SizeEffect,
    TenantName, Timestamp,
};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use support::{Server, Still, status};
use tokio::sync::watch;

const ALL: &str = "/apis/homeostat.dev/v1alpha1/namespaces/shop/forecasts";
const OBJECT: &str = "/apis/homeostat.dev/v1alpha1/namespaces/shop/forecasts/order-requests";

fn after(minutes: i64) -> Timestamp {
    Still.now().checked_add(SignedDuration::from_mins(minutes)).unwrap()
}

fn record(workload: &str, minute: i64, load: f64) -> ForecastRecord {
    let point = |ahead: i64| ForecastPoint {
        at: after(minute + ahead),
        p10: load - ahead as f64 / 100.0,
        p50: load,
        p90: load,
    };
    ForecastRecord {
        workload: ObjectKey::new("shop", workload),
        workload_uid: Uid::new(format!("uid-of-{workload}")),
        tenant: Some(TenantName::new("food")),
        signal: Name::from(REQUESTS),
        mode: ScalingMode::Recommend,
        replicas: 4,
        outlook: Outlook {
            made: after(minute),
            horizon_seconds: 3_600,
            now: Some(load),
            skill: ForecastSkill::Proven,
            model: Some(Name::from("similar days")),
            reason: "skill: mean error 4.1".to_owned(),
            error: Some(0.651_2),
            peak: Some(Peak { p50: 1.1 * load, p90: 1.25 * load }),
            points: (0..12).map(|part| point(5 * part)).collect(),
            next_choice: Some(after(1_440)),
            limit: None,
        },
        size: SizeAdvice {
            decided: after(minute),
            per_replica: Some(24.5),
            wanted: Some(6),
            effect: SizeEffect::Recommend,
            why: "6 replicas: too few in 30 s with a chance of 0.0101 %".to_owned(),
            troubles: Vec::new(),
            done: None,
            pod: None,
            late: None,
        },
        memory: None,
    }
}

struct World {
    server: Server,
    newest: watch::Sender<Forecasts>,
    writer: ForecastWriter,
    leads: Leadership,
}

impl World {
    fn new() -> Self {
        let server = Server::new();
        let (newest, read) = watch::channel(None);
        let writer = ForecastWriter::new(server.client(), read);
        Self { server, newest, writer, leads: Leadership::always() }
    }

    /// One pass over these forecasts; the requests that it made.
    async fn look(&mut self, records: Vec<ForecastRecord>) -> Vec<String> {
        let before = self.server.seen().len();
        self.newest.send_replace(Some(Arc::new(records)));
        self.writer.look(&self.leads).await;
        self.server.seen()[before..].iter().map(support::Seen::line).collect()
    }

    fn stored(&self) -> serde_json::Value {
        self.server.get("forecasts", "shop", "order-requests").unwrap()
    }
}

#[tokio::test]
async fn a_forecast_is_created_with_its_owner_and_then_gets_its_status() {
    let mut world = World::new();
    assert!(!world.writer.look(&world.leads).await, "before anything is known");
    assert_eq!(world.look(Vec::new()).await, Vec::<String>::new(), "no workload is scaled: no request");

    let made = world.look(vec![record("order", 0, 100.0)]).await;
    assert_eq!(made, [format!("POST {ALL}"), format!("PATCH {OBJECT}/status")]);
    let sent = &world.server.seen()[1];
    assert_eq!(sent.content_type, "application/apply-patch+yaml");
    assert_eq!(sent.query.get("fieldManager").map(String::as_str), Some("homeostat"));

    let stored = world.stored();
    let owner = &stored["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Workload"), &json!("uid-of-order")));
    assert_eq!(stored["metadata"]["labels"]["homeostat.dev/tenant"], "food");
    assert_eq!(
        stored["spec"],
        json!({ "workloadRef": { "name": "order" }, "signal": "requests", "horizonSeconds": 3600 })
    );
    let status = &stored["status"];
    assert_eq!(
        (&status["now"], &status["p90"], &status["error"]),
        (&json!("100"), &json!("125"), &json!("0.651"))
    );
    assert_eq!(status["p10"], "99.45", "the lowest of all points");
    assert_eq!((&status["skill"], &status["observedGeneration"]), (&json!("Proven"), &json!(1)));
    assert_eq!(status["points"].as_array().unwrap().len(), 12);
    assert_eq!((&status["scaling"]["mode"], &status["scaling"]["wanted"]), (&json!("Recommend"), &json!(6)));
    let conditions: Vec<String> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {}", one["type"], one["status"], one["reason"]).replace('"', ""))
        .collect();
    assert_eq!(conditions, ["Ready True AsExpected", "Skilled True BeatsNaive", "Sized True AsExpected"]);
}

#[tokio::test]
async fn only_what_matters_is_written_again_with_one_request() {
    let mut world = World::new();
    world.look(vec![record("order", 0, 100.0)]).await;
    assert_eq!(world.look(vec![record("order", 1, 104.0)]).await, Vec::<String>::new(), "4 % is no news");
    assert_eq!(world.look(vec![record("order", 2, 120.0)]).await, [format!("PATCH {OBJECT}/status")]);

    let mut lost = record("order", 3, 120.0);
    lost.outlook.skill = ForecastSkill::Absent;
    assert_eq!(world.look(vec![lost]).await, [format!("PATCH {OBJECT}/status")]);
    let skilled = world.stored()["status"]["conditions"][1].clone();
    assert_eq!((&skilled["status"], &skilled["reason"]), (&json!("False"), &json!("NoSkill")));
    let ready = world.stored()["status"]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(ready, "2026-11-22T09:14:03.512000Z", "it was ready from the first write on");
    assert_eq!(world.writer.counts().written, 3);
}

#[test]
fn a_forecast_that_is_half_over_or_has_another_size_is_news() {
    let old = record("order", 0, 100.0);
    assert!(!differs(&old, &record("order", 29, 100.0)));
    assert!(differs(&old, &record("order", 30, 100.0)));
    let mut other = record("order", 1, 100.0);
    other.size.wanted = Some(7);
    assert!(differs(&old, &other));
    let mut empty = record("order", 1, 100.0);
    (empty.outlook.now, empty.outlook.peak) = (None, None);
    empty.outlook.points.clear();
    assert!(differs(&old, &empty));
    let mut counting = empty.clone();
    counting.outlook.made = after(300);
    counting.outlook.reason = "299 minutes were seen".to_owned();
    assert!(!differs(&empty, &counting), "waiting is told once");
}

/// The same forecast with this trouble, and with these words for it.
fn troubled(minute: i64, troubles: &[SizeTrouble], why: &str) -> ForecastRecord {
    let mut record = record("order", minute, 100.0);
    record.size.troubles = troubles.to_vec();
    why.clone_into(&mut record.size.why);
    record
}

#[tokio::test]
async fn each_class_of_trouble_reaches_the_object_though_no_number_changes() {
    let mut world = World::new();
    world.look(vec![record("order", 0, 100.0)]).await;
    let mut reasons = std::collections::BTreeSet::new();
    for trouble in SizeTrouble::ALL {
        let why = format!("{trouble:?}: here is what to change");
        let made = world.look(vec![troubled(0, &[trouble], &why)]).await;
        assert_eq!(made, [format!("PATCH {OBJECT}/status")], "{trouble:?}");
        let said = world.stored()["status"]["conditions"][2].clone();
        assert_eq!((&said["type"], &said["message"]), (&json!("Sized"), &json!(why)));
        assert_eq!(said["status"], if trouble.is_early() { "Unknown" } else { "False" }, "{trouble:?}");
        assert_eq!(world.stored()["status"]["scaling"]["reason"], json!(why));
        reasons.insert(said["reason"].to_string());
    }
    assert_eq!(reasons.len(), SizeTrouble::ALL.len(), "each has its own reason: {reasons:?}");
    let made = world.look(vec![record("order", 5, 100.0)]).await;
    assert_eq!(made, [format!("PATCH {OBJECT}/status")], "it is over");
    assert_eq!(world.stored()["status"]["conditions"][2]["status"], "True");
}

#[tokio::test]
async fn what_runs_taught_is_written_when_it_changed_and_is_read_apart_from_sizes() {
    let mut world = World::new();
    let runs = |minute: i64, memory: &str| {
        let mut record = record("order", minute, 0.0);
        record.signal = Name::from(RUNS);
        (record.outlook.points, record.outlook.peak, record.outlook.now) = (Vec::new(), None, None);
        record.memory = Some(memory.to_owned());
        record
    };
    let object = format!("{ALL}/order-runs");
    let made = world.look(vec![runs(0, "a"), record("order", 0, 100.0)]).await;
    assert!(made.contains(&format!("PATCH {object}/status")), "{made:?}");
    assert_eq!(world.look(vec![runs(1, "a"), record("order", 1, 100.0)]).await, Vec::<String>::new());
    let again = world.look(vec![runs(1, "b"), record("order", 1, 100.0)]).await;
    assert_eq!(again, [format!("PATCH {object}/status")], "a kill for memory must not wait");
    let points = record("order", 0, 40.0).outlook.points;
    let aged = |minute: i64| {
        let mut aged = runs(minute, "a");
        aged.outlook.points.clone_from(&points);
        aged
    };
    assert!(!differs(&aged(0), &aged(600)), "what is expected of the next run does not get old");
    let stored = world.server.get("forecasts", "shop", "order-runs").unwrap();
    let ready = &stored["status"]["conditions"][0];
    assert_eq!((&ready["type"], &ready["status"]), (&json!("Ready"), &json!("True")));
    let (client, everywhere) = (world.server.client(), std::collections::BTreeSet::new());
    let kept = kept_runs(&client, &everywhere).await.unwrap();
    let key = (ObjectKey::new("shop", "order"), Name::from(RUNS));
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [(key, "b".to_owned())]);
    assert!(homeostat_cluster::forecasts::kept(&client, &everywhere).await.unwrap().is_empty());
}

#[tokio::test]
async fn memory_has_its_own_object_with_the_time_to_its_limit_and_no_size() {
    let mut world = World::new();
    let mut leak = record("order", 0, 900e6);
    leak.signal = Name::from(MEMORY);
    leak.outlook.limit = Some(LoadLimit {
        load: 1e9,
        p10_seconds: Some(5_000.0),
        p50_seconds: 7_200.0,
        reason: "skill: a line of 5 a minute".to_owned(),
    });
    world.look(vec![record("order", 0, 100.0), leak]).await;
    let stored = world.server.get("forecasts", "shop", "order-memory").unwrap();
    assert_eq!(stored["spec"]["signal"], "memory");
    let status = &stored["status"];
    assert_eq!(
        (&status["timeToLimit"]["load"], &status["timeToLimit"]["p50Seconds"]),
        (&json!("1000000000"), &json!(7_200))
    );
    assert!(status.get("scaling").is_none() && status["points"][0]["p10"] == "900000000");
    assert_eq!(status["conditions"].as_array().unwrap().len(), 2, "no size, so nothing in its way");
    assert_eq!(world.stored()["status"]["scaling"]["wanted"], 6, "beside that of its requests");
}

#[tokio::test]
async fn a_volume_has_its_own_object_and_its_time_is_told_anew_before_half_a_day_is_over() {
    let mut world = World::new();
    let disk = |minute: i64, left: f64| {
        let mut disk = record("order", minute, 80e9);
        disk.signal = Name::from("data");
        disk.outlook.horizon_seconds = 86_400;
        disk.outlook.limit = Some(LoadLimit {
            load: 1e11,
            p10_seconds: Some(left / 2.0),
            p50_seconds: left,
            reason: "skill: a line".to_owned(),
        });
        disk
    };
    world.look(vec![disk(0, 20_000.0)]).await;
    let stored = |world: &World| world.server.get("forecasts", "shop", "order-data").unwrap();
    let first = stored(&world);
    assert_eq!(
        (&first["spec"]["signal"], &first["spec"]["horizonSeconds"]),
        (&json!("data"), &json!(86_400))
    );
    assert_eq!(first["status"]["timeToLimit"]["p10Seconds"], 10_000);
    assert!(first["status"].get("scaling").is_none());
    assert_eq!(world.look(vec![disk(29, 18_260.0)]).await, Vec::<String>::new());
    assert_eq!(world.look(vec![disk(30, 18_200.0)]).await.len(), 1, "the time runs out all the same");
    assert_eq!(stored(&world)["status"]["timeToLimit"]["p50Seconds"], 18_200);
}

#[tokio::test]
async fn numbers_that_flap_in_the_words_of_a_trouble_write_nothing() {
    let mut world = World::new();
    let gone =
        |minute: i64| troubled(minute, &[SizeTrouble::SignalNotSeen], &format!("silent for {minute} min"));
    world.look(vec![gone(0)]).await;
    for minute in 1..30 {
        assert_eq!(world.look(vec![gone(minute)]).await, Vec::<String>::new(), "{minute}");
    }
    assert_eq!(world.look(vec![gone(30)]).await.len(), 1, "half of the forecast is over");
}

#[tokio::test]
async fn a_trouble_that_comes_and_goes_is_not_written_each_time() {
    let mut world = World::new();
    for minute in 0..60 {
        let troubles: &[SizeTrouble] = if minute % 2 == 0 { &[SizeTrouble::SignalNotSeen] } else { &[] };
        world.look(vec![troubled(minute, troubles, "kept")]).await;
    }
    let written = world.writer.counts().written;
    assert!((10..=24).contains(&written), "{written}");
}

#[test]
fn what_survives_a_restart_is_renewed_now_and_then_though_nothing_is_forecast() {
    let keeping = |minute: i64, memory: &str| {
        let mut record = record("order", minute, 100.0);
        record.outlook.points.clear();
        record.memory = Some(memory.to_owned());
        record
    };
    assert!(!differs(&keeping(0, "a"), &keeping(29, "b")));
    assert!(differs(&keeping(0, "a"), &keeping(30, "b")));
    assert!(!differs(&keeping(0, "a"), &keeping(30, "a")), "nothing new to keep");
}

#[tokio::test]
async fn what_was_done_and_what_is_missing_is_said() {
    let mut world = World::new();
    let mut auto = record("order", 0, 100.0);
    auto.mode = ScalingMode::Auto;
    auto.outlook.points.clear();
    (auto.size.wanted, auto.outlook.skill) = (None, ForecastSkill::Unknown);
    auto.size.done = Some("ScaleUp from 4 to 6 at 2026-11-22T09:10:00Z: Verified".to_owned());
    auto.outlook.reason = "nothing is known yet: 3 of 10 minutes with a load were seen".to_owned();
    world.look(vec![auto]).await;
    let status = world.stored()["status"].clone();
    assert_eq!(status["scaling"]["mode"], "Auto");
    assert!(status["scaling"]["done"].as_str().unwrap().starts_with("ScaleUp from 4 to 6"));
    assert!(status["scaling"].get("wanted").is_none() && status.get("points").is_none());
    let ready = &status["conditions"][0];
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("NoData")));
    assert!(ready["message"].as_str().unwrap().contains("3 of 10 minutes"));
}

#[tokio::test]
async fn what_somebody_deleted_is_made_anew_and_what_is_no_longer_scaled_is_removed() {
    let mut world = World::new();
    world.look(vec![record("order", 0, 100.0)]).await;
    world.server.remove("forecasts", "shop", "order-requests", false);
    let made = world.look(vec![record("order", 1, 200.0)]).await;
    let status = format!("PATCH {OBJECT}/status");
    assert_eq!(made, [status.clone(), format!("POST {ALL}"), status]);

    assert_eq!(world.look(Vec::new()).await, [format!("DELETE {OBJECT}")]);
    assert!(world.server.get("forecasts", "shop", "order-requests").is_none());
    assert_eq!(world.look(Vec::new()).await, Vec::<String>::new());
    assert_eq!(world.writer.counts().removed, 1);

    // Its Workload was deleted, and the API server was quicker than we.
    world.look(vec![record("order", 2, 100.0)]).await;
    world.server.remove("forecasts", "shop", "order-requests", false);
    world.look(Vec::new()).await;
    assert_eq!((world.writer.counts().removed, world.writer.counts().failed), (2, 0));
}

#[tokio::test]
async fn a_new_leader_goes_on_with_what_is_there() {
    let mut world = World::new();
    world.look(vec![record("order", 0, 100.0)]).await;
    world.writer = ForecastWriter::new(world.server.client(), world.newest.subscribe());
    let made = world.look(vec![record("order", 9, 100.0)]).await;
    assert_eq!(made, [format!("POST {ALL}"), format!("GET {OBJECT}"), format!("PATCH {OBJECT}/status")]);
    let ready = world.stored()["status"]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(ready, "2026-11-22T09:14:03.512000Z", "it was ready before, and still is");
}

#[tokio::test]
async fn another_object_of_the_same_name_is_not_removed() {
    let mut world = World::new();
    world.look(vec![record("order", 0, 100.0)]).await;
    world.server.remove("forecasts", "shop", "order-requests", false);
    let theirs = json!({ "metadata": { "name": "order-requests", "namespace": "shop", "uid": "theirs" } });
    world.server.put("forecasts", theirs);
    world.look(Vec::new()).await;
    assert_eq!(world.stored()["metadata"]["uid"], "theirs");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_later_and_later() {
    let mut world = World::new();
    world.server.trouble(Method::POST, ALL, 2, status(503, "ServiceUnavailable", "later"));
    assert_eq!(world.look(vec![record("order", 0, 100.0)]).await.len(), 1);
    assert_eq!(world.look(vec![record("order", 0, 100.0)]).await.len(), 0, "not at once");
    tokio::time::advance(Duration::from_millis(2_001)).await;
    assert_eq!(world.look(vec![record("order", 0, 100.0)]).await.len(), 1, "after two seconds");
    tokio::time::advance(Duration::from_millis(2_001)).await;
    assert_eq!(world.look(vec![record("order", 0, 100.0)]).await.len(), 0, "not yet");
    tokio::time::advance(Duration::from_millis(2_001)).await;
    assert_eq!(world.look(vec![record("order", 0, 100.0)]).await.len(), 2, "after four");
    let counts = world.writer.counts();
    assert_eq!((counts.written, counts.failed), (1, 2));
}

#[tokio::test]
async fn a_pass_is_bounded_and_the_rest_follows() {
    let mut world = World::new();
    let all: Vec<_> = (0..230).map(|number| record(&format!("w{number:03}"), 0, 100.0)).collect();
    world.newest.send_replace(Some(Arc::new(all)));
    assert!(world.writer.look(&world.leads).await, "something is left");
    assert_eq!(world.writer.counts().written, 200);
    assert!(!world.writer.look(&world.leads).await);
    assert_eq!(world.writer.counts().written, 230);
}

#[tokio::test]
async fn a_long_name_is_cut_and_stays_its_own() {
    let mut world = World::new();
    let long = |end: &str| format!("{}{end}", "a".repeat(250));
    world.look(vec![record(&long("b"), 0, 1.0), record(&long("c"), 0, 1.0)]).await;
    let names: std::collections::BTreeSet<String> = world
        .server
        .writes()
        .iter()
        .filter(|line| line.starts_with("PATCH"))
        .map(|line| line.split('/').nth(7).unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 253));
}
