//! Each run of a `CronJob` does harm; it must start no more.

use super::{Chosen, EffectRequest, HOLD, Situation, change, change_target, on, workload_if};
use crate::kubernetes;
use crate::server::Server;
use homeostat_knowledge::records::Hold;
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, Name, Parameters, Snapshot, Timestamp, WorkloadKey,
};

/// Runs that slow others down.
pub struct BadRuns;

/// The `CronJob` is deleted and created again.
pub(super) fn replace(server: &mut Server, workload: &WorkloadKey) {
    let uid = server.uid(&workload.name);
    change(server, Some(ControllerKind::CronJob), workload, |cron| {
        cron.record.uid = uid;
        cron.record.paused = false;
        cron.record.hold = None;
        cron.ailment = None;
    });
}

impl Situation for BadRuns {
    fn kind(&self) -> ActionKind {
        ActionKind::Suspend
    }

    fn finding(&self) -> FindingKind {
        FindingKind::Slow
    }

    fn targets(&self) -> Option<ControllerKind> {
        Some(ControllerKind::CronJob)
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::cron(server, workload, now);
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, self.targets(), workload, |cron| cron.ailment = Some(FindingKind::Slow));
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        workload_if(server, self.targets(), workload, |cron| cron.ailment.is_some())
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, self.targets(), workload, |cron| cron.ailment = None);
    }

    fn step(
        &self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        _: &Entity,
        now: Timestamp,
    ) -> Option<Chosen> {
        on(snapshot.controller_of(workload)?, Parameters::Suspend { until: now + HOLD })
    }

    /// Flag and mark in one write. What the runs were in the way of gets done meanwhile.
    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        let Parameters::Suspend { until } = request.parameters else { return };
        change_target(server, request, |cron| {
            cron.record.paused = true;
            cron.record.hold = Some(Hold { by: Name::from(request.action.as_str()), until: Some(until) });
            cron.ailment = None;
        });
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        replace(server, workload);
    }
}
