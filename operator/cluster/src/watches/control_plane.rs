//! The `ControlPlane` object. Unreadable or gone means: no effects.

use super::light::{Body, Whole};
use super::run::{Cx, Effect, Watched};
use crate::status::digest;
use crate::validate::acceptance::{ControlEntry, Input};
use crate::validate::{Rejection, TenantDefaults, control_policy, latch, tenant_defaults};
use homeostat_crds::v1alpha1::{ControlPlane, control_plane::NAME as OBJECT};
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::policy::BreakerLatch;
use std::sync::Arc;

/// The watch of the control plane object.
pub(crate) struct ControlPlanes;

impl Watched for ControlPlanes {
    type Body = Whole<ControlPlane>;
    const KIND: ObjectKind = ObjectKind::Control;
    const NAME: &'static str = "controlplanes";

    fn apply(&mut self, body: Whole<ControlPlane>, cx: Cx<'_>) -> Result<Effect, String> {
        if &*cx.key.name != OBJECT {
            return Err(format!("the name of the ControlPlane is {OBJECT}; this one counts for nothing"));
        }
        Ok(Effect::Judge(Input::ControlSeen(ControlEntry {
            uid: Uid::new(body.meta().uid.as_str()),
            generation: body.meta().generation,
            policy: control_policy(&body.object).map(Arc::new),
            defaults: tenant_defaults(&body.object).unwrap_or_default(),
            breaker: latch(&body.object),
            seen: digest(body.object.status.as_ref()),
        })))
    }

    fn broken(&mut self, key: &ObjectKey, uid: Uid, generation: i64, why: &str) -> Effect {
        if &*key.name != OBJECT {
            return Effect::Nothing;
        }
        Effect::Judge(Input::ControlSeen(ControlEntry {
            uid,
            generation,
            policy: Err(Rejection::Unreadable { message: why.to_owned() }),
            defaults: TenantDefaults::default(),
            breaker: BreakerLatch::default(),
            seen: 0,
        }))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        if &*key.name == OBJECT { Effect::Judge(Input::ControlGone) } else { Effect::Nothing }
    }
}
