//! What a ranking is made from: plain numbers, entities by index.

use serde::{Deserialize, Serialize};

/// A fault to explain.
///
/// All lists are optional. Indices point into `entities`, `operations` and `templates`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// What may be the cause: services, pods, nodes. The text is only used in words, never to decide.
    pub entities: Vec<String>,
    /// Names of operations (a span's name), for words.
    pub operations: Vec<String>,
    /// Log templates, as a template miner numbers them.
    pub templates: Vec<Template>,
    /// Who calls whom: (caller, callee). Calls seen in spans are added to it.
    pub calls: Vec<(usize, usize)>,
    /// Where the fault was seen. Entities that it does not call, directly or not, count less.
    pub symptom: Option<Symptom>,
    /// A time without the fault.
    pub baseline: Window,
    /// The time with the fault, up to now.
    pub suspect: Window,
    /// Metrics over both times.
    pub series: Vec<Series>,
    /// Rollouts and configuration changes.
    pub changes: Vec<Change>,
}

/// Spans and log lines of one stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// In any order; of spans with the same trace and id the first counts.
    pub spans: Vec<Span>,
    /// In any order.
    pub logs: Vec<Log>,
}

/// One span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its trace.
    pub trace: u64,
    /// Its id within the trace.
    pub id: u64,
    /// Id of the parent span; none, or one that is not in the window, makes it the first of its trace.
    pub parent: Option<u64>,
    /// Who ran it.
    pub entity: usize,
    /// Index of its name in [`Case::operations`].
    pub operation: usize,
    /// Start in seconds; any zero, the same for the whole window.
    pub start: f64,
    /// Seconds.
    pub duration: f64,
    /// Whether it ended in an error.
    pub error: bool,
}

/// Log lines of one template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Who wrote them.
    pub entity: usize,
    /// Index in [`Case::templates`].
    pub template: usize,
    /// How many lines.
    pub count: u32,
    /// Trace and id of the span that they belong to, where known.
    pub span: Option<(u64, u64)>,
    /// Seconds, on the same zero as the spans; orders the lines of one span.
    pub at: f64,
}

/// A log template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Its text, for words.
    pub text: String,
    /// Whether its lines tell of an error (severity ERROR or worse).
    pub error: bool,
}

/// What a series measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Measure {
    /// Mean time of a request in seconds, calls to others included.
    Latency,
    /// Requests served, per row.
    Requests,
    /// Share of requests that failed, 0 to 1.
    Failures,
    /// Processor use as a share of what it may use, 0 to 1.
    Cpu,
    /// Memory in use as a share of what it may use, 0 to 1.
    Memory,
}

/// One metric of one entity.
///
/// Row `i` of `baseline` is the same instant in all series of a case, likewise of `suspect`; a missing value is NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Of whom.
    pub entity: usize,
    /// Of what.
    pub measure: Measure,
    /// Without the fault.
    pub baseline: Vec<f64>,
    /// With it, up to now.
    pub suspect: Vec<f64>,
}

/// Where a fault was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    /// By whom.
    pub entity: usize,
    /// In what; none when unknown.
    pub measure: Option<Measure>,
}

/// Something that people or controllers did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// To whom.
    pub entity: usize,
    /// Seconds from the change to the first sign of the fault; negative: the fault came first.
    pub seconds_before: f64,
    /// What was done, for words.
    pub what: String,
}

/// What is wrong with a case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// An item points outside a list.
    #[error(
        "{item} {index} names {list} {value}, but there are only {length}: correct the index or leave it out"
    )]
    Index {
        /// What kind of item.
        item: &'static str,
        /// Its place in its list.
        index: usize,
        /// Which list it points into.
        list: &'static str,
        /// Where it points.
        value: usize,
        /// How long that list is.
        length: usize,
    },
    /// A list is longer than 2^29 items.
    #[error("{list} has {length} items, more than the {limit} that are supported: rank a part of it")]
    TooMany {
        /// Which list.
        list: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

/// Entities, operations and templates fit into 29 bits, so that an event fits into one word.
pub(super) const LIMIT: usize = 1 << 29;

impl Case {
    /// Whether every index points into its list; [`super::rank`] leaves out what does not.
    pub fn check(&self) -> Result<(), CaseError> {
        let (entities, operations, templates) =
            (self.entities.len(), self.operations.len(), self.templates.len());
        for (list, length) in [("entities", entities), ("operations", operations), ("templates", templates)] {
            if length > LIMIT {
                return Err(CaseError::TooMany { list, length, limit: LIMIT });
            }
        }
        let within = |item, index, list, value, length| {
            if value < length { Ok(()) } else { Err(CaseError::Index { item, index, list, value, length }) }
        };
        for (index, &(caller, callee)) in self.calls.iter().enumerate() {
            within("call", index, "entity", caller.max(callee), entities)?;
        }
        if let Some(symptom) = &self.symptom {
            within("symptom", 0, "entity", symptom.entity, entities)?;
        }
        for window in [&self.baseline, &self.suspect] {
            for (index, span) in window.spans.iter().enumerate() {
                within("span", index, "entity", span.entity, entities)?;
                within("span", index, "operation", span.operation, operations)?;
            }
            for (index, log) in window.logs.iter().enumerate() {
                within("log line", index, "entity", log.entity, entities)?;
                within("log line", index, "template", log.template, templates)?;
            }
        }
        for (index, series) in self.series.iter().enumerate() {
            within("series", index, "entity", series.entity, entities)?;
        }
        for (index, change) in self.changes.iter().enumerate() {
            within("change", index, "entity", change.entity, entities)?;
        }
        Ok(())
    }

    /// An entity's name.
    pub(super) fn entity(&self, index: usize) -> &str {
        self.entities.get(index).map_or("?", String::as_str)
    }

    /// An operation's name.
    pub(super) fn operation(&self, index: usize) -> &str {
        self.operations.get(index).map_or("?", String::as_str)
    }

    /// A template's text, cut to a readable length.
    pub(super) fn template(&self, index: usize) -> String {
        let text = self.templates.get(index).map_or("?", |template| template.text.as_str());
        if text.chars().count() > 90 {
            text.chars().take(87).chain("...".chars()).collect()
        } else {
            text.to_owned()
        }
    }
}
