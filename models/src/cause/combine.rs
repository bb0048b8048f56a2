//! The combiner: one score per entity from what all kinds found.

use serde::{Deserialize, Serialize};

use super::case::Measure;
use super::evidence::{Evidence, Kind};
use super::{CauseConfig, Context, Finding};

/// An entity that may be the cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Index in [`super::Case::entities`].
    pub entity: usize,
    /// Sum of the strengths of its kinds of evidence; 0 if nothing speaks against it.
    pub score: f64,
    /// The strongest reason of each kind, strongest first.
    pub evidence: Vec<Evidence>,
}

/// Adds the strongest finding of each kind. Strengths are about logarithms of likelihood ratios, and the kinds look at
/// different signals, so a sum is what independent evidence gives (naive Bayes).
pub(super) fn combine(context: &Context<'_>, found: Vec<(Kind, Vec<Finding>)>) -> Vec<Candidate> {
    let count = context.case.entities.len();
    let mut candidates: Vec<Candidate> =
        (0..count).map(|entity| Candidate { entity, score: 0.0, evidence: Vec::new() }).collect();
    for (kind, findings) in found {
        let mut strongest: Vec<Option<Evidence>> = vec![None; count];
        for Finding { entity, evidence } in findings {
            let held = &mut strongest[entity];
            let stronger = held.as_ref().is_none_or(|held| evidence.strength > held.strength);
            if evidence.strength.is_finite() && evidence.strength > 0.0 && stronger {
                *held = Some(evidence);
            }
        }
        for (candidate, evidence) in candidates.iter_mut().zip(strongest) {
            let Some(evidence) = evidence else { continue };
            candidate.score += CauseConfig::weight(kind) * evidence.strength;
            if evidence.strength >= context.config.told_from {
                candidate.evidence.push(evidence);
            }
        }
    }
    for candidate in &mut candidates {
        if !context.graph.reached[candidate.entity] {
            candidate.score *= context.config.unreached_factor;
        }
        // Sums in another order differ in their last bits; so small a difference must not rank.
        candidate.score = (candidate.score * 1e9).round() / 1e9;
        candidate.evidence.sort_by(|a, b| b.strength.total_cmp(&a.strength).then(a.kind.cmp(&b.kind)));
    }
    let busy = activity(context);
    candidates.sort_by(|a, b| {
        (b.score.total_cmp(&a.score))
            .then(busy[b.entity].total_cmp(&busy[a.entity]))
            .then(a.entity.cmp(&b.entity))
    });
    candidates
}

/// How busy each entity is: its spans and requests.
fn activity(context: &Context<'_>) -> Vec<f64> {
    let mut busy = vec![0.0; context.case.entities.len()];
    for span in context.baseline.spans.iter().chain(&context.suspect.spans) {
        busy[span.entity] += 1.0;
    }
    for series in context.case.series.iter().filter(|series| series.measure == Measure::Requests) {
        if let Some(busy) = busy.get_mut(series.entity) {
            *busy += series.suspect.iter().filter(|value| value.is_finite()).sum::<f64>();
        }
    }
    busy
}
