use super::*;
use crate::testing::{at, fresh_pod, permit, pod, put_pod, record, run, runs, snapshot};
use homeostat_knowledge::records::{Memory, OwnerRecord};
use homeostat_knowledge::{ActionId, Name, Uid};
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

fn resize(cpu: Option<u64>, memory: Option<u64>) -> ActionRecord {
    let mut record = record("order-1-1");
    record.parameters = Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: cpu,
        cpu_limit_millis: None,
        memory_bytes: memory.map(|memory| memory * MIB),
        memory_limit_bytes: None,
    };
    record.before.cpu_millis = Some(500);
    record.before.memory_bytes = Some(100 * MIB);
    record
}

fn allowed(record: &ActionRecord) -> Result<(), Unfit> {
    let mut snapshot = snapshot();
    permit(&mut snapshot, |permits| {
        permits.cpu_millis = Some(Bounds { min: 100, max: 2_000 });
        permits.memory_bytes = Some(Bounds { min: 50 * MIB, max: 150 * MIB });
    });
    ResizePod.check(record, &snapshot, &Protected::with_own_namespace("homeostat"))
}

#[test]
fn within_bounds_and_steps_only() {
    for (cpu, memory, expected) in [
        (Some(1_000), None, true),
        (Some(1_001), None, false),
        (Some(400), None, true),
        (Some(399), None, false),
        (None, Some(150), true),
        (None, Some(151), false),
        (None, None, false),
        (Some(600), Some(300), false),
    ] {
        let result = allowed(&resize(cpu, memory));
        assert_eq!(result.is_ok(), expected, "{cpu:?} {memory:?}: {result:?}");
    }
    let mut unknown = resize(Some(600), None);
    unknown.before.cpu_millis = None;
    assert!(allowed(&unknown).is_err());
    assert!(
        ResizePod
            .check(&resize(Some(600), None), &snapshot(), &Protected::with_own_namespace("homeostat"))
            .is_err()
    );
}

#[test]
fn a_limit_apart_from_the_request_is_bounded_by_what_it_was() {
    let apart = |request: u64, limit: u64, before: Option<u64>| {
        let mut record = resize(None, Some(request));
        record.before.memory_bytes = Some(50 * MIB);
        record.before.memory_limit_bytes = before.map(|limit| limit * MIB);
        if let Parameters::ResizePod { memory_limit_bytes, .. } = &mut record.parameters {
            *memory_limit_bytes = Some(limit * MIB);
        }
        record
    };
    for (request, limit, expected) in [
        (75, 150, true),
        (50, 150, true),
        (49, 150, false),
        (100, 150, true),
        (101, 150, false),
        (75, 151, false),
        (75, 79, false),
        (81, 80, false),
        (80, 80, true),
    ] {
        let result = allowed(&apart(request, limit, Some(100)));
        assert_eq!(result.is_ok(), expected, "{request} {limit}: {result:?}");
    }
    assert!(allowed(&apart(75, 150, None)).is_err(), "unknown refuses");
    assert!(allowed(&apart(75, 150, Some(70))).is_err(), "more than twice the limit");
    let mut fresh = fresh_pod(pod());
    let mut present = Requests { memory_bytes: Some(50 * MIB), ..Requests::default() };
    for (limit, expected) in [(100, true), (120, false)] {
        present.memory_limit_bytes = Some(limit * MIB);
        fresh.marks.requests = BTreeMap::from([(Name::from("app"), present)]);
        let result = ResizePod.check_fresh(&apart(75, 150, Some(100)), None, &fresh);
        assert_eq!(result.is_ok(), expected, "{limit}: {result:?}");
    }
    let Some(Parameters::ResizePod { memory_bytes, memory_limit_bytes, .. }) =
        ResizePod.restore(&apart(75, 150, Some(100)))
    else {
        panic!("it is known how it was")
    };
    assert_eq!((memory_bytes, memory_limit_bytes), (Some(50 * MIB), Some(100 * MIB)));
    assert_eq!(ResizePod.restore(&apart(75, 150, None)), None);
}

#[test]
fn a_limit_of_cpu_goes_up_with_its_request_within_bounds_and_step_and_comes_back_with_it() {
    let with = |request: Option<u64>, limit: u64, before: Option<u64>| {
        let mut record = resize(request, None);
        record.before.cpu_limit_millis = before;
        if let Parameters::ResizePod { cpu_limit_millis, .. } = &mut record.parameters {
            *cpu_limit_millis = Some(limit);
        }
        record
    };
    // The request is 500m, the bounds end at 2,000m.
    for (request, limit, before, expected) in [
        (Some(800), 1_600, Some(1_000), true),
        (Some(1_000), 1_000, Some(500), true),
        (Some(1_000), 2_000, Some(1_000), true),
        (Some(1_000), 2_001, Some(1_500), false),
        (Some(800), 1_601, Some(800), false),
        (Some(800), 799, Some(700), false),
        (Some(800), 900, Some(1_000), false),
        (Some(800), 1_600, None, false),
        (None, 1_600, Some(1_000), false),
    ] {
        let result = allowed(&with(request, limit, before));
        assert_eq!(result.is_ok(), expected, "{request:?} {limit} of {before:?}: {result:?}");
    }
    let mut repair = with(None, 1_600, Some(1_000));
    if let Parameters::ResizePod { memory_bytes, .. } = &mut repair.parameters {
        *memory_bytes = Some(150 * MIB);
    }
    assert!(allowed(&repair).is_err(), "with a request of memory it is as little allowed");
    let record = with(Some(800), 1_600, Some(1_000));
    let fresh = |cpu, limit| {
        let mut fresh = fresh_pod(pod());
        let present =
            Requests { cpu_millis: Some(cpu), cpu_limit_millis: Some(limit), ..Requests::default() };
        fresh.marks.requests = BTreeMap::from([(Name::from("app"), present)]);
        ResizePod.check_fresh(&record, None, &fresh)
    };
    assert_eq!(fresh(500, 1_000), Ok(()));
    assert!(matches!(fresh(800, 1_600), Err(Unfit::Done(_))));
    assert!(matches!(fresh(800, 1_000), Err(Unfit::Changed(_))), "the limit is part of it");
    assert!(matches!(fresh(500, 1_200), Err(Unfit::Changed(_))));
    let back = ResizePod.restore(&record);
    let Some(Parameters::ResizePod { cpu_millis, cpu_limit_millis, .. }) = back else {
        panic!("it is known how it was")
    };
    assert_eq!((cpu_millis, cpu_limit_millis), (Some(500), Some(1_000)));
    assert_eq!(ResizePod.restore(&with(Some(800), 1_600, None)), None);
    // Where the chart lets nobody give that much, it could not be put back.
    let most = homeostat_knowledge::records::Amounts { cpu_millis: Some(900), memory_bytes: None };
    let refused = Protected::with_own_namespace("homeostat").with_most(most).refuse_lasting(&record);
    assert!(refused.is_err_and(|why| why.to_string().contains("CPU limit of container app")));
}

#[test]
fn the_bounds_hold_for_the_container_that_people_name() {
    let check = |named: &str, record: &ActionRecord| {
        let mut snapshot = snapshot();
        permit(&mut snapshot, |permits| {
            permits.cpu_millis = Some(Bounds { min: 100, max: 2_000 });
            permits.container = Some(Name::from(named));
        });
        ResizePod.check(record, &snapshot, &Protected::with_own_namespace("homeostat"))
    };
    let mut record = resize(Some(600), None);
    assert_eq!(check("app", &record), Ok(()));
    let refused = check("proxy", &record).unwrap_err().to_string();
    assert!(refused.contains("hold for container proxy, not for app"), "{refused}");
    record.undo_of = Some(ActionId::new("order-1-0"));
    assert_eq!(check("proxy", &record), Ok(()), "what it was before is given back");
}

#[test]
fn the_requests_tell_whether_it_was_done_or_somebody_else_did_something() {
    let mut record = resize(Some(1_000), None);
    let fresh = |cpu| {
        let mut fresh = fresh_pod(pod());
        let present =
            Requests { cpu_millis: Some(cpu), memory_bytes: Some(100 * MIB), ..Requests::default() };
        fresh.marks.requests = BTreeMap::from([(Name::from("app"), present)]);
        fresh
    };
    assert_eq!(ResizePod.check_fresh(&record, None, &fresh(500)), Ok(()));
    assert!(matches!(ResizePod.check_fresh(&record, None, &fresh(1_000)), Err(Unfit::Done(_))));
    assert!(matches!(ResizePod.check_fresh(&record, None, &fresh(700)), Err(Unfit::Changed(_))));
    assert!(ResizePod.check_fresh(&record, None, &fresh_pod(pod())).is_err(), "unknown refuses");
    let mut done = fresh(1_000);
    assert!(matches!(ResizePod.landed(&record, Some(&done)), Landed::There(_)), "by whom?");
    record.instants.claimed = Some(at(100));
    done.marks.edits = vec![crate::testing::edit(Field::Resources, "homeostat", 100)];
    assert!(matches!(ResizePod.landed(&record, Some(&done)), Landed::Yes(_)));
    done.marks.edits = vec![crate::testing::edit(Field::Resources, "homeostat", 78)];
    assert!(matches!(ResizePod.landed(&record, Some(&done)), Landed::There(_)), "an earlier action of ours");
    assert!(matches!(ResizePod.landed(&record, Some(&fresh(500))), Landed::No(_)));
    let before = Parameters::ResizePod {
        container: Name::from("app"),
        cpu_millis: Some(500),
        cpu_limit_millis: None,
        memory_bytes: None,
        memory_limit_bytes: None,
    };
    assert_eq!(ResizePod.restore(&record), Some(before));
}

#[test]
fn it_helped_when_the_same_pod_serves() {
    let mut record = resize(Some(1_000), None);
    record.instants.sent = Some(at(0));
    let mut snapshot = snapshot();
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(1)), Verdict::Helped(_)));
    let mut down = pod();
    down.ready = false;
    put_pod(&mut snapshot, down);
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
    let mut other = pod();
    other.uid = Uid::new("another");
    put_pod(&mut snapshot, other);
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(1)), Verdict::NotHelped(_)));
}

#[test]
fn a_size_without_a_fault_is_watched_to_the_end_and_ends_at_a_kill() {
    let mut record = resize(None, Some(100));
    record.origin = Origin::Forecast;
    record.instants.sent = Some(at(0));
    record.verification.within = homeostat_knowledge::SignedDuration::from_secs(120);
    let mut snapshot = snapshot();
    // The objective is kept: nothing is found.
    snapshot.incidents.remove_mut(&record.incident);
    put_pod(&mut snapshot, pod());
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(60)), Verdict::Wait(_)));
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(120)), Verdict::Helped(_)));
    let mut killed = pod();
    let mut end = |second| {
        killed.containers[0].last_termination = Some(homeostat_knowledge::records::Termination {
            reason: Name::from(OUT_OF_MEMORY),
            exit_code: 137,
            started: None,
            finished: Some(at(second)),
            used: homeostat_knowledge::records::Amounts::default(),
        });
        put_pod(&mut snapshot, killed.clone());
        ResizePod.verify(&record, &snapshot, at(60))
    };
    assert!(matches!(end(-30), Verdict::Wait(_)), "killed before");
    assert!(matches!(end(30), Verdict::NotHelped(_)), "killed by it");
    killed.containers[0].name = Name::from("proxy");
    put_pod(&mut snapshot, killed);
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(60)), Verdict::Wait(_)), "another container");
}

/// A pod of a run, decided to have so many MiB: request, and limit where it is apart.
fn of_run(request: u64, limit: Option<u64>) -> (ActionRecord, Snapshot) {
    let mut record = resize(None, Some(request));
    record.origin = Origin::Schedule;
    record.before.cpu_millis = None;
    record.before.memory_limit_bytes = limit.map(|_| 120 * MIB);
    if let Parameters::ResizePod { memory_limit_bytes, .. } = &mut record.parameters {
        *memory_limit_bytes = limit.map(|limit| limit * MIB);
    }
    let mut snapshot = runs(ControllerKind::Job, true);
    permit(&mut snapshot, |permits| permits.memory_bytes = Some(Bounds { min: 50 * MIB, max: 800 * MIB }));
    put_pod(&mut snapshot, pod_of_run(100));
    (record, snapshot)
}

fn pod_of_run(mebibytes: u64) -> PodRecord {
    let mut pod = pod();
    pod.owner = Some(OwnerRecord {
        kind: ControllerKind::Job,
        name: Name::from("order"),
        uid: run(ControllerKind::Job).uid,
    });
    pod.containers[0].memory = Memory { request: Some(mebibytes * MIB), limit: Some(mebibytes * MIB) };
    pod
}

#[test]
fn the_pod_of_a_run_gets_at_once_what_a_start_could_have_given_and_never_less() {
    for (request, limit, expected) in [
        (800, None, true),
        (801, None, false),
        (100, None, false),
        (90, None, false),
        (200, Some(400), true),
        (100, Some(121), true),
        (99, Some(400), false),
        (401, Some(400), false),
        (110, Some(120), false),
        (200, Some(801), false),
    ] {
        let (record, snapshot) = of_run(request, limit);
        let result = ResizePod.check(&record, &snapshot, &Protected::with_own_namespace("homeostat"));
        assert_eq!(result.is_ok(), expected, "{request} {limit:?}: {result:?}");
    }
    let (mut record, mut snapshot) = of_run(400, None);
    let refused = |record: &ActionRecord, snapshot: &Snapshot| {
        ResizePod.check(record, snapshot, &Protected::with_own_namespace("homeostat")).is_err()
    };
    put_pod(&mut snapshot, PodRecord { owner: pod().owner, ..pod_of_run(100) });
    assert!(refused(&record, &snapshot), "no pod of a run");
    put_pod(&mut snapshot, pod_of_run(100));
    permit(&mut snapshot, |permits| permits.memory_bytes = None);
    assert!(refused(&record, &snapshot), "no bounds");
    permit(&mut snapshot, |permits| permits.memory_bytes = Some(Bounds { min: MIB, max: 800 * MIB }));
    assert!(!refused(&record, &snapshot));
    if let Parameters::ResizePod { cpu_millis, .. } = &mut record.parameters {
        *cpu_millis = Some(600);
    }
    assert!(refused(&record, &snapshot), "memory alone");
}

#[test]
fn the_size_of_a_runs_pod_is_there_or_needed_no_more_and_a_kill_is_no_fault_of_it() {
    let (mut record, mut snapshot) = of_run(400, None);
    record.verification.expect = Expectation::RolloutComplete;
    record.instants.sent = Some(at(0));
    let waits = |snapshot: &Snapshot| crate::orders::still_waits(&record, snapshot);
    assert!(waits(&snapshot));
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(1)), Verdict::Wait(_)));
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(100)), Verdict::NotHelped(_)));
    let mut unready = pod_of_run(400);
    unready.ready = false;
    put_pod(&mut snapshot, unready);
    assert!(!waits(&snapshot), "it has it");
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(1)), Verdict::Helped(_)), "it need not serve");
    put_pod(&mut snapshot, PodRecord { phase: PodPhase::Failed, ..pod_of_run(100) });
    assert!(!waits(&snapshot));
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(100)), Verdict::Helped(_)));
    put_pod(&mut snapshot, PodRecord { uid: Uid::new("another"), ..pod_of_run(100) });
    assert!(!waits(&snapshot));
    assert!(matches!(ResizePod.verify(&record, &snapshot, at(100)), Verdict::Helped(_)));
}

/// A pod of which its kubelet says this.
fn said(pod: PodRecord, step: ResizeStep) -> PodRecord {
    let message = Some(Name::from("Node didn't have enough capacity: memory"));
    PodRecord { resize: Some(Box::new(homeostat_knowledge::kubelet::Resize { step, message })), ..pod }
}

#[test]
fn what_the_kubelet_refuses_fails_at_once_with_its_words_and_what_it_puts_off_at_the_end() {
    let mut repair = resize(Some(1_000), None);
    let mut standing = resize(None, Some(100));
    standing.origin = Origin::Forecast;
    let (mut order, of_run) = of_run(400, None);
    let mut served = snapshot();
    served.incidents.remove_mut(&standing.incident);
    for (record, mut snapshot, pod) in [
        (&mut repair, served.clone(), pod()),
        (&mut standing, served, pod()),
        // The API server has it, the container has not: the limit is what it was.
        (&mut order, of_run, pod_of_run(400)),
    ] {
        record.instants.sent = Some(at(0));
        record.verification.within = homeostat_knowledge::SignedDuration::from_secs(30);
        record.verification.expect = Expectation::ObjectivesMet;
        put_pod(&mut snapshot, said(pod.clone(), ResizeStep::Infeasible));
        let refused = ResizePod.verify(record, &snapshot, at(1));
        let words = "refuses the new size (Infeasible): Node didn't have enough capacity: memory";
        assert!(matches!(&refused, Verdict::NotHelped(why) if why.contains(words)), "{refused:?}");
        for step in [ResizeStep::Deferred, ResizeStep::InProgress] {
            put_pod(&mut snapshot, said(pod.clone(), step));
            assert!(matches!(ResizePod.verify(record, &snapshot, at(29)), Verdict::Wait(_)), "{step:?}");
            let late = ResizePod.verify(record, &snapshot, at(30));
            assert!(matches!(&late, Verdict::NotHelped(why) if why.contains("after 30 s")), "{late:?}");
        }
        put_pod(&mut snapshot, pod);
        assert!(matches!(ResizePod.verify(record, &snapshot, at(30)), Verdict::Helped(_)), "given meanwhile");
    }
    // What is taken back may still be seen with the kubelet's last answer.
    repair.undo_of = Some(ActionId::new("order-1-0"));
    let mut snapshot = snapshot();
    put_pod(&mut snapshot, said(pod(), ResizeStep::Infeasible));
    assert!(matches!(ResizePod.verify(&repair, &snapshot, at(1)), Verdict::Wait(_)));
}

#[test]
fn a_size_above_what_may_be_given_is_not_changed_as_it_could_not_be_put_back() {
    let mut snapshot = snapshot();
    permit(&mut snapshot, |permits| {
        permits.cpu_millis = Some(Bounds { min: 100, max: 2_000 });
        permits.memory_bytes = Some(Bounds { min: 50 * MIB, max: 800 * MIB });
    });
    let bounded = |cpu, memory: Option<u64>| {
        let most =
            homeostat_knowledge::records::Amounts { cpu_millis: cpu, memory_bytes: memory.map(|m| m * MIB) };
        Protected::with_own_namespace("homeostat").with_most(most)
    };
    let check = |record: &ActionRecord, most: &Protected| {
        ResizePod.check(record, &snapshot, most).err().map_or_else(String::new, |unfit| unfit.to_string())
    };
    // 500m and 100 MiB before.
    let (cpu, memory) = (resize(Some(450), None), resize(None, Some(90)));
    assert_eq!(check(&cpu, &bounded(Some(500), Some(100))), "", "at the bound it can be put back");
    assert_eq!(check(&memory, &bounded(Some(500), Some(100))), "");
    let refused = check(&cpu, &bounded(Some(499), None));
    for part in ["CPU of container app", "is 500m", "above the 499m", "admission.mostPerContainer"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(check(&memory, &bounded(None, Some(99))).contains("memory of container app"));
    assert_eq!(check(&memory, &bounded(Some(1), None)), "", "what is not changed need not be put back");
    let mut apart = resize(None, Some(100));
    apart.before.memory_limit_bytes = Some(400 * MIB);
    if let Parameters::ResizePod { memory_limit_bytes, .. } = &mut apart.parameters {
        *memory_limit_bytes = Some(350 * MIB);
    }
    assert_eq!(check(&apart, &bounded(None, Some(400))), "");
    assert!(check(&apart, &bounded(None, Some(399))).contains("memory limit"));
    // Where the bound was lowered since, the way back is tried all the same.
    let undo = ActionRecord { undo_of: Some(ActionId::new("order-1-0")), ..cpu };
    assert_eq!(check(&undo, &bounded(Some(100), None)), "");
}
