//! A release whose program cannot work: every pod of it is ill, and only the release before it helps.

use super::evict_pod::ill_pod;
use super::{Chosen, EffectRequest, Situation, controller, on, target_key};
use crate::kubernetes::{self, BAD_IMAGE};
use crate::objects::controller_key;
use crate::server::{Refused, Server};
use homeostat_knowledge::{
    ActionKind, ControllerKind, ControllerRecord, Entity, FindingKind, Name, ObjectKey, Parameters, Snapshot,
    Timestamp, WorkloadKey,
};

/// The newest release is bad.
pub struct BadRelease;

/// Name of the newest `ReplicaSet` before the present one.
fn previous<'a>(snapshot: &'a Snapshot, deployment: &ControllerRecord) -> Option<&'a Name> {
    let number = |record: &ControllerRecord| record.revision.as_ref()?.parse::<u32>().ok();
    let present = number(deployment)?;
    let sets = snapshot.controllers.values().filter(|set| {
        set.key.kind == ControllerKind::ReplicaSet
            && set.owner.as_ref().is_some_and(|owner| owner.uid == deployment.uid)
    });
    let older = sets.filter_map(|set| Some((number(set)?, &set.key.object.name)));
    older.filter(|(revision, _)| *revision < present).max().map(|(_, name)| name)
}

impl Situation for BadRelease {
    fn kind(&self) -> ActionKind {
        ActionKind::RollBack
    }

    fn finding(&self) -> FindingKind {
        FindingKind::ErrorBurst
    }

    /// What else came with the release is not known.
    fn needs_approval(&self) -> bool {
        true
    }

    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        let present = controller(server, self.targets(), workload);
        if present.is_some_and(|deployment| &*deployment.template.image != BAD_IMAGE) {
            let key = controller_key(ControllerKind::Deployment, workload);
            kubernetes::roll_out(server, &key, |template| template.image = Name::from(BAD_IMAGE));
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        ill_pod(server, workload).map(|_| Entity::Workload { key: workload.clone() })
    }

    fn step(&self, snapshot: &Snapshot, workload: &WorkloadKey, _: &Entity, _: Timestamp) -> Option<Chosen> {
        let deployment = snapshot.controller_of(workload)?;
        let revision = previous(snapshot, deployment)?.clone();
        on(deployment, Parameters::RollBack { revision })
    }

    /// The product reads the `ReplicaSet` first: it must be there, and of this very Deployment.
    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let Parameters::RollBack { revision } = &request.parameters else {
            return Err(Refused::Invalid("no revision is named".to_owned()));
        };
        let object = ObjectKey { namespace: request.target.key.namespace.clone(), name: revision.clone() };
        let set = server.replica_sets.get(&controller_key(ControllerKind::ReplicaSet, &object));
        let owner = set.ok_or(Refused::NotFound)?.owner.as_ref();
        if owner.is_none_or(|owner| owner.uid != request.target.uid) {
            return Err(Refused::Invalid(format!("revision {revision} does not belong to it")));
        }
        let deployment = super::target(server, request).ok_or(Refused::NotFound)?;
        super::same_uid(request, &deployment.record.uid)?;
        super::same_version(request, &deployment.record.resource_version)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, _: Timestamp) {
        if let Parameters::RollBack { revision } = &request.parameters {
            let by = Some(Name::from(request.action.as_str()));
            kubernetes::roll_back(server, &target_key(request), revision, by);
        }
    }

    /// A person rolls it back.
    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, _: Timestamp) {
        let Some(deployment) = controller(server, self.targets(), workload) else { return };
        let key = deployment.record.key.clone();
        let before = deployment.revisions.last().filter(|_| &*deployment.template.image == BAD_IMAGE);
        if let Some(set) = before.map(|template| kubernetes::set_name(&key, template)) {
            kubernetes::roll_back(server, &key, &set, None);
        }
    }
}
