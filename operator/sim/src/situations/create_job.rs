//! Work waits, and no run of its `CronJob` is there.

use super::{Chosen, EffectRequest, Situation, controller, on, same_uid, same_version, target};
use crate::kubernetes;
use crate::objects::{CREATED_BY, Controller, controller_key};
use crate::server::{Refused, Server};
use homeostat_knowledge::policy::{Permits, RunItems, RunRules, ScalingMode, ScalingPolicy};
use homeostat_knowledge::records::{ControllerKey, Work};
use homeostat_knowledge::runs::made_name;
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, Name, ObjectKey, Parameters, Snapshot, Timestamp,
    WorkloadKey,
};

/// A `CronJob` whose schedule brings nothing, while work waits as long as no Job of it is there.
pub struct WaitingWork;

/// Key of the Job that such an effect makes.
fn made_key(request: &EffectRequest) -> Option<ControllerKey> {
    let Parameters::CreateJob { slot } = request.parameters else { return None };
    let namespace = request.target.key.namespace.clone();
    let object = ObjectKey { namespace, name: made_name(&request.target, slot) };
    Some(controller_key(ControllerKind::Job, &object))
}

/// Jobs of the `CronJob`, in name order.
fn jobs(server: &Server, workload: &WorkloadKey) -> Vec<ControllerKey> {
    let Some(cron) = controller(server, WaitingWork.targets(), workload) else { return Vec::new() };
    let own = |job: &&Controller| {
        job.record.key.kind == ControllerKind::Job
            && job.record.owner.as_ref().is_some_and(|owner| owner.uid == cron.record.uid)
    };
    server.controllers.values().filter(own).map(|job| job.record.key.clone()).collect()
}

/// The `CronJob` and how many of the Jobs that its controller made run, as its status tells.
fn tell(server: &mut Server, workload: &WorkloadKey, running: i32) {
    super::change(server, WaitingWork.targets(), workload, |cron| {
        (cron.record.current, cron.record.ready, cron.record.updated) = (running, 0, running);
        cron.record.replicas = 0;
    });
}

/// Its controller makes a Job, as its time has come.
fn run_by_schedule(server: &mut Server, workload: &WorkloadKey) {
    let cron = controller_key(ControllerKind::CronJob, workload);
    if jobs(server, workload).is_empty() && kubernetes::create_job(server, &cron, None).is_some() {
        tell(server, workload, 1);
    }
}

impl Situation for WaitingWork {
    fn kind(&self) -> ActionKind {
        ActionKind::CreateJob
    }

    fn finding(&self) -> FindingKind {
        FindingKind::JobFailed
    }

    fn targets(&self) -> Option<ControllerKind> {
        Some(ControllerKind::CronJob)
    }

    fn permits(&self) -> Permits {
        let scaling = ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() };
        let items = Some(RunItems { each: None, run_from: Some(1) });
        let runs = RunRules { items, ..RunRules::default() };
        Permits { scaling: Some(scaling), runs, ..Permits::default() }
    }

    /// A run is under way.
    fn build(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        kubernetes::cron_by_hand(server, workload);
        run_by_schedule(server, workload);
    }

    /// It ended and is cleared away, and work has come.
    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        for job in jobs(server, workload) {
            server.remove_controller(&job);
        }
        tell(server, workload, 0);
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        let cron = controller(server, self.targets(), workload)?;
        let waits = !cron.record.paused && jobs(server, workload).is_empty();
        waits.then(|| Entity::Workload { key: workload.clone() })
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        run_by_schedule(server, workload);
    }

    fn step(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        _: &Entity,
        now: Timestamp,
    ) -> Option<Chosen> {
        let slot = Timestamp::from_second(now.as_second()).unwrap_or(now);
        on(snapshot.controller_of(workload)?, Parameters::CreateJob { slot })
    }

    /// A name can be used once. The `CronJob` is not changed; that nobody else changed it, and that it is not suspended, is
    /// looked at as the request is made.
    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let cron = target(server, request).ok_or(Refused::NotFound)?;
        same_uid(request, &cron.record.uid)?;
        same_version(request, &cron.record.resource_version)?;
        if cron.record.paused {
            return Err(Refused::Conflict("it is suspended now".to_owned()));
        }
        if made_key(request).is_some_and(|key| server.controllers.contains_key(&key)) {
            return Err(Refused::Conflict("it was made already".to_owned()));
        }
        Ok(())
    }

    /// The new Job waits for its turn.
    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        let Some(key) = made_key(request) else { return };
        let cron = super::target_key(request);
        let Some(job) = kubernetes::create_job(server, &cron, Some(key.object.name)) else { return };
        if let Some(mut job) = server.controllers.get(&job).cloned() {
            let by = Name::from(request.action.as_str());
            job.record.paused = true;
            (job.record.current, job.record.ready) = (0, 0);
            job.record.work = Some(Box::new(Work { made_by: Some(by.clone()), ..Work::default() }));
            job.marks.insert(Name::from(CREATED_BY), by);
            server.put_controller(job);
        }
    }

    /// A person puts another `CronJob` in its place, which makes a run at once.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        super::suspend::replace(server, workload);
        run_by_schedule(server, workload);
    }
}
