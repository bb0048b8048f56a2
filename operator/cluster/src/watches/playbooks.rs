//! Playbooks of people: read as they were written, and checked before the planner sees them.

use super::light::{Body, Meta};
use super::run::{Cx, Effect, Watched};
use crate::status::digest;
use crate::validate::acceptance::{Input, PlaybookEntry};
use crate::validate::{Rejection, playbook_text};
use homeostat_crds::v1alpha1::Playbook;
use homeostat_knowledge::ObjectKey;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::ObjectKind;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The watch of playbooks.
pub(crate) struct Playbooks;

/// The parts of a playbook that are looked at: the checker reads its spec.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PlaybookObject {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    spec: Value,
    status: Option<Value>,
}

impl Body for PlaybookObject {
    type Kind = Playbook;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Watched for Playbooks {
    type Body = PlaybookObject;
    const KIND: ObjectKind = ObjectKind::Playbook;
    const NAME: &'static str = "playbooks";

    fn apply(&mut self, body: PlaybookObject, cx: Cx<'_>) -> Result<Effect, String> {
        let generation = body.metadata.generation;
        Ok(Effect::Judge(Input::PlaybookSeen(PlaybookEntry {
            text: playbook_text(&cx.key.name, generation, &body.spec).map(Arc::new),
            name: cx.key.name,
            generation,
            seen: digest(body.status.as_ref()),
        })))
    }

    fn broken(&mut self, key: &ObjectKey, _uid: Uid, generation: i64, why: &str) -> Effect {
        Effect::Judge(Input::PlaybookSeen(PlaybookEntry {
            name: key.name.clone(),
            generation,
            text: Err(Rejection::Unreadable { message: why.to_owned() }),
            seen: 0,
        }))
    }

    fn remove(&mut self, key: &ObjectKey) -> Effect {
        Effect::Judge(Input::PlaybookGone(key.name.clone()))
    }
}
