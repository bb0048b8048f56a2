//! Kubernetes Events: hints for the analysis, passed on and not kept. Those of a list are no news: they are up to an hour
//! old, also after a break, and one that is told late would speak over a later one.

use super::light::{Body, Meta, cut, null_is_empty};
use super::run::{Cx, Effect, Watched};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{ObjectChange, ObjectKind};
use homeostat_knowledge::records::EventRecord;
use homeostat_knowledge::{Name, ObjectKey};
use k8s_openapi::api::events::v1::Event;
use serde::Deserialize;
use std::sync::Arc;

/// Characters of the note that are kept.
const NOTE_LIMIT: usize = 512;

/// The watch of Events.
pub(crate) struct Events;

/// The parts of an Event that are looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventObject {
    #[serde(default)]
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_empty")]
    regarding: Regarding,
    #[serde(rename = "type", default)]
    type_: Option<String>,
    reason: Option<String>,
    note: Option<String>,
    reporting_controller: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Regarding {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    uid: Option<String>,
}

impl Body for EventObject {
    type Kind = Event;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for Events {
    type Body = EventObject;
    const KIND: ObjectKind = ObjectKind::Event;
    const NAME: &'static str = "events";
    const REMEMBER: bool = false;

    fn apply(&mut self, body: EventObject, cx: Cx<'_>) -> Result<Effect, String> {
        let ours = body.reporting_controller.as_deref() == Some(crate::recorder::CONTROLLER);
        if cx.listed || ours {
            return Ok(Effect::Nothing);
        }
        let names = cx.names;
        let record = EventRecord {
            kind: names.intern(&body.regarding.kind),
            object: ObjectKey {
                namespace: names.intern(&body.regarding.namespace),
                name: Name::from(body.regarding.name),
            },
            uid: body.regarding.uid.map(Uid::new),
            warning: body.type_.as_deref() == Some("Warning"),
            reason: names.intern(body.reason.as_deref().unwrap_or_default()),
            note: Name::from(cut(body.note.as_deref().unwrap_or_default(), NOTE_LIMIT)),
        };
        Ok(Effect::Tell(ObjectChange::Event(Arc::new(record))))
    }

    fn remove(&mut self, _key: &ObjectKey) -> Effect {
        Effect::Nothing
    }
}
