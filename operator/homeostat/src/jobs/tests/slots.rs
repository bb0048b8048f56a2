//! Room is kept for runs that schedules announce, until their Jobs are there or do not come.

use super::*;
use homeostat_knowledge::records::Schedule;

/// Three o'clock in the afternoon, the next full hour.
pub(super) const HOUR: i64 = 2_800;
const MINUTE: i64 = 60;
const HOURLY: [&str; 3] = ["one", "two", "three"];

fn cron(tenant: &str, name: &str) -> ControllerKey {
    ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new(tenant, name) }
}

impl World {
    /// Changes when a `CronJob` makes its Jobs.
    pub(super) fn schedule(&mut self, name: &str, schedule: &str, zone: Option<&str>, suspended: bool) {
        let mut found = (**self.snapshot.controllers.get(&cron("a", name)).expect("the CronJob")).clone();
        found.paused = suspended;
        let schedule = Schedule { cron: Name::from(schedule), zone: zone.map(Name::from) };
        found.work = Some(Box::new(Work { schedule: Some(schedule), ..work(0, 512) }));
        self.put(found);
    }

    /// On these days no run of it is expected.
    fn except(&mut self, name: &str, days: &[&str]) {
        let policy = self.snapshot.workloads.get(&ObjectKey::new("a", name)).expect("declared");
        let mut policy = (**policy).clone();
        let scaling = policy.permits.scaling.as_mut().expect("it is ordered");
        scaling.exceptions = days.iter().map(|day| day.parse().expect("a day")).collect();
        self.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
    }

    fn hourly(&mut self, schedule: &str, zone: Option<&str>, suspended: bool) {
        for name in HOURLY {
            self.schedule(name, schedule, zone, suspended);
        }
    }

    pub(super) fn periodic(&mut self, name: &str, deadline: i64) {
        self.workload("a", name, |policy| {
            policy.permits.runs.deadline = SignedDuration::from_mins(deadline);
        });
    }

    /// One vCPU. Three runs will be due twenty minutes after the full hour, of six minutes each as far as is known. Ten
    /// minutes before it comes a report of half an hour that can wait until the hour after.
    fn before_the_hour(schedule: &str, zone: Option<&str>, suspended: bool) -> Self {
        let mut world = Self::new(1);
        world.tenant("a", None);
        for name in HOURLY {
            world.periodic(name, 20);
        }
        world.hourly(schedule, zone, suspended);
        world.periodic("report", 100);
        world.job("a", "report", HOUR - 10 * MINUTE);
        world
    }

    pub(super) fn said(&self, name: &str) -> String {
        self.report("a", name).said
    }
}

const REPORT: &str = "a/report-2200";

#[test]
fn room_is_kept_for_the_next_slot_and_each_run_counts_once() {
    let mut world = World::before_the_hour("0 * * * *", None, false);
    assert_eq!(world.step(HOUR - 10 * MINUTE), [], "it would take the room of the hour's runs");
    assert!(world.said("one").contains("next slot 2026-09-21T15:00:00Z"), "{}", world.said("one"));
    assert_eq!(world.step(HOUR), [], "nothing is there yet that could be started");
    let mut jobs: BTreeMap<String, ControllerRecord> = BTreeMap::new();
    for name in HOURLY {
        jobs.insert(format!("a/{name}-{HOUR}"), world.job("a", name, HOUR));
    }
    let mut second = HOUR + 1;
    for turn in 0..3 {
        let started = world.step(second);
        let [(name, _)] = started.as_slice() else { panic!("one at a time: {started:?}") };
        let job = jobs.remove(name).unwrap_or_else(|| panic!("{name} in turn {turn}, before the report"));
        let job = world.begin(job);
        assert_eq!(world.step(second + 1), []);
        world.end(job, "Completed", second + 20, 20, Some(100));
        second += 21;
    }
    assert_eq!(names(&world.step(second)), [REPORT], "all of the hour is done");
    assert!(world.said("one").contains("next slot 2026-09-21T16:00:00Z"), "{}", world.said("one"));
}

#[test]
fn without_a_schedule_only_what_is_there_is_planned_for() {
    let mut world = World::before_the_hour("0 * * * *", None, true);
    assert_eq!(names(&world.step(HOUR - 10 * MINUTE)), [REPORT], "the CronJobs are suspended");
    assert!(!world.said("one").contains("next slot"), "{}", world.said("one"));
}

#[test]
fn a_cron_job_that_is_suspended_changed_or_deleted_takes_its_slot_back() {
    let suspend = |world: &mut World| world.hourly("0 * * * *", None, true);
    let change = |world: &mut World| world.hourly("0 3 * * *", None, false);
    let zone = |world: &mut World| world.hourly("0 15 * * *", Some("Asia/Tokyo"), false);
    let delete = |world: &mut World| {
        for name in HOURLY {
            world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(cron("a", name))), at(0));
        }
    };
    let changes: [&dyn Fn(&mut World); 4] = [&suspend, &change, &zone, &delete];
    for (place, change) in changes.into_iter().enumerate() {
        let mut world = World::before_the_hour("0 * * * *", None, false);
        assert_eq!(world.step(HOUR - 10 * MINUTE), []);
        change(&mut world);
        assert_eq!(names(&world.step(HOUR - 9 * MINUTE)), [REPORT], "change {place}");
    }
}

#[test]
fn a_slot_whose_job_never_comes_is_given_up_after_a_minute() {
    let mut world = World::before_the_hour("0 * * * *", None, false);
    for second in [HOUR - 10 * MINUTE, HOUR, HOUR + 30, HOUR + 59] {
        assert_eq!(world.step(second), [], "{second}");
    }
    assert_eq!(names(&world.step(HOUR + 60)), [REPORT]);
    // One that comes late is due like any other.
    let late = world.job("a", "one", HOUR);
    assert_eq!(world.step(HOUR + 61), [], "the report has the only vCPU");
    assert_eq!((world.report("a", "one").waiting, late.paused), (1, true));
}

#[test]
fn a_job_whose_slot_is_not_noted_counts_for_the_slot_just_before_it() {
    let mut world = World::before_the_hour("0 * * * *", None, false);
    assert_eq!(world.step(HOUR - 10 * MINUTE), []);
    let jobs = HOURLY.map(|name| world.job("a", name, HOUR + 2));
    assert_eq!(world.step(HOUR + 3).len(), 1);
    for job in jobs {
        let job = world.begin(job);
        world.end(job, "Completed", HOUR + 20, 15, Some(100));
    }
    assert_eq!(names(&world.step(HOUR + 21)), [REPORT], "nothing else of the hour is waited for");
}

#[test]
fn a_run_waits_for_an_announced_one_that_it_needs_and_not_for_ever() {
    for comes in [true, false] {
        let mut world = World::new(8);
        world.tenant("a", None);
        world.workload("a", "forecast", |_| {});
        world.schedule("forecast", "0 * * * *", None, false);
        world.workload("a", "plan", |policy| policy.dependencies = vec![Name::from("forecast")]);
        world.step(HOUR - 10);
        world.job("a", "plan", HOUR);
        assert_eq!(world.step(HOUR + 1), []);
        assert_eq!(world.step(HOUR + 30), [], "the forecast of this hour is not made yet");
        assert!(world.said("plan").contains("whose Job is not there yet"), "{}", world.said("plan"));
        if comes {
            let forecast = world.job("a", "forecast", HOUR);
            assert_eq!(names(&world.step(HOUR + 31)), ["a/forecast-2800"]);
            let forecast = world.begin(forecast);
            assert_eq!(world.step(HOUR + 32), []);
            world.end(forecast, "Completed", HOUR + 50, 18, Some(100));
            assert_eq!(names(&world.step(HOUR + 51)), ["a/plan-2800"]);
        } else {
            assert_eq!(names(&world.step(HOUR + 60)), ["a/plan-2800"]);
        }
    }
}

#[test]
fn a_stranger_does_not_make_announced_slots_be_forgotten() {
    let mut world = World::before_the_hour("0 * * * *", None, false);
    world.periodic("other", 100);
    let other = world.job("a", "other", HOUR - 11 * MINUTE);
    assert_eq!(world.step(HOUR - 10 * MINUTE), []);
    let other = world.begin(other);
    assert_eq!(world.step(HOUR - 9 * MINUTE), [], "a person started the other one");
    world.end(other, "Completed", HOUR - 8 * MINUTE, 30, Some(100));
    assert_eq!(world.step(HOUR - 8 * MINUTE), []);
}

#[test]
fn a_schedule_that_cannot_be_used_is_told_with_its_field_and_jobs_are_ordered_all_the_same() {
    for (schedule, zone, field) in [
        ("0 * * * *", Some("Mars/Olympus"), "spec.timeZone of CronJob a/one: time zone \"Mars/Olympus\""),
        ("0 2 31 2 *", None, "spec.schedule of CronJob a/one"),
        ("@every 90s", None, "spec.schedule of CronJob a/one"),
        ("", None, "spec.schedule of CronJob a/one"),
        ("0 2 1,…", None, "spec.schedule of CronJob a/one"),
    ] {
        let mut world = World::before_the_hour(schedule, zone, false);
        assert_eq!(names(&world.step(HOUR - 10 * MINUTE)), [REPORT], "{schedule}");
        let said = world.said("one");
        assert!(said.contains(field) && said.contains("no room is kept"), "{schedule}: {said}");
        assert_eq!(world.report("a", "one").problem, None);
    }
}

#[test]
fn on_an_excepted_day_no_room_is_kept_and_a_job_that_is_made_all_the_same_is_ordered_like_any_other() {
    let mut world = World::before_the_hour("0 * * * *", None, false);
    assert_eq!(world.step(HOUR - 10 * MINUTE), [], "room is kept for the hour");
    for name in HOURLY {
        world.except(name, &["2026-09-21"]);
    }
    assert_eq!(names(&world.step(HOUR - 9 * MINUTE)), [REPORT], "it is a holiday");
    assert!(world.said("one").contains("next slot 2026-09-22T00:00:00Z"), "{}", world.said("one"));
    let object = ObjectKey::new("a", "report-2200");
    let report = ControllerKey { kind: ControllerKind::Job, object };
    let report = (**world.snapshot.controllers.get(&report).expect("the report")).clone();
    let report = world.begin(report);
    world.step(HOUR - 8 * MINUTE);
    let job = world.job("a", "one", HOUR);
    assert_eq!(world.step(HOUR + 1), [], "the report has the only vCPU");
    assert_eq!((world.report("a", "one").waiting, job.paused), (1, true));
    world.end(report, "Completed", HOUR + 60, 50, Some(100));
    assert_eq!(names(&world.step(HOUR + 61)), ["a/one-2800"]);
}

#[test]
fn an_excepted_day_is_one_of_the_schedules_own_zone() {
    // Three in the afternoon is midnight in Tokyo: the next day has begun.
    for (zone, next) in [(None, "2026-09-21T15:00:00Z"), (Some("Asia/Tokyo"), "2026-09-22T15:00:00Z")] {
        let mut world = World::before_the_hour("0 * * * *", zone, false);
        world.except("one", &["2026-09-22"]);
        world.step(HOUR - 10 * MINUTE);
        assert!(world.said("one").contains(&format!("next slot {next}")), "{zone:?}: {}", world.said("one"));
    }
}

#[test]
fn of_a_slot_on_an_excepted_day_no_lateness_is_told() {
    for (days, late) in [(&[][..], true), (&["2026-09-21"][..], false)] {
        let mut world = World::new(1);
        world.tenant("a", None);
        for name in HOURLY {
            world.periodic(name, 1);
        }
        // 23 s each with the start of its pod, one after the other, within a minute.
        world.hourly("0 15 * * *", None, false);
        for name in HOURLY {
            world.except(name, days);
        }
        world.step(HOUR - 10 * MINUTE);
        let told = HOURLY.iter().any(|name| world.report("a", name).late.is_some());
        assert_eq!(told, late, "{days:?}");
    }
}

#[test]
fn with_every_slot_excepted_it_is_said_where_to_look() {
    let mut world = World::before_the_hour("0 15 21 9 *", None, false);
    let days: Vec<String> = (2026..2090).map(|year| format!("{year}-09-21")).collect();
    world.except("one", &days.iter().map(String::as_str).collect::<Vec<_>>());
    world.step(HOUR - 10 * MINUTE);
    let said = world.said("one");
    assert!(
        said.contains("next slot 2090-09-21") || said.contains("spec.scaling.exceptions of its Workload"),
        "{said}"
    );
}

#[test]
fn slots_are_those_of_the_named_zone_and_of_nicknames() {
    let mut world = World::before_the_hour("30 16 * * *", Some("Europe/Lisbon"), false);
    world.schedule("two", "@hourly", None, false);
    world.step(HOUR - 10 * MINUTE);
    assert!(world.said("one").contains("next slot 2026-09-21T15:30:00Z"), "{}", world.said("one"));
    assert!(world.said("two").contains("next slot 2026-09-21T15:00:00Z"), "{}", world.said("two"));
}
