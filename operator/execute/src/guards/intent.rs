//! Intent: what is about to be done is stored in the API server first.

use super::{GuardInput, Ruling};

pub(super) fn judge(input: &GuardInput) -> Ruling {
    if input.intent_stored {
        Ruling::passed("stored and claimed", "stored before the effect")
    } else {
        Ruling::refused("not stored", "stored before the effect", "without a stored intent nothing is done")
    }
}
