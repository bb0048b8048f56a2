//! Which entity caused an incident: a ranking over the call graph from metrics, spans and logs together.
//!
//! A [`Case`] holds plain numbers from a time without the fault (baseline) and a time with it (suspect). Each kind of
//! [evidence](Kind) compares the two for every entity, in one file each, listed in `KINDS`; `combine` adds what
//! they found. Any of the three signals may be missing: what is absent says nothing, neither healthy nor sick.
//! [`rank`] keeps no state and reads no clock. Names only appear in its words: renaming entities consistently, or
//! giving them in another order, leaves the ranking as it is.
//!
//! The methods are collected in `docs/models/causes.md`.

mod amounts;
mod case;
mod changes;
mod charge;
mod combine;
mod config;
mod errors;
mod evidence;
mod forest;
mod gap;
mod graph;
mod missing;
mod own_time;
mod patterns;
mod resource;
mod shift;
mod templates;
#[cfg(test)]
mod tests;

pub use case::{Case, CaseError, Change, Log, Measure, Series, Span, Symptom, Template, Window};
pub use combine::Candidate;
pub use config::{CauseConfig, ConfigError};
pub use evidence::{Evidence, Kind};

use graph::Graph;
use patterns::Deviations;
use shift::Typical;

/// What every kind of evidence reads: the case, its call graph and its spans put together.
struct Context<'a> {
    case: &'a Case,
    config: &'a CauseConfig,
    graph: Graph,
    baseline: forest::Forest<'a>,
    suspect: forest::Forest<'a>,
    deviations: Deviations,
    typical: Typical,
}

/// One finding of one kind about one entity.
struct Finding {
    entity: usize,
    evidence: Evidence,
}

/// How one kind of evidence is gathered.
type Gather = fn(&Context<'_>) -> Vec<Finding>;

/// Every kind of evidence, in the order in which it is told.
const KINDS: &[(Kind, Gather)] = &[
    (Kind::OwnTime, own_time::gather),
    (Kind::Network, gap::gather),
    (Kind::Errors, errors::gather),
    (Kind::MissingSpans, missing::gather),
    (Kind::RareTemplates, templates::gather),
    (Kind::Resources, resource::gather),
    (Kind::Changes, changes::gather),
];

/// Ranks every entity of the case as the cause of its fault, best first.
///
/// The result has one candidate per entity, the symptom's entity included, with a score of at least 0 (0: nothing
/// speaks against it; scores compare within one case only). Equal scores keep the busier entity first, then the order
/// of the input. Items that point outside the case's lists, and numbers that are not finite, are left out; use
/// [`Case::check`] to learn of them. Time and memory grow with `n log n` in spans and log lines.
///
/// ```
/// use homeostat_models::cause::{rank, Case, CauseConfig, Measure, Series, Symptom};
///
/// // The shop is slow because its search is: 0.2 s more in each of 100 calls of 5 minutes.
/// let mut case = Case { entities: vec!["shop".into(), "search".into()], calls: vec![(0, 1)], ..Case::default() };
/// case.symptom = Some(Symptom { entity: 0, measure: Some(Measure::Latency) });
/// for (entity, usual, now) in [(0, 0.30, 0.51), (1, 0.05, 0.25)] {
///     let series = |measure, usual, now| Series { entity, measure, baseline: vec![usual; 20], suspect: vec![now] };
///     case.series.push(series(Measure::Latency, usual, now));
///     case.series.push(series(Measure::Requests, 100.0, 100.0));
/// }
/// let candidates = rank(&case, &CauseConfig::default());
/// assert_eq!(candidates[0].entity, 1);
/// assert!(candidates[0].evidence[0].text.contains("search"));
/// ```
pub fn rank(case: &Case, config: &CauseConfig) -> Vec<Candidate> {
    let baseline = forest::Forest::new(case, &case.baseline);
    let suspect = forest::Forest::new(case, &case.suspect);
    let graph = Graph::new(case, &baseline, &suspect);
    let deviations = patterns::find(case, config, &baseline, &suspect);
    let typical = Typical::new(&baseline, config);
    let context = Context { case, config, graph, baseline, suspect, deviations, typical };
    let found = KINDS.iter().map(|(kind, gather)| (*kind, gather(&context))).collect();
    combine::combine(&context, found)
}
