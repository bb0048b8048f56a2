//! A run failed that may be repeated.

use super::{Chosen, EffectRequest, Situation, controller, on, same_uid, target};
use crate::kubernetes::{self, JOB};
use crate::objects::{CREATED_BY, Controller, controller_key};
use crate::server::{Due, Refused, Server};
use homeostat_execute::actions::retry_name;
use homeostat_knowledge::policy::Permits;
use homeostat_knowledge::records::{ControllerKey, JobEnd};
use homeostat_knowledge::{
    ActionKind, ControllerKind, ControllerRecord, Entity, FindingKind, Name, ObjectKey, Parameters, Snapshot,
    Target, Timestamp, WorkloadKey,
};

/// The newest run failed, and nobody repeated it.
pub struct FailedRun;

/// Key of the Job that repeats this one.
fn retry_key(target: &Target) -> ControllerKey {
    let object = ObjectKey { namespace: target.key.namespace.clone(), name: retry_name(target) };
    controller_key(ControllerKind::Job, &object)
}

fn failed_of(job: &ControllerRecord, cron: &ControllerRecord) -> bool {
    job.key.kind == ControllerKind::Job
        && job.finished == Some(JobEnd::Failed)
        && job.owner.as_ref().is_some_and(|owner| owner.uid == cron.uid)
}

/// Failed runs that no good run repeated, in name order.
fn failed(server: &Server, workload: &WorkloadKey) -> Vec<ControllerKey> {
    let Some(cron) = controller(server, FailedRun.targets(), workload) else { return Vec::new() };
    let repeated = |job: &Controller| {
        Snapshot::controller_target(&job.record)
            .and_then(|target| server.controllers.get(&retry_key(&target)))
            .is_some_and(|retry| retry.record.finished == Some(JobEnd::Complete))
    };
    let jobs = server.controllers.values();
    jobs.filter(|job| failed_of(&job.record, &cron.record) && !repeated(job))
        .map(|job| job.record.key.clone())
        .collect()
}

impl Situation for FailedRun {
    fn kind(&self) -> ActionKind {
        ActionKind::RetryJob
    }

    fn finding(&self) -> FindingKind {
        FindingKind::JobFailed
    }

    fn targets(&self) -> Option<ControllerKind> {
        Some(ControllerKind::CronJob)
    }

    fn permits(&self) -> Permits {
        Permits { repeatable: true, ..Permits::default() }
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        kubernetes::cron_by_hand(server, workload);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        if failed(server, workload).is_empty() {
            let cron = controller_key(ControllerKind::CronJob, workload);
            if let Some(job) = kubernetes::create_job(server, &cron, None) {
                kubernetes::end_job(server, &job, JobEnd::Failed);
            }
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        failed(server, workload).first().map(|_| Entity::Workload { key: workload.clone() })
    }

    /// The failed run is cleared away.
    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        for job in failed(server, workload) {
            server.remove_controller(&job);
        }
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        let cron = snapshot.controller_of(workload)?;
        let jobs = snapshot.controllers.values().filter(|job| failed_of(job, cron));
        let steps = jobs.filter_map(|job| on(job, Parameters::RetryJob));
        steps.into_iter().find(|step| !snapshot.controllers.contains_key(&retry_key(&step.target)))
    }

    /// A name can be used once; the version does not matter, for the failed Job is not changed.
    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let failed = target(server, request).ok_or(Refused::NotFound)?;
        same_uid(request, &failed.record.uid)?;
        if server.controllers.contains_key(&retry_key(&request.target)) {
            return Err(Refused::Conflict("it was retried already".to_owned()));
        }
        Ok(())
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        let owner = target(server, request).and_then(|failed| failed.record.owner.clone());
        let Some(owner) = owner else { return };
        let object = ObjectKey { namespace: request.target.key.namespace.clone(), name: owner.name };
        let cron = controller_key(ControllerKind::CronJob, &object);
        let Some(key) = kubernetes::create_job(server, &cron, Some(retry_name(&request.target))) else {
            return;
        };
        if let Some(mut retry) = server.controllers.get(&key).cloned() {
            retry.marks.insert(Name::from(CREATED_BY), Name::from(request.action.as_str()));
            server.put_controller(retry);
        }
        server.due.insert((now + JOB, Due::Complete(key)));
    }

    /// A person deletes the failed run and starts another one under its name, which ends well.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        let Some(key) = failed(server, workload).into_iter().next() else { return };
        let uid = server.uid("job");
        if let Some(mut job) = server.controllers.get(&key).cloned() {
            job.record.uid = uid;
            server.put_controller(job);
        }
        kubernetes::end_job(server, &key, JobEnd::Complete);
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        match failed(server, workload).into_iter().next() {
            Some(key) => server.touch_controller(&key),
            None => super::touch(server, self.targets(), workload),
        }
    }
}
