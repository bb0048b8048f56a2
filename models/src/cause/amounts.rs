//! Own amounts from metrics: additional seconds or failures that begin with an entity.
//!
//! With mean latency (or share of failures) and requests per row, the additional amount of an entity is
//! `(now - usual) * requests`. A request that waits for its callees carries their additional amounts, too, so these
//! are taken off, each callee's split over its callers by their requests. What is left begins with the entity. Weighing
//! by requests is what keeps rarely called views of a service from outranking it.

use super::case::Measure;
use super::evidence::{Evidence, Kind};
use super::shift::quantile;
use super::{Context, Finding};

/// Share of an amount that counts although noise may explain it.
const WEAK: f64 = 0.01;

/// Additional amounts of one entity: per baseline row, and the mean of the suspect rows.
struct Extra {
    usual: f64,
    seen: f64,
    requests: f64,
    baseline: Vec<f64>,
    suspect: f64,
}

/// Findings of one measure, unless the symptom is of another one.
pub(super) fn gather(context: &Context<'_>, measure: Measure, kind: Kind) -> Vec<Finding> {
    let symptom = context.case.symptom.and_then(|symptom| symptom.measure);
    if symptom.is_some_and(|symptom| symptom != measure) {
        return Vec::new();
    }
    let extras = extras(context, measure);
    let called = called(context, &extras);
    let mut begun: Vec<(usize, f64, f64)> = Vec::new();
    for (entity, extra) in
        extras.iter().enumerate().filter_map(|(entity, extra)| Some((entity, extra.as_ref()?)))
    {
        let (own, noise) = own(context, &extras, &called, entity, extra);
        // What noise may explain still orders those of whom nothing clear is known.
        let sure = (own - 1.5 * noise).max(0.0) + WEAK * own.max(0.0);
        if sure > 0.0 && sure.is_finite() {
            begun.push((entity, own, sure));
        }
    }
    // The whole is what the symptom's side of the graph explains; others cannot make it larger.
    let reached = |entity: usize| context.graph.reached[entity];
    let whole: f64 = begun.iter().filter(|(entity, ..)| reached(*entity)).map(|(.., sure)| sure).sum();
    let whole = if whole > 0.0 { whole } else { begun.iter().map(|(.., sure)| sure).sum() };
    (begun.iter())
        .filter_map(|&(entity, own, sure)| {
            let extra = extras[entity].as_ref()?;
            let share = (sure / whole).min(1.0);
            Some(Finding {
                entity,
                evidence: Evidence {
                    kind,
                    strength: context.config.amount_strength * share,
                    usual: extra.usual,
                    seen: extra.seen,
                    text: words(context.case.entity(entity), measure, own, share, extra),
                },
            })
        })
        .collect()
}

fn words(name: &str, measure: Measure, own: f64, share: f64, extra: &Extra) -> String {
    let (percent, requests) = (100.0 * share, extra.requests);
    if measure == Measure::Failures {
        format!(
            "{own:.1} additional failures a row begin with {name}, {percent:.0} % of all: {:.1} % of {requests:.0} \
             requests fail, usually {:.1} %",
            100.0 * extra.seen,
            100.0 * extra.usual
        )
    } else {
        format!(
            "{own:.2} s of additional time a row begin with {name}, {percent:.0} % of all: {:.1} ms a request at \
             {requests:.0} requests, usually {:.1} ms",
            1e3 * extra.seen,
            1e3 * extra.usual
        )
    }
}

/// Own additional amount now, and its usual spread.
fn own(
    context: &Context<'_>,
    extras: &[Option<Extra>],
    called: &[f64],
    entity: usize,
    extra: &Extra,
) -> (f64, f64) {
    let mut suspect = extra.suspect;
    let mut baseline = extra.baseline.clone();
    for &callee in &context.graph.callees[entity] {
        let Some(below) = extras.get(callee).and_then(Option::as_ref) else { continue };
        let share = if called[callee] > 0.0 { extra.requests / called[callee] } else { 0.0 };
        suspect -= share * below.suspect.max(0.0);
        for (own, theirs) in baseline.iter_mut().zip(&below.baseline) {
            *own -= share * theirs.max(0.0);
        }
    }
    let high = quantile(&mut baseline, 0.9).unwrap_or(0.0);
    let low = quantile(&mut baseline, 0.1).unwrap_or(0.0);
    // Deciles of a normal distribution lie 2.563 standard deviations apart.
    (suspect, (high - low) / 2.563)
}

/// Requests of all callers of each entity together.
fn called(context: &Context<'_>, extras: &[Option<Extra>]) -> Vec<f64> {
    let requests = |caller: &usize| extras[*caller].as_ref().map(|caller| caller.requests);
    context.graph.callers.iter().map(|callers| callers.iter().filter_map(requests).sum()).collect()
}

fn extras(context: &Context<'_>, measure: Measure) -> Vec<Option<Extra>> {
    let case = context.case;
    let count = case.entities.len();
    let mut values = vec![None; count];
    let mut requests = vec![None; count];
    for series in case.series.iter().filter(|series| series.entity < count) {
        let list = match series.measure {
            Measure::Requests => &mut requests,
            other if other == measure => &mut values,
            _ => continue,
        };
        list[series.entity].get_or_insert(series);
    }
    (0..count)
        .map(|entity| {
            let value = values[entity]?;
            let mut usual: Vec<f64> =
                value.baseline.iter().copied().filter(|value| value.is_finite()).collect();
            let usual = quantile(&mut usual, 0.5)?;
            let amount = |rows: &[f64], requests: Option<&[f64]>| -> Vec<(f64, f64, f64)> {
                (rows.iter().enumerate())
                    .map(|(row, value)| {
                        let weight = requests.map_or(1.0, |rows| rows.get(row).copied().unwrap_or(f64::NAN));
                        let extra = (value - usual) * weight;
                        if extra.is_finite() { (extra, *value, weight) } else { (0.0, usual, 0.0) }
                    })
                    .collect()
            };
            let counts = requests[entity];
            let baseline = amount(&value.baseline, counts.map(|series| series.baseline.as_slice()));
            let suspect = amount(&value.suspect, counts.map(|series| series.suspect.as_slice()));
            let mean = |part: fn(&(f64, f64, f64)) -> f64| {
                if suspect.is_empty() {
                    0.0
                } else {
                    suspect.iter().map(part).sum::<f64>() / suspect.len() as f64
                }
            };
            let extra = Extra {
                usual,
                seen: mean(|row| row.1),
                requests: mean(|row| row.2),
                baseline: baseline.iter().map(|row| row.0).collect(),
                suspect: mean(|row| row.0),
            };
            (extra.suspect.is_finite() && extra.requests.is_finite()).then_some(extra)
        })
        .collect()
}
