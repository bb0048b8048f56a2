#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backlog;

use super::*;
use homeostat_knowledge::SizeEffect;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::{
    Archetype, CalendarEntry, DuePolicy, LoadPolicy, Measures, Permits, ScalingMode, SignalPolicy, WhenOwned,
};
use homeostat_knowledge::records::{Amounts, AutoscalerRecord, Drive, Hold, OwnerRecord};
use homeostat_knowledge::{ControllerKind, ObjectKey, Uid};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key() -> ObjectKey {
    ObjectKey::new("shop", "jobs")
}

fn target() -> ControllerKey {
    ControllerKey { kind: ControllerKind::Deployment, object: key() }
}

/// A worker with so many replicas whose backlog was so large at this second.
fn snapshot(replicas: i32, backlog: Option<f64>, second: i64) -> Snapshot {
    let (world, _) = homeostat_situations::Given::default().build();
    let order = homeostat_situations::order();
    let mut controller = (**world.controller_of(&order).unwrap()).clone();
    controller.key = target();
    (controller.replicas, controller.current, controller.ready, controller.updated) =
        (replicas, replicas, replicas, replicas);
    let mut workload = (**world.workloads.get(&order).unwrap()).clone();
    (workload.key, workload.uid, workload.target) = (key(), Uid::new("jobs"), target());
    workload.archetype = Archetype::Worker;
    workload.permits = Permits {
        replicas: Some(Bounds { min: 0, max: 8 }),
        scaling: Some(ScalingPolicy {
            mode: ScalingMode::Auto,
            loads: vec![LoadPolicy { signal: "waiting".into(), per_replica: 10.0, due: None }],
            ..ScalingPolicy::default()
        }),
        ..Permits::default()
    };
    let mut snapshot = Snapshot::default();
    for change in [
        ObjectChange::Controller(Change::Applied(Arc::new(controller))),
        ObjectChange::Workload(Change::Applied(Arc::new(workload))),
    ] {
        snapshot.commit(&change, at(second));
    }
    if let Some(backlog) = backlog {
        let place = |series: &str| (key(), Name::from("waiting"), Name::from(series));
        snapshot.loads.insert_mut(place("queue=a"), (backlog / 2.0, at(second)));
        snapshot.loads.insert_mut(place("queue=b"), (backlog / 2.0, at(second)));
    }
    snapshot
}

fn outlooks(second: i64) -> BTreeMap<SeriesKey, Arc<Foreseen>> {
    let outlook =
        Outlook { reason: "nothing is known yet".to_owned(), ..Outlook::nothing(at(second), 3_600) };
    BTreeMap::from([(
        requests(&key()),
        Arc::new(Foreseen { outlook, soon: Vec::new(), kept: None, left_out: false }),
    )])
}

fn decide(
    sizes: &mut Sizes,
    replicas: i32,
    backlog: Option<f64>,
    step: i64,
    scalers: &BTreeMap<ControllerKey, Scaler>,
) -> SizeAdvice {
    let second = step * i64::from(STEP_SECONDS);
    let mut all = sizes.step(&snapshot(replicas, backlog, second), &outlooks(second), scalers, at(second));
    all.pop().unwrap().size
}

#[test]
fn a_backlog_of_all_its_queues_asks_for_workers_from_zero() {
    let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
    for step in 0..24 {
        decide(&mut sizes, 0, Some(0.0), step, &nobody);
    }
    let idle = decide(&mut sizes, 0, Some(0.0), 24, &nobody);
    assert_eq!((idle.wanted, idle.effect), (Some(0), SizeEffect::Keep), "{}", idle.why);
    let busy = decide(&mut sizes, 0, Some(45.0), 25, &nobody);
    assert_eq!(busy.effect, SizeEffect::Scale, "{}", busy.why);
    assert!(busy.wanted.is_some_and(|wanted| wanted >= 4), "45 items, ten for each: {}", busy.why);
    // The values are not renewed any more: nobody knows whether work still waits.
    let second = 25 * i64::from(STEP_SECONDS);
    let late = at(second + 300);
    let silent = sizes.step(&snapshot(5, Some(0.0), second), &outlooks(second), &nobody, late);
    assert!(silent[0].size.wanted.is_some_and(|wanted| wanted >= 5), "{}", silent[0].size.why);
    assert!(silent[0].size.why.contains("check the source"), "{}", silent[0].size.why);
}

#[test]
fn a_backlog_with_a_deadline_says_by_how_much_the_most_workers_are_late() {
    let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
    let mut decide = |replicas, backlog, step: i64| {
        let second = step * i64::from(STEP_SECONDS);
        let mut world = snapshot(replicas, Some(backlog), second);
        let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
        let load = &mut workload.permits.scaling.as_mut().unwrap().loads[0];
        load.due = Some(DuePolicy { seconds_per_item: 0.5, within: SignedDuration::from_mins(2) });
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(second));
        sizes.step(&world, &outlooks(second), &nobody, at(second)).pop().unwrap().size
    };
    // Half a second each, and 90 s of two minutes are left after a start.
    let few = decide(0, 540.0, 0);
    assert_eq!((few.wanted, few.effect), (Some(3), SizeEffect::Scale), "{}", few.why);
    assert!(few.troubles.is_empty(), "{}", few.why);
    let many = decide(3, 2_400.0, 1);
    assert_eq!((many.wanted, many.troubles), (Some(8), vec![SizeTrouble::DeadlineNotKept]), "{}", many.why);
    assert!(many.why.contains(" s after their deadline: raise spec.scaling.replicas.max"), "{}", many.why);
}

#[test]
fn a_queue_whose_exporter_is_down_beside_an_empty_one_takes_no_worker_away() {
    let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
    for step in 0..60 {
        decide(&mut sizes, 4, Some(35.0), step, &nobody);
    }
    for step in 60..140 {
        let second = step * i64::from(STEP_SECONDS);
        let mut world = snapshot(4, Some(0.0), second);
        let lost = (key(), Name::from("waiting"), Name::from("queue=b"));
        world.loads.insert_mut(lost, (17.5, at(59 * i64::from(STEP_SECONDS))));
        let said = sizes.step(&world, &outlooks(second), &nobody, at(second)).pop().unwrap().size;
        assert!(said.wanted.is_some_and(|wanted| wanted >= 4), "{step}: {}", said.why);
        if step >= 65 {
            assert!(
                said.why.contains("series queue=b of signal waiting is not seen"),
                "{step}: {}",
                said.why
            );
        }
    }
}

#[test]
fn a_tenant_that_is_not_heard_any_more_keeps_its_size_while_others_are_heard() {
    let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
    let mut ask = |step: i64, answered: u64, heard: &str| {
        let second = step * i64::from(STEP_SECONDS);
        let mut world = snapshot(4, None, second);
        let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
        workload.permits.scaling = Some(ScalingPolicy::default());
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
        let health = homeostat_knowledge::WorkloadHealth { answered, ..Default::default() };
        world.health.insert_mut(key(), health);
        let last = if heard == "shop" { second } else { 100 * i64::from(STEP_SECONDS) };
        world.heard.insert_mut(Name::from("shop"), at(last));
        world.heard.insert_mut(Name::from(heard), at(second));
        sizes.step(&world, &outlooks(second), &nobody, at(second)).pop().unwrap().size
    };
    for step in 0..=100 {
        ask(step, 1 + 1_200 * step as u64, "shop");
    }
    let before = ask(101, 1 + 1_200 * 101, "shop").wanted.unwrap();
    for step in 102..300 {
        let said = ask(step, 1 + 1_200 * 101, "bank");
        assert!(said.wanted.is_some_and(|wanted| wanted >= before), "{step}: {}", said.why);
    }
    let idle = (300..500).map(|step| ask(step, 1 + 1_200 * 101, "shop")).last().unwrap();
    assert_eq!(idle.wanted, Some(1), "heard again, and nobody asks: {}", idle.why);
}

fn autoscaler() -> AutoscalerRecord {
    AutoscalerRecord {
        key: ObjectKey::new("shop", "web"),
        uid: Uid::new("web"),
        resource_version: Name::from("1"),
        scales: target(),
        bounds: Bounds { min: 1, max: 9 },
        drive: None,
        keda: None,
        gitops_owner: None,
    }
}

#[test]
fn what_an_autoscaler_owns_is_refused_by_name() {
    for (scaler, name) in [
        (Scaler::Hpa(Box::new(autoscaler())), "HorizontalPodAutoscaler web"),
        (Scaler::Keda { name: "queue".into() }, "ScaledObject queue"),
        (Scaler::Vpa { name: "fit".into() }, "VerticalPodAutoscaler fit"),
        (
            Scaler::Several(vec![Scaler::Hpa(Box::new(autoscaler())), Scaler::Keda { name: "queue".into() }]),
            "HorizontalPodAutoscaler web and ScaledObject queue",
        ),
    ] {
        let (mut sizes, owned) = (Sizes::default(), BTreeMap::from([(target(), scaler)]));
        decide(&mut sizes, 1, Some(0.0), 0, &owned);
        let refused = decide(&mut sizes, 1, Some(70.0), 1, &owned);
        assert_eq!(refused.effect, SizeEffect::Refuse);
        let several = name.contains(" and ");
        let trouble = if several { SizeTrouble::ScaledTwice } else { SizeTrouble::ScaledByOther };
        assert_eq!(refused.troubles, [trouble]);
        assert!(refused.why.contains(name) && refused.why.contains("would be"), "{}", refused.why);
    }
}

#[test]
fn the_floor_of_an_autoscaler_follows_and_goes_back_to_people_where_the_workload_says_so() {
    let driving = |replicas, backlog, second| {
        let mut snapshot = snapshot(replicas, backlog, second);
        let mut workload = (**snapshot.workloads.get(&key()).unwrap()).clone();
        if let Some(scaling) = &mut workload.permits.scaling {
            scaling.when_owned = WhenOwned::DriveBounds;
        }
        snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(second));
        snapshot
    };
    let driven = |now: Bounds| {
        let hold = Hold { by: "shop.jobs-1".into(), until: None };
        let drive = Some(Drive { hold, before: Bounds { min: 1, max: 9 }, set: now });
        let scaler = Scaler::Hpa(Box::new(AutoscalerRecord { bounds: now, drive, ..autoscaler() }));
        BTreeMap::from([(target(), scaler)])
    };
    let mut sizes = Sizes::default();
    let mut decide = |backlog, step: i64, scalers: &BTreeMap<ControllerKey, Scaler>| {
        let second = step * i64::from(STEP_SECONDS);
        let world = driving(3, Some(backlog), second);
        sizes.step(&world, &outlooks(second), scalers, at(second)).pop().unwrap().size
    };
    let own = BTreeMap::from([(target(), Scaler::Hpa(Box::new(autoscaler())))]);
    decide(0.0, 0, &own);
    let busy = decide(45.0, 1, &own);
    let wanted = busy.wanted.unwrap();
    assert_eq!(busy.effect, SizeEffect::DriveBounds { min: wanted, max: 9 }, "{}", busy.why);
    let there = driven(Bounds { min: u64::from(wanted), max: 9 });
    let mut step = 2;
    let back = loop {
        let said = decide(0.0, step, &there);
        if said.wanted.is_some_and(|wanted| wanted <= 1) || step > 2_000 {
            break said;
        }
        step += 1;
    };
    assert_eq!(back.effect, SizeEffect::DriveBounds { min: 1, max: 9 }, "never below people's: {}", back.why);
}

#[test]
fn what_was_kept_is_taken_up_again() {
    let (mut sizes, nobody) = (Sizes::default(), BTreeMap::new());
    for step in 0..20 {
        decide(&mut sizes, 4, Some(38.0), step, &nobody);
    }
    let second = 20 * i64::from(STEP_SECONDS);
    let all = sizes.step(&snapshot(4, Some(38.0), second), &outlooks(second), &nobody, at(second));
    let before = all[0].size.wanted.unwrap();
    let kept: Kept = serde_json::from_str(all[0].memory.as_deref().unwrap()).unwrap();
    let mut again = Sizes::new(Memory::of([(requests(&key()), Uid::new("jobs"), kept)]));
    let said = decide(&mut again, 1, None, 22, &nobody);
    assert_eq!(said.wanted, Some(before), "{}", said.why);
}

#[test]
fn a_workload_that_is_away_for_a_while_goes_on_and_another_one_of_its_name_does_not() {
    let nobody = BTreeMap::new();
    let back_after = |seconds: i64, uid: &str| {
        let mut sizes = Sizes::default();
        for step in 0..20 {
            decide(&mut sizes, 4, Some(38.0), step, &nobody);
        }
        let before = decide(&mut sizes, 4, Some(38.0), 20, &nobody).wanted;
        // As long as its spec is invalid nobody forecasts or sizes it.
        let gone = 21 * i64::from(STEP_SECONDS);
        assert!(sizes.step(&Snapshot::default(), &BTreeMap::new(), &nobody, at(gone)).is_empty());
        let second = gone + seconds;
        let mut world = snapshot(1, None, second);
        let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
        workload.uid = Uid::new(uid);
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(second));
        let said = sizes.step(&world, &outlooks(second), &nobody, at(second)).pop().unwrap().size;
        (before, said.wanted)
    };
    let (before, after) = back_after(60, "jobs");
    assert!(before.is_some_and(|wanted| wanted > 1) && after == before, "{before:?}, then {after:?}");
    assert_eq!(back_after(60, "made-anew").1, None, "nothing of another one of the name counts");
    assert_eq!(back_after(3_700, "jobs").1, None, "an hour is over");
}

/// An hour in which seven replicas are asked for.
fn sale(schedule: &str) -> CalendarEntry {
    CalendarEntry {
        name: "sale".into(),
        schedule: schedule.into(),
        time_zone: "UTC".into(),
        duration: SignedDuration::from_hours(1),
        replicas: 7,
        exceptions: Vec::new(),
    }
}

#[test]
fn an_entry_of_the_calendar_brings_replicas_while_it_is_on_and_not_on_its_exceptions() {
    let look = |backlog: Option<f64>, exception: Option<&str>, second: i64| {
        let mut world = snapshot(2, backlog, second);
        let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
        let exceptions = exception.into_iter().map(Name::from).collect();
        let entry = CalendarEntry { exceptions, ..sale("0 8 * * *") };
        workload.permits.scaling.as_mut().unwrap().calendar = vec![entry];
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(second));
        let mut all = Sizes::default().step(&world, &outlooks(second), &BTreeMap::new(), at(second));
        all.pop().unwrap().size
    };
    // The clock of these tests begins at eight on this day.
    let (today, another) = ("2027-01-15", "2027-01-16");
    let on = look(Some(10.0), Some(another), 0);
    assert_eq!((on.wanted, on.effect), (Some(7), SizeEffect::Scale), "{}", on.why);
    assert!(on.why.contains("the calendar asks for more"), "{}", on.why);
    for (exception, second) in [(Some(today), 0), (None, -60), (None, 3_600)] {
        let off = look(Some(10.0), exception, second);
        assert!(off.wanted.is_some_and(|wanted| wanted < 7), "{second}: {}", off.why);
    }
    // Nothing was seen yet: it counts all the same.
    let blind = look(None, None, 0);
    assert_eq!((blind.wanted, blind.effect), (Some(7), SizeEffect::Scale), "{}", blind.why);
    assert_eq!(look(None, Some(today), 0).wanted, None);
}

/// What two workers that want more get, `archive` and `jobs`, where their quota has room for two pods more. Each has one.
fn under_one_quota(archive: i32, jobs: i32) -> Vec<Option<u32>> {
    let (given, _) = homeostat_situations::Given::default().build();
    let pod = (**given.pods_in(&Name::from("shop")).next().unwrap()).clone();
    let mut tenant = homeostat_situations::tenant();
    tenant.quota = Some(Amounts { cpu_millis: Some(2_000), memory_bytes: None });
    let mut sizes = Sizes::default();
    let mut last = Vec::new();
    for step in 0..25 {
        let second = step * i64::from(STEP_SECONDS);
        let mut world = snapshot(1, None, second);
        let commit = |world: &mut Snapshot, change: ObjectChange| world.commit(&change, at(second));
        commit(&mut world, ObjectChange::Tenant(Change::Applied(Arc::new(tenant.clone()))));
        let workload = (**world.workloads.get(&key()).unwrap()).clone();
        let controller = (**world.controller_of(&key()).unwrap()).clone();
        let mut all = BTreeMap::new();
        for (name, criticality) in [("archive", archive), ("jobs", jobs)] {
            let (key, uid) = (ObjectKey::new("shop", name), Uid::new(name));
            let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
            let mut workload = workload.clone();
            (workload.key, workload.uid, workload.target) = (key.clone(), uid.clone(), target.clone());
            workload.criticality = criticality;
            let controller = ControllerRecord { key: target, ..controller.clone() };
            let mut pod = pod.clone();
            (pod.key, pod.uid) = (ObjectKey::new("shop", format!("{name}-a")), Uid::new(format!("{name}-a")));
            pod.owner = Some(OwnerRecord { kind: ControllerKind::Deployment, name: key.name.clone(), uid });
            pod.containers[0].cpu_request = Some(500);
            commit(&mut world, ObjectChange::Controller(Change::Applied(Arc::new(controller))));
            commit(&mut world, ObjectChange::Workload(Change::Applied(Arc::new(workload))));
            commit(&mut world, ObjectChange::Pod(Change::Applied(Arc::new(pod))));
            let place = (key.clone(), Name::from("waiting"), Name::from("queue=a"));
            world.loads.insert_mut(place, (60.0, at(second)));
            all.extend(outlooks(second).into_values().map(|one| (requests(&key), one)));
        }
        last = sizes.step(&world, &all, &BTreeMap::new(), at(second));
    }
    let names: Vec<&str> = last.iter().map(|record| &*record.workload.name).collect();
    assert_eq!(names, ["archive", "jobs"], "shown by name");
    last.iter().map(|record| record.size.wanted).collect()
}

#[test]
fn where_a_quota_does_not_suffice_the_most_critical_has_it_and_of_alike_ones_the_first_by_name() {
    assert_eq!(under_one_quota(500, 1_000), [Some(1), Some(3)]);
    assert_eq!(under_one_quota(1_000, 500), [Some(3), Some(1)]);
    assert_eq!(under_one_quota(500, 500), [Some(3), Some(1)]);
}

/// The troubles of a workload whose scaling was changed so, after one step.
fn troubles(change: impl Fn(&mut WorkloadPolicy), backlog: Option<f64>) -> Vec<SizeTrouble> {
    let mut world = snapshot(2, backlog, 0);
    let mut workload = (**world.workloads.get(&key()).unwrap()).clone();
    change(&mut workload);
    world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
    let said = Sizes::default().step(&world, &outlooks(0), &BTreeMap::new(), at(0)).pop().unwrap().size;
    assert!(said.troubles.is_empty() || !said.why.is_empty());
    said.troubles
}

#[test]
fn what_people_have_to_change_is_said_in_a_word_too() {
    let scaling = |workload: &mut WorkloadPolicy, change: &dyn Fn(&mut ScalingPolicy)| {
        change(workload.permits.scaling.as_mut().unwrap());
    };
    assert_eq!(troubles(|_| {}, Some(10.0)), []);
    assert_eq!(troubles(|one| one.permits.replicas = None, Some(10.0)), [SizeTrouble::NoBounds]);
    let crossed = Some(Bounds { min: 9, max: 8 });
    assert_eq!(troubles(|one| one.permits.replicas = crossed, Some(10.0)), [SizeTrouble::InvalidSetting]);
    let elsewhere =
        ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", "typo") };
    assert_eq!(troubles(|one| one.target = elsewhere.clone(), Some(10.0)), [SizeTrouble::TargetNotFound]);
    let never = |one: &mut WorkloadPolicy| scaling(one, &|said| said.calendar = vec![sale("0 8 30 2 *")]);
    assert_eq!(troubles(never, Some(10.0)), [SizeTrouble::CalendarNotUsable]);
    assert_eq!(troubles(never, None), [SizeTrouble::CalendarNotUsable, SizeTrouble::SignalNotSeen]);
    let sound = |one: &mut WorkloadPolicy| scaling(one, &|said| said.calendar = vec![sale("0 8 * * *")]);
    assert_eq!(troubles(sound, Some(10.0)), []);
    assert_eq!(troubles(|_| {}, Some(-4.0)), [SizeTrouble::SignalNotUsable]);
    let nothing = |one: &mut WorkloadPolicy| scaling(one, &|said| said.loads.clear());
    assert_eq!(troubles(nothing, None), [SizeTrouble::NothingSeen]);
    // What its pods use is measured by it.
    let measured = |one: &mut WorkloadPolicy| {
        nothing(one);
        one.permits.cpu_millis = Some(Bounds { min: 10, max: 4_000 });
        one.signals = vec![SignalPolicy {
            name: "waiting".into(),
            promql: "cores".into(),
            metric: None,
            external: None,
            unit: "cores".into(),
            bad_above: true,
            threshold: None,
            minimum_effect: None,
            measures: Measures::CpuCores,
        }];
    };
    assert_eq!(troubles(measured, Some(4.0)), [SizeTrouble::NothingSeen]);
    let both = [SizeTrouble::SignalNotUsable, SizeTrouble::NothingSeen];
    assert_eq!(troubles(measured, Some(-4.0)), both);
}

#[test]
fn what_finds_no_room_says_so_and_gets_no_size() {
    let mut all = outlooks(0);
    let told = all.get_mut(&requests(&key())).map(Arc::make_mut).unwrap();
    (told.left_out, told.outlook.reason) = (true, "more than 3 workloads have spec.scaling".to_owned());
    let said =
        Sizes::default().step(&snapshot(2, Some(90.0), 0), &all, &BTreeMap::new(), at(0)).pop().unwrap();
    assert_eq!((said.size.wanted, said.size.effect), (None, SizeEffect::Keep));
    assert_eq!(said.size.troubles, [SizeTrouble::TooMany]);
    assert!(said.size.why.contains("more than 3 workloads"), "{}", said.size.why);
}

/// An outlook with skill, by which a load is this much in ten minutes.
fn rising(second: i64, load: f64) -> Arc<Foreseen> {
    let point = |minutes: i64| homeostat_knowledge::forecast::ForecastPoint {
        at: at(second + 60 * minutes),
        p10: 0.8 * load,
        p50: load,
        p90: 1.1 * load,
    };
    let outlook = outlooks(second).into_values().next().unwrap().outlook.clone();
    let points = vec![point(0), point(5)];
    let outlook = Outlook { skill: ForecastSkill::Proven, points, ..outlook };
    Arc::new(Foreseen { outlook, soon: Vec::new(), kept: None, left_out: false })
}

#[test]
fn the_minutes_that_have_begun_count() {
    let point = |minutes: i64, p90: f64| homeostat_knowledge::forecast::ForecastPoint {
        at: at(60 * minutes),
        p10: 0.0,
        p50: p90 / 2.0,
        p90,
    };
    let outlook = outlooks(0).into_values().next().unwrap().outlook.clone();
    let points = vec![point(0, 7.0), point(5, 1.0), point(10, 2.0), point(15, 90.0)];
    let outlook = Outlook { skill: ForecastSkill::Proven, points, ..outlook };
    let p90 = |second: i64| expected(&outlook, at(second)).unwrap().p90;
    assert_eq!((p90(0), p90(15), p90(299)), (7.0, 7.0, 7.0), "a burst of the next minute is ahead");
    assert_eq!((p90(300), p90(610)), (2.0, 90.0));
}

#[test]
fn a_named_load_is_sized_for_what_its_forecast_says_and_has_a_forecast_of_its_own() {
    let nobody = BTreeMap::new();
    let run = |ahead: Option<f64>, seen: bool| {
        let mut sizes = Sizes::default();
        let mut last = Vec::new();
        for step in 0..40 {
            let second = step * i64::from(STEP_SECONDS);
            let mut all = outlooks(second);
            if let Some(load) = ahead {
                all.insert((key(), load_signal("waiting")), rising(second, load));
            }
            let value = (seen || step < 30).then_some(20.0);
            last = sizes.step(&snapshot(3, value, second), &all, &nobody, at(second));
        }
        last
    };
    let sized = |records: &[ForecastRecord]| {
        records.iter().find(|record| *record.signal == *REQUESTS).unwrap().size.clone()
    };
    let (flat, ahead) = (run(None, true), run(Some(55.0), true));
    assert_eq!(flat.len(), 1);
    let named: Vec<&str> = ahead.iter().map(|record| &*record.signal).collect();
    assert_eq!(named, ["load.waiting", REQUESTS]);
    assert_eq!((ahead[0].size.wanted, &ahead[0].size.troubles[..]), (None, &[][..]), "shown only");
    let (before, after) = (sized(&flat), sized(&ahead));
    assert!(before.why.contains("no forecast with skill"), "{}", before.why);
    assert!(after.why.contains("forecast p50 5.5"), "{}", after.why);
    assert!(after.wanted >= before.wanted, "{} against {}", after.why, before.why);
    // Silent: its forecast stands on what nobody sees any more.
    let silent = sized(&run(Some(55.0), false));
    assert!(!silent.why.contains("forecast p50"), "{}", silent.why);
}
