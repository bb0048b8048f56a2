//! What a receiver and its people notice.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::address::{Answer, Trouble, judge, usable};
use super::courier::{carry, client};
use super::lanes::{Errand, LaneKey, Lanes, News, PER_HOUR, Tally, next_try};
use super::standing::{Looked, standings};
use super::told::{Message, of_action, of_incident, plain};
use super::{forms, messages};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use homeostat_cluster::status::{RouteStanding, RouteStandings};
use homeostat_cluster::validate::Route;
use homeostat_cluster::{EventReason, Leadership};
use homeostat_crds::v1alpha1::tenant::{Contact, NotifyKind};
use homeostat_knowledge::{
    ActionRecord, Clock, Incident, Name, Severity, SignedDuration, TenantName, Timestamp,
};
use homeostat_observe::sources::mounted::file;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn incident(name: &str, evidence: &str) -> Incident {
    let time = at(0);
    serde_json::from_value(json!({
        "id": name, "namespace": "shop", "tenant": "food", "workload": { "namespace": "shop", "name": "order" },
        "state": "Open", "severity": "Critical", "findings": [],
        "causes": [{ "entity": { "kind": "workload", "key": { "namespace": "shop", "name": "order" } }, "kind": "Hung",
            "confidence": 0.928, "evidence": [{ "signal": "calls that failed", "observed": evidence, "usual": null }] }],
        "affected": [], "actions": [], "reopen_count": 0,
        "timeline": [{ "at": time, "what": "Decision", "text": "evict the pod" }],
        "instants": { "impact_start": time, "detected": time, "acknowledged": null, "mitigated": null, "resolved": null },
        "evidence": "e", "handed_over": null, "acknowledged_by": null,
    }))
    .unwrap()
}

fn opened(name: &str) -> Message {
    of_incident(EventReason::IncidentOpened, &incident(name, "12 of 12 in 0.8 s"), None, at(1)).unwrap()
}

fn route(name: &str, severities: &[Severity]) -> Route {
    Route {
        name: Name::from(name),
        kind: NotifyKind::Webhook,
        secret: Name::from("hooks"),
        key: Name::from(name),
        severities: severities.iter().copied().collect(),
        contact: None,
    }
}

fn oncall() -> Route {
    route("oncall", &[Severity::Warning, Severity::Critical])
}

fn as_kind(kind: NotifyKind) -> Route {
    Route { kind, ..oncall() }
}

fn lanes() -> (Lanes, Arc<Tally>) {
    let tally = Arc::<Tally>::default();
    (Lanes::new(Arc::clone(&tally)), tally)
}

fn counts(tally: &Tally) -> BTreeMap<&'static str, u64> {
    tally.rows().filter(|(_, count)| *count > 0).map(|(outcome, count)| (outcome.name(), count)).collect()
}

#[test]
fn a_webhook_is_told_what_where_how_bad_why_and_what_is_done() {
    let body = forms::body(&oncall(), &opened("order-1"));
    assert_eq!(
        body,
        json!({
            "key": "shop/order-1/IncidentOpened/0/2", "reason": "IncidentOpened", "about": "Incident", "id": "order-1",
            "state": "Open", "severity": "Critical", "tenant": "food", "namespace": "shop", "workload": "order",
            "summary": "order (Hung): calls that failed: 12 of 12 in 0.8 s",
            "cause": { "entity": "Workload/order", "kind": "Hung", "confidence": 0.93,
                "evidence": "calls that failed: 12 of 12 in 0.8 s" },
            "advice": "evict the pod",
            "times": { "impactStart": "2027-01-15T08:00:00Z", "detected": "2027-01-15T08:00:00Z" },
            "at": "2027-01-15T08:00:01Z",
        })
    );
}

#[test]
fn who_is_told_learns_how_to_reach_the_owners() {
    let contact: Contact =
        serde_json::from_value(json!({ "email": "shop@example.com", "url": "https://chat.example/shop" }))
            .unwrap();
    let told = |kind| {
        let route = Route { contact: Some(contact.clone()), ..as_kind(kind) };
        forms::body(&route, &opened("order-1"))
    };
    assert_eq!(told(NotifyKind::Webhook)["contact"]["email"], "shop@example.com");
    let text = told(NotifyKind::Slack)["text"].as_str().unwrap().to_owned();
    assert!(text.ends_with("\nOwners: shop@example.com, https://chat.example/shop"), "{text}");
    let alerts = told(NotifyKind::Alertmanager);
    assert_eq!(alerts[0]["annotations"]["contact"], "shop@example.com, https://chat.example/shop");
}

#[test]
fn each_news_has_a_key_of_its_own_which_stays_over_restarts() {
    let told = |reason, change: fn(&mut Incident), now| {
        let mut one = incident("order-1", "x");
        change(&mut one);
        of_incident(reason, &one, None, now).unwrap().key
    };
    let over = |one: &mut Incident| one.handed_over = Some("nothing helped".to_owned());
    let keys = [
        told(EventReason::IncidentOpened, |_| {}, at(1)),
        told(EventReason::IncidentOpened, |one| one.severity = Severity::Warning, at(1)),
        told(EventReason::IncidentReopened, |one| one.reopen_count = 1, at(1)),
        told(EventReason::IncidentMitigated, |one| one.instants.mitigated = Some(at(9)), at(1)),
        told(EventReason::HandedOver, over, at(1)),
        told(EventReason::HandedOver, |one| one.handed_over = Some("another reason".to_owned()), at(1)),
    ];
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
    assert_eq!(keys[4], told(EventReason::HandedOver, over, at(500)));
    assert!(keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_graphic())), "it is a header too");
}

#[test]
fn what_telemetry_says_can_neither_mark_up_mention_link_nor_hide() {
    let evil = "<!channel> @here [pay](http://evil.example) `x`\n\r\u{202E}txt\u{0007} & more";
    let message = of_incident(EventReason::IncidentOpened, &incident("order-1", evil), None, at(1)).unwrap();
    let body = forms::body(&as_kind(NotifyKind::Slack), &message);
    let text = body["text"].as_str().unwrap();
    for bad in ["<", ">", "@here", "](", "://", "`", "\r", "\u{202E}", "\u{7}"] {
        assert!(!text.contains(bad), "{bad:?} in {text}");
    }
    assert!(text.contains("&lt;!channel&gt;") && text.contains("&amp; more"), "{text}");
    assert!(text.starts_with("[Critical] IncidentOpened shop/order: "), "{text}");
    assert_eq!(body["mrkdwn"], false);
    let long = plain(&"many words ".repeat(1_000), 300);
    assert!(long.chars().count() <= 300 && long.ends_with('…'), "{long}");
    assert_eq!(plain("two\n\tlines", 300), "two lines");
}

#[test]
fn an_alert_fires_for_its_severity_until_the_incident_is_over() {
    let mut message = opened("order-1");
    let alerts = forms::body(&as_kind(NotifyKind::Alertmanager), &message);
    let firing = |alerts: &Value| {
        let all = alerts.as_array().unwrap().iter();
        let time = |alert: &Value, field: &str| alert[field].as_str().unwrap().parse::<Timestamp>().unwrap();
        let firing = all.filter(|alert| time(alert, "endsAt") > at(1));
        firing.map(|alert| alert["labels"]["severity"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(firing(&alerts), ["critical"]);
    let labels = json!({ "alertname": "HomeostatIncident", "tenant": "food", "namespace": "shop", "id": "order-1",
        "severity": "critical" });
    assert_eq!(alerts[2]["labels"], labels, "nothing that changes while it lasts");
    assert!(alerts[2]["annotations"]["summary"].as_str().unwrap().contains("Hung"));
    message.state = "Resolved".to_owned();
    assert!(firing(&forms::body(&as_kind(NotifyKind::Alertmanager), &message)).is_empty());
}

#[test]
fn a_question_is_told_once_for_each_time_that_it_is_asked_and_no_other_state() {
    let mut record = question();
    let asked = of_action(&record, Severity::Critical, at(1)).unwrap();
    assert_eq!((asked.reason, &*asked.id), ("ApprovalNeeded", "order-1-1"));
    assert_eq!(asked.times.answer_until, record.request.expires);
    assert!(asked.advice.unwrap().starts_with("homeostat approve order-1-1 -n shop"));
    record.message = format!("still {}", record.message);
    let again = of_action(&record, Severity::Critical, at(2)).unwrap();
    assert_eq!(again.reason, "ApprovalOverdue");
    assert_ne!(again.key, asked.key);
    record.state = homeostat_knowledge::ActionState::Sent;
    assert_eq!(of_action(&record, Severity::Critical, at(3)), None);
}

fn question() -> ActionRecord {
    use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
    use homeostat_knowledge::plan::{Expectation, Undo};
    use homeostat_knowledge::*;
    ActionRecord {
        id: ActionId::new("order-1-1"),
        namespace: Name::from("shop"),
        resource_version: Name::from(""),
        origin: Origin::Incident,
        incident: IncidentId::new("order-1"),
        tenant: TenantName::new("food"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("hung-process"), version: 0, step: 1 },
        target: Target {
            api_version: Name::from("v1"),
            kind: Name::from("Pod"),
            key: ObjectKey::new("shop", "order-x"),
            uid: Uid::new("u"),
            resource_version: Name::from("1"),
        },
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before::default(),
        epoch: 1,
        evidence: EvidenceRef { id: EvidenceId::new("e"), taken_at: at(0), summary: "no answer".to_owned() },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: Undo::None,
        undo_of: None,
        request: Request { expires: Some(at(900)), ..Request::default() },
        state: ActionState::AwaitingApproval,
        guards: Vec::new(),
        instants: ActionInstants::default(),
        outcome: None,
        approval: None,
        message: "waits for approval".to_owned(),
    }
}

#[test]
fn only_routes_that_want_it_are_told_and_those_that_knew_are_not_told_that_it_got_worse() {
    let (mut lanes, _) = lanes();
    let routes = [oncall(), route("night", &[Severity::Critical]), route("chat", &[Severity::Info])];
    let told = |lanes: &mut Lanes, now| {
        let errands = lanes.take(now);
        for errand in &errands {
            lanes.done(&errand.lane, Answer::Taken, now);
        }
        errands.iter().map(|errand| errand.lane.route.to_string()).collect::<Vec<_>>()
    };
    lanes.accept(&Arc::new(Message { severity: Severity::Warning, ..opened("order-1") }), &routes, at(0));
    assert_eq!(told(&mut lanes, at(0)), ["oncall"]);
    let worse = Message { was: Some(Severity::Warning), key: "worse".to_owned(), ..opened("order-1") };
    lanes.accept(&Arc::new(worse.clone()), &routes, at(1));
    assert_eq!(told(&mut lanes, at(1)), ["night"]);
    lanes.accept(&Arc::new(worse), &routes, at(2));
    assert!(told(&mut lanes, at(2)).is_empty(), "the same news is told once");
}

#[test]
fn after_sixty_messages_in_an_hour_one_says_so_and_one_how_many_were_held_back() {
    let (mut lanes, tally) = lanes();
    let mut told = Vec::new();
    let mut serve = |lanes: &mut Lanes, now| {
        while let Some(errand) = lanes.take(now).pop() {
            told.push(errand.message.summary.clone());
            lanes.done(&errand.lane, Answer::Taken, now);
        }
        std::mem::take(&mut told)
    };
    for number in 0..100 {
        lanes.accept(&Arc::new(opened(&format!("order-{number}"))), &[oncall()], at(0));
    }
    let first = serve(&mut lanes, at(1));
    assert_eq!(first.len(), PER_HOUR as usize + 1);
    assert!(first.last().unwrap().contains("held back until 2027-01-15T09:00:00Z"), "{first:?}");
    assert_eq!(lanes.next(), Some(at(3_600)));
    assert_eq!(
        serve(&mut lanes, at(3_600)),
        ["Too many messages in an hour: 40 messages were held back until 2027-01-15T09:00:00Z"]
    );
    assert_eq!(counts(&tally), BTreeMap::from([("held_back", 40), ("sent", 62)]));
    lanes.accept(&Arc::new(opened("next-hour")), &[oncall()], at(3_601));
    assert_eq!(serve(&mut lanes, at(3_601)).len(), 1);
}

#[test]
fn a_receiver_that_is_down_gets_five_tries_in_ten_minutes_and_holds_nobody_up() {
    let (mut lanes, tally) = lanes();
    let down = Answer::Later { trouble: Trouble::Failing(503), wait: None };
    let routes = [oncall(), route("chat", &[Severity::Critical])];
    lanes.accept(&Arc::new(opened("order-1")), &routes, at(0));
    lanes.accept(&Arc::new(opened("order-2")), &routes, at(0));
    let (mut now, mut tries, mut news) = (at(0), Vec::new(), Vec::new());
    while let Some(due) = lanes.next().filter(|due| *due < at(170)) {
        now = now.max(due);
        for errand in lanes.take(now) {
            let chat = &*errand.lane.route == "chat";
            if !chat {
                tries.push((errand.message.id.to_string(), now.duration_since(at(0)).as_secs()));
            }
            news.extend(lanes.done(&errand.lane, if chat { Answer::Taken } else { down }, now));
        }
    }
    let seconds: Vec<i64> =
        tries.iter().filter(|(id, _)| id == "order-1").map(|(_, second)| *second).collect();
    assert_eq!(seconds, [0, 2, 12, 52, 172][..4], "growing waits; {tries:?}");
    assert_eq!(counts(&tally), BTreeMap::from([("sent", 2)]), "the other route has long been told");
    let errand = lanes.take(at(172)).pop().unwrap();
    assert_eq!(lanes.done(&errand.lane, down, at(172)), Some(News::Trouble(Trouble::Failing(503))));
    assert!(news.is_empty(), "a try that failed is no news before the last one");
    lanes.take(at(601));
    assert_eq!(
        counts(&tally),
        BTreeMap::from([("failed", 2), ("sent", 2)]),
        "what is ten minutes old is given up"
    );
}

#[test]
fn a_route_in_trouble_is_told_once_per_state() {
    let (mut lanes, _) = lanes();
    let mut answer = |number: i64, answer| {
        lanes.accept(&Arc::new(opened(&format!("order-{number}"))), &[oncall()], at(number));
        let errand = lanes.take(at(number)).pop().unwrap();
        lanes.done(&errand.lane, answer, at(number))
    };
    let gone = Answer::Unusable(Trouble::NoKey);
    assert_eq!(answer(1, gone), Some(News::Trouble(Trouble::NoKey)));
    assert_eq!(answer(2, gone), None);
    let refused = Trouble::Refused(404);
    assert_eq!(answer(3, Answer::Unusable(refused)), Some(News::Trouble(refused)));
    assert_eq!(answer(4, Answer::Unusable(Trouble::Refused(410))), None);
    assert_eq!(answer(5, Answer::Taken), Some(News::Works));
    assert_eq!(answer(6, Answer::Taken), None);
}

#[test]
fn what_finds_no_room_is_counted_and_one_lane_leaves_room_for_others() {
    let (mut lanes, tally) = lanes();
    for hour in 0..2 {
        for number in 0..60 {
            let message = Arc::new(opened(&format!("order-{hour}-{number}")));
            lanes.accept(&message, &[oncall()], at(hour * 3_600));
        }
    }
    assert_eq!((lanes.waiting(), counts(&tally)), (64, BTreeMap::from([("dropped", 56)])));
    lanes.accept(&Arc::new(opened("order-other")), &[route("chat", &[Severity::Critical])], at(3_601));
    assert_eq!(lanes.waiting(), 65);
    // And the way in is bounded too.
    let (sender, inbox) = messages();
    for _ in 0..300 {
        sender.tell(opened("order-1"));
    }
    assert!(sender.counts().contains(&("dropped", 44)), "{:?}", sender.counts());
    drop(inbox);
}

#[test]
fn a_receiver_is_left_alone_as_long_as_it_asks_but_no_longer_than_a_minute() {
    let wait = |seconds| Some(SignedDuration::from_secs(seconds));
    assert_eq!(next_try(1, at(0), wait(30), at(0)), Some(at(30)));
    assert_eq!(next_try(1, at(0), wait(3_600), at(0)), Some(at(60)));
    assert_eq!(next_try(4, at(0), wait(30), at(0)), Some(at(120)));
    assert_eq!(next_try(5, at(0), None, at(0)), None);
    assert_eq!(next_try(2, at(0), None, at(595)), None);
    let asked = |text| match judge(429, Some(text), at(0)) {
        Answer::Later { wait, .. } => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(asked("7"), wait(7));
    assert_eq!(asked("Fri, 15 Jan 2027 08:00:20 GMT"), wait(20));
    assert_eq!(asked("soon"), None);
    assert_eq!(judge(204, None, at(0)), Answer::Taken);
    assert_eq!(judge(302, None, at(0)), Answer::Unusable(Trouble::Redirected(302)));
    assert_eq!(judge(404, None, at(0)), Answer::Unusable(Trouble::Refused(404)));
}

#[test]
fn only_names_lead_to_files_and_only_https_leads_out_of_the_cluster() {
    let folder = Path::new("/etc/notify");
    assert_eq!(file(folder, "hooks", "on_call.url"), Some(PathBuf::from("/etc/notify/hooks/on_call.url")));
    for (secret, key) in
        [("..", "a"), ("a/b", "c"), ("a", ".."), ("a", "..data"), ("a", ""), ("a", "/etc/passwd"), ("a", ".")]
    {
        assert_eq!(file(folder, secret, key), None, "{secret} {key}");
    }
    for good in [
        "https://hooks.example/T/B/x\n",
        "http://127.0.0.1:9093/",
        "http://[::1]/",
        "http://localhost/",
        "http://alertmanager.monitoring.svc:9093/api/v2/alerts",
        "http://alertmanager.monitoring.svc.cluster.local/",
    ] {
        assert!(usable(good).is_some(), "{good}");
    }
    for bad in [
        "http://hooks.example/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "ftp://a.svc/",
        "file:///etc/passwd",
        "oncall",
        "",
        "http://.svc/",
        "http://a.svc.evil.example/",
    ] {
        assert!(usable(bad).is_none(), "{bad}");
    }
}

/// What a receiver was sent: path and key.
type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

async fn receive(
    State(seen): State<Seen>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut seen = seen.lock().unwrap();
    seen.push((uri.path().to_owned(), key, body));
    match uri.path() {
        "/moved-cAnArY" => (StatusCode::FOUND, [("location", "/ok-cAnArY")]).into_response(),
        "/shaky-cAnArY" if seen.len() == 1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "/gone-cAnArY" => StatusCode::GONE.into_response(),
        _ => StatusCode::OK.into_response(),
    }
}

/// A receiver on the loopback address, and a folder in which the key `oncall` of the Secret `hooks` leads to this path of it.
async fn receiver(path: &str) -> (Seen, PathBuf) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(receive).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder =
        std::env::temp_dir().join(format!("homeostat-notify-{}-{}", std::process::id(), address.port()));
    std::fs::create_dir_all(folder.join("hooks")).unwrap();
    std::fs::write(folder.join("hooks/oncall"), format!("http://{address}/{path}\n")).unwrap();
    (seen, folder)
}

/// Tries what is due at `now`, once.
async fn serve(lanes: &mut Lanes, folder: &Path, now: Timestamp) -> (Answer, Option<News>) {
    let errand: Errand = lanes.take(now).pop().unwrap();
    let (lane, answer): (LaneKey, Answer) = carry(client().as_ref(), folder, errand, &Fixed(now)).await;
    (answer, lanes.done(&lane, answer, now))
}

#[tokio::test]
async fn a_receiver_that_fails_once_gets_the_same_news_under_the_same_key() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (seen, folder) = receiver("shaky-cAnArY").await;
    let (mut lanes, tally) = lanes();
    lanes.accept(&Arc::new(opened("order-1")), &[oncall()], at(0));
    let (first, _) = serve(&mut lanes, &folder, at(0)).await;
    assert_eq!(first, Answer::Later { trouble: Trouble::Failing(500), wait: None });
    assert!(lanes.take(at(1)).is_empty(), "not at once");
    assert_eq!(serve(&mut lanes, &folder, at(2)).await.0, Answer::Taken);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    assert_eq!((&*seen[0].1, &seen[0].2["id"]), ("shop/order-1/IncidentOpened/0/2", &json!("order-1")));
    assert_eq!(counts(&tally), BTreeMap::from([("sent", 1)]));
    std::fs::remove_dir_all(folder).unwrap();
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A tenant with one route.
struct Oncall;

impl super::Routes for Oncall {
    async fn of(&self, _: &TenantName) -> Vec<Route> {
        vec![oncall()]
    }

    async fn all(&self) -> Vec<(TenantName, Route)> {
        vec![(TenantName::new("food"), oncall())]
    }
}

#[tokio::test]
async fn a_route_without_its_key_is_shown_before_anything_has_to_be_told() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (sender, inbox) = messages();
    let stop = tokio_util::sync::CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(Fixed(at(1)));
    let (standing, mut shown) = tokio::sync::watch::channel(RouteStandings::default());
    let folder = std::env::temp_dir().join("homeostat-notify-without-a-key");
    let courier = super::run(inbox, folder, clock, Leadership::always(), Oncall, standing, stop.clone());
    let customer = async {
        shown.changed().await.unwrap();
        stop.cancel();
    };
    tokio::join!(courier, customer);
    let of_the_tenant = shown.borrow()[&TenantName::new("food")].clone();
    let RouteStanding::NotUsable(why) = &of_the_tenant["oncall"] else { panic!("{of_the_tenant:?}") };
    assert!(why.contains("notify.secrets of the chart"), "{why}");
    assert!(sender.counts().iter().all(|(_, count)| *count == 0), "nothing was sent");
}

#[test]
fn what_is_not_taken_is_shown_until_a_message_gets_through_or_the_route_leads_elsewhere() {
    let (mut lanes, _) = lanes();
    let looked = |route: Route, trouble| [Looked { tenant: TenantName::new("food"), route, trouble }];
    let shown = |lanes: &Lanes, route: Route| {
        standings(&looked(route, None), lanes)[&TenantName::new("food")]["oncall"].clone()
    };
    let answer = |lanes: &mut Lanes, number: i64, answer| {
        lanes.accept(&Arc::new(opened(&format!("order-{number}"))), &[oncall()], at(number));
        let errand = lanes.take(at(number)).pop().unwrap();
        lanes.done(&errand.lane, answer, at(number));
    };
    assert_eq!(shown(&lanes, oncall()), RouteStanding::NotTried);
    answer(&mut lanes, 1, Answer::Unusable(Trouble::Refused(404)));
    let refused = RouteStanding::NotTaken(Trouble::Refused(404).to_string());
    assert_eq!(shown(&lanes, oncall()), refused);
    answer(&mut lanes, 2, Answer::Unusable(Trouble::Refused(410)));
    assert_eq!(shown(&lanes, oncall()), refused, "the same trouble is no news");
    let elsewhere = Route { key: Name::from("second"), ..oncall() };
    assert_eq!(shown(&lanes, elsewhere), RouteStanding::NotTried);
    answer(&mut lanes, 3, Answer::Taken);
    assert_eq!(shown(&lanes, oncall()), RouteStanding::Works);
    let gone = standings(&looked(oncall(), Some(Trouble::NoKey)), &lanes);
    assert_eq!(
        gone[&TenantName::new("food")]["oncall"],
        RouteStanding::NotUsable(Trouble::NoKey.to_string()),
        "whatever came of the last message"
    );
    answer(&mut lanes, 4, Answer::Unusable(Trouble::NoKey));
    assert_eq!(shown(&lanes, oncall()), RouteStanding::NotTried, "the key is there again");
}

/// The whole way, with every line that anything logs: for each path, what the receiver saw, what was counted, what was logged.
async fn told_and_logged(path: &str) -> (Vec<String>, Vec<(&'static str, u64)>, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (seen, folder) = receiver(path).await;
    let page = Page::default();
    let writer = page.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (sender, inbox) = messages();
    let stop = tokio_util::sync::CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(Fixed(at(1)));
    let (standing, _) = tokio::sync::watch::channel(RouteStandings::default());
    let lead = Leadership::always();
    let courier = super::run(inbox, folder.clone(), clock, lead, Oncall, standing, stop.clone());
    let customer = async {
        sender.tell(opened("order-1"));
        while sender.counts().iter().all(|(_, count)| *count == 0) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(courier, customer);
    std::fs::remove_dir_all(folder).unwrap();
    let paths = seen.lock().unwrap().iter().map(|(path, ..)| path.clone()).collect();
    let counted = sender.counts().into_iter().filter(|(_, count)| *count > 0).collect();
    let logged = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    (paths, counted, logged)
}

#[tokio::test]
async fn news_arrive_redirects_are_not_followed_and_no_line_has_the_address() {
    let (paths, counted, logged) = told_and_logged("ok-cAnArY").await;
    assert_eq!((paths, counted), (vec!["/ok-cAnArY".to_owned()], vec![("sent", 1)]));
    assert!(!logged.contains("cAnArY"), "{logged}");

    let (paths, counted, logged) = told_and_logged("moved-cAnArY").await;
    assert_eq!((paths, counted), (vec!["/moved-cAnArY".to_owned()], vec![("unusable", 1)]));
    assert!(logged.contains("redirects (status 302)") && logged.contains("oncall"), "{logged}");
    assert!(logged.contains("food") && !logged.contains("cAnArY"), "{logged}");

    let (_, counted, logged) = told_and_logged("gone-cAnArY").await;
    assert_eq!(counted, [("unusable", 1)]);
    assert!(logged.contains("status 410") && !logged.contains("cAnArY"), "{logged}");
}
