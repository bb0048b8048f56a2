//! What the kill switch leaves half done, as the status of the `ControlPlane` lists it.

use crate::validate::wire_action;
use homeostat_crds::clip;
use homeostat_crds::v1alpha1::control_plane::{HALF_DONE, HalfDone, HalfDoneState};
use homeostat_knowledge::{Snapshot, Stands, half_done};

/// The list, and how many more there are.
pub(super) fn listed(snapshot: &Snapshot) -> (Vec<HalfDone>, Option<i32>) {
    let all = half_done(snapshot);
    let more = all.len().saturating_sub(HALF_DONE);
    let wire = |one: homeostat_knowledge::HalfDone| HalfDone {
        action: clip(&one.action, 253),
        kind: wire_action(one.kind),
        target: clip(&one.target, 512),
        state: match one.stands {
            Stands::Claimed => HalfDoneState::Claimed,
            Stands::Sent => HalfDoneState::Sent,
            Stands::Verifying => HalfDoneState::Verifying,
            Stands::NotTakenBack => HalfDoneState::NotTakenBack,
            Stands::Held => HalfDoneState::Held,
        },
        advice: clip(&one.advice, 512),
        command: clip(&one.command, 2_048),
    };
    (all.into_iter().take(HALF_DONE).map(wire).collect(), (more > 0).then(|| super::desired::count(more)))
}
