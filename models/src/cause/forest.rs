//! Spans put together: parents, visits, and the log lines of each span.
//!
//! A visit is what one entity does for one call: the span by which the call enters, and the spans of the same entity
//! below it. Spans may come in any order; a cycle of parents is cut.

use std::cmp::Ordering;

use super::case::{Case, Span, Window};

/// No span.
pub(super) const NONE: u32 = u32::MAX;

/// The spans of one window, with who called whom.
pub(super) struct Forest<'a> {
    /// The spans that count.
    pub spans: Vec<&'a Span>,
    /// Index of the parent, or [`NONE`].
    pub parent: Vec<u32>,
    /// Index of the span that begins the visit.
    pub entry: Vec<u32>,
    /// Parents before their children.
    pub order: Vec<u32>,
    /// Log lines: span or [`NONE`], and index in the window's list; by span, then time.
    pub logs: Vec<(u32, u32)>,
    /// Where the children of a span begin in `kids`; one more than there are spans.
    starts: Vec<u32>,
    /// Children of all spans, of one span by start.
    kids: Vec<u32>,
}

impl<'a> Forest<'a> {
    /// Puts the window's usable spans and log lines together.
    pub fn new(case: &Case, window: &'a Window) -> Self {
        let usable = |span: &Span| {
            span.entity < case.entities.len()
                && span.operation < case.operations.len()
                && span.start.is_finite()
                && span.duration.is_finite()
                && span.duration >= 0.0
        };
        let usable_spans =
            (window.spans.iter().enumerate()).filter(|(_, span)| usable(span)).take(NONE as usize - 1);
        let mut keys: Vec<(u64, u64, usize)> =
            usable_spans.map(|(index, span)| (span.trace, span.id, index)).collect();
        // Of repeated spans the first one stays.
        keys.sort_unstable();
        keys.dedup_by_key(|key| (key.0, key.1));
        let spans: Vec<&Span> = keys.iter().map(|key| &window.spans[key.2]).collect();
        let find = |trace: u64, id: u64| {
            keys.binary_search_by_key(&(trace, id), |key| (key.0, key.1)).ok().map(|at| at as u32)
        };
        let mut parent = Vec::with_capacity(spans.len());
        for trace in keys.chunk_by(|a, b| a.0 == b.0) {
            // A trace's spans lie together, so a parent is sought among few.
            let first = parent.len() as u32;
            let among =
                |id: u64| trace.binary_search_by_key(&id, |key| key.1).map_or(NONE, |at| first + at as u32);
            parent.extend(trace.iter().map(|key| window.spans[key.2].parent.map_or(NONE, among)));
        }
        let mut logs: Vec<(u32, u32)> = (window.logs.iter().enumerate())
            .filter(|(_, log)| log.entity < case.entities.len() && log.template < case.templates.len())
            .filter(|(_, log)| log.count > 0)
            .map(|(index, log)| {
                let span = log.span.and_then(|(trace, id)| find(trace, id));
                (span.filter(|span| spans[*span as usize].entity == log.entity).unwrap_or(NONE), index as u32)
            })
            .collect();
        // Lines of one instant go by template, so that the order of the input does not matter.
        let log = |index: u32| &window.logs[index as usize];
        logs.sort_by(|a, b| {
            let (one, two) = (log(a.1), log(b.1));
            a.0.cmp(&b.0).then(one.at.total_cmp(&two.at)).then(one.template.cmp(&two.template))
        });
        Self::assemble(spans, parent, logs)
    }

    fn assemble(spans: Vec<&'a Span>, mut parent: Vec<u32>, logs: Vec<(u32, u32)>) -> Self {
        let count = spans.len();
        let mut order = topological(&parent);
        if order.len() < count {
            // What is not reached from a root hangs on a cycle: each such span stands alone.
            let mut reached = vec![false; count];
            for span in &order {
                reached[*span as usize] = true;
            }
            for span in 0..count {
                if !reached[span] {
                    parent[span] = NONE;
                    order.push(span as u32);
                }
            }
        }
        let (starts, mut kids) = children(&parent);
        let by_start = |a: &u32, b: &u32| -> Ordering {
            let (one, two) = (spans[*a as usize], spans[*b as usize]);
            one.start.total_cmp(&two.start).then(a.cmp(b))
        };
        for pair in starts.windows(2) {
            kids[pair[0] as usize..pair[1] as usize].sort_by(by_start);
        }
        let mut entry = vec![NONE; count];
        for &span in &order {
            let at = span as usize;
            let above = parent[at];
            entry[at] = if above != NONE && spans[above as usize].entity == spans[at].entity {
                entry[above as usize]
            } else {
                span
            };
        }
        Self { spans, parent, entry, order, logs, starts, kids }
    }

    /// The spans called by this one, by start.
    pub fn children(&self, span: u32) -> &[u32] {
        let at = span as usize;
        &self.kids[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// A span.
    pub fn span(&self, index: u32) -> &'a Span {
        self.spans[index as usize]
    }

    /// All indices.
    pub fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.spans.len() as u32
    }

    /// The first remote child of a span that does nothing but call: a client span.
    pub fn called(&self, span: u32) -> Option<u32> {
        let entity = self.span(span).entity;
        let children = self.children(span);
        let all_remote = children.iter().all(|child| self.span(*child).entity != entity);
        let client = self.entry[span as usize] != span && all_remote;
        if client { children.first().copied() } else { None }
    }
}

/// Offsets and list of children.
fn children(parent: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; parent.len() + 1];
    for &above in parent.iter().filter(|above| **above != NONE) {
        starts[above as usize + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut next = starts.clone();
    let mut kids = vec![0_u32; starts.last().copied().unwrap_or(0) as usize];
    for (span, &above) in parent.iter().enumerate().filter(|(_, above)| **above != NONE) {
        kids[next[above as usize] as usize] = span as u32;
        next[above as usize] += 1;
    }
    (starts, kids)
}

/// Spans that a root reaches, parents first.
fn topological(parent: &[u32]) -> Vec<u32> {
    let (starts, kids) = children(parent);
    let mut order: Vec<u32> =
        (0..parent.len() as u32).filter(|span| parent[*span as usize] == NONE).collect();
    let mut at = 0;
    while at < order.len() {
        let span = order[at] as usize;
        order.extend_from_slice(&kids[starts[span] as usize..starts[span + 1] as usize]);
        at += 1;
    }
    order
}
