//! Runs as a user sees them: Jobs come, wait, start, end, fail, are killed.

use super::*;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::policy::{Archetype, Bounds, ControlPolicy, Permits, RunRules, ScalingPolicy};
use homeostat_knowledge::records::OwnerRecord;
use homeostat_knowledge::records::{
    Amounts, ControllerKey, JobEnd, Memory, NodeRecord, PodPhase, RunTimes, Termination, Work,
};
use homeostat_knowledge::{
    ContainerRecord, ContainerState, ControllerKind, ControllerRecord, Level, Name, ObjectKey, Parameters,
    PodRecord, SeededIds, TenantName, TenantPolicy, Uid, WorkloadPolicy,
};
use std::sync::Arc;

mod backlog;
mod elsewhere;
mod in_place;
mod kept;
mod kueue;
mod parts;
mod pauses;
mod quota;
mod refused;
mod room;
mod sizes;
mod slots;
mod times;
mod windows;

const MIB: u64 = 1 << 20;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// A cluster of one node, with tenants and their `CronJob`s.
struct World {
    snapshot: Snapshot,
    runs: RunOrder,
    ids: SeededIds,
}

impl World {
    fn new(vcpu: u64) -> Self {
        let mut snapshot = Snapshot::default();
        for kind in ObjectKind::REQUIRED {
            snapshot.commit(&ObjectChange::Synced(kind), at(0));
        }
        let control = ControlPolicy {
            kill_switch: KillSwitch::Off,
            ceiling: Level::ActFull,
            ..ControlPolicy::default()
        };
        snapshot.commit(&ObjectChange::Control(Some(Arc::new(control))), at(0));
        let node = NodeRecord {
            name: Name::from("node"),
            uid: Uid::new("node"),
            ready: true,
            cordoned: false,
            leaving: None,
            zone: None,
            allocatable_pods: 110,
            allocatable: Amounts { cpu_millis: Some(vcpu * 1_000), memory_bytes: Some(64 << 30) },
            pressures: Vec::new(),
            control_plane: false,
            hold: None,
        };
        snapshot.commit(&ObjectChange::Node(Change::Applied(Arc::new(node))), at(0));
        Self { snapshot, runs: RunOrder::default(), ids: SeededIds::new(1) }
    }

    fn tenant(&mut self, name: &str, quota: Option<Amounts>) {
        let kinds = [ActionKind::StartJob, ActionKind::CreateJob, ActionKind::ResizePod];
        let levels = kinds.map(|kind| (kind, Level::ActFull));
        let tenant = TenantPolicy {
            levels: levels.into(),
            quota,
            ..TenantPolicy::new(TenantName::new(name), Uid::new(name), [Name::from(name)])
        };
        self.snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), at(0));
    }

    fn workload(&mut self, tenant: &str, name: &str, change: impl FnOnce(&mut WorkloadPolicy)) {
        let key = ObjectKey::new(tenant, name);
        let target = ControllerKey { kind: ControllerKind::CronJob, object: key.clone() };
        let mut policy = WorkloadPolicy {
            archetype: Archetype::Batch,
            permits: Permits {
                repeatable: true,
                memory_bytes: Some(Bounds { min: 16 * MIB, max: 4_096 * MIB }),
                scaling: Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() }),
                runs: RunRules { deadline: SignedDuration::from_mins(10), ..RunRules::default() },
                ..Permits::default()
            },
            ..WorkloadPolicy::new(key, Uid::new(name), target.clone())
        };
        change(&mut policy);
        self.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), at(0));
        let mut cron = record(target, &format!("cron-{tenant}-{name}"));
        cron.work = Some(Box::new(work(0, 512)));
        self.put(cron);
    }

    fn put(&mut self, record: ControllerRecord) {
        self.snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(record))), at(0));
        self.snapshot.generation += 1;
    }

    /// A suspended Job of a slot, as the `CronJob` makes it.
    fn job(&mut self, tenant: &str, name: &str, slot: i64) -> ControllerRecord {
        let object = ObjectKey::new(tenant, format!("{name}-{slot}"));
        let key = ControllerKey { kind: ControllerKind::Job, object };
        let mut job = record(key, &format!("{tenant}-{name}-{slot}"));
        job.owner = Some(OwnerRecord {
            kind: ControllerKind::CronJob,
            name: Name::from(name),
            uid: Uid::new(format!("cron-{tenant}-{name}")),
        });
        job.paused = true;
        let cron = self
            .snapshot
            .controllers
            .get(&ControllerKey { kind: ControllerKind::CronJob, object: ObjectKey::new(tenant, name) });
        let requests =
            cron.and_then(|cron| cron.work.clone()).map_or_else(Amounts::default, |work| work.requests);
        job.work = Some(Box::new(Work { requests, ..work(slot, 512) }));
        self.put(job.clone());
        job
    }

    /// The Job runs.
    fn begin(&mut self, mut job: ControllerRecord) -> ControllerRecord {
        job.paused = false;
        job.current = 1;
        job.run = RunTimes { started: Some(at(0)), ..RunTimes::default() };
        self.put(job.clone());
        job
    }

    /// It ends, and its pod says how.
    fn end(&mut self, mut job: ControllerRecord, reason: &str, second: i64, took: i64, used: Option<u64>) {
        let good = reason == "Completed";
        job.finished = Some(if good { JobEnd::Complete } else { JobEnd::Failed });
        job.current = 0;
        let end = Termination {
            reason: Name::from(reason),
            exit_code: i32::from(!good),
            started: Some(at(second - took)),
            finished: Some(at(second)),
            used: Amounts { cpu_millis: None, memory_bytes: used.map(|used| used * MIB) },
        };
        let pod = PodRecord {
            node: Some(Name::from("node")),
            phase: if good { PodPhase::Succeeded } else { PodPhase::Failed },
            owner: Some(OwnerRecord {
                kind: ControllerKind::Job,
                name: job.key.object.name.clone(),
                uid: job.uid.clone(),
            }),
            ready: false,
            created: at(0),
            containers: vec![ContainerRecord {
                name: Name::from("app"),
                ready: false,
                restarts: 0,
                state: ContainerState::Terminated(end),
                last_termination: None,
                cpu_request: None,
                cpu_limit: None,
                ephemeral_storage_limit: None,
                memory: Memory::default(),
            }],
            ..PodRecord::bare(
                ObjectKey::new(job.key.object.namespace.clone(), format!("{}-pod", job.key.object.name)),
                Uid::new(format!("{}-pod", job.uid)),
            )
        };
        self.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(second));
        self.put(job);
    }

    /// Names of what is started now, with the memory that is set in MiB, and the sizes of templates.
    fn step(&mut self, second: i64) -> Vec<(String, Option<u64>)> {
        self.step_at(at(second))
    }

    /// The same at a moment within a second.
    fn step_at(&mut self, now: Timestamp) -> Vec<(String, Option<u64>)> {
        let ordered =
            self.runs.step(&self.snapshot, now, &mut self.ids).expect("a fifth of a second has passed");
        for (key, report) in ordered.reports {
            self.snapshot.runs.insert_mut(key, Arc::new(report));
        }
        let started = ordered.plans.iter().map(|plan| {
            let step = &plan.steps[0];
            let memory = match &step.parameters {
                Parameters::StartJob { memory_bytes, .. } | Parameters::ResizePod { memory_bytes, .. } => {
                    *memory_bytes
                }
                other => panic!("{other:?}"),
            };
            (step.target.key.to_string(), memory.map(|bytes| bytes / MIB))
        });
        started.collect()
    }

    fn report(&self, tenant: &str, name: &str) -> RunsReport {
        (**self.snapshot.runs.get(&ObjectKey::new(tenant, name)).expect("a report")).clone()
    }
}

fn work(slot: i64, mebibytes: u64) -> Work {
    Work {
        slot: Some(at(slot)),
        container: Some(Name::from("app")),
        requests: Amounts { cpu_millis: Some(1_000), memory_bytes: Some(mebibytes * MIB) },
        pods: 1,
        ..Work::default()
    }
}

fn record(key: ControllerKey, uid: &str) -> ControllerRecord {
    ControllerRecord { current: 0, ready: 0, surges: false, ..ControllerRecord::bare(key, Uid::new(uid)) }
}

fn names(started: &[(String, Option<u64>)]) -> Vec<&str> {
    started.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn what_has_least_slack_starts_first_and_the_rest_when_there_is_room() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.tenant("b", None);
    world.workload("a", "plan", |_| {});
    world.workload("b", "plan", |policy| policy.permits.runs.deadline = SignedDuration::from_mins(5));
    let late = world.job("a", "plan", 0);
    let soon = world.job("b", "plan", 0);
    assert_eq!(names(&world.step(1)), ["b/plan-0"], "one vCPU, and b is due first");
    assert_eq!(world.step(2), [], "no room, and what was ordered is not ordered again");
    assert!(world.report("a", "plan").said.contains("waits for room"), "{}", world.report("a", "plan").said);
    let soon = world.begin(soon);
    assert_eq!(world.step(3), []);
    world.end(soon, "Completed", 60, 50, Some(200));
    assert_eq!(names(&world.step(61)), ["a/plan-0"]);
    world.begin(late);
    assert_eq!(world.step(62), []);
    assert_eq!(world.report("a", "plan").running, 1);
}

#[test]
fn of_two_runs_that_are_due_alike_the_critical_one_starts_before_one_of_high_criticality() {
    let mut world = World::new(1);
    for (tenant, criticality) in [("a", 750), ("b", 1_000)] {
        world.tenant(tenant, None);
        world.workload(tenant, "plan", |policy| policy.criticality = criticality);
        world.job(tenant, "plan", 0);
    }
    assert_eq!(names(&world.step(1)), ["b/plan-0"]);
}

#[test]
fn an_order_without_effect_is_given_again_later_and_later() {
    let mut world = World::new(4);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.job("a", "plan", 0);
    let mut given = Vec::new();
    for second in 1..40 {
        if !world.step(second).is_empty() {
            given.push(second);
        }
    }
    assert_eq!(given, [1, 6, 16, 36]);
}

#[test]
fn outside_of_auto_it_says_what_it_would_do_and_does_nothing() {
    for mode in [ScalingMode::Observe, ScalingMode::Recommend] {
        let mut world = World::new(4);
        world.tenant("a", None);
        world.workload("a", "plan", |policy| {
            policy.permits.scaling = Some(ScalingPolicy { mode, ..ScalingPolicy::default() });
        });
        world.job("a", "plan", 0);
        assert_eq!(world.step(1), [], "{mode:?}");
        let report = world.report("a", "plan");
        assert!(report.said.contains("would start a run with 1 vCPU"), "{}", report.said);
        assert_eq!((report.mode, report.waiting), (mode, 1));
    }
}

#[test]
fn the_kill_switch_and_pauses_keep_everything_waiting_and_say_so() {
    let mut world = World::new(4);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| policy.paused = true);
    world.job("a", "plan", 0);
    assert_eq!(world.step(1), []);
    assert!(world.report("a", "plan").problem.is_some_and(|text| text.contains("paused")));
    world.workload("a", "plan", |_| {});
    let engaged = KillSwitch::Engaged { reason: Name::from("drill"), by: None };
    let control = ControlPolicy { kill_switch: engaged, ..(*world.snapshot.control).clone() };
    world.snapshot.commit(&ObjectChange::Control(Some(Arc::new(control))), at(2));
    assert_eq!(world.step(2), []);
    assert!(world.report("a", "plan").problem.is_some_and(|text| text.contains("drill")));
}

#[test]
fn a_run_waits_for_the_one_that_it_needs_also_when_its_job_comes_first() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "forecast", |_| {});
    world.workload("a", "plan", |policy| policy.dependencies = vec![Name::from("forecast")]);
    world.job("a", "plan", 0);
    assert_eq!(world.step(1), [], "the Job of the forecast may still come");
    let forecast = world.job("a", "forecast", 0);
    assert_eq!(names(&world.step(2)), ["a/forecast-0"]);
    let forecast = world.begin(forecast);
    assert_eq!(world.step(3), []);
    assert!(
        world.report("a", "plan").said.contains("waits for a/forecast"),
        "{}",
        world.report("a", "plan").said
    );
    world.end(forecast, "Completed", 30, 20, Some(100));
    assert_eq!(names(&world.step(31)), ["a/plan-0"]);
}

#[test]
fn workloads_that_need_each_other_are_told_and_others_go_on() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "one", |policy| policy.dependencies = vec![Name::from("two")]);
    world.workload("a", "two", |policy| policy.dependencies = vec![Name::from("one")]);
    world.workload("a", "three", |_| {});
    world.job("a", "one", 0);
    world.job("a", "three", 0);
    assert_eq!(names(&world.step(5)), ["a/three-0"]);
    assert!(world.report("a", "one").problem.is_some_and(|text| text.contains("spec.dependencies")));
}

#[test]
fn a_run_killed_for_memory_is_tried_again_at_once_with_double() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    let job = world.job("a", "plan", 0);
    assert_eq!(world.step(1), [("a/plan-0".to_owned(), None)], "as people wrote it");
    let job = world.begin(job);
    world.step(2);
    world.end(job.clone(), "OOMKilled", 20, 10, None);
    assert_eq!(world.step(21), [("a/plan-0".to_owned(), Some(1_024))], "the failed Job is run again, larger");
    // The second try is a Job of its own.
    let object = ObjectKey::new("a", "plan-0-retry");
    let mut second = record(ControllerKey { kind: ControllerKind::Job, object }, "second");
    second.owner = job.owner.clone();
    second.current = 1;
    second.work = Some(Box::new(Work { retry_of: Some(job.uid.clone()), ..work(0, 1_024) }));
    world.put(second.clone());
    assert_eq!(world.step(22), []);
    assert_eq!(world.report("a", "plan").running, 1);
    world.end(second, "Completed", 40, 10, Some(700));
    assert_eq!(world.step(41), []);
    world.job("a", "plan", 600);
    let next = world.step(601);
    assert!(
        matches!(next[..], [(_, Some(memory))] if (800..=1_024).contains(&memory)),
        "what it needed and a margin: {next:?}"
    );
}

#[test]
fn without_sizes_of_jobs_the_template_gets_them_in_steps() {
    let mut world = World::new(8);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    for slot in 0..3 {
        let job = world.job("a", "plan", slot * 100);
        world.step(slot * 100 + 1);
        let job = world.begin(job);
        world.step(slot * 100 + 2);
        world.end(job, "Completed", slot * 100 + 20, 10, Some(900));
        world.step(slot * 100 + 21);
    }
    let job = world.job("a", "plan", 400);
    let sized = world.step(401);
    assert!(matches!(sized[..], [(_, Some(memory))] if memory > 900), "{sized:?}");
    // The API server of this version refuses: the guards stored it.
    let mut refused = refused_action(&job, sized[0].1);
    refused.incident = homeostat_knowledge::runs::occasion(&refused.target);
    refused.id = homeostat_knowledge::ActionId::new(format!("{}-1", refused.incident));
    world.snapshot.actions.insert_mut(refused.id.clone(), Arc::new(refused));
    let again = world.step(406);
    assert!(again.contains(&("a/plan-400".to_owned(), None)), "it starts as it is: {again:?}");
    assert!(
        again.contains(&("a/plan".to_owned(), Some(1_024))),
        "and the next ones are larger, doubled at most: {again:?}"
    );
}

/// An action that the dry run refused.
fn refused_action(job: &ControllerRecord, memory: Option<u64>) -> homeostat_knowledge::ActionRecord {
    use homeostat_knowledge::{
        ActionRecord, ActionState, Before, EvidenceId, GuardName, GuardReport, GuardResult, IncidentId,
        PlaybookRef, Request, Verification,
    };
    ActionRecord {
        id: homeostat_knowledge::ActionId::new("x"),
        namespace: job.key.object.namespace.clone(),
        resource_version: Name::from("1"),
        incident: IncidentId::new("x"),
        origin: homeostat_knowledge::Origin::Schedule,
        tenant: TenantName::new("a"),
        workload: ObjectKey::new("a", "plan"),
        playbook: PlaybookRef { name: Name::from("order-of-runs"), version: 0, step: 1 },
        target: Snapshot::controller_target(job).expect("a Job"),
        parameters: Parameters::StartJob {
            cpu_millis: None,
            memory_bytes: memory.map(|memory| memory * MIB),
            parallelism: None,
        },
        before: Before::default(),
        epoch: 1,
        evidence: homeostat_knowledge::action::EvidenceRef {
            id: EvidenceId::new("e"),
            taken_at: at(401),
            summary: "its turn".to_owned(),
        },
        verification: Verification {
            within: SignedDuration::from_secs(60),
            expect: homeostat_knowledge::plan::Expectation::Nothing,
        },
        undo: homeostat_knowledge::plan::Undo::None,
        undo_of: None,
        request: Request::default(),
        state: ActionState::Refused,
        guards: vec![GuardReport {
            name: GuardName::DryRun,
            result: GuardResult::Refused,
            observed: String::new(),
            limit: String::new(),
            message: "spec.template: field is immutable".to_owned(),
        }],
        instants: homeostat_knowledge::action::ActionInstants::default(),
        outcome: None,
        approval: None,
        message: "refused".to_owned(),
    }
}

#[test]
fn after_a_restart_what_runs_counts_and_what_ended_has_taught() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.tenant("b", None);
    world.workload("a", "plan", |_| {});
    world.workload("b", "plan", |_| {});
    let ended = world.job("a", "plan", -600);
    world.end(ended, "Completed", -500, 90, Some(300));
    let running = world.job("a", "plan", 0);
    let running = world.begin(running);
    world.job("b", "plan", 0);
    assert_eq!(world.step(5), [], "the only vCPU is taken by what was found running");
    world.end(running, "Completed", 60, 55, Some(300));
    let started = world.step(61);
    assert_eq!(names(&started), ["b/plan-0"]);
    assert!(world.report("b", "plan").said.contains("planned"), "{}", world.report("b", "plan").said);
}

#[test]
fn what_others_start_or_delete_is_taken_as_it_is() {
    let mut world = World::new(1);
    world.tenant("a", None);
    world.workload("a", "plan", |_| {});
    world.workload("a", "other", |_| {});
    let busy = world.job("a", "plan", 0);
    let busy = world.begin(busy);
    let waiting = world.job("a", "other", 0);
    assert_eq!(world.step(1), []);
    let by_hand = world.begin(waiting);
    assert_eq!(world.step(2), [], "a person started it; there is one vCPU only");
    assert_eq!(world.report("a", "other").running, 1);
    world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(busy.key)), at(3));
    world.snapshot.commit(&ObjectChange::Controller(Change::Deleted(by_hand.key)), at(3));
    assert_eq!(world.step(3), []);
    world.job("a", "plan", 60);
    assert_eq!(names(&world.step(61)), ["a/plan-60"]);
}

#[test]
fn a_tenants_quota_holds_and_a_job_larger_than_it_is_told() {
    let mut world = World::new(8);
    world.tenant("a", Some(Amounts { cpu_millis: Some(1_000), memory_bytes: None }));
    world.workload("a", "plan", |_| {});
    world.job("a", "plan", 0);
    world.job("a", "plan", 1);
    assert_eq!(world.step(2).len(), 1, "the second would be more than the tenant may have");
    assert!(world.report("a", "plan").said.contains("quota"), "{}", world.report("a", "plan").said);
    let mut small = World::new(8);
    small.tenant("a", Some(Amounts { cpu_millis: Some(500), memory_bytes: None }));
    small.workload("a", "plan", |_| {});
    small.job("a", "plan", 0);
    assert_eq!(small.step(1), []);
    assert!(small.report("a", "plan").problem.is_some_and(|text| text.contains("quota")));
}

#[test]
fn it_says_which_run_is_late_by_how_much_and_what_would_cure_it() {
    let mut world = World::new(1);
    world.tenant("a", None);
    for name in ["one", "two", "three", "four"] {
        world.workload("a", name, |policy| policy.permits.runs.deadline = SignedDuration::from_mins(4));
        world.job("a", name, 0);
    }
    world.step(1);
    let late: Vec<String> =
        ["one", "two", "three", "four"].iter().filter_map(|name| world.report("a", name).late).collect();
    assert!(!late.is_empty());
    assert!(late.iter().all(|text| text.contains("after it is due") && text.contains("vCPU")), "{late:?}");
}

#[test]
fn a_failed_run_that_may_not_be_repeated_is_given_up_and_told() {
    let mut world = World::new(2);
    world.tenant("a", None);
    world.workload("a", "plan", |policy| policy.permits.repeatable = false);
    let job = world.job("a", "plan", 0);
    world.step(1);
    let job = world.begin(job);
    world.step(2);
    world.end(job, "Error", 20, 10, Some(100));
    assert_eq!(world.step(21), []);
    assert!(world.report("a", "plan").problem.is_some_and(|text| text.contains("given up")));
}

#[test]
fn many_jobs_cost_little_and_the_same_world_gives_the_same_orders() {
    let run = || {
        let mut world = World::new(40);
        for tenant in 0..50 {
            let tenant = format!("t{tenant:02}");
            world.tenant(&tenant, None);
            world.workload(&tenant, "plan", |_| {});
            world.job(&tenant, "plan", 0);
        }
        world.step(1)
    };
    let started = run();
    assert_eq!(started.len(), 40);
    assert_eq!(started, run());
}
