//! The record beside the API server's own audit log, in both directions: each effect on record that names its request must be
//! in the log as that request, and each write of Homeostat's in the log must be on record. [`verify()`](crate::verify()) finds
//! what was changed in a record; this finds what was never in it, and what never came.
//!
//! Pure, and fed line by line: the record first, of which only what it says of requests is kept, at most [`MOST`]; then the
//! log, of any length, of which nothing is kept but counts and the first lines that do not match.

mod api;
#[cfg(test)]
mod tests;

use crate::chain::Line;
use api::{Answer, Event, Expected, Write};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// Effects and begun actions of a record that are compared; a record holds its 64 MiB of them, which are fewer.
pub const MOST: usize = 200_000;
/// Lines of a kind that are told; more are only counted.
const LISTED: usize = 100;
/// Characters of such a line.
const LONGEST: usize = 400;
/// Two clocks that differ, and the time from an answer to its entry.
const MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// From the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

impl Span {
    fn cover(span: &mut Option<Self>, at: Timestamp) {
        let Self { first, last } = span.unwrap_or(Self { first: at, last: at });
        *span = Some(Self { first: first.min(at), last: last.max(at) });
    }

    /// So far from both ends that nothing of this instant can lie outside.
    fn surely_holds(&self, at: Timestamp) -> bool {
        at.duration_since(self.first) >= MARGIN && self.last.duration_since(at) >= MARGIN
    }
}

/// What does not match: all is counted, the first hundred are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// How many.
    pub count: u64,
    /// The first of them, one line each.
    pub lines: Vec<String>,
}

impl Unmatched {
    fn add(&mut self, line: &str) {
        self.count += 1;
        if self.lines.len() < LISTED {
            // What others wrote goes to a terminal.
            let shown = line.chars().take(LONGEST);
            self.lines.push(shown.map(|one| if one.is_control() { '?' } else { one }).collect());
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Entries of the record.
    pub entries: u64,
    /// From its first entry to its last; `None` without one.
    pub record: Option<Span>,
    /// Lines of it that are none.
    pub record_unreadable: u64,
    /// Decisions that it says were lost.
    pub lost: u64,
    /// Effects and actions of it that there was no room to compare.
    pub beyond: u64,
    /// Effects that name their request.
    pub effects: u64,
    /// Events of the log.
    pub events: u64,
    /// From its first event to its last, of several logs what all of them reach; `None` without one.
    pub log: Option<Span>,
    /// Lines of it that are none.
    pub log_unreadable: u64,
    /// Events of requests of Homeostat's.
    pub requests: u64,
    /// Its writes about itself, which are not compared, by resource.
    pub own: BTreeMap<String, u64>,
    /// Writes that were only tried.
    pub dry_runs: u64,
    /// Writes that were refused.
    pub refused: u64,
    /// Writes that are not on record and of which the log does not say whether they were carried out.
    pub unsure: u64,
    /// Effects that are in the log as what they are on record.
    pub matched: u64,
    /// Writes whose answer did not arrive, and whose action is on record.
    pub answered_late: u64,
    /// Effects that are not compared: the log does not surely reach them.
    pub outside: u64,
    /// Writes that are not compared: they came before the record surely begins.
    pub older: u64,
    /// Effects that are not in the log.
    pub not_in_log: Unmatched,
    /// Effects that are in the log as something else.
    pub differing: Unmatched,
    /// Writes that are not on record.
    pub not_in_record: Unmatched,
}

impl Outcome {
    /// Everything that was compared matches, and nothing found no room.
    pub fn matches(&self) -> bool {
        self.not_in_log.count + self.differing.count + self.not_in_record.count + self.beyond == 0
    }
}

/// An effect on record that names its request.
#[derive(Debug)]
struct Effect {
    /// The action, or the one that held what was let go.
    by: String,
    expected: Option<Expected>,
    at: Timestamp,
    /// When the request of that name arrived, by the log.
    found: Option<Timestamp>,
}

/// An action that was about to change something, or something that was let go, on record without its request's name.
#[derive(Debug)]
struct Attempt {
    expected: Option<Expected>,
    from: Timestamp,
    to: Option<Timestamp>,
    /// It may have had an effect: it ended without one otherwise.
    may: bool,
    /// Its request is named elsewhere.
    named: bool,
}

/// What a record says of requests.
#[derive(Debug)]
pub struct Recorded {
    most: usize,
    out: Outcome,
    effects: BTreeMap<String, Effect>,
    attempts: BTreeMap<(String, String), Attempt>,
}

impl Default for Recorded {
    fn default() -> Self {
        Self { most: MOST, out: Outcome::default(), effects: BTreeMap::new(), attempts: BTreeMap::new() }
    }
}

impl Recorded {
    /// Takes the next line of the record.
    pub fn line(&mut self, text: &str) {
        let entry = match serde_json::from_str::<Line>(text) {
            Ok(Line::Entry(entry)) => entry,
            Ok(Line::Checkpoint(_)) => return,
            Err(_) => {
                self.out.record_unreadable += u64::from(!text.trim().is_empty());
                return;
            }
        };
        self.out.entries += 1;
        Span::cover(&mut self.out.record, entry.at);
        let Some(facts) = &entry.facts.value else { return };
        match facts["what"].as_str().unwrap_or_default() {
            "EffectAcknowledged" => self.effect(facts, entry.at),
            "HoldReleased" | "HoldSeenGone" => self.released(facts, entry.at),
            "RecordsLost" => self.out.lost += facts["count"].as_u64().unwrap_or_default(),
            what if what.starts_with("Action") => self.action(facts),
            _ => {}
        }
    }

    fn effect(&mut self, facts: &Value, at: Timestamp) {
        let expected = Expected::of_action(facts);
        let key = (text(facts, "workload"), text(facts, "action"));
        let named = self.named(facts, expected.as_ref(), at);
        self.attempt(key, Attempt { expected, from: at, to: None, may: true, named });
    }

    fn released(&mut self, facts: &Value, at: Timestamp) {
        let object = text(&facts["target"], "object");
        let expected = Expected::of_release(&object);
        let named = self.named(facts, expected.as_ref(), at);
        let attempt = Attempt { expected, from: at, to: Some(at), may: true, named };
        self.attempt((object, text(facts, "action")), attempt);
    }

    fn action(&mut self, facts: &Value) {
        let instant =
            |name: &str| facts["instants"][name].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let Some(from) = instant("claimed") else { return };
        let to = instant("closed");
        let may = to.is_none() || instant("sent").is_some();
        let key = (text(facts, "workload"), text(facts, "action"));
        let expected = Expected::of_action(facts);
        self.attempt(key, Attempt { expected, from, to, may, named: false });
    }

    /// Whether the entry names its request.
    fn named(&mut self, facts: &Value, expected: Option<&Expected>, at: Timestamp) -> bool {
        let (id, by) = (text(facts, "auditId"), text(facts, "action"));
        if id.is_empty() {
            return false;
        }
        match self.effects.get(&id) {
            // The same chain was given twice.
            Some(known) if known.by == by && known.at == at => {}
            Some(known) => {
                let line = format!("{} and {by} are both on record as the request {id}", known.by);
                self.out.differing.add(&line);
            }
            None if self.room() => {
                self.out.effects += 1;
                self.effects.insert(id, Effect { by, expected: expected.cloned(), at, found: None });
            }
            None => self.out.beyond += 1,
        }
        true
    }

    /// The newest that is known of it; that its request is named stays so.
    fn attempt(&mut self, key: (String, String), attempt: Attempt) {
        let known = self.attempts.get(&key).map(|known| known.named);
        if known.is_none() && !self.room() {
            self.out.beyond += 1;
            return;
        }
        let named = attempt.named || known == Some(true);
        self.attempts.insert(key, Attempt { named, ..attempt });
    }

    fn room(&self) -> bool {
        self.effects.len() + self.attempts.len() < self.most
    }

    /// Sets the log beside it, in which Homeostat is this user.
    pub fn beside(self, user: &str) -> Reconciliation {
        let Self { out, effects, attempts, .. } = self;
        let may = |attempt: &Attempt| attempt.may && !attempt.named && attempt.expected.is_some();
        let attempts = attempts.into_values().filter(may).collect();
        Reconciliation { user: user.to_owned(), out, effects, attempts, span: None }
    }
}

/// A record with a log that is taken line by line.
#[derive(Debug)]
pub struct Reconciliation {
    user: String,
    out: Outcome,
    effects: BTreeMap<String, Effect>,
    /// What may explain a write that no effect names; each explains one.
    attempts: Vec<Attempt>,
    /// Of the log that is read now.
    span: Option<Span>,
}

impl Reconciliation {
    /// Takes the next line of the log.
    pub fn line(&mut self, text: &str) {
        let Some(event) = Event::read(text, &self.user) else {
            self.out.log_unreadable += u64::from(!text.trim().is_empty());
            return;
        };
        self.out.events += 1;
        Span::cover(&mut self.span, event.at);
        self.out.requests += u64::from(event.ours);
        if let Some(write) = event.write {
            self.write(&write);
        }
    }

    fn write(&mut self, write: &Write) {
        let out = &mut self.out;
        if let Some(effect) = self.effects.get_mut(&write.id) {
            if effect.found == Some(write.at) {
                return; // The same line was given twice.
            }
            match differs(effect, write) {
                None => out.matched += 1,
                Some(why) => {
                    let line = format!("{} is on record, and in the log {why}: {write}", described(effect));
                    out.differing.add(&line);
                }
            }
            effect.found = Some(write.at);
            return;
        }
        if write.dry_run {
            out.dry_runs += 1;
            return;
        }
        if let Some(resource) = write.own() {
            *out.own.entry(resource).or_default() += 1;
            return;
        }
        if matches!(write.answer, Answer::Refused(_)) {
            out.refused += 1;
            return;
        }
        let fits = |attempt: &Attempt| {
            attempt.from.duration_since(write.at) <= MARGIN
                && attempt.to.is_none_or(|to| write.at.duration_since(to) <= MARGIN)
                && attempt.expected.as_ref().is_some_and(|expected| expected.fits(write))
        };
        if let Some(place) = self.attempts.iter().position(fits) {
            self.attempts.swap_remove(place);
            out.answered_late += 1;
        } else if write.answer == Answer::Unsure {
            out.unsure += 1;
        } else if out.record.is_some_and(|record| write.at.duration_since(record.first) < MARGIN) {
            out.older += 1;
        } else {
            let after = out.record.is_some_and(|record| write.at > record.last);
            let hint = if after { "; later than its last entry" } else { "" };
            out.not_in_record.add(&format!("{write}{hint}"));
        }
    }

    /// The log of one server is over; what follows is another one's. Each knows only its own requests, so only what all of
    /// them reach can be said to be missing.
    pub fn end_of_log(&mut self) {
        let Some(span) = self.span.take() else { return };
        let both = |log: Span| Span { first: log.first.max(span.first), last: log.last.min(span.last) };
        self.out.log = Some(self.out.log.map_or(span, both));
    }

    /// What was found.
    pub fn finish(mut self) -> Outcome {
        self.end_of_log();
        let Self { mut out, effects, .. } = self;
        let mut missing: Vec<(String, Effect)> =
            effects.into_iter().filter(|(_, effect)| effect.found.is_none()).collect();
        missing.sort_by_key(|(_, effect)| effect.at);
        for (id, effect) in missing {
            if out.log.is_some_and(|log| log.surely_holds(effect.at)) {
                let line = format!("{}, on record at {}, request {id}", described(&effect), effect.at);
                out.not_in_log.add(&line);
            } else {
                out.outside += 1;
            }
        }
        out
    }
}

/// Why a request is not what is on record under its name.
fn differs(effect: &Effect, write: &Write) -> Option<String> {
    if effect.found.is_some() {
        return Some("once more".to_owned());
    }
    if write.dry_run {
        return Some("as a dry run".to_owned());
    }
    match write.answer {
        Answer::Refused(code) => return Some(format!("as refused with {code}")),
        Answer::Unsure => return Some("without a good answer".to_owned()),
        Answer::Taken => {}
    }
    let fits = effect.expected.as_ref().is_none_or(|expected| expected.fits(write));
    (!fits).then(|| "as another request".to_owned())
}

fn described(effect: &Effect) -> String {
    match &effect.expected {
        Some(expected) => format!("{expected} by {}", effect.by),
        None => format!("the effect of {}", effect.by),
    }
}

fn text(facts: &Value, field: &str) -> String {
    facts[field].as_str().unwrap_or_default().to_owned()
}
