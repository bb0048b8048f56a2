//! Incidents and actions of hand-made columns. Times are seconds.

use super::*;
use crate::faults::Kind;
use crate::truth::attempt::{Attempt, Outcome};
use crate::truth::incident::{CauseView, Delivery};

fn s(at: f64) -> At {
    At((at * 1e6) as i64)
}

fn fault(kind: Kind, service: &str, injected: f64) -> FaultRecord {
    let mut broken = Broken::new(service);
    broken.pods.insert(format!("{service}-1"));
    FaultRecord {
        kind,
        useful_effects: kind.useful_effects(),
        variant: None,
        broken,
        injected: s(injected),
        second: None,
        restored: s(injected + 20.0),
        settled: s(injected + 25.0),
    }
}

fn delivery(at: f64, uid: &str, causes: &[(&str, &str)]) -> Delivery {
    Delivery {
        at: s(at),
        uid: uid.into(),
        name: uid.into(),
        causes: causes
            .iter()
            .map(|(entity, name)| CauseView {
                entity: (*entity).into(),
                name: (*name).into(),
                kind: "Crashed".into(),
            })
            .collect(),
        reopened: 0,
        handed_over: false,
        state: "Open".into(),
        findings: Vec::new(),
    }
}

fn action(at: f64, incident: &str, kind: &str, service: &str) -> ActionView {
    ActionView {
        uid: format!("{incident}-{at}"),
        name: format!("{incident}-{at}"),
        action: kind.into(),
        incident: incident.into(),
        target: format!("Pod/{service}-1"),
        service: Some(service.into()),
        state: "Sent".into(),
        seen: s(at),
        sent: Some(s(at)),
    }
}

/// `service` fails from `from` to `to` and is good for 10 s after that.
fn outage(history: &mut History, service: &str, from: f64, to: f64) {
    let (caller, callee) = (history.peer("gateway"), history.peer(service));
    let mut at = from;
    while at < to + 10.0 {
        let outcome = if at < to { Outcome::Refused } else { Outcome::Status(200) };
        history.push(Attempt { start: s(at), end: s(at + 0.01), caller, callee, outcome });
        at += 0.1;
    }
}

fn judge(faults: &[FaultRecord], deliveries: Vec<Delivery>, actions: &[ActionView]) -> Judged {
    let mut history = History::default();
    for fault in faults {
        let at = fault.injected.0 as f64 / 1e6;
        outage(&mut history, &fault.broken.service, at, at + 3.0);
    }
    attribute(faults, &history, &Incidents { deliveries }, actions)
}

#[test]
fn one_fault_one_incident_one_action() {
    let faults = [fault(Kind::Kill, "order", 10.0)];
    let judged = judge(
        &faults,
        vec![delivery(10.5, "i1", &[("Pod", "order-1"), ("Workload", "kitchen")])],
        &[action(10.6, "i1", "EvictPod", "order"), action(10.7, "i1", "Notify", "kitchen")],
    );
    let one = &judged.faults[0];
    assert_eq!((one.incidents, one.actions, one.wrong_actions), (1, 1, 0));
    assert_eq!(one.top_cause.as_deref(), Some("Pod/order-1 (Crashed)"));
    assert!(one.top_cause_right && one.verdict.healed && !one.handed_over);
    assert!((one.verdict.mttd.unwrap() - 0.49).abs() < 1e-6);
    assert_eq!((judged.quiet_incidents, judged.quiet_actions), (0, 0));
}

#[test]
fn detection_waits_for_the_version_that_names_the_broken_entity() {
    let faults = [fault(Kind::Hang, "order", 10.0)];
    let versions = vec![
        delivery(10.5, "i1", &[]),
        delivery(11.0, "i1", &[("Workload", "gateway")]),
        delivery(12.0, "i1", &[("Workload", "order"), ("Workload", "gateway")]),
    ];
    let one = judge(&faults, versions, &[]).faults.remove(0);
    assert_eq!(one.verdict.detected, Some(s(12.0)));
    assert!(one.top_cause_right, "the last version counts");
    assert_eq!(one.incidents, 1);
}

#[test]
fn an_incident_about_the_callers_alone_is_no_detection() {
    let faults = [fault(Kind::Hang, "order", 10.0)];
    let one = judge(&faults, vec![delivery(10.5, "i1", &[("Workload", "gateway")])], &[]).faults.remove(0);
    assert_eq!(one.verdict.detected, None);
    assert_eq!(one.verdict.mttd, Some(f64::INFINITY));
    assert_eq!((one.incidents, one.top_cause_right), (1, false));
}

#[test]
fn an_incident_that_was_open_before_the_injection_detects_nothing() {
    let faults = [fault(Kind::Kill, "order", 10.0)];
    let versions =
        vec![delivery(5.0, "old", &[("Workload", "order")]), delivery(11.0, "old", &[("Workload", "order")])];
    let judged = judge(&faults, versions, &[]);
    assert_eq!(judged.faults[0].verdict.detected, None);
    assert_eq!(judged.quiet_incidents, 1);
}

#[test]
fn a_reopened_incident_detects_the_next_fault_of_the_same_service() {
    let faults = [fault(Kind::Kill, "order", 10.0), fault(Kind::Kill, "order", 60.0)];
    let mut again = delivery(60.4, "i1", &[("Workload", "order")]);
    again.reopened = 1;
    let mut actions = vec![action(10.6, "i1", "EvictPod", "order"), action(60.5, "i1", "EvictPod", "order")];
    actions.push(action(61.0, "i1", "RollingRestart", "order"));
    let judged = judge(&faults, vec![delivery(10.5, "i1", &[("Workload", "order")]), again], &actions);
    assert_eq!(judged.faults[1].verdict.detected, Some(s(60.4)));
    assert_eq!((judged.faults[0].incidents, judged.faults[1].incidents), (1, 1));
    assert_eq!((judged.faults[0].actions, judged.faults[1].actions), (1, 2));
    assert_eq!(judged.quiet_incidents, 0);
}

#[test]
fn incidents_without_a_fault_are_quiet_ones() {
    let faults = [fault(Kind::Kill, "order", 10.0), fault(Kind::Kill, "kitchen", 60.0)];
    let judged = judge(
        &faults,
        vec![
            delivery(5.0, "early", &[("Workload", "order")]),
            delivery(10.5, "i1", &[("Workload", "order")]),
            delivery(40.0, "between", &[("Workload", "order")]),
            delivery(41.0, "other", &[("Workload", "kitchen")]),
        ],
        &[action(40.1, "between", "EvictPod", "order")],
    );
    assert_eq!(judged.quiet_incidents, 3);
    assert_eq!(judged.quiet_actions, 1);
    assert_eq!(judged.faults[0].incidents, 1);
    assert_eq!(judged.faults[0].wrong_actions, 1, "shown with the fault before it");
}

#[test]
fn a_late_alert_about_the_broken_service_is_late_not_quiet() {
    let faults = [fault(Kind::Kill, "order", 10.0), fault(Kind::Kill, "kitchen", 60.0)];
    let judged = judge(&faults, vec![delivery(40.0, "late", &[("Workload", "order")])], &[]);
    assert_eq!(judged.quiet_incidents, 0);
    let one = &judged.faults[0].verdict;
    assert_eq!(one.detected, Some(s(40.0)));
    assert!(one.before_alert);
    assert_eq!(one.mttr, None);
}

#[test]
fn two_incidents_for_one_fault_are_counted() {
    let faults = [fault(Kind::Kill, "order", 10.0)];
    let two =
        vec![delivery(10.5, "a", &[("Workload", "order")]), delivery(11.0, "b", &[("Workload", "gateway")])];
    assert_eq!(judge(&faults, two, &[]).faults[0].incidents, 2);
}

#[test]
fn an_action_on_another_service_is_wrong() {
    let faults = [fault(Kind::Hang, "kitchen", 10.0)];
    let found = vec![delivery(10.5, "i1", &[("Workload", "kitchen")])];
    let mut unknown = action(12.0, "i1", "EvictPod", "kitchen");
    unknown.service = None;
    let all = [action(11.0, "i1", "EvictPod", "order"), action(11.5, "i1", "EvictPod", "kitchen"), unknown];
    let one = judge(&faults, found, &all).faults.remove(0);
    assert_eq!((one.actions, one.wrong_actions), (3, 2));
}

#[test]
fn what_is_done_beyond_a_repair_is_useless() {
    let judged = |kind: Kind, count: usize| {
        let found = vec![delivery(10.5, "i1", &[("Workload", "kitchen")])];
        let actions: Vec<ActionView> =
            (0..count).map(|turn| action(11.0 + turn as f64, "i1", "EvictPod", "kitchen")).collect();
        judge(&[fault(kind, "kitchen", 10.0)], found, &actions).faults[0].wrong_actions
    };
    for kind in [Kind::Kill, Kind::Hang, Kind::Errors, Kind::Slow] {
        assert_eq!((judged(kind, 1), judged(kind, 3)), (0, 2), "{kind:?}");
    }
    assert_eq!((judged(Kind::KillAgain, 2), judged(Kind::Leak, 3)), (0, 1));
}

#[test]
fn the_follow_up_of_an_earlier_crash_belongs_to_that_crash() {
    let faults = [fault(Kind::Kill, "order", 10.0), fault(Kind::Hang, "kitchen", 60.0)];
    let judged = judge(
        &faults,
        vec![
            delivery(10.5, "i1", &[("Workload", "order")]),
            delivery(61.0, "i2", &[("Workload", "kitchen")]),
        ],
        &[action(62.0, "i1", "RollingRestart", "order"), action(61.5, "i2", "EvictPod", "kitchen")],
    );
    assert_eq!((judged.faults[0].actions, judged.faults[0].wrong_actions), (1, 0));
    assert_eq!((judged.faults[1].actions, judged.faults[1].wrong_actions), (1, 0));
}

#[test]
fn actions_that_were_refused_or_only_proposed_have_no_effect() {
    let faults = [fault(Kind::Kill, "order", 10.0)];
    let mut refused = action(10.6, "i1", "EvictPod", "kitchen");
    refused.sent = None;
    let one =
        judge(&faults, vec![delivery(10.5, "i1", &[("Workload", "order")])], &[refused]).faults.remove(0);
    assert_eq!((one.actions, one.wrong_actions), (0, 0));
}

#[test]
fn a_third_restart_of_a_crash_loop_is_wrong_and_hand_over_is_seen() {
    let faults = [fault(Kind::BadConfig, "order", 10.0)];
    let mut last = delivery(18.0, "i1", &[("Workload", "order")]);
    last.handed_over = true;
    let restarts: Vec<_> =
        [11.0, 13.0, 15.0].iter().map(|at| action(*at, "i1", "EvictPod", "order")).collect();
    let one =
        judge(&faults, vec![delivery(10.5, "i1", &[("Workload", "order")]), last.clone()], &restarts[..2])
            .faults
            .remove(0);
    assert!(one.handed_over);
    assert_eq!((one.actions, one.wrong_actions), (2, 0));
    let one = judge(&faults, vec![last], &restarts).faults.remove(0);
    assert_eq!((one.actions, one.wrong_actions), (3, 1));
}

#[test]
fn any_restart_while_the_provider_is_down_is_wrong() {
    let faults = [fault(Kind::ProviderDown, "payment-provider", 10.0)];
    let found = vec![delivery(10.5, "i1", &[("External", "payment-provider:8080")])];
    let one = judge(&faults, found, &[action(11.0, "i1", "EvictPod", "accounting")]).faults.remove(0);
    assert!(one.top_cause_right);
    assert_eq!((one.actions, one.wrong_actions), (1, 1));
}

#[test]
fn an_action_without_incident_and_fault_is_wrong_even_before_the_first_fault() {
    let faults = [fault(Kind::Kill, "order", 10.0)];
    let judged = judge(&faults, Vec::new(), &[action(2.0, "gone", "EvictPod", "order")]);
    assert_eq!((judged.quiet_actions, judged.faults[0].wrong_actions), (1, 1));
    let judged = judge(&faults, Vec::new(), &[action(12.0, "gone", "EvictPod", "order")]);
    assert_eq!((judged.quiet_actions, judged.faults[0].wrong_actions), (0, 0));
}

#[test]
fn a_column_without_faults_counts_everything_as_quiet() {
    let judged = judge(&[], vec![delivery(1.0, "i1", &[])], &[action(2.0, "i1", "EvictPod", "order")]);
    assert_eq!((judged.quiet_incidents, judged.quiet_actions), (1, 1));
    assert!(judged.faults.is_empty());
}

#[test]
fn a_double_kill_counts_from_the_second() {
    let mut twice = fault(Kind::KillAgain, "order", 10.0);
    twice.second = Some(s(12.0));
    let mut history = History::default();
    outage(&mut history, "order", 10.0, 11.0);
    outage(&mut history, "order", 12.0, 14.0);
    let incidents = Incidents { deliveries: vec![delivery(10.4, "i1", &[("Workload", "order")])] };
    let judged = attribute(&[twice], &history, &incidents, &[]);
    let verdict = &judged.faults[0].verdict;
    assert_eq!(verdict.impact, Some(s(12.01)));
    assert_eq!(verdict.mttd, Some(0.0));
    assert!((verdict.mttr.unwrap() - verdict.downtime).abs() < 1e-9);
}
