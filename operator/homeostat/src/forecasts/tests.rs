#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backlog;

use super::*;
use crate::paced::until_next;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::{Bounds, LoadPolicy, Permits, ScalingPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ForecastSkill, Name, ObjectKey, Uid, WorkloadHealth};
use homeostat_scale::outlook::OutlookConfig;
use std::time::Duration;

fn policy(scaling: Option<ScalingPolicy>) -> WorkloadPolicy {
    let key = ObjectKey::new("shop", "cart");
    WorkloadPolicy {
        permits: Permits { replicas: Some(Bounds { min: 1, max: 9 }), scaling, ..Permits::default() },
        ..WorkloadPolicy::new(
            key.clone(),
            Uid::new("u"),
            ControllerKey { kind: ControllerKind::Deployment, object: key },
        )
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A snapshot in which so many requests were answered, and others of the namespace were heard at this second.
fn snapshot(scaling: Option<&ScalingPolicy>, answered: u64, heard: i64) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let change = ObjectChange::Workload(Change::Applied(Arc::new(policy(scaling.cloned()))));
    snapshot.commit(&change, at(0));
    let health = WorkloadHealth { answered, ..WorkloadHealth::default() };
    snapshot.health.insert_mut(ObjectKey::new("shop", "cart"), health);
    snapshot.heard.insert_mut(Name::from("shop"), at(heard));
    snapshot
}

fn forecaster() -> Forecaster {
    Forecaster::new(Forecasting::new(OutlookConfig::default()).unwrap(), Memory::default(), MOST)
}

#[test]
fn a_workload_without_scaling_costs_nothing() {
    let mut forecaster = forecaster();
    assert!(forecaster.step(&snapshot(None, 500, 60), at(60)).is_none());
    assert!(forecaster.watched.is_empty());
}

#[test]
fn answered_requests_become_a_load_and_a_source_that_is_gone_a_gap() {
    let mut forecaster = forecaster();
    let scaling = ScalingPolicy::default();
    let now = |all: &BTreeMap<SeriesKey, Arc<Foreseen>>| all.values().next().and_then(|one| one.outlook.now);
    for minute in 0..20_u64 {
        let counted = 600 * (minute + 1);
        let second = 60 * minute as i64;
        let all = forecaster.step(&snapshot(Some(&scaling), counted, second), at(second)).unwrap();
        assert_eq!(all.len(), 1);
        if minute > 0 {
            assert_eq!(now(&all), Some(10.0), "600 requests in a minute");
        }
    }
    let idle = forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_200)).unwrap();
    assert_eq!(now(&idle), Some(0.0), "others are heard, this one is idle");
    forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_260));
    let late = forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_320));
    assert!(late.is_none(), "its answers may still be on their way");
    let gone = forecaster.step(&snapshot(Some(&scaling), 12_000, 1_190), at(1_335)).unwrap();
    assert_eq!(now(&gone), None, "nobody is heard");
    assert!(gone.values().all(|one| one.outlook.skill != ForecastSkill::Proven));
    assert!(forecaster.step(&snapshot(None, 12_600, 1_380), at(1_380)).unwrap().is_empty());
    assert!(forecaster.watched.is_empty(), "scaling was taken out of the spec");
}

#[test]
fn it_wakes_just_after_the_minute() {
    assert_eq!(until_next(60, at(59)), Duration::from_millis(1_250));
    assert_eq!(until_next(60, at(60)), Duration::from_millis(60_250));
    assert_eq!(until_next(15, at(50)), Duration::from_millis(10_250));
}

/// The only outlook, where this step changed it.
fn look(forecaster: &mut Forecaster, answered: u64, second: i64) -> Option<Outlook> {
    let world = snapshot(Some(&ScalingPolicy::default()), answered, second);
    let all = forecaster.step(&world, at(second))?;
    all.values().next().map(|one| one.outlook.clone())
}

/// Ten requests a second for so many minutes, a little more and less by turns; what was counted by then.
fn steady(forecaster: &mut Forecaster, minutes: u64) -> u64 {
    let mut counted = 1;
    for minute in 0..=minutes {
        counted += if minute % 2 == 0 { 590 } else { 610 };
        look(forecaster, counted, 60 * minute as i64);
    }
    counted
}

#[test]
fn a_load_that_leaves_its_band_is_forecast_before_the_minute_is_over() {
    let mut forecaster = forecaster();
    let counted = steady(&mut forecaster, 40);
    let calm = forecaster.watched.values().next().unwrap().foreseen.outlook.peak.unwrap();
    assert_eq!(look(&mut forecaster, counted + 50, 2_405), None, "as expected");
    assert_eq!(look(&mut forecaster, counted + 500, 2_410), None, "too little of the minute is seen");
    let early = look(&mut forecaster, counted + 1_500, 2_415).unwrap();
    assert!(early.made == at(2_415) && early.peak.unwrap().p50 > 2.0 * calm.p50, "{:?}", early.peak);
    assert_eq!(look(&mut forecaster, counted + 2_500, 2_420), None, "once in a minute");
    let whole = look(&mut forecaster, counted + 600, 2_460).unwrap();
    assert_eq!(whole.now, Some(10.0), "what was supposed is not remembered");
    assert!(whole.peak.unwrap().p50 < 1.5 * calm.p50, "{:?}", whole.peak);
}

#[test]
fn a_workload_that_is_away_for_a_while_keeps_the_history_of_its_load_and_another_one_gets_none_of_it() {
    let back = |uid: &str| {
        let mut forecaster = forecaster();
        let mut counted = steady(&mut forecaster, 60);
        let gone = forecaster.step(&snapshot(None, counted, 3_660), at(3_660)).unwrap();
        assert!(gone.is_empty());
        let mut last = None;
        for second in [3_900, 3_960] {
            counted += 600;
            let mut world = snapshot(None, counted, second);
            let same = WorkloadPolicy { uid: Uid::new(uid), ..policy(Some(ScalingPolicy::default())) };
            world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(same))), at(second));
            last = forecaster.step(&world, at(second));
        }
        last.unwrap().into_values().next().unwrap().outlook.clone()
    };
    let (own, other) = (back("u"), back("made-anew"));
    assert!(own.peak.is_some_and(|peak| (9.0..12.0).contains(&peak.p50)), "{}", own.reason);
    assert!(other.points.is_empty(), "{}", other.reason);
}

#[test]
fn a_load_within_its_band_is_forecast_once_a_minute() {
    let mut forecaster = forecaster();
    let counted = steady(&mut forecaster, 40);
    let news = (1..=60)
        .filter(|tick| look(&mut forecaster, counted + 50 * tick, 2_400 + 5 * *tick as i64).is_some());
    assert_eq!(news.count(), 5);
}

#[test]
fn answers_that_come_late_close_their_minute_when_they_arrive() {
    let mut forecaster = forecaster();
    let counted = steady(&mut forecaster, 40);
    let silent = |forecaster: &mut Forecaster, second: i64| {
        let world = snapshot(Some(&ScalingPolicy::default()), counted, 2_340);
        forecaster.step(&world, at(second)).is_some()
    };
    assert!(!silent(&mut forecaster, 2_460) && !silent(&mut forecaster, 2_465), "they are waited for");
    let arrived = look(&mut forecaster, counted + 700, 2_470).unwrap();
    assert_eq!((arrived.made, arrived.now), (at(2_470), Some(10.0)), "700 in 70 s: no gap, no peak");
}

/// So many workloads with this count.
fn many(number: usize, answered: u64, second: i64) -> Snapshot {
    let mut world = snapshot(None, answered, second);
    for number in 0..number {
        let key = ObjectKey::new("shop", format!("w{number:05}"));
        let mut one = policy(Some(ScalingPolicy::default()));
        one.target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
        one.key = key.clone();
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(one))), at(0));
        world.health.insert_mut(key, WorkloadHealth { answered, ..WorkloadHealth::default() });
    }
    world
}

#[test]
fn workloads_beyond_the_bound_are_told_so_and_get_in_when_there_is_room() {
    let mut forecaster = Forecaster { most: 3, ..forecaster() };
    let all = forecaster.step(&many(5, 100, 60), at(60)).unwrap();
    let out: Vec<_> = all.iter().filter(|(_, one)| one.left_out).collect();
    assert_eq!((all.len(), out.len(), forecaster.left_out()), (5, 2, 2));
    let said = &out[0].1.outlook.reason;
    assert!(
        said.contains("more than 3 series") && said.contains("take spec.scaling out of others"),
        "{said}"
    );
    let fewer = forecaster.step(&many(3, 100, 120), at(120)).unwrap();
    assert_eq!((fewer.len(), forecaster.left_out()), (3, 0));
    assert!(fewer.values().all(|one| !one.left_out));
}

#[test]
fn a_tick_compares_models_of_a_bounded_number_and_the_rest_has_its_turn_in_the_next() {
    let mut forecaster = forecaster();
    let number = COMPARED_PER_TICK + 50;
    for minute in 0..10 {
        forecaster.step(&many(number, 1 + 600 * minute as u64, 60 * minute), at(60 * minute));
    }
    let waits = |all: &BTreeMap<SeriesKey, Arc<Foreseen>>| {
        all.values().filter(|one| one.outlook.points.is_empty()).count()
    };
    let world = many(number, 6_001, 600);
    assert_eq!(waits(&forecaster.step(&world, at(600)).unwrap()), 50);
    assert_eq!(waits(&forecaster.step(&world, at(605)).unwrap()), 0);
    assert_eq!(forecaster.step(&world, at(610)), None, "all had their turn");
}

#[test]
fn the_memory_limit_says_how_many_find_room() {
    assert_eq!(room(None), MOST);
    assert_eq!(room(Some(256 << 20)), 351, "what the chart ships");
    assert_eq!(room(Some(64 << 20)), LEAST);
    assert_eq!(room(Some(u64::MAX)), MOST, "no limit by another name");
}

/// A workload that is scaled by signal `busy` beside its requests, with this value of it.
fn loaded(value: Option<f64>, second: i64) -> Snapshot {
    let load = |signal: &str| LoadPolicy { signal: signal.into(), per_replica: 5.0, due: None };
    let scaling = ScalingPolicy { loads: vec![load("busy"), load(BACKLOG)], ..ScalingPolicy::default() };
    let mut world = snapshot(Some(&scaling), 0, second);
    let place = |signal: &str| (ObjectKey::new("shop", "cart"), Name::from(signal), Name::from(""));
    if let Some(value) = value {
        world.loads.insert_mut(place("busy"), (value, at(second)));
        world.loads.insert_mut(place(BACKLOG), (value, at(second)));
    }
    world
}

fn busy() -> SeriesKey {
    (ObjectKey::new("shop", "cart"), load_signal("busy"))
}

#[test]
fn a_named_load_is_forecast_beside_the_requests_and_goes_on_after_a_restart() {
    let mut forecaster = forecaster();
    let mut all = BTreeMap::new();
    for tick in 0..12 * 60 {
        let (second, minute) = (5 * tick, tick / 12);
        let value = 10.0 + (minute % 2) as f64;
        all = forecaster.step(&loaded(Some(value), second), at(second)).unwrap_or(all);
    }
    let signals: Vec<&str> = all.keys().map(|(_, signal)| &**signal).collect();
    assert_eq!(signals, ["backlog", "load.busy", REQUESTS]);
    let Foreseen { outlook, kept, .. } = &*all[&busy()];
    assert_eq!(outlook.now, Some(10.0), "the mean of the minute that is over");
    assert!(outlook.peak.is_some_and(|peak| (9.0..15.0).contains(&peak.p90)), "{outlook:?}");
    let kept = crate::kept::Kept { load: kept.clone(), ..crate::kept::Kept::default() };
    assert!(kept.load.is_some());
    let memory = Memory::of([(busy(), Uid::new("u"), kept)]);
    let mut back = Forecaster::new(Forecasting::new(OutlookConfig::default()).unwrap(), memory, MOST);
    let all = back.step(&loaded(Some(10.0), 3_600), at(3_600)).unwrap();
    assert!(!all[&busy()].outlook.points.is_empty(), "{}", all[&busy()].outlook.reason);
}

#[test]
fn a_named_load_and_a_backlog_that_leave_their_band_are_forecast_before_the_minute_is_over() {
    let mut forecaster = forecaster();
    let backlog = || (ObjectKey::new("shop", "cart"), load_signal(BACKLOG));
    let step = |forecaster: &mut Forecaster, value: f64, second: i64| {
        forecaster.step(&loaded(Some(value), second), at(second));
        [busy(), backlog()].map(|series| forecaster.watched[&series].foreseen.outlook.clone())
    };
    let mut calm = None;
    for second in (0_i64..43_200).step_by(5) {
        calm = Some(step(&mut forecaster, 10.0 + (second.div_euclid(60) % 2) as f64, second));
    }
    let calm = calm.unwrap();
    assert!(calm.iter().all(|outlook| outlook.made == at(43_140)), "within its band, once a minute");
    step(&mut forecaster, 105.0, 43_200);
    let few = step(&mut forecaster, 105.0, 43_205);
    assert!(few.iter().all(|outlook| outlook.made == at(43_200)), "too little of the minute is seen");
    let early = step(&mut forecaster, 105.0, 43_210);
    for (early, calm) in early.iter().zip(&calm) {
        assert_eq!(early.made, at(43_210));
        assert!(early.peak.unwrap().p50 > 1.5 * calm.peak.unwrap().p50, "{:?}", early.peak);
    }
    let later = step(&mut forecaster, 205.0, 43_255);
    assert!(later.iter().all(|outlook| outlook.made == at(43_210)), "once in a minute");
}

/// What is expected at a quarter past nine on 13 February of a quiet load that was four times as high, for an hour from
/// half past nine, on the 3rd, 6th, 9th and 11th, with this calendar.
fn expected_beside(calendar: Vec<CalendarEntry>) -> Outlook {
    let (day, begin) = (1_440, 29_498_400_i64);
    let now = begin + 12 * day + 555;
    let mut model = LoadModel::new(&OutlookConfig::default());
    for minute in 0..now - begin {
        let sale = [3, 6, 9, 11].contains(&(minute / day + 1)) && (570..630).contains(&(minute % day));
        let noise = (minute.wrapping_mul(2_654_435_761) >> 7).rem_euclid(100) as f64 / 100.0;
        model.observe(begin + minute, Some(20.0 + noise + if sale { 60.0 } else { 0.0 }));
    }
    let kept = crate::kept::Kept { load: model.kept(), ..crate::kept::Kept::default() };
    let memory = Memory::of([(requests(&ObjectKey::new("shop", "cart")), Uid::new("u"), kept)]);
    let mut back = Forecaster::new(Forecasting::new(OutlookConfig::default()).unwrap(), memory, MOST);
    let scaling = ScalingPolicy { calendar, ..ScalingPolicy::default() };
    let all = back.step(&snapshot(Some(&scaling), 1, 60 * now), at(60 * now)).unwrap();
    all.values().next().unwrap().outlook.clone()
}

#[test]
fn a_declared_event_raises_the_forecast_as_it_raised_the_load_before_and_not_on_a_day_without_it() {
    let sale = |exceptions: &[&str]| CalendarEntry {
        name: "sale".into(),
        schedule: "30 9 3,6,9,11,13 * *".into(),
        time_zone: "UTC".into(),
        duration: homeostat_knowledge::SignedDuration::from_hours(1),
        replicas: 3,
        exceptions: exceptions.iter().map(|day| Name::from(*day)).collect(),
    };
    let unknown = expected_beside(Vec::new());
    assert!(unknown.peak.unwrap().p90 < 60.0, "{:?}", unknown.peak);
    let declared = expected_beside(vec![sale(&[])]);
    let peak = declared.peak.unwrap();
    assert!(peak.p50 > 70.0 && peak.p90 > 70.0, "{peak:?}: {}", declared.reason);
    assert!(declared.reason.contains("known jobs: sale"), "{}", declared.reason);
    let holiday = expected_beside(vec![sale(&["2026-02-13"])]);
    assert!(holiday.peak.unwrap().p90 < 60.0, "{:?}: {}", holiday.peak, holiday.reason);
}

#[test]
fn a_silent_load_says_what_to_check_and_one_that_is_not_named_any_more_is_forgotten() {
    let mut forecaster = forecaster();
    let mut all = BTreeMap::new();
    for minute in 0..5 {
        all = forecaster.step(&loaded(None, 60 * minute), at(60 * minute)).unwrap();
    }
    let said = &all[&busy()].outlook.reason;
    assert!(
        said.contains("0 of 10 minutes with a value of signal busy") && said.contains("spec.signals"),
        "{said}"
    );
    let all = forecaster.step(&snapshot(Some(&ScalingPolicy::default()), 0, 300), at(300)).unwrap();
    assert_eq!(all.len(), 1);
}

#[test]
fn requests_find_room_before_other_loads() {
    let mut forecaster = Forecaster { most: 3, ..forecaster() };
    forecaster.step(&loaded(Some(5.0), 60), at(60));
    assert_eq!((forecaster.watched.len(), forecaster.left_out()), (3, 0));
    let mut world = many(2, 100, 120);
    let cart = loaded(Some(5.0), 120).workloads.get(&ObjectKey::new("shop", "cart")).unwrap().clone();
    world.commit(&ObjectChange::Workload(Change::Applied(cart)), at(0));
    let all = forecaster.step(&world, at(120)).unwrap();
    assert_eq!((all.len(), forecaster.left_out()), (5, 2));
    let said = &all[&busy()];
    assert!(said.left_out && said.outlook.reason.contains("load busy is not forecast"), "{said:?}");
}
