//! One request at the gateway, as the load generator saw it.
//!
//! Line: `request <start_us> <end_us> <status|timeout|refused|reset|error> <method> <path> <id>`.

use std::fmt::Write as _;

use super::at::At;
use super::attempt::Outcome;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// When it was due and sent.
    pub start: At,
    /// When its outcome was known.
    pub end: At,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP method.
    pub method: &'a str,
    /// Path.
    pub path: &'a str,
    /// Idempotency key of an order, or the number of a read.
    pub id: &'a str,
}

impl<'a> Request<'a> {
    /// Reads one line; `None` when it is not a whole request.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix("request ")?.split_ascii_whitespace();
        let start = At(words.next()?.parse().ok()?);
        let end = At(words.next()?.parse().ok()?);
        let outcome = Outcome::parse(words.next()?)?;
        let (method, path, id) = (words.next()?, words.next()?, words.next()?);
        Some(Self { start, end, outcome, method, path, id })
    }

    /// Appends the line.
    pub fn write(&self, out: &mut String) {
        let word: std::borrow::Cow<'_, str> = match self.outcome {
            Outcome::Status(status) => status.to_string().into(),
            Outcome::Timeout => "timeout".into(),
            Outcome::Refused => "refused".into(),
            Outcome::Reset => "reset".into(),
            Outcome::Error => "error".into(),
        };
        let (start, end, id) = (self.start.0, self.end.0, self.id);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "request {start} {end} {word} {} {} {id}", self.method, self.path);
    }
}

/// Requests and failed requests that ended in `[from, to)`.
pub fn count<'a>(lines: impl Iterator<Item = &'a str>, from: At, to: At) -> (u64, u64) {
    lines
        .filter_map(Request::parse)
        .filter(|request| request.end >= from && request.end < to)
        .fold((0, 0), |(all, failed), request| (all + 1, failed + u64::from(request.outcome.failed())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let request = Request {
            start: At(5),
            end: At(9),
            outcome: Outcome::Timeout,
            method: "POST",
            path: "/orders",
            id: "u7-12",
        };
        let mut text = String::new();
        request.write(&mut text);
        assert_eq!(text, "request 5 9 timeout POST /orders u7-12\n");
        assert_eq!(Request::parse(text.trim_end()), Some(request));
    }

    #[test]
    fn only_whole_requests_inside_the_time_count() {
        let lines = [
            "request 1 5 200 GET /orders/1 r1",
            "request 1 6 503 GET /orders/1 r2",
            "request 1 10 timeout GET /orders/1 r3",
            "request 1 7 200 GET",
            "noise",
        ];
        assert_eq!(count(lines.into_iter(), At(0), At(10)), (2, 1));
        assert_eq!(count(lines.into_iter(), At(0), At(11)), (3, 2));
    }
}
