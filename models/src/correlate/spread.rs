//! Ways in which a fault spreads.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How two entities hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Edge {
    /// One owns or carries the other: a node its pods, a workload its pods.
    Own,
    /// One calls the other.
    Call,
}

/// Who calls and who owns whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph<E: Ord> {
    callers: BTreeMap<E, BTreeSet<E>>,
    owned: BTreeMap<E, BTreeSet<E>>,
    owners: BTreeMap<E, BTreeSet<E>>,
}

impl<E: Ord> Default for Graph<E> {
    fn default() -> Self {
        Self { callers: BTreeMap::new(), owned: BTreeMap::new(), owners: BTreeMap::new() }
    }
}

/// Steps to a place that a fault reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// By any way.
    pub(super) any: u32,
    /// From owner to owned only.
    pub(super) owned: Option<u32>,
}

impl<E: Ord + Clone> Graph<E> {
    /// A graph without edges.
    pub fn new() -> Self {
        Self::default()
    }

    /// `caller` calls `callee`: a fault of the callee shows at the caller.
    pub fn calls(&mut self, caller: E, callee: E) {
        self.callers.entry(callee).or_default().insert(caller);
    }

    /// `owner` owns or carries `owned`: a fault of the owner takes what it owns down, one of the owned shows at its owner.
    pub fn owns(&mut self, owner: E, owned: E) {
        self.owners.entry(owned.clone()).or_default().insert(owner.clone());
        self.owned.entry(owner).or_default().insert(owned);
    }

    /// Everything that a fault of `from` reaches within `hops` steps, itself left out. A way that went up to an owner does
    /// not come down again: a sick pod does not make its neighbours on the node sick.
    pub(super) fn reach(&self, from: &E, hops: u32) -> BTreeMap<E, Reach> {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum Way {
            Down,
            Sideways,
            Up,
        }
        let mut seen: BTreeMap<(&E, Way), u32> = BTreeMap::from([((from, Way::Down), 0)]);
        let mut queue = VecDeque::from([(from, Way::Down, 0)]);
        while let Some((entity, way, steps)) = queue.pop_front() {
            if steps == hops {
                continue;
            }
            let moves = [
                (
                    self.owned.get(entity),
                    if way == Way::Down { Way::Down } else { Way::Sideways },
                    way != Way::Up,
                ),
                (self.callers.get(entity), if way == Way::Up { Way::Up } else { Way::Sideways }, true),
                (self.owners.get(entity), Way::Up, true),
            ];
            for (targets, way, allowed) in moves {
                for target in targets.into_iter().flatten().filter(|_| allowed) {
                    if let std::collections::btree_map::Entry::Vacant(place) = seen.entry((target, way)) {
                        place.insert(steps + 1);
                        queue.push_back((target, way, steps + 1));
                    }
                }
            }
        }
        let mut reach: BTreeMap<E, Reach> = BTreeMap::new();
        for ((entity, way), steps) in seen.into_iter().filter(|((entity, _), _)| *entity != from) {
            let owned = (way == Way::Down).then_some(steps);
            reach
                .entry(entity.clone())
                .and_modify(|known| {
                    known.any = known.any.min(steps);
                    known.owned = known.owned.or(owned);
                })
                .or_insert(Reach { any: steps, owned });
        }
        reach
    }

    /// Entities with what they own, and with what calls them.
    pub(super) fn around(&self) -> impl Iterator<Item = (&E, Edge, &BTreeSet<E>)> {
        let owned = self.owned.iter().map(|(entity, owned)| (entity, Edge::Own, owned));
        owned.chain(self.callers.iter().map(|(entity, callers)| (entity, Edge::Call, callers)))
    }
}

/// Number of the strongly connected component of each vertex (Kosaraju and Sharir 1981), without recursion.
pub(super) fn components(links: &[Vec<(usize, u32)>]) -> Vec<usize> {
    let count = links.len();
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, targets) in links.iter().enumerate() {
        for (to, _) in targets {
            back[*to].push(from);
        }
    }
    // Vertices in the order in which a depth-first search leaves them.
    let mut left = Vec::with_capacity(count);
    let mut seen = vec![false; count];
    for start in 0..count {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut stack = vec![(start, 0)];
        while let Some((vertex, turn)) = stack.pop() {
            match links[vertex].get(turn) {
                None => left.push(vertex),
                Some((next, _)) => {
                    stack.push((vertex, turn + 1));
                    if !std::mem::replace(&mut seen[*next], true) {
                        stack.push((*next, 0));
                    }
                }
            }
        }
    }
    let mut component = vec![usize::MAX; count];
    for &start in left.iter().rev() {
        let mut stack = vec![start];
        while let Some(vertex) = stack.pop() {
            if component[vertex] == usize::MAX {
                component[vertex] = start;
                stack.extend(back[vertex].iter().copied().filter(|&next| component[next] == usize::MAX));
            }
        }
    }
    component
}
