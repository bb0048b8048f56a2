//! Workloads: validated, then judged with tenants, controllers and the other workloads.

use super::light::{Body, Whole};
use super::run::{Cx, Effect, Watched};
use crate::status::digest;
use crate::validate::acceptance::{Input, Verdict, WorkloadEntry};
use crate::validate::{Rejection, workload_policy};
use homeostat_crds::v1alpha1::Workload;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::{ObjectKey, Timestamp};
use std::sync::Arc;

/// The watch of workloads.
pub(crate) struct Workloads;

impl Watched for Workloads {
    type Body = Whole<Workload>;
    const KIND: ObjectKind = ObjectKind::Workload;
    const NAME: &'static str = "workloads";

    fn apply(&mut self, body: Whole<Workload>, cx: Cx<'_>) -> Result<Effect, String> {
        Ok(Effect::Judge(Input::WorkloadSeen(WorkloadEntry {
            uid: Uid::new(body.meta().uid.as_str()),
            generation: body.meta().generation,
            created: body.meta().created(),
            policy: workload_policy(&body.object).map(Arc::new),
            verdict: Verdict::Pending,
            seen: digest(body.object.status.as_ref()),
            key: cx.key,
        })))
    }

    fn broken(&mut self, key: &ObjectKey, uid: Uid, generation: i64, why: &str) -> Effect {
        Effect::Judge(Input::WorkloadSeen(WorkloadEntry {
            uid,
            generation,
            created: Timestamp::UNIX_EPOCH,
            policy: Err(Rejection::Unreadable { message: why.to_owned() }),
            verdict: Verdict::Pending,
            seen: 0,
            key: key.clone(),
        }))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Judge(Input::WorkloadGone(key.clone()))
    }
}
