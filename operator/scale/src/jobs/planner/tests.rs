use super::super::Criticality;
use super::*;
use proptest::prelude::*;

mod announced;
mod days;
mod found;
mod late;
mod quota;
mod room;
mod shared;
mod shifted;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
}

fn here() -> Orderer {
    Orderer::Homeostat { reason: String::new() }
}

pub(super) fn job(tenant: &str, name: &str, vcpu: u64, due: i64) -> Job {
    Job {
        tenant: tenant.to_owned(),
        name: name.to_owned(),
        millicores: vcpu * 1_000,
        mebibytes: Some(1_024),
        due_after: MINUTE * due as i32,
        not_before: SignedDuration::ZERO,
        needs: None,
        criticality: Criticality::Normal,
        retries: 2,
        pods: None,
        most_millicores: None,
        most_mebibytes: None,
        zone: None,
    }
}

/// A planner on so many vCPU, and what it decided.
pub(super) struct Bench {
    pub(super) planner: Planner,
}

impl Bench {
    pub(super) fn new(vcpu: u64) -> Self {
        let capacity = Size { millicores: vcpu * 1_000, mebibytes: 65_536 };
        Self { planner: Planner::new(Settings::default(), capacity) }
    }

    pub(super) fn declare(&mut self, job: Job) -> JobId {
        self.planner.declare(job, &here()).unwrap()
    }

    /// Teaches that runs of a job take so many minutes.
    pub(super) fn teach(&mut self, id: JobId, minutes: f64) {
        let mut history = JobHistory::default();
        (0..20).for_each(|_| history.ran(minutes * 60.0));
        self.planner.restore(id, history.into()).unwrap();
    }

    pub(super) fn due(&mut self, minute: i64, ids: &[JobId]) -> Vec<Run> {
        let runs: Vec<Run> = ids.iter().map(|job| Run { slot: at(minute), job: *job }).collect();
        for run in &runs {
            self.planner.see(at(minute), Event::Due(*run)).unwrap();
        }
        runs
    }

    /// Starts at this minute.
    pub(super) fn starts(&mut self, minute: i64) -> Vec<JobId> {
        let decisions = self.planner.decide(at(minute));
        let starts = decisions.into_iter().filter_map(|decision| match decision {
            Decision::Start { run, .. } => Some(run.job),
            _ => None,
        });
        starts.collect()
    }

    pub(super) fn end(&mut self, minute: i64, run: Run, outcome: Outcome, ran: i64) {
        let usage = Usage { mebibytes: Some(700), ..Usage::default() };
        let ran = MINUTE * ran as i32;
        self.planner.see(at(minute), Event::Ended { run, outcome, ran, usage }).unwrap();
    }
}

#[test]
fn of_two_due_at_the_same_time_the_longer_starts_first() {
    let mut bench = Bench::new(2);
    let (short, long) = (bench.declare(job("a", "plan", 2, 55)), bench.declare(job("b", "plan", 2, 55)));
    bench.teach(short, 5.0);
    bench.teach(long, 20.0);
    bench.due(0, &[short, long]);
    assert_eq!(bench.starts(0), [long]);
}

#[test]
fn what_others_wait_for_inherits_their_urgency() {
    let mut bench = Bench::new(1);
    let first = bench.declare(job("a", "forecast", 1, 50));
    let second = bench.declare(Job { needs: Some("forecast".to_owned()), ..job("a", "optimisation", 1, 30) });
    let other = bench.declare(job("b", "report", 1, 40));
    for id in [first, second, other] {
        bench.teach(id, 10.0);
    }
    let runs = bench.due(0, &[second, other, first]);
    assert_eq!(bench.starts(0), [first]);
    assert!(bench.planner.explain(runs[0]).unwrap().contains("waits for a/forecast"));
    bench.end(10, runs[2], Outcome::Succeeded, 10);
    assert_eq!(bench.starts(10), [second]);
}

#[test]
fn a_smaller_run_passes_only_if_it_ends_before_the_first_must_start() {
    let mut bench = Bench::new(2);
    let running = bench.declare(job("a", "x", 1, 100));
    let wide = bench.declare(job("b", "wide", 2, 40));
    let quick = bench.declare(job("c", "quick", 1, 300));
    let slow = bench.declare(job("d", "slow", 1, 290));
    for (id, minutes) in [(running, 15.0), (wide, 10.0), (quick, 5.0), (slow, 45.0)] {
        bench.teach(id, minutes);
    }
    bench.due(0, &[running]);
    assert_eq!(bench.starts(0), [running]);
    bench.due(1, &[wide, quick, slow]);
    assert_eq!(bench.starts(1), [quick], "the slow one would hold up the wide one past its latest start");
}

#[test]
fn a_failed_run_is_tried_again_at_once_then_given_up_with_what_waits_for_it() {
    let mut bench = Bench::new(4);
    let first = bench.declare(job("a", "forecast", 1, 20));
    let second = bench.declare(Job { needs: Some("forecast".to_owned()), ..job("a", "optimisation", 2, 55) });
    let runs = bench.due(0, &[first, second]);
    for minute in 1..=3 {
        assert_eq!(bench.starts(minute), [first], "try {minute}");
        bench.end(minute, runs[0], Outcome::Failed, 1);
    }
    let given_up: Vec<Run> = bench
        .planner
        .decide(at(4))
        .into_iter()
        .filter_map(|decision| match decision {
            Decision::GiveUp { run, why } => {
                assert!(!why.to_string().is_empty());
                Some(run)
            }
            _ => None,
        })
        .collect();
    assert_eq!(given_up, runs);
    assert_eq!(bench.planner.reserved(), Size::default());
}

#[test]
fn a_kill_for_memory_is_retried_at_once_with_double() {
    let mut bench = Bench::new(4);
    let id = bench.declare(job("a", "plan", 1, 55));
    let runs = bench.due(0, &[id]);
    assert_eq!(bench.starts(0), [id]);
    let usage = Usage { mebibytes: Some(1_024), ..Usage::default() };
    let ran = MINUTE;
    bench
        .planner
        .see(at(1), Event::Ended { run: runs[0], outcome: Outcome::OutOfMemory, ran, usage })
        .unwrap();
    let Some(Decision::Start { size, why, attempt: 2, .. }) = bench.planner.decide(at(1)).pop() else {
        panic!("tried again")
    };
    assert_eq!(size.mebibytes, 2_048);
    assert!(why.to_string().contains("double"), "{why}");
}

#[test]
fn a_quota_holds_its_tenant_and_nobody_else() {
    let mut bench = Bench::new(8);
    let ids: Vec<JobId> =
        (0..4).map(|number| bench.declare(job("a", &format!("job-{number}"), 1, 60))).collect();
    let other = bench.declare(job("b", "job-0", 1, 300));
    bench.planner.limit("a", Some(Size { millicores: 2_000, mebibytes: 65_536 })).unwrap();
    let runs = bench.due(0, &ids);
    bench.due(0, &[other]);
    let started = bench.starts(0);
    assert_eq!(started, [ids[0], ids[1], other]);
    assert!(bench.planner.explain(runs[3]).unwrap().contains("quota"));
    bench.end(5, runs[0], Outcome::Succeeded, 5);
    assert_eq!(bench.starts(5), [ids[2]]);
    // Memory counts, too.
    bench.planner.limit("a", Some(Size { millicores: 8_000, mebibytes: 3 * 1_024 })).unwrap();
    assert_eq!(bench.starts(6), [ids[3]]);
}

#[test]
fn a_job_larger_than_its_quota_or_the_capacity_is_refused_with_what_to_change() {
    let mut bench = Bench::new(4);
    bench.planner.limit("a", Some(Size { millicores: 1_000, mebibytes: 4_096 })).unwrap();
    let error = bench.planner.declare(job("a", "plan", 2, 55), &here()).unwrap_err().to_string();
    assert!(error.contains("quota") && error.contains("raise the limit"), "{error}");
    let error = bench.planner.declare(job("b", "plan", 8, 55), &here()).unwrap_err().to_string();
    assert!(error.contains("the capacity"), "{error}");
    bench.declare(job("b", "plan", 2, 55));
    let quota = Some(Size { millicores: 1_000, mebibytes: 4_096 });
    assert!(bench.planner.limit("b", quota).is_err());
}

#[test]
fn declarations_that_contradict_are_refused_with_what_to_change() {
    let mut bench = Bench::new(4);
    let mut refused = |job: Job| bench.planner.declare(job, &here()).unwrap_err().to_string();
    let late = refused(Job { not_before: MINUTE * 60, ..job("a", "x", 1, 55) });
    assert!(late.contains("make the window longer"), "{late}");
    let negative = refused(Job { not_before: -MINUTE, ..job("a", "x", 1, 55) });
    assert!(negative.contains("window"), "{negative}");
    assert!(refused(job("a", "x", 0, 55)).contains("no CPU"));
    let needs = refused(Job { needs: Some("x".to_owned()), ..job("a", "x", 1, 55) });
    assert!(needs.contains("declare that first"), "{needs}");
    bench.declare(job("a", "x", 1, 55));
    assert!(bench.planner.declare(job("a", "x", 1, 55), &here()).unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_window_that_begins_later_is_waited_for() {
    let mut bench = Bench::new(4);
    let id = bench.declare(Job { not_before: MINUTE * 10, ..job("a", "plan", 1, 55) });
    bench.due(0, &[id]);
    assert_eq!(bench.starts(0), []);
    assert_eq!(bench.planner.next_wake(), Some(at(10)));
    assert_eq!(bench.starts(10), [id]);
}

#[test]
fn what_is_left_to_kueue_takes_no_capacity_but_is_sized() {
    let mut bench = Bench::new(1);
    let queue = Orderer::Kueue { queue: "night".to_owned(), reason: String::new() };
    let left = bench.planner.declare(job("a", "plan", 1, 55), &queue).unwrap();
    let ours = bench.declare(job("b", "plan", 1, 55));
    let runs = bench.due(0, &[left, ours]);
    let decisions = bench.planner.decide(at(0));
    assert!(
        decisions.iter().any(|decision| matches!(decision, Decision::LeaveToKueue { run, queue, size }
            if *run == runs[0] && queue == "night" && size.mebibytes > 0)),
        "{decisions:?}"
    );
    assert!(
        decisions.iter().any(|decision| matches!(decision, Decision::Start { run, .. } if *run == runs[1]))
    );
    bench.end(9, runs[0], Outcome::Succeeded, 9);
    assert_eq!(bench.planner.history(left).unwrap().peaks, [700]);
}

#[test]
fn less_capacity_stops_new_starts_and_interrupts_nothing() {
    let mut bench = Bench::new(2);
    let ids: Vec<JobId> = ["a", "b", "c"].map(|tenant| bench.declare(job(tenant, "plan", 1, 55))).to_vec();
    let runs = bench.due(0, &ids);
    assert_eq!(bench.starts(0).len(), 2);
    bench.planner.see(at(1), Event::Capacity(Size { millicores: 1_000, mebibytes: 65_536 })).unwrap();
    bench.end(2, runs[0], Outcome::Succeeded, 2);
    assert_eq!(bench.starts(2), []);
    bench.end(3, runs[1], Outcome::Succeeded, 3);
    assert_eq!(bench.starts(3), [ids[2]]);
}

/// Two tenants of which only one can be in time each hour: how late each was, in minutes.
fn crowded(hours: i64) -> [Vec<i64>; 2] {
    let mut bench = Bench::new(1);
    let ids = ["a", "b"].map(|tenant| bench.declare(job(tenant, "plan", 1, 35)));
    // A little longer: without credit this one would always come first.
    bench.teach(ids[0], 25.0);
    bench.teach(ids[1], 24.0);
    let mut late = [Vec::new(), Vec::new()];
    for hour in 0..hours {
        let runs = bench.due(hour * 60, &ids);
        for turn in 0..2 {
            let minute = hour * 60 + turn * 25;
            let started = bench.starts(minute);
            let place = ids.iter().position(|id| started.contains(id)).unwrap();
            bench.end(minute + 25, runs[place], Outcome::Succeeded, 25 - place as i64);
            late[place].push((minute + 25 - hour * 60 - 35).max(0));
        }
    }
    late
}

#[test]
fn lateness_goes_round_among_tenants() {
    let late = crowded(12);
    let sums = late.clone().map(|minutes| minutes.iter().sum::<i64>());
    assert!(sums[0].abs_diff(sums[1]) <= 15, "{late:?}");
    assert!(
        late.iter().all(|minutes| minutes.windows(2).all(|pair| pair[0] == 0 || pair[1] == 0)),
        "{late:?}"
    );
}

#[test]
fn a_run_that_can_wait_never_comes_before_one_that_cannot() {
    let mut bench = Bench::new(1);
    let blocker = bench.declare(job("z", "x", 1, 300));
    let overdue = bench.declare(job("a", "plan", 1, 20));
    let relaxed = bench.declare(Job { criticality: Criticality::Critical, ..job("b", "plan", 1, 200) });
    for id in [blocker, overdue, relaxed] {
        bench.teach(id, 15.0);
    }
    let runs = bench.due(0, &[blocker]);
    assert_eq!(bench.starts(0), [blocker]);
    bench.due(1, &[relaxed, overdue]);
    bench.end(30, runs[0], Outcome::Succeeded, 30);
    assert_eq!(bench.starts(30), [overdue]);
}

#[test]
fn of_runs_with_slack_the_more_critical_starts_first_although_it_could_start_later() {
    let mut bench = Bench::new(1);
    let (critical, high) = ((Criticality::Critical, 206), (Criticality::High, 204));
    let (normal, low) = ((Criticality::Normal, 202), (Criticality::Low, 200));
    // Each could start two minutes later than the one that is less critical.
    let ids = [critical, high, normal, low].map(|(criticality, due)| {
        let id = bench.declare(Job { criticality, ..job(&format!("t{due}"), "plan", 1, due) });
        bench.teach(id, 10.0);
        id
    });
    let runs = bench.due(0, &ids);
    for (minute, (id, run)) in ids.into_iter().zip(runs).enumerate() {
        let minute = 10 * minute as i64;
        assert_eq!(bench.starts(minute), [id]);
        bench.end(minute + 10, run, Outcome::Succeeded, 10);
    }
}

#[test]
fn what_was_learnt_and_what_runs_survive_a_restart() {
    let mut bench = Bench::new(2);
    let ids = ["a", "b", "c"].map(|tenant| bench.declare(job(tenant, "plan", 1, 55)));
    for (id, minutes) in ids.into_iter().zip([5.0, 20.0, 10.0]) {
        bench.teach(id, minutes);
    }
    let runs = bench.due(0, &ids);
    assert_eq!(bench.starts(0), [ids[1], ids[2]]);

    let mut again = Bench::new(2);
    for (id, tenant) in ids.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(again.declare(job(tenant, "plan", 1, 55)), id);
        let text = serde_json::to_string(&bench.planner.learnt(id).unwrap()).unwrap();
        again.planner.restore(id, serde_json::from_str(&text).unwrap()).unwrap();
    }
    for run in &runs[1..] {
        let size = Size { millicores: 1_000, mebibytes: 1_024 };
        again.planner.see(at(1), Event::Found { run: *run, size, attempt: 1 }).unwrap();
    }
    again.planner.see(at(1), Event::Due(runs[0])).unwrap();
    for bench in [&mut bench, &mut again] {
        assert_eq!(bench.starts(1), []);
        bench.end(10, runs[2], Outcome::Succeeded, 10);
        assert_eq!(bench.starts(10), [ids[0]]);
    }
}

#[test]
fn events_that_fit_nothing_are_refused_by_name() {
    let mut bench = Bench::new(2);
    let id = bench.declare(job("a", "plan", 1, 55));
    let runs = bench.due(0, &[id]);
    let twice = bench.planner.see(at(0), Event::Due(runs[0])).unwrap_err().to_string();
    assert!(twice.contains("a/plan"), "{twice}");
    let ended =
        Event::Ended { run: runs[0], outcome: Outcome::Succeeded, ran: MINUTE, usage: Usage::default() };
    assert!(matches!(bench.planner.see(at(0), ended), Err(PlannerError::NotRunning { .. })));
    let unknown = Event::Due(Run { slot: at(0), job: JobId(9) });
    assert!(matches!(bench.planner.see(at(0), unknown), Err(PlannerError::UnknownJob(9))));
}

proptest! {
    /// Whatever happens: never more reserved than there is or than a quota allows, nothing starts twice, everything ends.
    #[test]
    fn capacity_and_quotas_hold_at_every_moment_and_all_work_gets_done(
        jobs in prop::collection::vec((0_usize..4, 1_u64..=3, 5_i64..90, 1_i64..40, 0_u8..10), 1..40),
        vcpu in 3_u64..8,
    ) {
        let mut bench = Bench::new(vcpu);
        let quota = Size { millicores: 3_000, mebibytes: 65_536 };
        bench.planner.limit("tenant-0", Some(quota)).unwrap();
        let mut lasts = Vec::new();
        let mut ids = Vec::new();
        for (number, (tenant, cpu, due, minutes, luck)) in jobs.iter().enumerate() {
            ids.push(bench.declare(job(&format!("tenant-{tenant}"), &format!("job-{number}"), *cpu, *due)));
            lasts.push((*minutes, *luck));
        }
        bench.due(0, &ids);
        let mut running: Vec<(i64, Run, Size)> = Vec::new();
        let mut tries = vec![0; ids.len()];
        let mut done = 0;
        for minute in 0..5_000 {
            let (over, still): (Vec<_>, Vec<_>) = running.drain(..).partition(|run| run.0 <= minute);
            running = still;
            for (_, run, _) in over {
                let place = run.job.index();
                let failed = lasts[place].1 == 0 && tries[place] == 1;
                done += usize::from(!failed);
                let outcome = if failed { Outcome::Failed } else { Outcome::Succeeded };
                bench.end(minute, run, outcome, lasts[place].0);
            }
            for decision in bench.planner.decide(at(minute)) {
                let Decision::Start { run, size, .. } = decision else { continue };
                prop_assert!(running.iter().all(|other| other.1 != run));
                tries[run.job.index()] += 1;
                running.push((minute + lasts[run.job.index()].0, run, size));
            }
            let all = running.iter().fold(Size::default(), |all, run| all.plus(run.2));
            prop_assert_eq!(all, bench.planner.reserved());
            prop_assert!(all.millicores <= vcpu * 1_000);
            let of_first = running.iter().filter(|run| jobs[run.1.job.index()].0 == 0);
            let first = of_first.fold(Size::default(), |all, run| all.plus(run.2));
            prop_assert!(first.fits(quota));
            if done == ids.len() {
                break;
            }
        }
        prop_assert_eq!(done, ids.len());
    }
}

/// Two jobs on one vCPU: the first of 12 minutes, of whose last twenty tries `failed` failed half-way, the second of 15
/// minutes whose program never failed.
fn fails_at_times(failed: usize) -> (Bench, [JobId; 2]) {
    let mut bench = Bench::new(1);
    let ids = [bench.declare(job("a", "solve", 1, 55)), bench.declare(job("b", "report", 1, 55))];
    for (id, (minutes, failed)) in ids.into_iter().zip([(12.0_f64, failed), (15.0, 0)]) {
        let mut history = JobHistory::default();
        for run in 0..20 {
            history.ran(minutes * 60.0);
            history.failures.push((run < failed).then_some(0.5));
        }
        bench.planner.restore(id, history.into()).unwrap();
    }
    (bench, ids)
}

#[test]
fn what_fails_at_times_starts_while_there_is_time_for_one_more_try() {
    let (mut bench, ids) = fails_at_times(0);
    bench.due(0, &ids);
    assert_eq!(bench.starts(0), [ids[1]], "the longer one has less slack");

    let (mut bench, ids) = fails_at_times(1);
    bench.due(0, &ids);
    let decisions = bench.planner.decide(at(0));
    let [Decision::Start { run, why, .. }] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!(run.job, ids[0]);
    assert!((6.0..8.0).contains(&(why.spare.as_secs_f64() / 60.0)), "half of its time once more: {why}");
    assert!(why.to_string().contains("kept for one more try"), "{why}");
    // The second try has the place of the first.
    bench.end(6, *run, Outcome::Failed, 6);
    assert_eq!(bench.starts(6), [ids[0]]);
    bench.end(18, *run, Outcome::Succeeded, 12);
    assert_eq!(bench.starts(18), [ids[1]]);
}

#[test]
fn time_for_one_more_try_is_not_kept_at_the_cost_of_what_is_late_already() {
    let (mut bench, ids) = fails_at_times(1);
    let blocker = bench.declare(job("z", "x", 1, 300));
    let overdue = bench.declare(job("c", "plan", 1, 20));
    bench.teach(blocker, 30.0);
    bench.teach(overdue, 15.0);
    let first = bench.due(0, &[blocker]);
    assert_eq!(bench.starts(0), [blocker]);
    bench.due(1, &[ids[0], overdue]);
    bench.end(30, first[0], Outcome::Succeeded, 30);
    assert_eq!(bench.starts(30), [overdue]);
}
