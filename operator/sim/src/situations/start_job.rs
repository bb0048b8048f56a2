//! A run waits for its turn, and it has come.

use super::{Chosen, EffectRequest, Situation, change_target, controller, on};
use crate::kubernetes;
use crate::objects::{Controller, controller_key};
use crate::server::Server;
use homeostat_knowledge::policy::{Bounds, Permits, RunRules, ScalingMode, ScalingPolicy};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionKind, ControllerKind, ControllerRecord, Entity, FindingKind, Name, Parameters, Snapshot, Timestamp,
    WorkloadKey,
};

/// Pods that its backlog asks for.
const PODS: u32 = 2;
/// The same as Kubernetes counts them.
const PODS_AT_A_TIME: i32 = 2;

/// A Job was made suspended, and nobody let it go.
pub struct WaitingRun;

fn waits(job: &ControllerRecord, cron: &ControllerRecord) -> bool {
    job.key.kind == ControllerKind::Job
        && job.paused
        && job.finished.is_none()
        && job.owner.as_ref().is_some_and(|owner| owner.uid == cron.uid)
}

/// Jobs that wait, in name order.
fn waiting(server: &Server, workload: &WorkloadKey) -> Vec<ControllerKey> {
    let Some(cron) = controller(server, WaitingRun.targets(), workload) else { return Vec::new() };
    let jobs = server.controllers.values();
    jobs.filter(|job| waits(&job.record, &cron.record)).map(|job| job.record.key.clone()).collect()
}

fn change(server: &mut Server, key: &ControllerKey, change: impl FnOnce(&mut Controller)) {
    if let Some(mut job) = server.controllers.get(key).cloned() {
        change(&mut job);
        server.put_controller(job);
    }
}

impl Situation for WaitingRun {
    fn kind(&self) -> ActionKind {
        ActionKind::StartJob
    }

    fn finding(&self) -> FindingKind {
        FindingKind::JobFailed
    }

    fn targets(&self) -> Option<ControllerKind> {
        Some(ControllerKind::CronJob)
    }

    fn permits(&self) -> Permits {
        let scaling = ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() };
        let parallelism = Some(Bounds { min: 1, max: u64::from(PODS) });
        let runs = RunRules { parallelism, ..RunRules::default() };
        Permits { repeatable: true, scaling: Some(scaling), runs, ..Permits::default() }
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        kubernetes::cron_by_hand(server, workload);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        if waiting(server, workload).is_empty() {
            let cron = controller_key(ControllerKind::CronJob, workload);
            if let Some(job) = kubernetes::create_job(server, &cron, None) {
                change(server, &job, |job| {
                    job.record.paused = true;
                    (job.record.current, job.record.ready) = (0, 0);
                    job.record.work = Some(Box::default());
                });
            }
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        waiting(server, workload).first().map(|_| Entity::Workload { key: workload.clone() })
    }

    /// The Job is taken away.
    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        for job in waiting(server, workload) {
            server.remove_controller(&job);
        }
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        let cron = snapshot.controller_of(workload)?;
        let job = snapshot.controllers.values().find(|job| waits(job, cron))?;
        on(job, Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: Some(PODS) })
    }

    /// Flag, mark and pods at a time in one write; the Job controller makes the pods.
    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        change_target(server, request, |job| {
            job.record.paused = false;
            (job.record.replicas, job.record.current) = (PODS_AT_A_TIME, PODS_AT_A_TIME);
            let work = job.record.work.get_or_insert_default();
            work.pods = PODS;
            work.started_by = Some(Name::from(request.action.as_str()));
        });
    }

    /// A person puts another Job in its place and lets that run.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        let Some(key) = waiting(server, workload).into_iter().next() else { return };
        let uid = server.uid("job");
        change(server, &key, |job| {
            job.record.uid = uid;
            job.record.paused = false;
            job.record.current = 1;
        });
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        match waiting(server, workload).into_iter().next() {
            Some(key) => server.touch_controller(&key),
            None => super::touch(server, self.targets(), workload),
        }
    }
}
