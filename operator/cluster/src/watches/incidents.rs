//! Incidents as stored: what an earlier leader wrote and what people added.

use super::light::{Body, Whole};
use super::run::{Cx, Effect, Watched};
use crate::incidents::stored;
use homeostat_crds::v1alpha1::Incident;
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use std::sync::Arc;

/// The watch of incidents.
pub(crate) struct Incidents;

impl Watched for Incidents {
    type Body = Whole<Incident>;
    const KIND: ObjectKind = ObjectKind::Incident;
    const NAME: &'static str = "incidents";

    fn apply(&mut self, body: Whole<Incident>, cx: Cx<'_>) -> Result<Effect, String> {
        // Between creation and the first status there is nothing to adopt yet.
        if body.object.status.is_none() {
            return Ok(Effect::Nothing);
        }
        let incident = stored(&body.object, body.meta().created(), cx.key).map_err(|why| why.to_string())?;
        Ok(Effect::Tell(ObjectChange::Incident(Change::Applied(Arc::new(incident)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Incident(Change::Deleted(key.clone())))
    }
}
