//! What runs taught survives a restart, and another leader finds it.

use super::super::kept::{Keep, KeptRuns, MOST, RunsMemory, keep, runs};
use super::*;
use homeostat_crds::v1alpha1::forecast::MAX_MEMORY;
use homeostat_knowledge::ForecastSkill;
use homeostat_scale::jobs::Usage;
use homeostat_scale::jobs::days::Day;
use homeostat_scale::jobs::learned::{JobHistory, Learnt};
use homeostat_scale::jobs::planner::Over;

pub(super) type Texts = BTreeMap<(WorkloadKey, Name), String>;

fn plan() -> ObjectKey {
    ObjectKey::new("a", "plan")
}

impl World {
    /// What is written at this second.
    fn keep(&mut self, second: i64) -> Keep {
        let ordered = self.runs.step(&self.snapshot, at(second), &mut self.ids).expect("a second has passed");
        ordered.keep.expect("it is time to keep it")
    }

    pub(super) fn texts(&mut self, second: i64) -> Texts {
        let text = |record: homeostat_knowledge::ForecastRecord| {
            ((record.workload, record.signal), record.memory.expect("what is kept"))
        };
        self.keep(second).records.into_iter().map(text).collect()
    }

    /// Another process, that reads these.
    pub(super) fn restart(&mut self, texts: &Texts) {
        let (memory, aside) = runs(texts);
        assert_eq!(aside, []);
        self.runs = RunOrder::new(memory);
    }

    fn forget_job(&mut self, slot: i64) {
        let object = ObjectKey::new("a", format!("plan-{slot}"));
        let key = ControllerKey { kind: ControllerKind::Job, object };
        self.snapshot.commit(&ObjectChange::Controller(Change::Deleted(key)), at(300));
        self.snapshot.generation += 1;
    }

    fn taught(&self) -> JobHistory {
        self.runs.acting.history(&plan()).expect("declared").clone()
    }

    /// A run of slot 0 whose Job has failed, and whose next try is ordered.
    fn failed_once(vcpu: u64) -> (Self, ControllerRecord) {
        let mut world = Self::new(vcpu);
        world.tenant("a", None);
        world.workload("a", "plan", |_| {});
        let job = world.job("a", "plan", 0);
        world.step(1);
        let job = world.begin(job);
        world.step(2);
        world.end(job.clone(), "Error", 20, 10, Some(100));
        assert_eq!(names(&world.step(21)), ["a/plan-0"]);
        (world, job)
    }

    /// The next try of a failed Job, which runs, and says which one it is.
    fn try_again(&mut self, failed: &ControllerRecord, attempt: Option<u32>) -> ControllerRecord {
        let name = format!("{}-retry", failed.key.object.name);
        let object = ObjectKey::new(failed.key.object.namespace.clone(), name);
        let key = ControllerKey { kind: ControllerKind::Job, object };
        let mut next = record(key, &format!("{}-retry", failed.uid));
        next.owner = failed.owner.clone();
        next.current = 1;
        next.work = Some(Box::new(Work { retry_of: Some(failed.uid.clone()), attempt, ..work(0, 512) }));
        self.put(next.clone());
        next
    }
}

#[test]
fn a_second_try_that_runs_during_a_restart_keeps_its_room_and_is_not_given_up() {
    let (mut world, first) = World::failed_once(1);
    let second = world.try_again(&first, Some(2));
    world.step(22);
    // The leader is gone before what the first try taught was written.
    world.restart(&Texts::new());
    assert_eq!(world.step(30), []);
    let report = world.report("a", "plan");
    assert_eq!((report.running, report.problem), (1, None));
    world.job("a", "plan", 40);
    assert_eq!(world.step(41), [], "the second try has the only vCPU");
    world.end(second, "Completed", 60, 35, Some(100));
    assert_eq!(names(&world.step(61)), ["a/plan-40"]);
    assert_eq!(world.report("a", "plan").problem, None);
    assert_eq!((world.taught().failures.tries, world.taught().failures.failed), (2, 1));
}

#[test]
fn after_a_restart_no_fourth_try_begins_although_the_first_ones_are_cleared_away() {
    // One that an earlier version made does not say which try it is.
    for (attempt, next) in [(Some(3), 0), (Some(2), 1), (None, 1)] {
        let (mut world, mut first) = World::failed_once(8);
        first.uid = Uid::new("cleared-away");
        world.forget_job(0);
        let last = world.try_again(&first, attempt);
        world.end(last, "Error", 60, 30, Some(100));
        world.restart(&Texts::new());
        assert_eq!(world.step(70).len(), next, "{attempt:?}");
        let problem = world.report("a", "plan").problem.unwrap_or_default();
        assert_eq!(problem.contains("failed 3 times"), next == 0, "{problem}");
    }
}

#[test]
fn a_failure_counts_once_however_often_what_is_known_is_collected_anew() {
    let (mut world, _) = World::failed_once(8);
    for second in [30, 40, 50] {
        world.workload("a", &format!("other-{second}"), |_| {});
        world.step(second);
        assert!(world.report("a", "plan").said.contains("try 2"), "{}", world.report("a", "plan").said);
    }
    let once = |world: &World| (world.taught().failures.tries, world.taught().failures.failed);
    assert_eq!(once(&world), (1, 1));
    let texts = world.texts(70);
    world.restart(&texts);
    assert_eq!(names(&world.step(80)), ["a/plan-0"], "its second try");
    assert_eq!(once(&world), (1, 1));
}

#[test]
fn after_a_restart_no_run_begins_whose_input_failed_although_that_job_is_gone() {
    let mut world = super::pauses::without_input(true);
    let texts = world.texts(160);
    world.restart(&texts);
    assert_eq!(world.step(170), []);
    assert_eq!(world.step(175), [], "what it needs was given up");
    world.restart(&Texts::new());
    world.step(180);
    assert_eq!(world.step(185).len(), 2, "of what is not known nothing is waited for");
}

#[test]
fn the_first_run_after_a_restart_is_planned_as_without_one_although_no_job_is_left() {
    let without = World::learnt().next_start();
    let mut world = World::learnt();
    let before = world.taught();
    let texts = world.texts(260);
    assert_eq!(
        texts.keys().map(|(key, signal)| (key.clone(), &**signal)).collect::<Vec<_>>(),
        [(plan(), "runs")]
    );
    world.forget_job(200);
    world.restart(&texts);
    world.step(310);
    assert_eq!(world.taught(), before);
    assert_eq!(world.next_start(), without);

    let mut anew = World::learnt();
    anew.forget_job(200);
    anew.restart(&Texts::new());
    anew.step(310);
    assert_ne!(anew.next_start(), without, "without what was kept it would have been as declared");
}

#[test]
fn the_forecast_says_how_long_the_next_run_takes_and_after_ten_how_well_runs_were_foretold() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    let mut outlooks = Vec::new();
    for run in 0..12 {
        let (slot, took) = (100 * run, if run % 2 == 0 { 36 } else { 44 });
        let job = world.job("a", "plan", slot);
        world.step(slot + 1);
        let job = world.begin(job);
        world.step(slot + 2);
        world.end(job, "Completed", slot + 60, took, Some(200));
        world.step(slot + 61);
        outlooks.extend(world.keep(slot + 80).records.into_iter().map(|record| record.outlook));
    }
    let (early, late) = (&outlooks[2], &outlooks[11]);
    assert_eq!((early.skill, early.error), (ForecastSkill::Unknown, None), "{}", early.reason);
    assert!(early.reason.contains("2 of 10 runs foretold"), "{}", early.reason);
    assert_eq!((late.skill, late.model.as_deref()), (ForecastSkill::Proven, Some("local level")));
    assert!(late.error.is_some_and(|error| (0.3..0.8).contains(&error)), "{:?}: {}", late.error, late.reason);
    let [next] = &late.points[..] else { panic!("{:?}", late.points) };
    assert!(next.p10 < next.p50 && (36.0..44.0).contains(&next.p50) && next.p50 < next.p90, "{next:?}");
    assert_eq!((late.now, late.peak.map(|peak| peak.p90)), (Some(44.0), Some(next.p90)));
}

#[test]
fn a_cron_job_that_is_away_for_a_moment_loses_nothing_that_its_runs_taught_and_a_deleted_workload_does() {
    let without = World::learnt().next_start();
    let key = ControllerKey { kind: ControllerKind::CronJob, object: plan() };
    for deleted in [false, true] {
        let mut world = World::learnt();
        let cron = (**world.snapshot.controllers.get(&key).expect("the CronJob")).clone();
        let policy = world.snapshot.workloads.get(&plan()).expect("declared").clone();
        world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(key.clone())), at(262));
        world.snapshot.generation += 1;
        if deleted {
            world.snapshot.workloads.remove_mut(&plan());
        }
        world.step(263);
        world.step(285);
        world.snapshot.workloads.insert_mut(plan(), policy);
        world.put(cron);
        world.step(290);
        assert_eq!(world.next_start() == without, !deleted, "deleted: {deleted}");
        let taught = world.taught();
        let expected = if deleted { 1 } else { 3 };
        assert_eq!(taught.peaks.len(), expected, "a Job that is still there teaches once: {taught:?}");
    }
}

#[test]
fn a_kill_for_memory_is_not_forgotten_by_a_restart() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| policy.permits.repeatable = false);
    let job = world.job("a", "plan", 0);
    world.step(1);
    let job = world.begin(job);
    world.step(2);
    world.end(job, "OOMKilled", 20, 10, None);
    world.step(23);
    let texts = world.texts(40);
    world.forget_job(0);
    world.restart(&texts);
    world.step(50);
    world.job("a", "plan", 60);
    let started = world.step(61);
    assert!(matches!(started[..], [(_, Some(1_024))]), "double: {started:?}");
}

#[test]
fn a_job_that_is_still_there_teaches_once_and_one_that_ended_since_teaches_too() {
    let mut world = World::learnt();
    let texts = world.texts(260);
    world.one_run(300, 700);
    assert_eq!(world.taught().run_time.count, 4);
    world.restart(&texts);
    world.step(330);
    world.step(335);
    let taught = world.taught();
    assert_eq!((taught.run_time.count, taught.peaks.len()), (4, 4), "{taught:?}");
    assert_eq!(taught.peaks.back(), Some(&700));
}

#[test]
fn what_cannot_be_read_or_has_another_form_is_set_aside_and_the_rest_is_not() {
    let text = World::learnt().texts(260).into_values().next().expect("one");
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    let older = text.replacen("\"format\":1", "\"format\":0", 1);
    let many = (0..21).map(|_| "900").collect::<Vec<_>>().join(",");
    let wrong = text.replacen("[900,1000,600]", &format!("[{many}]"), 1);
    assert_ne!(wrong, text);
    let strange = text.replacen("\"learnt\"", "\"other\"", 1);
    let cases = [
        ("{", "not readable"),
        ("[]", "not readable"),
        ("", "not readable"),
        (&newer, "2 is newer"),
        (&older, "0 is older"),
        (&wrong, "cannot have been learnt"),
        (&strange, "not readable"),
    ];
    for (nonsense, why) in cases {
        let of = |name: &str| (ObjectKey::new("a", name), Name::from("runs"));
        let texts = Texts::from([(of("plan"), nonsense.to_owned()), (of("sound"), text.clone())]);
        let (memory, aside) = runs(&texts);
        assert_eq!(memory.keys().map(|key| key.name.to_string()).collect::<Vec<_>>(), ["sound"]);
        assert!(matches!(&aside[..], [(key, said)] if *key == plan() && said.contains(why)), "{aside:?}");
    }
}

#[test]
fn what_is_kept_of_one_workload_fits_however_much_was_learnt() {
    let mut history = JobHistory::default();
    for run in 0..1_000_u32 {
        let day = if run % 7 < 5 { Day::Work } else { Day::Weekend };
        history.ran_on(1_234.567_891 + f64::from(run), at(i64::from(run)), Some(day));
        let most = Some((1 << 36) - u64::from(run));
        history.used(Usage { millicores: most, cpu_limit: most, mebibytes: most }, false);
        history.failures.push(Some(0.123_456_789));
        history.items.push(1e9 / f64::from(run + 3), 3, 1e5 / f64::from(run + 7));
    }
    history.killed(1 << 36);
    let taught: Vec<(Timestamp, Uid)> =
        (0..1_000).map(|slot| (at(slot), Uid::new(format!("0a1b2c3d-0000-4000-8000-{slot:012}")))).collect();
    let over = Over { lost: (0..8).map(at).collect(), until: Some(at(0)), ..Over::default() };
    let kept = KeptRuns::new(true, Learnt::from(history), over, taught.clone());
    let text = kept.text().expect("it fits");
    assert!(text.len() < MAX_MEMORY / 2 + 1_000, "{}", text.len());
    let back = KeptRuns::read(&text).expect("sound");
    assert_eq!(back, kept);
    assert_eq!((back.learnt.history.peaks.len(), back.learnt.history.items.runs()), (20, 20));
    for (slot, uid) in taught {
        assert!(back.has_taught(&uid, slot), "the oldest too, by their slot");
    }
    assert!(!back.has_taught(&Uid::new("other"), at(999)));
}

#[test]
fn without_room_for_all_those_are_kept_that_would_be_killed_or_have_taught_most_and_the_rest_is_counted() {
    let mut world = World::new(8);
    world.tenant("a", None);
    for name in ["often", "killed", "plan"] {
        world.workload("a", name, |policy| policy.permits.repeatable = false);
    }
    for (name, slot, end) in [
        ("often", 0, "Completed"),
        ("often", 50, "Completed"),
        ("plan", 100, "Completed"),
        ("killed", 150, "OOMKilled"),
    ] {
        let job = world.job("a", name, slot);
        world.step(slot + 1);
        let job = world.begin(job);
        world.step(slot + 2);
        world.end(job, end, slot + 20, 10, Some(300));
        world.step(slot + 23);
    }
    assert_eq!((world.keep(200).records.len(), world.keep(220).dropped), (3, 0));
    let asked = asked(&world.snapshot, &mut Queues::default(), at(230));
    let jobs = Jobs::of(&world.snapshot, &asked);
    let none = BTreeMap::new();
    let desks = [(&world.runs.acting, &asked), (&world.runs.watching, &none)];
    let with = |most| keep(&world.runs.known, &jobs, desks, (&world.snapshot, at(230)), most);
    let names =
        |keep: &Keep| keep.records.iter().map(|one| one.workload.name.to_string()).collect::<Vec<_>>();
    assert_eq!((names(&with(2)), with(2).dropped), (vec!["killed".to_owned(), "often".to_owned()], 1));
    assert_eq!(with(MOST).dropped, 0);
}

#[test]
fn what_is_not_asked_for_any_more_is_kept_no_more() {
    let mut world = World::learnt();
    assert_eq!(world.texts(260).len(), 1);
    world.workload("a", "plan", |policy| policy.permits.scaling = None);
    assert_eq!(world.keep(280), Keep::default());
}

#[test]
fn what_was_learnt_and_finds_no_room_while_its_target_is_away_is_counted() {
    let text = World::learnt().texts(260).into_values().next().expect("one");
    let kept = KeptRuns::read(&text).expect("sound");
    for (others, dropped) in [(MOST - 1, 0), (MOST, 1)] {
        let mut world = World::learnt();
        let elsewhere = (0..others).map(|number| (ObjectKey::new("b", format!("w{number}")), kept.clone()));
        let mut memory: RunsMemory = elsewhere.collect();
        memory.insert(plan(), kept.clone());
        world.runs = RunOrder::new(memory);
        world.step(310);
        let key = ControllerKey { kind: ControllerKind::CronJob, object: plan() };
        world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(key)), at(312));
        world.snapshot.generation += 1;
        world.step(313);
        assert_eq!(world.runs.dropped(), dropped, "{others} others");
        world.runs.recall(RunsMemory::new());
        assert_eq!(world.runs.dropped(), dropped, "a total never falls");
    }
}
