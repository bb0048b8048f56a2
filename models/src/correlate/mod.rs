//! One fault, one group: findings of several entities are put together along the ways in which a fault spreads.
//!
//! A pure function of the findings and of who calls and who owns whom; the order of either does not matter.
//!
//! 1. Findings of one entity that follow each other closely are an *episode*.
//! 2. An episode *explains* another one if the fault can get there within a few steps (from the callee to its callers, from
//!    the owner to what it owns, from the owned to its owner, but not on to the owner's other property), and if
//!    the other one starts neither clearly earlier nor long after the end. What an entity shows by its own state (a
//!    finding of at least [`CorrelateConfig::own_weight`]) is explained only by an owner that shows it of itself, too, never
//!    by somebody that it calls: two sick neighbours are two faults.
//! 3. Episodes that nothing explains are roots; of those that explain each other (strongly connected components, found by
//!    the method of Kosaraju and Sharir 1981) the one with the largest weight is.
//! 4. Several roots that start together, and that are most of what one entity owns or of what calls it, have that entity
//!    as their root even if it shows nothing itself (a dead node reports nothing).
//! 5. Every other episode belongs to its nearest root (Dijkstra 1959, from all roots at once); a step counts as much as
//!    [`CorrelateConfig::step_ms`] between the root's episode and the start of the other one.
//!
//! It groups findings that are all at hand: a stored week, an exercise, the bench. The loop of Homeostat opens an incident at
//! its first finding and cannot wait for the rest, so it groups as they come, with state of its own
//! (`operator/analyse/src/correlate.rs`).
//!
//! Density-based clustering over time and graph distance (DBSCAN) runs beside it in the bench; it knows neither the
//! direction in which a fault spreads nor what an entity says of itself.

mod spread;

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Display;

pub use spread::{Edge, Graph};

/// One thing that was found wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding<E> {
    /// Where.
    pub entity: E,
    /// When, milliseconds.
    pub at_ms: i64,
    /// What, in a word.
    pub kind: String,
    /// How surely the entity itself is at fault: 1 its own state says so, 0 somebody else blames it.
    pub weight: f64,
}

/// Setting of [`group`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrelateConfig {
    /// Findings of one entity with no longer pause than this are one episode; milliseconds.
    pub together_ms: i64,
    /// What starts no longer than this after the last finding of an episode may be explained by it; milliseconds. A fault
    /// that goes on keeps being found, so this covers the difference between two watches only.
    pub explains_ms: i64,
    /// What is explained may be seen earlier than its explanation by this much, as watches differ in speed; milliseconds.
    pub lead_ms: i64,
    /// Roots that start within this have perhaps one owner or callee as their common root; milliseconds.
    pub coincide_ms: i64,
    /// Most steps from a fault to where it shows.
    pub hops: u32,
    /// Time that makes a root as much farther as one step does; milliseconds.
    pub step_ms: i64,
    /// Weight from which a finding is the entity's own evidence.
    pub own_weight: f64,
    /// Share of what an entity owns, or of what calls it, that must show for it to be the common root.
    pub common_share: f64,
}

impl Default for CorrelateConfig {
    fn default() -> Self {
        Self {
            together_ms: 300_000,
            explains_ms: 60_000,
            lead_ms: 30_000,
            coincide_ms: 60_000,
            hops: 4,
            step_ms: 15_000,
            own_weight: 0.9,
            common_share: 0.5,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq)]
pub enum CorrelateError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`CorrelateConfig`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
}

impl CorrelateConfig {
    fn check(&self) -> Result<(), CorrelateError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(CorrelateError::OutOfRange { field, value, limit }) }
        };
        for (field, value) in [
            ("together_ms", self.together_ms),
            ("explains_ms", self.explains_ms),
            ("lead_ms", self.lead_ms),
            ("coincide_ms", self.coincide_ms),
            ("step_ms", self.step_ms),
        ] {
            check(field, value as f64, (0..=86_400_000).contains(&value), "0 to a day")?;
        }
        check("hops", f64::from(self.hops), (1..=32).contains(&self.hops), "1 to 32")?;
        let weight = self.own_weight;
        check("own_weight", weight, weight > 0.0 && weight <= 1.0, "above 0, up to 1")?;
        let share = self.common_share;
        check("common_share", share, share > 0.0 && share <= 1.0, "above 0, up to 1")
    }
}

/// One entity's part in a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member<E> {
    /// Which.
    pub entity: E,
    /// First finding, milliseconds.
    pub first_ms: i64,
    /// Last finding, milliseconds.
    pub last_ms: i64,
    /// Kinds of its findings, sorted.
    pub kinds: Vec<String>,
    /// Largest weight of its findings.
    pub weight: f64,
    /// Number of its findings.
    pub findings: usize,
    /// Steps from the root.
    pub hops: u32,
}

/// Findings of one fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group<E> {
    /// Where the fault is.
    pub root: E,
    /// The root has no finding of its own; it follows from those around it.
    pub silent: bool,
    /// First finding, milliseconds.
    pub first_ms: i64,
    /// Last finding, milliseconds.
    pub last_ms: i64,
    /// All entities that show it, the root first (unless it is silent), then by distance, time and name.
    pub members: Vec<Member<E>>,
    /// Why these belong together, and why this is the root.
    pub reason: String,
}

/// What [`group`] gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grouping<E> {
    /// Groups by the time of their first finding, then by root.
    pub groups: Vec<Group<E>>,
    /// Findings left out because their weight is not a number from 0 to 1.
    pub refused: usize,
}

/// Findings of one entity that follow each other closely.
#[derive(Clone, Debug)]
struct Episode<E> {
    entity: E,
    first: i64,
    last: i64,
    kinds: BTreeSet<String>,
    weight: f64,
    findings: usize,
}

/// Why an episode is a root.
#[derive(Clone, Debug)]
enum Why {
    Unexplained,
    Mutual(usize),
    Common { shown: usize, of: usize, edge: Edge },
}

/// One group for each fault. See the module for the rules.
pub fn group<E: Ord + Clone + Display>(
    findings: &[Finding<E>],
    graph: &Graph<E>,
    config: &CorrelateConfig,
) -> Result<Grouping<E>, CorrelateError> {
    config.check()?;
    let (mut episodes, refused) = episodes(findings, config);
    let links = links(&episodes, graph, config);
    let mut roots = roots(&episodes, &links);
    let commons = commons(&mut episodes, &mut roots, graph, config);
    let mut groups = assign(&episodes, &roots, &links, &commons, config);
    groups.sort_by(|a, b| (a.first_ms, &a.root).cmp(&(b.first_ms, &b.root)));
    Ok(Grouping { groups, refused })
}

/// Episodes in the order of time and name.
fn episodes<E: Ord + Clone>(findings: &[Finding<E>], config: &CorrelateConfig) -> (Vec<Episode<E>>, usize) {
    let mut good: Vec<&Finding<E>> =
        findings.iter().filter(|finding| (0.0..=1.0).contains(&finding.weight)).collect();
    let refused = findings.len() - good.len();
    good.sort_by(|a, b| (&a.entity, a.at_ms).cmp(&(&b.entity, b.at_ms)));
    let mut episodes: Vec<Episode<E>> = Vec::new();
    for finding in good {
        match episodes.last_mut() {
            Some(open)
                if open.entity == finding.entity
                    && finding.at_ms.saturating_sub(open.last) <= config.together_ms =>
            {
                open.last = finding.at_ms;
                open.kinds.insert(finding.kind.clone());
                open.weight = open.weight.max(finding.weight);
                open.findings += 1;
            }
            _ => episodes.push(Episode {
                entity: finding.entity.clone(),
                first: finding.at_ms,
                last: finding.at_ms,
                kinds: BTreeSet::from([finding.kind.clone()]),
                weight: finding.weight,
                findings: 1,
            }),
        }
    }
    episodes.sort_by(|a, b| (a.first, &a.entity).cmp(&(b.first, &b.entity)));
    (episodes, refused)
}

/// For each episode those that it explains, with their distance.
fn links<E: Ord + Clone>(
    episodes: &[Episode<E>],
    graph: &Graph<E>,
    config: &CorrelateConfig,
) -> Vec<Vec<(usize, u32)>> {
    let mut of: BTreeMap<&E, Vec<usize>> = BTreeMap::new();
    for (index, episode) in episodes.iter().enumerate() {
        of.entry(&episode.entity).or_default().push(index);
    }
    let mut reached: BTreeMap<&E, BTreeMap<E, spread::Reach>> = BTreeMap::new();
    let mut links = Vec::with_capacity(episodes.len());
    for cause in episodes {
        let reach = reached.entry(&cause.entity).or_insert_with(|| graph.reach(&cause.entity, config.hops));
        let mut explained = Vec::new();
        for (entity, way) in reach.iter() {
            for &index in of.get(entity).into_iter().flatten() {
                let shown = &episodes[index];
                // Blame does not explain what an entity shows of itself.
                let sure = |episode: &Episode<E>| episode.weight >= config.own_weight;
                let hops = match (sure(shown), sure(cause)) {
                    (false, _) => Some(way.any),
                    (true, true) => way.owned,
                    (true, false) => None,
                };
                let early = shown.first < cause.first.saturating_sub(config.lead_ms);
                let late = shown.first > cause.last.saturating_add(config.explains_ms);
                if let Some(hops) = hops.filter(|_| !early && !late) {
                    explained.push((index, hops));
                }
            }
        }
        links.push(explained);
    }
    links
}

/// Episodes that nothing explains, but for what they explain themselves.
fn roots<E: Ord>(episodes: &[Episode<E>], links: &[Vec<(usize, u32)>]) -> BTreeMap<usize, Why> {
    let component = spread::components(links);
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, &of) in component.iter().enumerate() {
        members.entry(of).or_default().push(index);
    }
    for (cause, explained) in links.iter().enumerate() {
        for (shown, _) in explained {
            if component[cause] != component[*shown] {
                members.remove(&component[*shown]);
            }
        }
    }
    members
        .into_values()
        .filter_map(|members| {
            let best = members.iter().copied().min_by(|&a, &b| {
                // Indices are in the order of time and name.
                episodes[b].weight.total_cmp(&episodes[a].weight).then(a.cmp(&b))
            })?;
            Some((best, if members.len() > 1 { Why::Mutual(members.len()) } else { Why::Unexplained }))
        })
        .collect()
}

/// Common roots: which episode (perhaps a silent one, which is added) stands for which roots.
fn commons<E: Ord + Clone>(
    episodes: &mut Vec<Episode<E>>,
    roots: &mut BTreeMap<usize, Why>,
    graph: &Graph<E>,
    config: &CorrelateConfig,
) -> BTreeMap<usize, Vec<usize>> {
    let mut commons: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    loop {
        // The one with most of them, then with the fewest others around, then by name.
        let mut best = None;
        for (entity, edge, around) in graph.around() {
            let call = edge == Edge::Call;
            let mut shown: Vec<usize> = roots
                .keys()
                .copied()
                .filter(|&root| around.contains(&episodes[root].entity) && episodes[root].entity != *entity)
                // What an entity shows of itself is not the fault of somebody that it calls.
                .filter(|&root| !call || episodes[root].weight < config.own_weight)
                .collect();
            shown = together(episodes, &shown, config.coincide_ms);
            let enough = shown.len() >= 2 && shown.len() as f64 >= config.common_share * around.len() as f64;
            if !enough {
                continue;
            }
            let rank = (Reverse(shown.len()), around.len(), entity, edge);
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, shown));
            }
        }
        let Some(((_, of, entity, edge), shown)) = best else { return commons };
        let first = shown.iter().map(|&root| episodes[root].first).min().unwrap_or_default();
        let last = shown.iter().map(|&root| episodes[root].last).max().unwrap_or_default();
        let known = episodes.iter().position(|episode| {
            episode.entity == *entity
                && episode.first <= last.saturating_add(config.together_ms)
                && episode.last >= first.saturating_sub(config.together_ms)
        });
        let index = known.unwrap_or_else(|| {
            let entity = entity.clone();
            episodes.push(Episode { entity, first, last, kinds: BTreeSet::new(), weight: 0.0, findings: 0 });
            episodes.len() - 1
        });
        for root in &shown {
            roots.remove(root);
        }
        let count = shown.len();
        commons.entry(index).or_default().extend(shown);
        roots.insert(index, Why::Common { shown: count, of, edge });
    }
}

/// The most of these (one for each entity) that start within `window` of the first of them.
fn together<E: Ord>(episodes: &[Episode<E>], indices: &[usize], window: i64) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::new();
    for &from in indices {
        let mut seen = BTreeSet::new();
        let near: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|&index| {
                let after = episodes[index].first.saturating_sub(episodes[from].first);
                (0..=window).contains(&after) && seen.insert(&episodes[index].entity)
            })
            .collect();
        if near.len() > best.len() {
            best = near;
        }
    }
    best
}

/// Gives each episode to its nearest root.
fn assign<E: Ord + Clone + Display>(
    episodes: &[Episode<E>],
    roots: &BTreeMap<usize, Why>,
    links: &[Vec<(usize, u32)>],
    commons: &BTreeMap<usize, Vec<usize>>,
    config: &CorrelateConfig,
) -> Vec<Group<E>> {
    let mut owner: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
    // By distance, then by root: (distance, root, episode, steps).
    let mut queue: BinaryHeap<Reverse<(u64, usize, usize, u32)>> =
        roots.keys().map(|&root| Reverse((0, root, root, 0))).collect();
    while let Some(Reverse((_, root, index, hops))) = queue.pop() {
        if owner.contains_key(&index) || (roots.contains_key(&index) && index != root) {
            continue;
        }
        owner.insert(index, (root, hops));
        let direct = commons.get(&index).into_iter().flatten().map(|&shown| (shown, 1));
        for (shown, step) in links.get(index).into_iter().flatten().copied().chain(direct) {
            let (from, at) = (&episodes[root], episodes[shown].first);
            let outside = if at < from.first {
                from.first.abs_diff(at)
            } else {
                at.saturating_sub(from.last).max(0).unsigned_abs()
            };
            let steps = hops.saturating_add(step);
            let distance = outside.saturating_add(u64::from(steps) * config.step_ms.unsigned_abs());
            queue.push(Reverse((distance, root, shown, steps)));
        }
    }
    roots.iter().map(|(&root, why)| describe(episodes, &owner, root, why)).collect()
}

fn describe<E: Ord + Clone + Display>(
    episodes: &[Episode<E>],
    owner: &BTreeMap<usize, (usize, u32)>,
    root: usize,
    why: &Why,
) -> Group<E> {
    let mut members: Vec<Member<E>> = owner
        .iter()
        .filter(|(_, (of, _))| *of == root)
        .map(|(&index, &(_, hops))| {
            let episode = &episodes[index];
            Member {
                entity: episode.entity.clone(),
                first_ms: episode.first,
                last_ms: episode.last,
                kinds: episode.kinds.iter().cloned().collect(),
                weight: episode.weight,
                findings: episode.findings,
                hops,
            }
        })
        .filter(|member| member.findings > 0)
        .collect();
    members.sort_by(|a, b| (a.hops, a.first_ms, &a.entity).cmp(&(b.hops, b.first_ms, &b.entity)));
    let own = &episodes[root];
    let first_ms = members.iter().map(|member| member.first_ms).min().unwrap_or(own.first);
    Group {
        root: own.entity.clone(),
        silent: own.findings == 0,
        first_ms,
        last_ms: members.iter().map(|member| member.last_ms).max().unwrap_or(own.last),
        reason: reason(own, &members, why),
        members,
    }
}

/// Most entities that a reason names.
const NAMED: usize = 6;

fn reason<E: Ord + Display>(root: &Episode<E>, members: &[Member<E>], why: &Why) -> String {
    let name = &root.entity;
    let shows = root.kinds.iter().cloned().collect::<Vec<_>>().join(", ");
    let weight = root.weight;
    let begin = match why {
        Why::Unexplained => {
            format!(
                "{name} shows {shows} (weight {weight:.2}), and nothing that it calls or belongs to explains it"
            )
        }
        Why::Mutual(count) => format!(
            "{name} shows {shows} (weight {weight:.2}), the surest of {count} that explain each other"
        ),
        Why::Common { shown, of, edge } => {
            let around = match edge {
                Edge::Own => "that it owns",
                Edge::Call => "that call it",
            };
            let itself =
                if root.findings == 0 { "shows nothing itself".to_owned() } else { format!("shows {shows}") };
            format!("{name} {itself}, but {shown} of {of} {around} began together")
        }
    };
    let others: Vec<&Member<E>> = members.iter().filter(|member| member.hops > 0).collect();
    let mut parts: Vec<String> = others
        .iter()
        .take(NAMED)
        .map(|member| {
            let late = (member.first_ms as f64 - root.first as f64) / 1_000.0;
            let steps = if member.hops == 1 { "step" } else { "steps" };
            let what = member.kinds.join(", ");
            let when =
                if late < 0.0 { format!("{:.1} s before", -late) } else { format!("{late:.1} s later") };
            format!("{} ({what}; {} {steps}, {when})", member.entity, member.hops)
        })
        .collect();
    if others.len() > NAMED {
        parts.push(format!("{} more", others.len() - NAMED));
    }
    if parts.is_empty() { begin } else { format!("{begin}; it explains {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests;
