//! Tenants: validated, then judged with the other tenants.

use super::light::{Body, Whole};
use super::run::{Cx, Effect, Watched};
use crate::status::digest;
use crate::validate::acceptance::{Input, TenantEntry};
use crate::validate::{Rejection, routes, tenant_policy};
use homeostat_crds::ConditionType;
use homeostat_crds::conditions::find;
use homeostat_crds::v1alpha1::Tenant;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::ObjectKind;
use homeostat_knowledge::{ObjectKey, TenantName, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The watch of tenants.
pub(crate) struct Tenants {
    /// Namespaces that no tenant may own.
    pub reserved: BTreeSet<String>,
}

impl Watched for Tenants {
    type Body = Whole<Tenant>;
    const KIND: ObjectKind = ObjectKind::Tenant;
    const NAME: &'static str = "tenants";

    fn apply(&mut self, body: Whole<Tenant>, cx: Cx<'_>) -> Result<Effect, String> {
        let policy = tenant_policy(&body.object, &self.reserved, cx.now).map(Arc::new);
        let status = body.object.status.as_ref();
        Ok(Effect::Judge(Input::TenantSeen(TenantEntry {
            name: TenantName(cx.key.name),
            uid: Uid::new(body.meta().uid.as_str()),
            generation: body.meta().generation,
            created: body.meta().created(),
            policy,
            contested: Vec::new(),
            routes: routes(&body.object),
            told: status.and_then(|status| find(&status.conditions, ConditionType::NotifyReady)).cloned(),
            seen: digest(status),
        })))
    }

    fn broken(&mut self, key: &ObjectKey, uid: Uid, generation: i64, why: &str) -> Effect {
        Effect::Judge(Input::TenantSeen(TenantEntry {
            name: TenantName(key.name.clone()),
            uid,
            generation,
            created: Timestamp::UNIX_EPOCH,
            policy: Err(Rejection::Unreadable { message: why.to_owned() }),
            contested: Vec::new(),
            routes: Vec::new(),
            told: None,
            seen: 0,
        }))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Judge(Input::TenantGone(TenantName(key.name.clone())))
    }
}
