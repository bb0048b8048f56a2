//! Changes: what was rolled out or configured shortly before the fault.
//!
//! Most incidents follow a change, and its weight halves with each half-life that passed. It is support for other
//! evidence: alone it is weaker than any clear sign of a fault.

use super::evidence::{Evidence, Kind};
use super::{Context, Finding};

/// Findings from the list of changes.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    let config = context.config;
    (context.case.changes.iter())
        .filter(|change| change.entity < context.case.entities.len())
        .filter(|change| change.seconds_before >= 0.0 && change.seconds_before.is_finite())
        .map(|change| {
            let age = change.seconds_before;
            Finding {
                entity: change.entity,
                evidence: Evidence {
                    kind: Kind::Changes,
                    strength: config.change_strength * (-age / config.change_half_life_seconds).exp2(),
                    usual: 0.0,
                    seen: age,
                    text: format!(
                        "{} was changed {age:.0} s before: {}",
                        context.case.entity(change.entity),
                        change.what
                    ),
                },
            }
        })
        .collect()
}
