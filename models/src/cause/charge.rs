//! Who is charged with a deviation: the deepest visit that deviates in its trace.
//!
//! A callee that fails makes its callers deviate, too. So a visit is charged with its strongest deviation only when no
//! visit below it deviates about as much. A visit with fewer errors than usual is getting well and counts little.

use super::case::Case;
use super::config::CauseConfig;
use super::forest::{Forest, NONE};
use super::patterns::Deviation;

/// Weight of a deviation in a visit that has fewer errors than usual.
const RECOVERING: f64 = 0.1;
/// Deviations of less strength charge nobody.
const LEAST: f64 = 0.1;

/// Counts in `charged` the visits that each deviation is charged for, those that recover with little weight. `sightings`: span or [`NONE`], deviation, times.
pub(super) fn charge(
    case: &Case,
    config: &CauseConfig,
    baseline: &Forest<'_>,
    suspect: &Forest<'_>,
    deviations: &mut [Deviation],
    sightings: &[(u32, u32, u64)],
) {
    let recovering = recovering(case, baseline, suspect);
    // Strongest deviation of each visit.
    let mut own: Vec<(f64, u32)> = vec![(0.0, NONE); suspect.spans.len()];
    for &(span, index, times) in sightings {
        if span == NONE {
            deviations[index as usize].charge(times as f64, 1.0);
            continue;
        }
        let entry = suspect.entry[span as usize] as usize;
        let factor = if recovering[entry] { RECOVERING } else { 1.0 };
        let strength = factor * deviations[index as usize].strength;
        if strength > own[entry].0 {
            own[entry] = (strength, index);
        }
    }
    // Strongest deviation of the visits below each visit, deepest first.
    let mut below = vec![0.0_f64; suspect.spans.len()];
    for &span in suspect.order.iter().rev() {
        let above = suspect.parent[span as usize];
        if suspect.entry[span as usize] == span && above != NONE {
            let strongest = own[span as usize].0.max(below[span as usize]);
            let caller = suspect.entry[above as usize] as usize;
            below[caller] = below[caller].max(strongest);
        }
    }
    for (entry, &(strength, index)) in own.iter().enumerate() {
        let explained = below[entry] >= config.explained_share * strength;
        if index != NONE && strength >= LEAST && !explained {
            deviations[index as usize].charge(1.0, if recovering[entry] { RECOVERING } else { 1.0 });
        }
    }
}

/// Whether a visit (by its entry span) has fewer errors than visits of its kind usually have.
fn recovering(case: &Case, baseline: &Forest<'_>, suspect: &Forest<'_>) -> Vec<bool> {
    let before = errors(case, baseline, &case.baseline.logs);
    let now = errors(case, suspect, &case.suspect.logs);
    let mut usual: Vec<((usize, usize), f64)> = (baseline.indices())
        .filter(|span| baseline.entry[*span as usize] == *span)
        .map(|span| {
            let visit = baseline.span(span);
            ((visit.entity, visit.operation), f64::from(before[span as usize]))
        })
        .collect();
    usual.sort_by_key(|a| a.0);
    let usual: Vec<((usize, usize), f64)> = (usual.chunk_by(|a, b| a.0 == b.0))
        .map(|run| (run[0].0, run.iter().map(|visit| visit.1).sum::<f64>() / run.len() as f64))
        .collect();
    (suspect.indices())
        .map(|span| {
            let visit = suspect.span(span);
            let key = (visit.entity, visit.operation);
            let usual = usual.binary_search_by(|(other, _)| other.cmp(&key)).map_or(0.0, |at| usual[at].1);
            f64::from(now[span as usize]) < usual - 0.5
        })
        .collect()
}

/// Errors of each visit, at its entry span: failed spans and error lines.
fn errors(case: &Case, forest: &Forest<'_>, logs: &[super::case::Log]) -> Vec<u32> {
    let mut count = vec![0_u32; forest.spans.len()];
    for (span, &entry) in forest.entry.iter().enumerate() {
        count[entry as usize] += u32::from(forest.spans[span].error);
    }
    for &(span, line) in forest.logs.iter().filter(|(span, _)| *span != NONE) {
        let template = &case.templates[logs[line as usize].template];
        let entry = forest.entry[span as usize] as usize;
        count[entry] = count[entry].saturating_add(u32::from(template.error));
    }
    count
}
