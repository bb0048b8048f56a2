//! Errors by origin: failures that begin with an entity instead of reaching it from below.
//!
//! From spans that end in an error, charged to the deepest visit of their trace; and from series of failure shares,
//! where they exist, see [`super::amounts`].

use super::case::Measure;
use super::evidence::{Evidence, Kind};
use super::patterns::{Deviation, words};
use super::{Context, Finding, amounts};

/// Findings from span errors and failure series.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    let mut found = of_kind(context, Kind::Errors);
    found.extend(amounts::gather(context, Measure::Failures, Kind::Errors));
    found
}

/// What the comparison of flows charges, of one kind.
pub(super) fn of_kind(context: &Context<'_>, kind: Kind) -> Vec<Finding> {
    (context.deviations.0.iter())
        .filter(|deviation| deviation.kind == kind && deviation.charged > 0.0)
        .map(|deviation| Finding { entity: deviation.blamed, evidence: tell(context, deviation) })
        .collect()
}

fn tell(context: &Context<'_>, deviation: &Deviation) -> Evidence {
    let case = context.case;
    let Deviation { pair, now, usual, .. } = deviation;
    let share = |(times, of): (u64, u64)| if of > 0 { times as f64 / of as f64 } else { 0.0 };
    let place = match case.operations.get(pair.operation as usize) {
        Some(operation) => format!("`{operation}` of {}", case.entity(pair.entity as usize)),
        None => case.entity(pair.entity as usize).to_owned(),
    };
    let text = format!(
        "in {place}, {} follows {} in {} of {} cases, usually in {} of {}",
        words(case, pair.next),
        words(case, pair.first),
        now.0,
        now.1,
        usual.0,
        usual.1
    );
    Evidence {
        kind: deviation.kind,
        strength: deviation.charged_strength(),
        usual: share(*usual),
        seen: share(*now),
        text,
    }
}
