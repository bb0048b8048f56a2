//! Flow: which event follows which inside a span, against the time without fault.
//!
//! The events of a span are the spans below it and, apart from these, its log lines, each list between a begin and an
//! end; runs of one event count once. Pairs of following events are compared between the two windows, as Nezha
//! compares event patterns (Yu et al., FSE 2023). A pair counts given its first event, so that another mix of
//! requests changes little, and a pair whose first event was never seen without the fault says nothing.
//!
//! The strength of a pair that became more frequent is its share of the Kullback-Leibler divergence,
//! `p1 * ln(p1 / p0)` with `p0` smoothed by half a count, lowered when there are few cases on either side.
//! What is found becomes evidence in `errors`, `missing` and `templates`; who is charged is decided in `charge`.

use std::collections::HashMap;

use super::case::Case;
use super::charge;
use super::config::CauseConfig;
use super::evidence::Kind;
use super::forest::{Forest, NONE};

/// Something that happens inside a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Event {
    /// First of the spans below.
    Begin,
    /// After the last of the spans below.
    End,
    /// Before the first log line.
    LogBegin,
    /// After the last log line.
    LogEnd,
    /// The span ends in an error.
    Failed,
    /// A span of the same entity: operation.
    Step(u32),
    /// A call to another entity: callee, its operation.
    Call(u32, u32),
    /// A log line: template.
    Line(u32),
}

/// A pair of events within spans of one operation of one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pair {
    pub entity: u32,
    /// [`NONE`] for log lines that belong to no span.
    pub operation: u32,
    pub first: Event,
    pub next: Event,
}

impl Pair {
    fn given(&self) -> (u32, u32, Event) {
        (self.entity, self.operation, self.first)
    }
}

/// A pair that became more frequent.
#[derive(Clone, Debug)]
pub(super) struct Deviation {
    pub pair: Pair,
    pub kind: Kind,
    /// Who is blamed, unless something below it deviates, too.
    pub blamed: usize,
    pub strength: f64,
    /// How often the pair follows its first event now: times, of times.
    pub now: (u64, u64),
    /// The same without the fault.
    pub usual: (u64, u64),
    /// Visits that are charged with it.
    pub charged: f64,
    /// Sum of their weights.
    weight: f64,
}

impl Deviation {
    /// Charges visits, each with a weight.
    pub fn charge(&mut self, visits: f64, weight: f64) {
        self.charged += visits;
        self.weight += visits * weight;
    }

    /// Strength by the visits charged: a single one says a third.
    pub fn charged_strength(&self) -> f64 {
        if self.charged > 0.0 { self.strength * self.weight / (self.charged + 2.0) } else { 0.0 }
    }
}

/// All deviations, with the visits charged.
pub(super) struct Deviations(pub Vec<Deviation>);

/// Compares the flow of both windows.
pub(super) fn find(
    case: &Case,
    config: &CauseConfig,
    baseline: &Forest<'_>,
    suspect: &Forest<'_>,
) -> Deviations {
    let usual = Usual::new(case, baseline);
    let now = Flow::new(suspect, &case.suspect.logs);
    let mut deviations = Vec::new();
    let of_pair: Vec<Option<u32>> = (now.pairs.iter())
        .map(|(pair, times)| {
            let of = lookup(&now.totals, &pair.given());
            let deviation = usual.deviation(case, config, *pair, (*times, of))?;
            deviations.push(deviation);
            Some(deviations.len() as u32 - 1)
        })
        .collect();
    let sightings: Vec<(u32, u32, u64)> = (now.seen.iter())
        .filter_map(|&(pair, span, times)| Some((span, of_pair[pair as usize]?, times)))
        .collect();
    charge::charge(case, config, baseline, suspect, &mut deviations, &sightings);
    Deviations(deviations)
}

/// The pairs of one window.
struct Flow {
    /// Each pair and how often it was seen, sorted.
    pairs: Vec<(Pair, u64)>,
    /// What pairs are given, and how often it was followed by anything, sorted.
    totals: Vec<((u32, u32, Event), u64)>,
    /// Where pairs were seen: index of the pair, span or [`NONE`], times.
    seen: Vec<(u32, u32, u64)>,
}

impl Flow {
    fn new(forest: &Forest<'_>, logs: &[super::case::Log]) -> Self {
        // Numbered as they come, then by their order: far fewer pairs are sorted than are seen.
        let mut numbers: HashMap<Pair, u32> = HashMap::new();
        let mut pairs: Vec<(Pair, u64)> = Vec::new();
        let mut seen = Vec::with_capacity(2 * (forest.spans.len() + forest.logs.len()));
        each_pair(forest, logs, &mut |pair, span, times| {
            let number = *numbers.entry(pair).or_insert(pairs.len() as u32);
            if number as usize == pairs.len() {
                pairs.push((pair, 0));
            }
            pairs[number as usize].1 += times;
            seen.push((number, span, times));
        });
        let mut order: Vec<u32> = (0..pairs.len() as u32).collect();
        order.sort_unstable_by_key(|number| pairs[*number as usize].0);
        let mut places = vec![0_u32; pairs.len()];
        for (place, number) in order.iter().enumerate() {
            places[*number as usize] = place as u32;
        }
        for seen in &mut seen {
            seen.0 = places[seen.0 as usize];
        }
        pairs.sort_unstable();
        let totals = (pairs.chunk_by(|a, b| a.0.given() == b.0.given()))
            .map(|run| (run[0].0.given(), run.iter().map(|pair| pair.1).sum()))
            .collect();
        Self { pairs, totals, seen }
    }
}

/// How often pairs follow without the fault.
struct Usual {
    pairs: Vec<(Pair, u64)>,
    totals: Vec<((u32, u32, Event), u64)>,
    /// Templates seen anywhere.
    known: Vec<bool>,
}

impl Usual {
    fn new(case: &Case, baseline: &Forest<'_>) -> Self {
        let Flow { pairs, totals, .. } = Flow::new(baseline, &case.baseline.logs);
        let mut known = vec![false; case.templates.len()];
        for (pair, _) in &pairs {
            if let Event::Line(template) = pair.next {
                known[template as usize] = true;
            }
        }
        Self { pairs, totals, known }
    }

    fn deviation(&self, case: &Case, config: &CauseConfig, pair: Pair, now: (u64, u64)) -> Option<Deviation> {
        let of = lookup(&self.totals, &pair.given());
        if of == 0 {
            return None;
        }
        let usual = (lookup(&self.pairs, &pair), of);
        let before = (usual.0 as f64 + 0.5) / (of as f64 + 1.0);
        let after = now.0 as f64 / (now.1 as f64 + 1.0);
        if after <= before {
            return None;
        }
        let enough = of as f64 / (of as f64 + 3.0);
        let (kind, weight) = self.weigh(case, config, pair.next);
        Some(Deviation {
            pair,
            kind,
            blamed: self.unreached_callee(pair).unwrap_or(pair.entity as usize),
            strength: weight * after * (after / before).ln() * enough,
            now,
            usual,
            charged: 0.0,
            weight: 0.0,
        })
    }

    fn weigh(&self, case: &Case, config: &CauseConfig, next: Event) -> (Kind, f64) {
        match next {
            Event::Failed => (Kind::Errors, config.error_weight),
            Event::End | Event::LogEnd => (Kind::MissingSpans, config.missing_weight),
            Event::Line(template) => {
                let error = case.templates.get(template as usize).is_some_and(|template| template.error);
                let weight = if error { config.error_weight } else { config.different_weight };
                // A line that others write without a fault is less special.
                let known = self.known.get(template as usize).copied().unwrap_or(false);
                (Kind::RareTemplates, if known { weight * config.different_weight } else { weight })
            }
            Event::Begin | Event::LogBegin | Event::Step(_) | Event::Call(..) => {
                (Kind::MissingSpans, config.different_weight)
            }
        }
    }

    /// A client span that usually calls one callee and now calls nobody: the callee did not answer.
    fn unreached_callee(&self, pair: Pair) -> Option<usize> {
        if pair.first != Event::Begin || pair.next != Event::End {
            return None;
        }
        let of_operation = |other: &Pair| (other.entity, other.operation).cmp(&(pair.entity, pair.operation));
        let from = self.pairs.partition_point(|(other, _)| of_operation(other).is_lt());
        let all = || self.pairs[from..].iter().take_while(|(other, _)| of_operation(other).is_eq());
        // A client span has its call and nothing else.
        let client = all().all(|(other, _)| match (other.first, other.next) {
            (Event::Begin | Event::LogBegin | Event::Line(_), next) => !matches!(next, Event::Step(_)),
            (Event::Call(..), next) => matches!(next, Event::End | Event::Failed),
            (Event::Failed, _) => true,
            (Event::Step(_) | Event::End | Event::LogEnd, _) => false,
        });
        let following = all().filter(|(other, _)| other.first == Event::Begin);
        let (other, times) = following.max_by_key(|(_, times)| *times)?;
        let most = 2 * times > lookup(&self.totals, &pair.given());
        match other.next {
            Event::Call(callee, _) if client && most => Some(callee as usize),
            _ => None,
        }
    }
}

fn lookup<K: Ord>(counted: &[(K, u64)], key: &K) -> u64 {
    counted.binary_search_by(|(other, _)| other.cmp(key)).map_or(0, |at| counted[at].1)
}

/// Tells all pairs of a window: pair, span or [`NONE`], times.
fn each_pair(forest: &Forest<'_>, logs: &[super::case::Log], tell: &mut impl FnMut(Pair, u32, u64)) {
    for index in forest.indices() {
        let span = forest.span(index);
        let mut first = Event::Begin;
        let mut follow = |next: Event| {
            if next != first {
                let (entity, operation) = (span.entity as u32, span.operation as u32);
                tell(Pair { entity, operation, first, next }, index, 1);
                first = next;
            }
        };
        for &child in forest.children(index) {
            follow(event(forest, span.entity, child));
        }
        if span.error {
            follow(Event::Failed);
        }
        follow(Event::End);
    }
    for lines in forest.logs.chunk_by(|a, b| a.0 == b.0) {
        let span = lines[0].0;
        if span == NONE {
            for &(_, line) in lines {
                let log = &logs[line as usize];
                let (entity, next) = (log.entity as u32, Event::Line(log.template as u32));
                let pair = Pair { entity, operation: NONE, first: Event::LogBegin, next };
                tell(pair, NONE, u64::from(log.count));
            }
            continue;
        }
        let (entity, operation) = (forest.span(span).entity as u32, forest.span(span).operation as u32);
        let mut first = Event::LogBegin;
        let following = lines.iter().map(|(_, line)| Event::Line(logs[*line as usize].template as u32));
        for next in following.chain([Event::LogEnd]) {
            if next != first {
                tell(Pair { entity, operation, first, next }, span, 1);
                first = next;
            }
        }
    }
}

/// A child span as an event of its parent: a client span is the call that it makes.
fn event(forest: &Forest<'_>, parent: usize, child: u32) -> Event {
    let span = forest.span(child);
    if span.entity != parent {
        return Event::Call(span.entity as u32, span.operation as u32);
    }
    match forest.called(child) {
        Some(callee) => Event::Call(forest.span(callee).entity as u32, forest.span(callee).operation as u32),
        None => Event::Step(span.operation as u32),
    }
}

/// An event in words.
pub(super) fn words(case: &Case, event: Event) -> String {
    match event {
        Event::Begin => "its begin".to_owned(),
        Event::LogBegin => "its first line".to_owned(),
        Event::End => "nothing more".to_owned(),
        Event::LogEnd => "no more lines".to_owned(),
        Event::Failed => "an error".to_owned(),
        Event::Step(operation) => format!("`{}`", case.operation(operation as usize)),
        Event::Call(callee, operation) => {
            format!("a call of {} (`{}`)", case.entity(callee as usize), case.operation(operation as usize))
        }
        Event::Line(template) => format!("line `{}`", case.template(template as usize)),
    }
}
