//! Folds the lines of a stack trace into the line that they belong to.
//!
//! Known are the traces of the JVM, Python, Go, Rust, Node.js and .NET by the form of their lines; any other line that
//! begins with white space continues the one before. A folded record is bounded; what is beyond is counted.

use super::header::is_time;
use super::severity::{Severity, severity_of};
use serde::{Deserialize, Serialize};

/// Setting of a [`Folder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldConfig {
    /// Lines of a record that are kept, the first included.
    pub max_lines: usize,
    /// Bytes of a record that are kept.
    pub max_bytes: usize,
}

impl Default for FoldConfig {
    fn default() -> Self {
        Self { max_lines: 256, max_bytes: 32_768 }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field} is {value}, it must be {limit}")]
pub struct FoldConfigError {
    /// Field of [`FoldConfig`].
    pub field: &'static str,
    /// What was given.
    pub value: usize,
    /// What is allowed.
    pub limit: &'static str,
}

/// A line with the lines that were folded into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Kept lines with a line feed between; at most [`FoldConfig::max_bytes`].
    pub text: Vec<u8>,
    /// Bytes of the first line in `text`.
    pub first: usize,
    /// Lines of the record, dropped ones included.
    pub lines: u64,
    /// Lines of which something was dropped.
    pub cut: u64,
}

impl Record {
    /// The line that the miner gets.
    pub fn first_line(&self) -> &[u8] {
        &self.text[..self.first.min(self.text.len())]
    }
}

/// Where in a trace the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Outside,
    /// After a frame or an exception's name.
    Frames,
    /// After Python's `Traceback`, before the line that names the exception.
    Traceback,
    /// After Go's `panic:`.
    Goroutines,
}

/// Folds one stream of lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    config: FoldConfig,
    held: Option<Record>,
    place: Place,
}

impl Folder {
    /// A folder that holds nothing.
    pub fn new(config: FoldConfig) -> Result<Self, FoldConfigError> {
        for (field, value) in [("max_lines", config.max_lines), ("max_bytes", config.max_bytes)] {
            if !(1..=1 << 24).contains(&value) {
                return Err(FoldConfigError { field, value, limit: "1 to 16777216" });
            }
        }
        Ok(Self { config, held: None, place: Place::Outside })
    }

    /// Takes the next line, without its line end. Returns the record before it when this line begins a new one.
    pub fn push(&mut self, line: &[u8]) -> Option<Record> {
        if let Some(held) = &mut self.held
            && let Some(place) = continues(self.place, held.first_line(), line)
        {
            self.place = place;
            held.lines += 1;
            let room = self.config.max_bytes.saturating_sub(held.text.len());
            if held.lines as usize <= self.config.max_lines && room > line.len() {
                held.text.push(b'\n');
                held.text.extend_from_slice(line);
            } else {
                held.cut += 1;
            }
            return None;
        }
        self.place = begins(line);
        let kept = &line[..line.len().min(self.config.max_bytes)];
        let cut = u64::from(kept.len() < line.len());
        self.held.replace(Record { text: kept.to_vec(), first: kept.len(), lines: 1, cut })
    }

    /// The record that is held, when no more lines of it are awaited.
    pub fn flush(&mut self) -> Option<Record> {
        self.place = Place::Outside;
        self.held.take()
    }
}

fn begins(line: &[u8]) -> Place {
    if line.starts_with(b"Traceback (most recent call last)") {
        Place::Traceback
    } else if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") {
        Place::Goroutines
    } else if names_exception(line) {
        Place::Frames
    } else {
        Place::Outside
    }
}

/// Where in the trace the stream is after `line`, if the line belongs to the record that began with `first`.
fn continues(place: Place, first: &[u8], line: &[u8]) -> Option<Place> {
    let indented = line.first().is_some_and(|&byte| byte == b' ' || byte == b'\t');
    let blank = line.iter().all(u8::is_ascii_whitespace);
    if blank {
        return (place != Place::Outside).then_some(place);
    }
    let word = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()).unwrap_or(line);
    if indented {
        if is_time(word) {
            return None;
        }
        return Some(match (place, word) {
            (Place::Outside, b"at" | b"File" | b"...") => Place::Frames,
            _ => place,
        });
    }
    let joins =
        [b"Caused by: ".as_slice(), b"Suppressed: ", b"... ", b"at ", b"stack backtrace:", b"--- End of "];
    if joins.iter().any(|start| line.starts_with(start))
        && (place != Place::Outside || !line.starts_with(b"... "))
    {
        return Some(Place::Frames);
    }
    match place {
        Place::Traceback => return Some(Place::Frames),
        Place::Goroutines if is_goroutine(line) => return Some(place),
        _ => {}
    }
    let chained = [
        b"During handling of the above exception".as_slice(),
        b"The above exception was the direct cause",
        b"note: run with `RUST_BACKTRACE",
    ];
    if place != Place::Outside && chained.iter().any(|start| line.starts_with(start)) {
        return Some(Place::Frames);
    }
    // A trace of its own belongs to the line before when that one reports an error.
    let traceback = line.starts_with(b"Traceback (most recent call last)");
    if (traceback || names_exception(line)) && (place == Place::Frames || reports_error(first)) {
        return Some(if traceback { Place::Traceback } else { Place::Frames });
    }
    None
}

fn is_goroutine(line: &[u8]) -> bool {
    line.starts_with(b"goroutine ")
        || line.starts_with(b"[signal ")
        || line.starts_with(b"created by ")
        || line.starts_with(b"exit status ")
        || (line.ends_with(b")") && line.contains(&b'('))
}

/// `java.io.IOException: text`, `System.InvalidOperationException`: a dotted name that ends as exceptions do.
fn names_exception(line: &[u8]) -> bool {
    let end = line.iter().position(|&byte| byte == b':' || byte.is_ascii_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let ends = [b"Exception".as_slice(), b"Error", b"Throwable"].iter().any(|part| name.ends_with(part));
    ends && name.contains(&b'.')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$'))
        && (rest.is_empty() || rest[0] == b':')
}

fn reports_error(line: &[u8]) -> bool {
    line.split(|byte| byte.is_ascii_whitespace() || *byte == b'|')
        .filter(|word| !word.is_empty())
        .take(10)
        .any(|word| severity_of(word).is_some_and(|severity| severity >= Severity::Error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fold(text: &str) -> Vec<(String, u64)> {
        let mut folder = Folder::new(FoldConfig::default()).expect("a valid setting");
        let mut records: Vec<Record> = text.lines().filter_map(|line| folder.push(line.as_bytes())).collect();
        records.extend(folder.flush());
        records
            .into_iter()
            .map(|record| (String::from_utf8_lossy(record.first_line()).into_owned(), record.lines))
            .collect()
    }

    #[test]
    fn a_java_trace_with_its_cause_is_one_record() {
        let folded = fold(
            "12:00:01 ERROR o.Service: cannot save order 7\n\
             java.lang.IllegalStateException: no connection\n\
             \tat shop.Orders.save(Orders.java:12)\n\
             \tat shop.Orders.take(Orders.java:7)\n\
             Caused by: java.net.ConnectException: refused\n\
             \t... 12 more\n\
             12:00:02 INFO o.Service: next",
        );
        assert_eq!(
            folded,
            [
                ("12:00:01 ERROR o.Service: cannot save order 7".into(), 6),
                ("12:00:02 INFO o.Service: next".into(), 1)
            ]
        );
    }

    #[test]
    fn a_python_traceback_ends_with_the_line_that_names_the_error() {
        let folded = fold(
            "2026-01-02 10:00:00 INFO started\n\
             Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nValueError: 7\n\
             2026-01-02 10:00:01 INFO next",
        );
        let lines: Vec<u64> = folded.iter().map(|(_, lines)| *lines).collect();
        assert_eq!(lines, [1, 4, 1], "{folded:?}");
    }

    #[test]
    fn a_go_panic_keeps_its_goroutines() {
        let folded = fold(
            "panic: assignment to entry in nil map\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:7 +0x1d\nexit status 2\nlistening on :80",
        );
        assert_eq!(folded.len(), 2, "{folded:?}");
        assert_eq!(folded[0].1, 6);
    }

    #[test]
    fn plain_lines_stay_alone_and_an_indented_timestamp_is_no_continuation() {
        let folded = fold("a\nb\n  2026-01-02 10:00:00 c\nat noon");
        assert_eq!(folded.len(), 3, "{folded:?}");
        assert_eq!(fold("one\n\ntwo").len(), 3);
    }

    #[test]
    fn an_endless_trace_is_bounded_and_its_lines_are_counted() {
        let config = FoldConfig { max_lines: 10, max_bytes: 200 };
        let mut folder = Folder::new(config).expect("a valid setting");
        folder.push(b"ERROR x");
        for _ in 0..10_000 {
            assert_eq!(folder.push(b"\tat a.b.C(D.java:1)"), None);
        }
        let record = folder.flush().expect("a record");
        assert!(record.text.len() <= 200);
        assert_eq!((record.lines, record.lines - record.cut), (10_001, 10));
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_with_its_field() {
        let error = Folder::new(FoldConfig { max_lines: 0, max_bytes: 1 }).expect_err("no lines");
        assert_eq!(error.to_string(), "max_lines is 0, it must be 1 to 16777216");
    }

    proptest! {
        #[test]
        fn no_line_is_lost_and_a_restored_folder_goes_on(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..60), cut in 0_usize..60) {
            let mut folder = Folder::new(FoldConfig { max_lines: 4, max_bytes: 64 }).expect("a valid setting");
            let mut seen = 0;
            for (at, line) in lines.iter().enumerate() {
                if at == cut {
                    let text = serde_json::to_string(&folder).expect("serialises");
                    folder = serde_json::from_str(&text).expect("deserialises");
                }
                if let Some(record) = folder.push(line) {
                    prop_assert!(record.text.len() <= 64);
                    seen += record.lines;
                }
            }
            seen += folder.flush().map_or(0, |record| record.lines);
            prop_assert_eq!(seen, lines.len() as u64);
        }
    }
}
