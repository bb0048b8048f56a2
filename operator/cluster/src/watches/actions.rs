//! Actions as stored. Approvals by people arrive here.

use super::light::{Body, Meta, Whole};
use super::run::{Cx, Effect, Watched};
use crate::ledger::{record, unread};
use homeostat_crds::v1alpha1::Action;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange, ObjectKind};
use homeostat_knowledge::{ObjectKey, UnreadAction};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The watch of actions.
#[derive(Default)]
pub(crate) struct Actions {
    /// What could be told of the object that was just found to be unreadable.
    unread: Option<UnreadAction>,
}

/// An action, or, where it has words of a later version, the object as it is and what was not understood.
#[derive(Clone, Debug)]
pub(crate) struct Read(Result<Action, (Value, String)>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(text.get()) {
            Ok(action) => Ok(Self(Ok(action))),
            Err(why) => {
                let object = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
                Ok(Self(Err((object, why.to_string()))))
            }
        }
    }
}

impl Body for Whole<Read> {
    type Kind = Action;

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Watched for Actions {
    type Body = Whole<Read>;
    const KIND: ObjectKind = ObjectKind::Action;
    const NAME: &'static str = "actions";

    fn apply(&mut self, body: Whole<Read>, cx: Cx<'_>) -> Result<Effect, String> {
        let found = body.object.0.and_then(|object| {
            // Between creation and the first status the writer alone knows where it stands. In a first list it
            // is what a crash left behind: an intent without effect, to be taken up or cancelled.
            if object.status.is_none() && cx.news {
                return Ok(None);
            }
            let action = record(&object, cx.now).map(Some);
            action.map_err(|why| (serde_json::to_value(&object).unwrap_or_default(), why.to_string()))
        });
        match found {
            Ok(Some(action)) => Ok(Effect::Tell(ObjectChange::Action(Change::Applied(Arc::new(action))))),
            Ok(None) => Ok(Effect::Nothing),
            Err((object, why)) => {
                self.unread = Some(unread(&object, &cx.key, &why));
                Err(why)
            }
        }
    }

    // Not the last usable state: a newer version goes on with it, and nothing may be done to its target meanwhile.
    fn broken(&mut self, _key: &ObjectKey, _uid: Uid, _generation: i64, _why: &str) -> Effect {
        let unread = self.unread.take().map(|unread| ObjectChange::UnreadAction(Arc::new(unread)));
        unread.map_or(Effect::Nothing, Effect::Tell)
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Tell(ObjectChange::Action(Change::Deleted(key.clone())))
    }
}
