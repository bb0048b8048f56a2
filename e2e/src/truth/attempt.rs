//! One call of one service by another, as the caller saw it, and the history of all of them.
//!
//! Callers print one line per attempt:
//! `attempt <start_us> <end_us> <caller> <callee> <status|timeout|refused|reset|error> <method> <path>`.
//! The word `cancelled` stands for an attempt that was dropped because the caller's own caller had
//! gone: it says nothing about the callee and is left out.

use std::collections::HashMap;

use super::at::At;

/// How an attempt ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP status arrived.
    Status(u16),
    /// Nothing arrived within the attempt's time.
    Timeout,
    /// Nobody listened.
    Refused,
    /// The connection broke.
    Reset,
    /// Any other failure to get an answer.
    Error,
}

impl Outcome {
    /// An error or a timeout. Refusals by business rules (4xx) are good answers.
    pub fn failed(self) -> bool {
        match self {
            Self::Status(status) => status >= 500,
            Self::Timeout | Self::Refused | Self::Reset | Self::Error => true,
        }
    }

    /// Reads a status code or one of the words of the line.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "timeout" => Self::Timeout,
            "refused" => Self::Refused,
            "reset" => Self::Reset,
            "error" => Self::Error,
            digits => Self::Status(digits.parse().ok().filter(|s| (100..1000).contains(s))?),
        })
    }
}

/// A service's name as a number, so that an attempt takes 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(u16);

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When the caller sent it.
    pub start: At,
    /// When the caller knew how it ended.
    pub end: At,
    /// Who called.
    pub caller: Peer,
    /// Who was called.
    pub callee: Peer,
    /// How it ended.
    pub outcome: Outcome,
}

/// Attempts per block of the index below.
const BLOCK: usize = 1024;
/// Different names kept; an application of this size has ten.
const MAX_NAMES: usize = 1000;

/// Every attempt so far, in order of arrival.
#[derive(Debug, Default)]
pub struct History {
    attempts: Vec<Attempt>,
    /// Latest end in each block, so that old blocks are skipped.
    latest: Vec<At>,
    names: Vec<String>,
    index: HashMap<String, Peer>,
    /// Lines that began like an attempt and could not be read.
    pub malformed: u64,
}

impl History {
    /// Number for a name; the same name gives the same number. Names beyond the bound share one.
    pub fn peer(&mut self, name: &str) -> Peer {
        if let Some(peer) = self.index.get(name) {
            return *peer;
        }
        if self.names.len() >= MAX_NAMES {
            return Peer(u16::MAX);
        }
        let peer = Peer(self.names.len() as u16);
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), peer);
        peer
    }

    /// Number of a name that was seen already.
    pub fn known(&self, name: &str) -> Option<Peer> {
        self.index.get(name).copied()
    }

    /// Name behind a number.
    pub fn name(&self, peer: Peer) -> &str {
        self.names.get(usize::from(peer.0)).map_or("other", String::as_str)
    }

    /// Reads one log line; `None` for lines that are not attempts (other output is ignored).
    pub fn read(&mut self, line: &str) -> Option<Attempt> {
        let rest = line.strip_prefix("attempt ")?;
        if rest.split_ascii_whitespace().nth(4) == Some("cancelled") {
            return None;
        }
        let parsed = self.parse(rest);
        if parsed.is_none() {
            self.malformed += 1;
        }
        parsed
    }

    fn parse(&mut self, rest: &str) -> Option<Attempt> {
        let mut words = rest.split_ascii_whitespace();
        let start = At(words.next()?.parse().ok()?);
        let end = At(words.next()?.parse().ok()?);
        let (caller, callee) = (words.next()?, words.next()?);
        let outcome = Outcome::parse(words.next()?)?;
        // Method and path must be there: a line cut off in the middle of a write is not an attempt.
        words.next()?;
        words.next()?;
        if end < start {
            return None;
        }
        Some(Attempt { start, end, caller: self.peer(caller), callee: self.peer(callee), outcome })
    }

    /// Adds an attempt.
    pub fn push(&mut self, attempt: Attempt) {
        if self.attempts.len().is_multiple_of(BLOCK) {
            self.latest.push(attempt.end);
        } else if let Some(latest) = self.latest.last_mut() {
            *latest = attempt.end.max(*latest);
        }
        self.attempts.push(attempt);
    }

    /// Attempts on `callee` that ended in `[from, to)`, in order of their end.
    pub fn on(&self, callee: &str, from: At, to: At) -> Vec<Attempt> {
        let Some(callee) = self.known(callee) else { return Vec::new() };
        let mut found: Vec<Attempt> =
            self.ended(from, to).filter(|attempt| attempt.callee == callee).copied().collect();
        found.sort_by_key(|attempt| (attempt.end, attempt.start));
        found
    }

    /// When the latest failed attempt on any service ended, if one ended at or after `from`.
    pub fn last_failure(&self, from: At) -> Option<At> {
        self.ended(from, At(i64::MAX)).filter(|a| a.outcome.failed()).map(|a| a.end).max()
    }

    /// Attempts and failed attempts that ended in `[from, to)`.
    pub fn count(&self, from: At, to: At) -> (u64, u64) {
        self.ended(from, to)
            .fold((0, 0), |(all, failed), attempt| (all + 1, failed + u64::from(attempt.outcome.failed())))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    fn ended(&self, from: At, to: At) -> impl Iterator<Item = &Attempt> {
        let blocks = self.attempts.chunks(BLOCK).zip(&self.latest);
        let blocks = blocks.filter(move |(_, latest)| **latest >= from);
        blocks.flat_map(|(block, _)| block).filter(move |a| a.end >= from && a.end < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_are_read_and_others_ignored() {
        let mut history = History::default();
        let good = history.read("attempt 1000 2500 gateway order 201 POST /orders").unwrap();
        assert_eq!((good.start, good.end), (At(1000), At(2500)));
        assert_eq!((history.name(good.caller), history.name(good.callee)), ("gateway", "order"));
        assert!(!good.outcome.failed());
        let late = history.read("attempt 1 1000001 order kitchen timeout POST /tickets").unwrap();
        assert!(late.outcome.failed());
        assert!(history.read(r#"{"level":"INFO"}"#).is_none());
        assert!(history.read("attempt 1 900 order kitchen cancelled POST /tickets").is_none());
        assert_eq!(history.malformed, 0);
    }

    #[test]
    fn cut_and_impossible_lines_are_counted_not_kept() {
        let mut history = History::default();
        for line in [
            "attempt 1000 2500 gateway order 201 POST",
            "attempt 2500 1000 gateway order 201 POST /orders",
            "attempt x 1000 gateway order 201 POST /orders",
            "attempt 1 2 gateway order lost POST /orders",
            "attempt 1 2 gateway order 99 POST /orders",
        ] {
            assert!(history.read(line).is_none(), "{line}");
        }
        assert_eq!(history.malformed, 5);
    }

    #[test]
    fn business_refusals_are_good_answers() {
        for (word, failed) in
            [("200", false), ("409", false), ("422", false), ("500", true), ("503", true), ("refused", true)]
        {
            assert_eq!(Outcome::parse(word).unwrap().failed(), failed, "{word}");
        }
    }

    #[test]
    fn late_arrivals_in_old_blocks_are_still_found() {
        let mut history = History::default();
        let (a, b) = (history.peer("a"), history.peer("b"));
        let one =
            |end: i64, outcome| Attempt { start: At(end - 1), end: At(end), caller: a, callee: b, outcome };
        for end in 0..3000 {
            history.push(one(end, Outcome::Status(200)));
        }
        // A stream that was cut delivers an old line last.
        history.push(one(10, Outcome::Reset));
        assert_eq!(history.on("b", At(5), At(12)).len(), 8);
        assert_eq!(history.last_failure(At(5)), Some(At(10)));
        assert_eq!(history.last_failure(At(11)), None);
        assert_eq!(history.count(At(0), At(3000)), (3001, 1));
        assert!(history.on("unknown", At(0), At(9)).is_empty());
    }
}
