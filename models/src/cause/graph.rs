//! Who calls whom, from the case's list and from spans.

use super::case::Case;
use super::forest::{Forest, NONE};

/// The call graph.
pub(super) struct Graph {
    /// Callees of each entity, sorted.
    pub callees: Vec<Vec<usize>>,
    /// Callers of each entity, sorted.
    pub callers: Vec<Vec<usize>>,
    /// Whether the symptom's entity calls it, directly or not; all true without a symptom or a graph.
    pub reached: Vec<bool>,
}

impl Graph {
    /// Joins the case's calls with those seen in spans. Calls to oneself are left out.
    pub fn new(case: &Case, baseline: &Forest<'_>, suspect: &Forest<'_>) -> Self {
        let count = case.entities.len();
        let mut calls: Vec<(usize, usize)> = case.calls.clone();
        for forest in [baseline, suspect] {
            let mut seen: Vec<(usize, usize)> = (forest.parent.iter().enumerate())
                .filter(|(_, above)| **above != NONE)
                .map(|(span, above)| (forest.span(*above).entity, forest.spans[span].entity))
                .filter(|(caller, callee)| caller != callee)
                .collect();
            seen.sort_unstable();
            seen.dedup();
            calls.append(&mut seen);
        }
        calls.retain(|(caller, callee)| caller != callee && *caller < count && *callee < count);
        calls.sort_unstable();
        calls.dedup();
        let (mut callees, mut callers) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for &(caller, callee) in &calls {
            callees[caller].push(callee);
            callers[callee].push(caller);
        }
        let reached = match case.symptom {
            Some(symptom) if symptom.entity < count && !callees[symptom.entity].is_empty() => {
                reach(symptom.entity, &callees)
            }
            _ => vec![true; count],
        };
        Self { callees, callers, reached }
    }
}

fn reach(from: usize, callees: &[Vec<usize>]) -> Vec<bool> {
    let mut reached = vec![false; callees.len()];
    reached[from] = true;
    let mut open = vec![from];
    while let Some(entity) = open.pop() {
        for &callee in &callees[entity] {
            if !reached[callee] {
                reached[callee] = true;
                open.push(callee);
            }
        }
    }
    reached
}
