//! Runs of a `CronJob` that Homeostat suspended are missed.

use super::{Chosen, EffectRequest, Situation, change, change_target, on, workload_if};
use crate::kubernetes;
use crate::objects::Controller;
use crate::server::Server;
use crate::world::base;
use homeostat_knowledge::records::Hold;
use homeostat_knowledge::{
    ActionKind, ControllerKind, Entity, FindingKind, Name, Parameters, SignedDuration, Snapshot, Timestamp,
    WorkloadKey,
};

/// A suspension of ours that is over.
pub struct MissingRuns;

impl Situation for MissingRuns {
    fn kind(&self) -> ActionKind {
        ActionKind::Resume
    }

    fn finding(&self) -> FindingKind {
        FindingKind::SignalAbnormal
    }

    fn targets(&self) -> Option<ControllerKind> {
        Some(ControllerKind::CronJob)
    }

    fn build(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        kubernetes::cron(server, workload, now);
    }

    /// An earlier action suspended it, for longer than it is needed.
    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        let until = Some(base() + SignedDuration::from_hours(1));
        change(server, self.targets(), workload, |cron| {
            cron.record.paused = true;
            cron.record.hold = Some(Hold { by: Name::from("earlier-1"), until });
        });
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        workload_if(server, self.targets(), workload, |cron| cron.record.paused && cron.record.hold.is_some())
    }

    fn recover(&self, server: &mut Server, workload: &WorkloadKey) {
        change(server, self.targets(), workload, go_on);
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        on(snapshot.controller_of(workload)?, Parameters::Resume)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        change_target(server, request, go_on);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        super::suspend::replace(server, workload);
    }
}

/// Flag and mark go together.
pub(crate) fn go_on(cron: &mut Controller) {
    cron.record.paused = false;
    cron.record.hold = None;
}
