//! Missing spans: steps that usually follow no longer do.
//!
//! From the flow of spans and lines: visits that end early or take another way. From request counts: a callee with one
//! caller that is called less often than its caller's own requests would let expect, which is charged to the caller.

use super::case::Measure;
use super::errors::of_kind;
use super::evidence::{Evidence, Kind};
use super::resource::deviation;
use super::{Context, Finding};

/// Findings from the flow and from request counts.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    let mut found = of_kind(context, Kind::MissingSpans);
    found.extend(from_requests(context));
    found
}

fn from_requests(context: &Context<'_>) -> Vec<Finding> {
    let case = context.case;
    let mut requests = vec![None; case.entities.len()];
    for series in case.series.iter().filter(|series| series.measure == Measure::Requests) {
        if let Some(held) = requests.get_mut(series.entity) {
            held.get_or_insert(series);
        }
    }
    let mut found = Vec::new();
    for (callee, callers) in context.graph.callers.iter().enumerate() {
        let [caller] = callers.as_slice() else { continue };
        let (Some(to), Some(from)) = (requests[callee], requests[*caller]) else { continue };
        // Calls that are missing per row: what the caller's requests let expect, less what came.
        let missing = |to: &[f64], from: &[f64]| -> Vec<f64> {
            to.iter().zip(from).filter(|(_, from)| **from > 0.0).map(|(to, from)| -to / from).collect()
        };
        let usual = missing(&to.baseline, &from.baseline);
        let Some((usual, seen, deviation)) = deviation(&usual, &missing(&to.suspect, &from.suspect), 1e-9)
        else {
            continue;
        };
        let above = deviation - context.config.resource_threshold;
        if above > 0.0 {
            let gone = (1.0 - seen / usual).clamp(0.0, 1.0);
            found.push(Finding {
                entity: *caller,
                evidence: Evidence {
                    kind: Kind::MissingSpans,
                    strength: gone * 0.5 * above.ln_1p(),
                    usual: -usual,
                    seen: -seen,
                    text: format!(
                        "{} calls {} {:.2} times a request, usually {:.2} times",
                        case.entity(*caller),
                        case.entity(callee),
                        -seen,
                        -usual
                    ),
                },
            });
        }
    }
    found
}
