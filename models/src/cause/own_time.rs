//! Own time: what an entity spends itself, its calls to others left out.
//!
//! From spans: the time of a visit less the union of its outgoing calls, per entity and entry operation. From metrics,
//! where they exist: see [`super::amounts`].

use super::case::Measure;
use super::evidence::{Evidence, Kind};
use super::forest::Forest;
use super::shift::groups;
use super::{Context, Finding, amounts};

/// Findings from spans and from latency series.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    let mut found = from_spans(context);
    found.extend(amounts::gather(context, Measure::Latency, Kind::OwnTime));
    found
}

fn from_spans(context: &Context<'_>) -> Vec<Finding> {
    let mut usual = groups(&mut own_times(&context.baseline));
    let mut now = groups(&mut own_times(&context.suspect));
    let mut found = Vec::new();
    for (key, seen) in &mut now {
        let Ok(at) = usual.binary_search_by_key(key, |(key, _)| *key) else { continue };
        let Some(shift) = context.typical.compare(&mut usual[at].1, seen) else { continue };
        if shift.strength > 0.0 {
            let (entity, operation) = *key;
            found.push(Finding {
                entity,
                evidence: Evidence {
                    kind: Kind::OwnTime,
                    strength: shift.strength,
                    usual: shift.usual,
                    seen: shift.seen,
                    text: format!(
                        "{} takes {:.1} ms of its own for {}, usually {:.1} ms ({} calls)",
                        context.case.entity(entity),
                        1e3 * shift.seen,
                        context.case.operation(operation),
                        1e3 * shift.usual,
                        shift.count
                    ),
                },
            });
        }
    }
    found
}

/// Own time of each visit, by entity and entry operation.
fn own_times(forest: &Forest<'_>) -> Vec<((usize, usize), f64)> {
    let mut away: Vec<(u32, f64, f64)> = Vec::new();
    for span in forest.indices() {
        let caller = forest.span(span);
        let entry = forest.entry[span as usize];
        if forest.called(span).is_some() {
            away.push((entry, caller.start, caller.start + caller.duration));
            continue;
        }
        for &child in forest.children(span) {
            let callee = forest.span(child);
            if callee.entity != caller.entity {
                away.push((entry, callee.start, callee.start + callee.duration));
            }
        }
    }
    away.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)));
    let mut own: Vec<f64> = forest.spans.iter().map(|span| span.duration).collect();
    let mut covered: (u32, f64) = (u32::MAX, 0.0);
    for (entry, start, end) in away {
        let visit = forest.span(entry);
        let close = visit.start + visit.duration;
        let from = if covered.0 == entry { start.max(covered.1) } else { start.max(visit.start) };
        let until = end.min(close);
        if until > from {
            own[entry as usize] -= until - from;
            covered = (entry, until);
        } else if covered.0 != entry {
            covered = (entry, from.min(close));
        }
    }
    (forest.indices().filter(|span| forest.entry[*span as usize] == *span))
        .map(|span| {
            let visit = forest.span(span);
            ((visit.entity, visit.operation), own[span as usize].max(0.0))
        })
        .collect()
}
