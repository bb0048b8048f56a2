//! Questions that the actions on Jobs and `CronJob`s ask.

use super::{Landed, Protected, Unfit};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{ActionRecord, ControllerKind, ControllerRecord, Name, Snapshot, WorkloadPolicy};
use std::sync::Arc;

/// The Job or `CronJob` that the action is about: the workload's own target, or a Job of it.
pub(super) fn target<'a>(
    record: &ActionRecord,
    snapshot: &'a Snapshot,
    protected: &Protected,
) -> Result<&'a Arc<ControllerRecord>, Unfit> {
    let key = &record.target.key;
    protected.refuse(&key.namespace)?;
    let kind = ControllerKind::from_kind(&record.target.kind);
    if !matches!(kind, ControllerKind::Job | ControllerKind::CronJob) {
        return Err(Unfit::Protected(format!("{} {key} does not run to completion", record.target.kind)));
    }
    let own = ControllerKey { kind, object: key.clone() };
    let run = snapshot
        .controllers
        .get(&own)
        .ok_or_else(|| Unfit::Changed(format!("{} {key} is not known any more", record.target.kind)))?;
    if run.uid != record.target.uid {
        return Err(Unfit::Changed(format!("another {} is called {key} now", record.target.kind)));
    }
    let wanted = snapshot.workloads.get(&record.workload).map(|policy| &policy.target);
    let above = run.owner.as_ref().map(|owner| ControllerKey {
        kind: owner.kind,
        object: homeostat_knowledge::ObjectKey { namespace: key.namespace.clone(), name: owner.name.clone() },
    });
    if wanted.is_none() || (wanted != Some(&own) && wanted != above.as_ref()) {
        return Err(Unfit::Protected(format!(
            "{} {key} does not belong to workload {}",
            record.target.kind, record.workload
        )));
    }
    protected.refuse_labels(run)?;
    Ok(run)
}

/// The workload says that running it twice does no harm.
pub(super) fn repeatable(record: &ActionRecord, snapshot: &Snapshot) -> Result<(), Unfit> {
    let says = |policy: &Arc<WorkloadPolicy>| policy.permits.repeatable;
    if snapshot.workloads.get(&record.workload).is_some_and(says) {
        return Ok(());
    }
    Err(Unfit::Protected(format!(
        "workload {} does not say that running it twice does no harm; set spec.repeatable",
        record.workload
    )))
}

/// Whether an action created its Job: `by` is the mark of the one that is there, `job` what that is called. It is another object
/// than the target, so where none is there it may have been there and be gone.
pub(super) fn created(record: &ActionRecord, by: Option<&Name>, job: &str) -> Landed {
    match by {
        Some(by) if **by == *record.id.as_str() => {
            Landed::Yes("the new Job carries this action's mark".to_owned())
        }
        Some(by) => Landed::Unclear(format!("{job} was created by {by}")),
        None => Landed::Unclear("there is no new Job".to_owned()),
    }
}
