//! Actions as stored. Approvals by people arrive here.

use super::light::Whole;
use super::run::{Cx, Effect, Watched};
use crate::ledger::record;
use homeostat_crds::v1alpha1::Action;
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use std::sync::Arc;

/// The watch of actions.
pub(crate) struct Actions;

impl Watched for Actions {
    type Body = Whole<Action>;
    const KIND: ObjectKind = ObjectKind::Action;
    const NAME: &'static str = "actions";

    fn apply(&mut self, body: Whole<Action>, cx: Cx<'_>) -> Result<Effect, String> {
        // Between creation and the first status the writer alone knows where it stands. In a first list it
        // is what a crash left behind: an intent without effect, to be taken up or cancelled.
        if body.object.status.is_none() && cx.news {
            return Ok(Effect::Nothing);
        }
        let action = record(&body.object, cx.now).map_err(|why| why.to_string())?;
        Ok(Effect::Tell(ObjectChange::Action(Change::Applied(Arc::new(action)))))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Action(Change::Deleted(key.clone())))
    }
}
