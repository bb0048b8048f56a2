//! Workers that are there before the work that comes into a queue.

use super::*;
use crate::forecasts::{Forecaster, MOST};
use homeostat_knowledge::policy::BACKLOG;
use homeostat_scale::outlook::{Forecasting, OutlookConfig};

const HOUR: i64 = 3_600;
const STEP: i64 = 15;
/// Hours after which a season of an hour is known.
const KNOWN: i64 = 12;

/// One step: items that wait, workers that are ready, and those that are wanted.
#[derive(Clone, Debug, PartialEq)]
struct Now {
    waiting: f64,
    ready: i32,
    wanted: i32,
    why: String,
}

/// Workers who take a minute for an item, of a queue whose items are due in ten.
fn base(due: bool) -> Snapshot {
    let mut world = snapshot(0, None, 0);
    let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
    let within = SignedDuration::from_mins(10);
    let load = LoadPolicy {
        signal: BACKLOG.into(),
        per_replica: 10.0,
        due: due.then_some(DuePolicy { seconds_per_item: 60.0, within }),
    };
    workload.permits.scaling.as_mut().unwrap().loads = vec![load];
    world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
    world
}

/// So many hours of a queue into which so many items come at a second, seen until a second, by workers that start in 30 s.
/// `ahead`: the forecast of the queue takes part.
fn served(
    (due, ahead): (bool, bool),
    hours: i64,
    comes: impl Fn(i64) -> f64,
    seen_until: i64,
) -> BTreeMap<i64, Now> {
    let base = base(due);
    let model = Forecasting::new(OutlookConfig::default()).unwrap();
    let mut forecaster = Forecaster::new(model, Memory::default(), MOST);
    let (mut sizes, mut outlooks, nobody) = (Sizes::default(), BTreeMap::new(), BTreeMap::new());
    let (mut waiting, mut replicas, mut ready) = (0.0_f64, 0_i32, 0_i32);
    let mut starting: Vec<(i64, i32)> = Vec::new();
    let mut steps = BTreeMap::new();
    for second in (0..hours * HOUR).step_by(STEP as usize) {
        waiting += (second..second + STEP).map(&comes).sum::<f64>();
        starting.retain(|(at, wanted)| {
            let starts = *at > second;
            ready = if starts { ready } else { ready.max(*wanted) };
            starts
        });
        ready = ready.min(replicas);
        let mut world = base.clone();
        let mut controller = (**world.controllers.get(&target()).unwrap()).clone();
        (controller.replicas, controller.current, controller.ready) = (replicas, replicas, ready);
        world.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), at(second));
        if second < seen_until {
            world.loads.insert_mut((key(), BACKLOG.into(), "".into()), (waiting, at(second)));
        }
        if let Some(mut all) = forecaster.step(&world, at(second)) {
            all.retain(|(_, signal), _| ahead || **signal == *REQUESTS);
            outlooks = all;
        }
        let records = sizes.step(&world, &outlooks, &nobody, at(second));
        let size = records.into_iter().find(|record| *record.signal == *REQUESTS).unwrap().size;
        let wanted = size.wanted.map_or(replicas, |wanted| wanted as i32);
        if wanted > replicas {
            starting.push((second + 30, wanted));
        }
        replicas = wanted;
        steps.insert(second, Now { waiting, ready, wanted, why: size.why });
        waiting = (waiting - f64::from(ready) * STEP as f64 / 60.0).max(0.0);
    }
    steps
}

/// About 40 items each hour, at once.
fn each_hour(second: i64) -> f64 {
    if second % HOUR == 0 { (38 + second / HOUR * 7 % 5) as f64 } else { 0.0 }
}

#[test]
fn a_backlog_that_comes_every_hour_finds_its_workers_there_and_they_go_after_it() {
    for due in [true, false] {
        let ahead = served((due, true), KNOWN + 2, each_hour, i64::MAX);
        let reacts = served((due, false), KNOWN + 2, each_hour, i64::MAX);
        for hour in [KNOWN, KNOWN + 1] {
            let before = hour * HOUR - STEP;
            let there = &ahead[&before];
            assert!(there.waiting <= 0.0 && there.ready >= 4, "due {due}, hour {hour}: {there:?}");
            assert!(!due || there.why.contains("are there before them"), "{}", there.why);
            let late = &reacts[&before];
            assert!(late.ready < there.ready, "due {due}, hour {hour}: {late:?}");
        }
        let until_empty = |steps: &BTreeMap<i64, Now>| {
            steps.range((KNOWN + 1) * HOUR..).filter(|(_, now)| now.waiting > 0.0).count()
        };
        assert!(until_empty(&ahead) <= until_empty(&reacts), "due {due}");
        let idle = &ahead[&(KNOWN * HOUR + HOUR / 2)];
        assert!(idle.waiting <= 0.0 && (!due || idle.wanted == 0), "due {due}: {idle:?}");
    }
}

#[test]
fn a_backlog_without_a_pattern_gets_the_workers_that_it_gets_without_a_forecast() {
    // Once in an hour and a half, at any minute.
    let any_time = |second: i64| {
        let drawn = (second as u64 / 60).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        if second % 60 == 0 && drawn.is_multiple_of(90) { 20.0 + (drawn % 31) as f64 } else { 0.0 }
    };
    let ahead = served((true, true), KNOWN + 4, any_time, i64::MAX);
    let reacts = served((true, false), KNOWN + 4, any_time, i64::MAX);
    assert!(ahead.values().any(|now| now.waiting > 0.0));
    for (second, now) in &ahead {
        assert_eq!(now.wanted, reacts[second].wanted, "{second}: {}", now.why);
    }
}

#[test]
fn workers_that_wait_for_work_stay_when_its_source_is_gone() {
    let gone = KNOWN * HOUR + HOUR - 120;
    let steps = served((true, true), KNOWN + 2, each_hour, gone);
    let before = steps[&(gone - STEP)].wanted;
    assert!(before >= 4, "{}", steps[&(gone - STEP)].why);
    for (second, now) in steps.range(gone + 90..) {
        assert_eq!(now.wanted, before, "{second}: {}", now.why);
    }
}
