use super::*;
use crate::chain::Chain;
use crate::decision::Decision;
use crate::decision::tests::record as action;
use crate::digest::Salt;
use homeostat_knowledge::records::Release;
use homeostat_knowledge::{ActionRecord, ActionState, ObjectKey, Parameters, Uid};
use serde_json::json;

const USER: &str = "system:serviceaccount:homeostat-system:homeostat";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The lines of a record with these decisions, in their order.
fn record(decisions: Vec<(i64, Decision)>) -> Vec<String> {
    let mut chain = Chain::begin("homeostat-0-1");
    let mut lines = vec![Line::Checkpoint(chain.end().clone()).to_json()];
    for (second, decision) in decisions {
        let entry = chain.append(decision.facts, decision.personal, at(second), || Salt([7; 16]));
        lines.push(Line::Entry(entry).to_json());
    }
    lines
}

/// An entry that begins a record and asks for nothing.
fn beginning() -> (i64, Decision) {
    (50, Decision::of_action(&action("order-0-1"), "homeostat-0"))
}

/// What is on record of a scale-up of `shop/order` that was claimed in this second: its claim, its effect where the
/// request is known, and that it was sent.
fn scaled(second: i64, id: &str, request: Option<&str>) -> Vec<(i64, Decision)> {
    let mut claimed: ActionRecord = action(id);
    claimed.state = ActionState::Claimed;
    claimed.instants.intent = Some(at(second));
    claimed.instants.claimed = Some(at(second));
    let mut sent = claimed.clone();
    sent.state = ActionState::Sent;
    sent.instants.sent = Some(at(second));
    let mut all = vec![(second, Decision::of_action(&claimed, "homeostat-0"))];
    all.extend(request.map(|request| (second + 1, Decision::of_effect(&sent, "homeostat-0", request))));
    all.push((second + 1, Decision::of_action(&sent, "homeostat-0")));
    all
}

fn event(second: i64, id: &str, verb: &str, resource: &str, key: &str) -> Value {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": "ResponseComplete", "requestURI": "/somewhere", "verb": verb, "user": { "username": USER },
        "objectRef": { "resource": resource, "subresource": subresource, "namespace": namespace, "name": name,
                       "apiGroup": group, "apiVersion": "v1" },
        "responseStatus": { "metadata": {}, "code": 200 },
        "requestReceivedTimestamp": at(second), "stageTimestamp": at(second),
    })
}

fn scale(second: i64, id: &str) -> Value {
    event(second, id, "patch", "deployments.apps/scale", "shop/order")
}

/// A log from second 0 to second 1,000: others do something in both.
fn log(events: impl IntoIterator<Item = Value>) -> Vec<String> {
    let other = |second: i64| {
        let mut event =
            event(second, "other", "update", "leases.coordination.k8s.io", "kube-system/scheduler");
        event["user"]["username"] = json!("system:kube-scheduler");
        event
    };
    let inside = events.into_iter();
    std::iter::once(other(0)).chain(inside).chain([other(1_000)]).map(|event| event.to_string()).collect()
}

fn compared(record: &[String], log: &[String]) -> Outcome {
    compared_within(MOST, record, log)
}

fn compared_within(most: usize, record: &[String], log: &[String]) -> Outcome {
    let mut recorded = Recorded { most, ..Recorded::default() };
    for line in record {
        recorded.line(line);
    }
    let mut both = recorded.beside(USER);
    for line in log {
        both.line(line);
    }
    both.finish()
}

/// The decisions after the beginning, as a record.
fn with(decisions: Vec<(i64, Decision)>) -> Vec<String> {
    record(std::iter::once(beginning()).chain(decisions).collect())
}

#[test]
fn what_is_on_record_and_in_the_log_matches_and_what_is_our_own_is_counted_apart() {
    let release = Release {
        object: "Node node-1".into(),
        uid: Uid::new("7f"),
        by: "order-9-1".into(),
        audit_id: Some("r-2".into()),
    };
    let mut decisions = scaled(100, "order-1-1", Some("r-1"));
    decisions.push((200, Decision::of_release(&release, "homeostat-0")));
    let mut tried = scale(99, "r-0");
    tried["requestURI"] = json!("/apis/apps/v1/namespaces/shop/deployments/order/scale?dryRun=All");
    let mut refused = scale(101, "r-3");
    refused["responseStatus"]["code"] = json!(409);
    let mut begun = scale(100, "r-1");
    begun["stage"] = json!("RequestReceived");
    let out = compared(
        &with(decisions),
        &log([
            tried,
            begun,
            scale(100, "r-1"),
            refused,
            event(200, "r-2", "patch", "nodes", "node-1"),
            event(201, "o-1", "update", "actions.homeostat.dev/status", "shop/order-1-1"),
            event(202, "o-2", "update", "leases.coordination.k8s.io", "kube-system/homeostat"),
            event(203, "o-3", "patch", "configmaps", "homeostat-system/homeostat-audit"),
            event(204, "o-4", "get", "deployments.apps", "shop/order"),
        ]),
    );
    assert!(out.matches(), "{out:?}");
    assert_eq!((out.effects, out.matched, out.dry_runs, out.refused), (2, 2, 1, 1));
    assert_eq!((out.events, out.requests), (11, 9));
    let own: Vec<&str> = out.own.keys().map(String::as_str).collect();
    assert_eq!(own, ["actions/status (homeostat.dev)", "configmaps", "leases (coordination.k8s.io)"]);
    assert_eq!(
        (out.log, out.record.map(|span| span.first)),
        (Some(Span { first: at(0), last: at(1_000) }), Some(at(50)))
    );
}

#[test]
fn an_effect_that_is_not_in_the_log_is_told_with_its_action_and_its_object() {
    let out = compared(&with(scaled(100, "order-1-1", Some("r-1"))), &log([]));
    assert!(!out.matches());
    assert_eq!(out.not_in_log.count, 1);
    let line = &out.not_in_log.lines[0];
    assert!(line.contains("ScaleUp of Deployment shop/order by order-1-1"), "{line}");
    assert!(line.contains("request r-1"), "{line}");
}

#[test]
fn a_write_that_is_not_on_record_is_told_with_its_verb_and_its_object() {
    for (second, hint) in [(400, false), (990, true)] {
        let mut decisions = scaled(100, "order-1-1", Some("r-1"));
        decisions.push((500, Decision::of_action(&action("order-2-1"), "homeostat-0")));
        let events = [scale(100, "r-1"), event(second, "r-2", "delete", "pods", "shop/order-x")];
        let out = compared(&with(decisions), &log(events));
        assert!(!out.matches());
        let [line] = out.not_in_record.lines.as_slice() else { panic!("one: {out:?}") };
        assert!(line.starts_with("delete pods shop/order-x at "), "{line}");
        assert_eq!(line.contains("later than its last entry"), hint, "{line}");
    }
    for foreign in ["configmaps", "workloads.homeostat.dev"] {
        let out = compared(&with(Vec::new()), &log([event(400, "r-2", "patch", foreign, "shop/order")]));
        assert_eq!(out.not_in_record.count, 1, "{foreign}: not what Homeostat writes about itself");
    }
}

#[test]
fn a_request_that_is_not_what_is_on_record_under_its_name_is_told() {
    let on_record = with(scaled(100, "order-1-1", Some("r-1")));
    let mut refused = scale(100, "r-1");
    refused["responseStatus"]["code"] = json!(403);
    for (found, why) in [
        (event(100, "r-1", "delete", "deployments.apps", "shop/order"), "another request"),
        (event(100, "r-1", "patch", "deployments.apps/scale", "shop/payment"), "another request"),
        (event(100, "r-1", "patch", "deployments.apps/scale", "bank/order"), "another request"),
        (refused, "refused with 403"),
    ] {
        let out = compared(&on_record, &log([found]));
        assert!(!out.matches());
        let [line] = out.differing.lines.as_slice() else { panic!("one: {out:?}") };
        assert!(line.contains(why), "{line}");
        assert_eq!(out.not_in_log.count, 0, "told once");
    }
    let out = compared(&on_record, &log([scale(100, "r-1"), scale(300, "r-1")]));
    assert!(out.differing.lines[0].contains("once more"), "{out:?}");
}

#[test]
fn each_kind_of_action_is_known_by_its_request() {
    let effect = |parameters: Parameters, api_version: &str, kind: &str, name: &str| {
        let mut record = action("order-1-1");
        record.parameters = parameters;
        record.target.api_version = api_version.into();
        record.target.kind = kind.into();
        record.target.key = ObjectKey::new(if kind == "Node" { "" } else { "shop" }, name);
        with(vec![(100, Decision::of_effect(&record, "homeostat-0", "r-1"))])
    };
    let until = at(500);
    let resize = || Parameters::ResizePod {
        container: "app".into(),
        cpu_millis: Some(500),
        cpu_limit_millis: None,
        memory_bytes: None,
        memory_limit_bytes: None,
    };
    let start = || Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: None };
    let evict = || Parameters::EvictPod { grace_seconds: None };
    let (batch, apps) = ("batch/v1", "apps/v1");
    for (on_record, verb, resource, key) in [
        (effect(evict(), "v1", "Pod", "order-x"), "create", "pods/eviction", "shop/order-x"),
        (
            effect(Parameters::RollingRestart, apps, "Deployment", "order"),
            "patch",
            "deployments.apps",
            "shop/order",
        ),
        (effect(Parameters::Cordon { until }, "v1", "Node", "node-1"), "patch", "nodes", "node-1"),
        (
            effect(Parameters::Suspend { until }, batch, "CronJob", "night"),
            "patch",
            "cronjobs.batch",
            "shop/night",
        ),
        (
            effect(Parameters::RetryJob, batch, "Job", "night-1"),
            "create",
            "jobs.batch",
            "shop/night-1-retry-ab12",
        ),
        (effect(start(), batch, "Job", "night-1"), "patch", "jobs.batch", "shop/night-1"),
        (effect(start(), batch, "Job", "night-1"), "create", "jobs.batch", "shop/night-1-retry-ab12"),
        (
            effect(Parameters::CreateJob { slot: until }, batch, "CronJob", "night"),
            "create",
            "jobs.batch",
            "shop/night-backlog-1790000000",
        ),
        (effect(resize(), "v1", "Pod", "order-x"), "patch", "pods/resize", "shop/order-x"),
        (effect(resize(), batch, "CronJob", "night"), "patch", "cronjobs.batch", "shop/night"),
        (
            effect(Parameters::ScaleUp { replicas: 3 }, "example.dev/v1", "WebFarm", "front"),
            "patch",
            "webfarms.example.dev/scale",
            "shop/front",
        ),
    ] {
        let out = compared(&on_record, &log([event(100, "r-1", verb, resource, key)]));
        assert!(out.matches() && out.matched == 1, "{verb} {resource}: {out:?}");
        let other = compared(&on_record, &log([event(100, "r-1", "update", resource, key)]));
        assert_eq!(other.differing.count, 1, "{resource}: another verb is another request");
    }
}

#[test]
fn a_write_whose_answer_was_lost_is_explained_by_its_action_and_only_one_is() {
    let on_record = with(scaled(100, "order-1-1", None));
    let once = compared(&on_record, &log([scale(100, "r-1")]));
    assert!(once.matches() && once.answered_late == 1, "{once:?}");
    let twice = compared(&on_record, &log([scale(100, "r-1"), scale(101, "r-2")]));
    assert_eq!((twice.answered_late, twice.not_in_record.count), (1, 1));
    let elsewhere =
        compared(&on_record, &log([event(100, "r-1", "patch", "deployments.apps/scale", "shop/b")]));
    assert_eq!(elsewhere.not_in_record.count, 1);
    assert_eq!(compared(&on_record, &log([scale(80, "r-1")])).not_in_record.count, 1, "before its claim");
    // One that ended without having been sent, and one whose request is known, explain nothing.
    let mut ended = action("order-1-1");
    ended.state = ActionState::Cancelled;
    (ended.instants.claimed, ended.instants.closed) = (Some(at(100)), Some(at(104)));
    let ended = with(vec![(104, Decision::of_action(&ended, "homeostat-0"))]);
    assert_eq!(compared(&ended, &log([scale(100, "r-1")])).not_in_record.count, 1);
    let known = with(scaled(100, "order-1-1", Some("r-1")));
    let twice = compared(&known, &log([scale(100, "r-1"), scale(101, "r-2")]));
    assert_eq!((twice.matched, twice.not_in_record.count), (1, 1), "an effect that came twice is told");
}

#[test]
fn a_write_of_which_nobody_knows_what_came_is_counted_and_no_mismatch() {
    let mut unsure = scale(300, "r-1");
    unsure["responseStatus"]["code"] = json!(504);
    let out = compared(&with(Vec::new()), &log([unsure]));
    assert!(out.matches() && out.unsure == 1, "{out:?}");
}

#[test]
fn only_what_lies_within_the_log_and_after_the_beginning_of_the_record_is_compared_and_it_is_told() {
    let mut decisions = scaled(990, "order-1-1", Some("r-1"));
    decisions.extend(scaled(998, "order-2-1", Some("r-2")));
    decisions.extend(scaled(2_000, "order-3-1", Some("r-3")));
    let older = event(40, "r-0", "delete", "pods", "shop/order-x");
    let out = compared(&with(decisions), &log([older]));
    assert_eq!((out.outside, out.older), (2, 1), "too near to its end, after it; before the record");
    assert_eq!(out.not_in_log.count, 1, "the first of them had to be there");
    assert_eq!(out.not_in_record.count, 0);
    let nothing = compared(&with(scaled(100, "order-1-1", Some("r-1"))), &[]);
    assert_eq!((nothing.outside, nothing.log, nothing.events), (1, None, 0));
}

#[test]
fn lines_that_are_none_are_counted_on_both_sides_and_the_rest_is_compared() {
    let mut on_record = with(scaled(100, "order-1-1", Some("r-1")));
    on_record.extend(["no json".to_owned(), String::new(), on_record[1][..40].to_owned()]);
    let mut events = log([scale(100, "r-1")]);
    events.extend(["{}".to_owned(), "garbage".to_owned(), "  ".to_owned(), events[0][..90].to_owned()]);
    let out = compared(&on_record, &events);
    assert_eq!((out.record_unreadable, out.log_unreadable), (2, 3));
    assert!(out.matches() && out.matched == 1, "{out:?}");
}

#[test]
fn lines_that_are_given_twice_count_once() {
    let on_record = with(scaled(100, "order-1-1", Some("r-1")));
    let events = log([scale(100, "r-1")]);
    let out = compared(&[&*on_record, &*on_record].concat(), &[&*events, &*events].concat());
    assert!(out.matches(), "{out:?}");
    assert_eq!((out.effects, out.matched), (1, 1));
}

#[test]
fn what_does_not_match_is_counted_and_the_first_hundred_are_told_without_control_characters() {
    let events = (0..150).map(|number| {
        event(300, &format!("r-{number}"), "delete", "pods", &format!("shop/{}\u{1b}[2J", "x".repeat(900)))
    });
    let out = compared(&with(Vec::new()), &log(events));
    assert_eq!((out.not_in_record.count, out.not_in_record.lines.len()), (150, 100));
    let longest = out.not_in_record.lines.iter().map(|line| line.chars().count()).max();
    assert!(longest.is_some_and(|longest| longest <= LONGEST), "{longest:?}");
    let short = event(300, "r-1", "delete", "pods", "shop/\u{1b}[2J");
    let out = compared(&with(Vec::new()), &log([short]));
    assert!(!out.not_in_record.lines[0].contains('\u{1b}'), "{out:?}");
}

#[test]
fn a_record_with_more_than_there_is_room_for_is_not_said_to_match() {
    let mut decisions = scaled(100, "order-1-1", Some("r-1"));
    decisions.extend(scaled(200, "order-2-1", Some("r-2")));
    let out = compared_within(2, &with(decisions), &log([scale(100, "r-1")]));
    assert_eq!((out.effects, out.matched), (1, 1));
    assert!(out.beyond > 0 && !out.matches(), "{out:?}");
}

#[test]
fn lost_decisions_are_told() {
    let out = compared(&with(vec![(100, Decision::lost(17, "homeostat-0"))]), &log([]));
    assert_eq!((out.lost, out.entries), (17, 2));
}

#[test]
fn of_several_servers_only_what_all_logs_reach_can_be_missing() {
    let mut decisions = vec![beginning()];
    for (second, id, request) in
        [(100, "order-1-1", "r-1"), (500, "order-2-1", "r-2"), (900, "order-3-1", "r-3")]
    {
        decisions.extend(scaled(second, id, Some(request)));
    }
    let mut recorded = Recorded::default();
    for line in record(decisions) {
        recorded.line(&line);
    }
    let mut both = recorded.beside(USER);
    // One log ends early, the other begins late; the requests of second 100 and 900 were served where the log does not reach.
    for (first, last) in [(0, 700), (300, 1_000)] {
        for second in [first, last] {
            let mut other =
                event(second, "other", "update", "leases.coordination.k8s.io", "kube-system/scheduler");
            other["user"]["username"] = "system:kube-scheduler".into();
            both.line(&other.to_string());
        }
        both.end_of_log();
    }
    let out = both.finish();
    assert_eq!((out.not_in_log.count, out.outside), (1, 2), "{:?}", out.not_in_log.lines);
    assert_eq!(out.log, Some(Span { first: at(300), last: at(700) }));
}
