#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::kernel::Effect;
use homeostat_knowledge::observation::{Change, ObjectChange, Sample, StoredIncident};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::policy::{Measures, SignalPolicy};
use homeostat_knowledge::{
    ActionId, ActionRecord, Entity, IncidentState, Name, Observation, Parameters, SeededIds, Signal,
};
use homeostat_situations::{Given, GivenAction, GivenIncident, GivenPod, now, order};

fn at(second: i64) -> Timestamp {
    now() + SignedDuration::from_secs(second)
}

/// A loop that leads in a healthy world of `order`, one replica, whose heap may reach 1,000.
fn kernel() -> Kernel {
    measuring(Measures::MemoryBytes)
}

/// The same, where its signal is something else that may reach 1,000.
fn measuring(measures: Measures) -> Kernel {
    let given = Given { pods: vec![GivenPod::default()], good: Some(3_000.0), ..Given::default() };
    let (world, incident) = given.build();
    let playbooks = homeostat_playbooks::library::shipped();
    let mut kernel = Kernel::new(playbooks, Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    kernel.snapshot = world;
    kernel.snapshot.incidents.remove_mut(&incident.id);
    let mut policy = (**kernel.snapshot.workloads.get(&order()).unwrap()).clone();
    policy.signals = vec![SignalPolicy {
        name: Name::from("heap"),
        promql: Name::from("heap"),
        metric: None,
        external: None,
        unit: Name::from("MiB"),
        bad_above: true,
        threshold: Some(1_000.0),
        minimum_effect: None,
        measures,
    }];
    kernel.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
    kernel
}

/// The day was such that now is this share of its highest load.
fn carries(kernel: &mut Kernel, share: f64) {
    let followed = kernel.foresight.loads.entry(order()).or_default();
    followed.day = Day::default();
    (0..120).for_each(|minute| followed.day.observe(minute, Some(100.0)));
    (120..130).for_each(|minute| followed.day.observe(minute, Some(100.0 * share)));
}

fn heap(second: i64, value: f64) -> Observation {
    Observation {
        tenant: None,
        entity: Entity::Workload { key: order() },
        event_time: at(second),
        arrival_time: at(second),
        signal: Signal::Sample(Sample {
            metric: Name::from("heap"),
            series: Name::from("pod=order-a"),
            value,
            counter: false,
            asked_by: Some(order()),
        }),
    }
}

/// The restart that is begun, with what its action says.
fn restart(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Execute(plan, _) => {
            let step = plan.steps.first().unwrap();
            assert_eq!(step.parameters, Parameters::RollingRestart);
            Some(step.evidence.summary.clone())
        }
        _ => None,
    })
}

/// Five more each minute from 500 on: the minute in which the pods are replaced, and what the action says.
fn leak(kernel: &mut Kernel, quiet_from: i64) -> (i64, String) {
    carries(kernel, 0.9);
    for minute in 0..100 {
        if minute == quiet_from {
            carries(kernel, 0.2);
        }
        for second in (60 * minute..60 * minute + 60).step_by(2) {
            let sample = (second % 60 == 0).then(|| heap(second, 500.0 + 5.0 * f64::from(minute as i32)));
            let effects = kernel.step(&sample.into_iter().collect::<Vec<_>>(), at(second), true);
            if let Some(said) = restart(&effects) {
                return (minute, said);
            }
        }
    }
    panic!("the limit was reached: {:?}", kernel.findings());
}

#[test]
fn a_leak_waits_for_a_quiet_minute_and_is_met_before_its_limit_in_any_case() {
    // 1,000 is reached in minute 100; a rollout has five minutes, and as many once more.
    let (busy, said) = leak(&mut kernel(), i64::MAX);
    assert!((80..=90).contains(&busy), "{busy}: {said}");
    assert!(said.contains("MemoryGrowing") && said.contains("limit reached in about"), "{said}");
    assert!(said.contains("no time to wait"), "{said}");
    let (quiet, said) = leak(&mut kernel(), 60);
    assert!((60..=61).contains(&quiet), "{quiet}: {said}");
    assert!(said.contains("min were left: a quiet minute"), "{said}");
}

#[test]
fn ephemeral_storage_is_emptied_in_a_quiet_minute_long_before_it_is_full_and_in_time_in_any_case() {
    let scratch = || measuring(Measures::EphemeralStorageBytes);
    let (busy, said) = leak(&mut scratch(), i64::MAX);
    assert!((80..=90).contains(&busy), "{busy}: {said}");
    assert!(said.contains("EphemeralStorageFilling") && said.contains("no time to wait"), "{said}");
    // An hour and more is left: too early for a leak.
    let (quiet, said) = leak(&mut scratch(), 35);
    assert!((35..=36).contains(&quiet), "{quiet}: {said}");
    assert!(said.contains("min were left: a quiet minute"), "{said}");
}

#[test]
fn where_no_load_is_seen_nothing_is_waited_for() {
    let mut kernel = kernel();
    let mut begun = None;
    for minute in 0..100 {
        for second in (60 * minute..60 * minute + 60).step_by(2) {
            let sample = (second % 60 == 0).then(|| heap(second, 500.0 + 5.0 * f64::from(minute as i32)));
            let effects = kernel.step(&sample.into_iter().collect::<Vec<_>>(), at(second), true);
            begun = begun.or_else(|| restart(&effects).map(|said| (minute, said)));
        }
    }
    let (minute, said) = begun.unwrap();
    assert!(minute < 60 && said.contains("not known"), "{minute}: {said}");
}

/// Every six hours and two minutes.
const GAP: i64 = 6 * 3_600 + 120;
/// Seconds between two steps.
const STEP: i64 = 10;

fn seen(change: ObjectChange, second: i64) -> Observation {
    Observation {
        tenant: None,
        entity: Entity::Workload { key: order() },
        event_time: at(second),
        arrival_time: at(second),
        signal: Signal::Object(change),
    }
}

/// A crash that is over, as the API server keeps it.
fn crash(second: i64) -> Incident {
    let given = GivenIncident {
        kind: "Crashed".to_owned(),
        cause: "workload order".to_owned(),
        state: "Resolved".to_owned(),
        ended: true,
        ..GivenIncident::default()
    };
    let mut incident = given.incident();
    incident.id = IncidentId::new(format!("order-at-{second}"));
    for finding in &mut incident.findings {
        (finding.since, finding.detected, finding.last_seen) = (at(second), at(second), at(second + 2));
    }
    (incident.instants.impact_start, incident.instants.detected) = (at(second), at(second));
    (incident.instants.mitigated, incident.instants.resolved) = (Some(at(second + 5)), Some(at(second + 40)));
    incident
}

/// A loop with the API server behind it: what is written comes back, and what is begun ends well.
struct Cluster {
    kernel: Kernel,
    stored: BTreeMap<IncidentId, Incident>,
    arriving: Vec<Observation>,
    second: i64,
    restarts: Vec<i64>,
}

impl Cluster {
    /// The crashes of the past; `second` is now.
    fn new(crashes: &[i64], second: i64, share: f64) -> Self {
        let stored: BTreeMap<_, _> =
            crashes.iter().map(|at| crash(*at)).map(|incident| (incident.id.clone(), incident)).collect();
        let mut cluster = Self {
            kernel: kernel(),
            stored: BTreeMap::new(),
            arriving: Vec::new(),
            second,
            restarts: Vec::new(),
        };
        carries(&mut cluster.kernel, share);
        for incident in stored.into_values() {
            cluster.store(incident);
        }
        cluster
    }

    fn store(&mut self, incident: Incident) {
        let closed = incident.state.closed();
        let stored = StoredIncident { incident: incident.clone(), acknowledged_by: None, closed: false };
        assert!(!closed || incident.instants.resolved.is_some());
        self.arriving.push(seen(ObjectChange::Incident(Change::Applied(Arc::new(stored))), self.second));
        self.stored.insert(incident.id.clone(), incident);
    }

    /// Another process takes over.
    fn restart(&mut self, share: f64) {
        self.kernel = kernel();
        carries(&mut self.kernel, share);
        let all: Vec<Incident> = self.stored.values().cloned().collect();
        for incident in all {
            self.store(incident);
        }
    }

    fn until(&mut self, second: i64) {
        while self.second < second {
            self.second += STEP;
            let batch = std::mem::take(&mut self.arriving);
            for effect in self.kernel.step(&batch, at(self.second), true) {
                match effect {
                    Effect::Write(incident) => self.store((*incident).clone()),
                    Effect::Execute(plan, _) => {
                        let step = plan.steps.first().unwrap();
                        assert_eq!(&*plan.playbook.name, "fault-expected");
                        assert_eq!(step.verification.expect, Expectation::RolloutComplete);
                        assert!(
                            step.evidence.summary.contains("every 6 h 2 min"),
                            "{}",
                            step.evidence.summary
                        );
                        self.restarts.push(self.second);
                        let ended = ended(&plan.incident, self.second);
                        self.arriving.push(seen(
                            ObjectChange::Action(Change::Applied(Arc::new(ended))),
                            self.second + STEP,
                        ));
                    }
                    Effect::Said(..) | Effect::Held(..) => {}
                }
            }
        }
    }

    /// Lines of the incidents about what was expected.
    fn lines(&self) -> String {
        let expected = self.stored.values().filter(|one| !one.id.as_str().starts_with("order-at-"));
        let lines = expected.flat_map(|one| &one.timeline).map(|line| line.text.as_str());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The rolling restart of this incident, which helped.
fn ended(incident: &IncidentId, second: i64) -> ActionRecord {
    let action = GivenAction {
        kind: "RollingRestart".to_owned(),
        uid: "uid-Deployment-order".to_owned(),
        state: "Verified".to_owned(),
        ..GivenAction::default()
    };
    let (world, _) =
        Given { actions: vec![action], pods: vec![GivenPod::default()], ..Given::default() }.build();
    let mut record = (**world.actions.values().next().unwrap()).clone();
    record.id = ActionId::new(format!("{incident}-{second}"));
    record.incident = incident.clone();
    (record.instants.sent, record.instants.closed) = (Some(at(second)), Some(at(second + STEP)));
    record.evidence.taken_at = at(second);
    record
}

#[test]
fn a_crash_that_came_back_four_times_is_met_before_the_fifth_and_once() {
    let crashes: Vec<i64> = (0..4).map(|number| number * GAP).collect();
    let (last, next) = (3 * GAP, 4 * GAP);
    for (share, from, to) in [(0.2, next - 3_700, next - 3_500), (0.9, next - 700, next - 500)] {
        let mut cluster = Cluster::new(&crashes, last + 3_600, share);
        cluster.until(from);
        assert!(cluster.restarts.is_empty(), "{share}: not yet: {:?}", cluster.restarts);
        cluster.until(to);
        let [met] = cluster.restarts[..] else { panic!("{share}: {:?}", cluster.lines()) };
        assert!((from..=to).contains(&met), "{share}: {met}");
        cluster.until(met + 120);
        let told = cluster.lines();
        assert!(told.contains("comes back: Crashed 4 times, every 6 h 2 min; expected about"), "{told}");
        assert!(cluster.kernel.snapshot().incidents.is_empty(), "it is over: {told}");
        // A restart of the operator does not make it forget.
        cluster.restart(share);
        cluster.until(next + GAP / 2);
        assert_eq!(cluster.restarts, [met], "once for each return");
    }
}

#[test]
fn what_does_not_come_twice_is_given_up_and_told_until_it_comes_again() {
    let crashes: Vec<i64> = (0..4).map(|number| number * GAP).collect();
    let mut cluster = Cluster::new(&crashes, 3 * GAP + 3_600, 0.2);
    cluster.until(9 * GAP);
    assert_eq!(cluster.restarts.len(), 2, "{:?}", cluster.restarts);
    assert!(cluster.restarts[1] - cluster.restarts[0] > GAP - 3_700, "{:?}", cluster.restarts);
    let told = cluster.lines();
    assert!(told.contains("it did not come last time"), "{told}");
    assert_eq!(told.matches("nothing is done ahead of it until it comes again").count(), 1, "{told}");
    let closed = |one: &Incident| one.state == IncidentState::Resolved;
    assert!(cluster.stored.values().all(closed), "{told}");
    // It comes: its rhythm is known, and it is met again.
    let came = crash(9 * GAP);
    cluster.store(came);
    cluster.until(10 * GAP + 3_600);
    assert_eq!(cluster.restarts.len(), 3, "{:?}", cluster.restarts);
}

#[test]
fn three_returns_and_irregular_ones_are_left_alone() {
    let few: Vec<i64> = (0..3).map(|number| number * GAP).collect();
    let odd = [0, GAP, GAP + 9_000, 3 * GAP, 3 * GAP + 5_000];
    for crashes in [&few[..], &odd[..]] {
        let last = crashes[crashes.len() - 1];
        let mut cluster = Cluster::new(crashes, last + 3_600, 0.2);
        cluster.until(last + 2 * GAP);
        assert!(cluster.restarts.is_empty() && cluster.lines().is_empty(), "{}", cluster.lines());
    }
}

#[test]
fn what_incidents_say_of_workloads_beyond_the_bound_is_counted() {
    let mut kernel = kernel();
    let mut incident = crash(0);
    let most = crate::kernel::past::MOST;
    for number in 0..most + 2 {
        let key = WorkloadKey::new("shop", format!("w{number}"));
        for cause in &mut incident.causes {
            cause.entity = Entity::Workload { key: key.clone() };
        }
        incident.workload = Some(key);
        kernel.foresight.note(&incident, None);
    }
    let dropped = kernel.dropped().find(|(kind, _)| *kind == "past");
    assert_eq!(dropped, Some(("past", 2)));
}
