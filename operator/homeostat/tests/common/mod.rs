//! What tests of the loop begin with.

use homeostat_knowledge::observation::ObjectChange;
use homeostat_knowledge::{Entity, Observation, Signal, Timestamp};

/// This change, as a watch brings it at this moment.
pub fn observed(change: ObjectChange, at: Timestamp) -> Observation {
    Observation {
        tenant: None,
        entity: Entity::Cluster,
        event_time: at,
        arrival_time: at,
        signal: Signal::Object(change),
    }
}
