//! Network: the time that a caller's span outlasts the callee's own.
//!
//! A slow edge of the call graph may be the callee's fault (its network, its queue) or the caller's (it cannot run when
//! the answer arrives). One faulty entity slows all its edges of that role, so slow edges are given to the entity
//! whose edges are slow throughout, the one that explains most first: a weighted greedy cover (Chvatal 1979).

use super::evidence::{Evidence, Kind};
use super::forest::Forest;
use super::shift::{Shift, groups};
use super::{Context, Finding};

/// More culprits than this are not told apart.
const MOST_CULPRITS: usize = 20;
/// A caller that explains no more than its callee is not blamed.
const CALLER_FACTOR: f64 = 0.9;

struct Edge {
    caller: usize,
    callee: usize,
    shift: Shift,
    /// Strength that no culprit explains yet.
    open: f64,
}

/// The edges of one entity in one role.
struct Role {
    entity: usize,
    is_caller: bool,
    edges: Vec<usize>,
}

/// Findings from client spans and the spans that they called.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    let mut usual = groups(&mut gaps(&context.baseline));
    let mut edges = Vec::new();
    for (key, mut seen) in groups(&mut gaps(&context.suspect)) {
        let Ok(at) = usual.binary_search_by_key(&key, |(key, _)| *key) else { continue };
        if let Some(shift) = context.typical.compare(&mut usual[at].1, &mut seen) {
            edges.push(Edge { caller: key.0, callee: key.1, shift, open: shift.strength });
        }
    }
    let roles = roles(&edges, context.case.entities.len());
    let mut found = Vec::new();
    for _ in 0..MOST_CULPRITS {
        let best = roles
            .iter()
            .map(|role| (explains(role, &edges), role))
            .reduce(|best, next| if next.0.power > best.0.power { next } else { best });
        let Some((explained, role)) = best.filter(|(explained, _)| explained.power > 0.0) else { break };
        found.push(Finding { entity: role.entity, evidence: tell(context, role, &edges, &explained) });
        for &edge in &role.edges {
            edges[edge].open *= (1.0 - explained.share).max(0.0);
        }
    }
    found
}

/// Gap of each call, by caller and callee.
fn gaps(forest: &Forest<'_>) -> Vec<((usize, usize), f64)> {
    (forest.indices())
        .filter_map(|span| {
            let callee = forest.span(forest.called(span)?).entity;
            let caller = forest.span(span);
            let inside: f64 = forest.children(span).iter().map(|child| forest.span(*child).duration).sum();
            Some(((caller.entity, callee), (caller.duration - inside).max(0.0)))
        })
        .collect()
}

/// Callees before callers, each by entity.
fn roles(edges: &[Edge], entities: usize) -> Vec<Role> {
    let mut all = Vec::new();
    for is_caller in [false, true] {
        let mut by_entity: Vec<Vec<usize>> = vec![Vec::new(); entities];
        for (index, edge) in edges.iter().enumerate() {
            by_entity[if is_caller { edge.caller } else { edge.callee }].push(index);
        }
        let busy = by_entity.into_iter().enumerate().filter(|(_, edges)| !edges.is_empty());
        all.extend(busy.map(|(entity, edges)| Role { entity, is_caller, edges }));
    }
    all
}

/// What a role explains.
#[derive(Clone, Copy)]
struct Explained {
    /// Strength of its slow edges times their share; by it the next culprit is chosen.
    power: f64,
    /// How slow its edges are throughout: 1 if all are as slow as the slowest.
    share: f64,
    /// Mean strength of the edges, the slow ones counting more.
    mean: f64,
    /// How many edges are slow.
    slow: usize,
}

fn explains(role: &Role, edges: &[Edge]) -> Explained {
    let open = || role.edges.iter().map(|edge| edges[*edge].open);
    let (sum, most) = (open().sum::<f64>(), open().fold(0.0, f64::max));
    if most <= 0.0 {
        return Explained { power: 0.0, share: 0.0, mean: 0.0, slow: 0 };
    }
    let share = sum / (most * role.edges.len() as f64);
    let factor = if role.is_caller { CALLER_FACTOR } else { 1.0 };
    let slow = open().filter(|open| *open >= 0.5 * most).count();
    Explained {
        power: sum * share * factor,
        share,
        mean: open().map(|open| open * open).sum::<f64>() / sum,
        slow,
    }
}

fn tell(context: &Context<'_>, role: &Role, edges: &[Edge], explained: &Explained) -> Evidence {
    let slowest = (role.edges.iter().map(|edge| &edges[*edge]))
        .reduce(|best, next| if next.open > best.open { next } else { best });
    let (usual, seen) = slowest.map_or((0.0, 0.0), |edge| (edge.shift.usual, edge.shift.seen));
    let name = context.case.entity(role.entity);
    let other = slowest.map_or(role.entity, |edge| if role.is_caller { edge.callee } else { edge.caller });
    let (other, of) = (context.case.entity(other), role.edges.len());
    let times = format!("{:.1} ms, usually {:.1} ms", 1e3 * seen, 1e3 * usual);
    let text = if role.is_caller {
        format!(
            "between {name} and those it calls pass {times} (to {other}; {} of {of} callees)",
            explained.slow
        )
    } else {
        format!("between callers and {name} pass {times} (from {other}; {} of {of} callers)", explained.slow)
    };
    let many = 1.0 + 0.3 * (explained.slow.max(1) as f64).ln();
    Evidence { kind: Kind::Network, strength: explained.mean * explained.share * many, usual, seen, text }
}
