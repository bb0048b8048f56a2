//! Tell a person.

use super::{ActionSpec, Landed, Protected, Repeat, Right, Unfit, Verdict};
use crate::ports::FreshTarget;
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{ActionKind, ActionRecord, FindingKind, Level, Snapshot, Timestamp};

/// Tells people what they must know; changes nothing in the cluster but an Event.
///
/// Repeat-safe because the message carries the action's id: receivers drop a second one of the same id.
#[derive(Clone, Copy, Debug)]
pub struct Notify;

impl ActionSpec for Notify {
    fn kind(&self) -> ActionKind {
        ActionKind::Notify
    }

    fn reversible(&self) -> bool {
        true
    }

    fn alone_at(&self) -> Level {
        Level::Recommend
    }

    fn rights(&self) -> &'static [Right] {
        &[Right { api_group: "events.k8s.io", resource: "events", verbs: &["create", "patch"] }]
    }

    fn undo(&self) -> Undo {
        Undo::None
    }

    fn changes_state(&self) -> bool {
        false
    }

    fn repeat(&self) -> Repeat {
        Repeat::Harmless
    }

    fn check(
        &self,
        _record: &ActionRecord,
        _snapshot: &Snapshot,
        _protected: &Protected,
    ) -> Result<(), Unfit> {
        Ok(())
    }

    fn check_fresh(
        &self,
        _record: &ActionRecord,
        _cause: Option<FindingKind>,
        _fresh: &FreshTarget,
    ) -> Result<(), Unfit> {
        Ok(())
    }

    fn landed(&self, _record: &ActionRecord, _fresh: Option<&FreshTarget>) -> Landed {
        Landed::No("a message leaves no mark on its target".to_owned())
    }

    fn verify(&self, _record: &ActionRecord, _snapshot: &Snapshot, _now: Timestamp) -> Verdict {
        Verdict::Helped("people were told".to_owned())
    }
}
