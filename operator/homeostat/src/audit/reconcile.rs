//! `homeostat audit match`: the record beside the API server's audit log.

use crate::args::MatchArgs;
use homeostat_audit::reconcile::{Outcome, Recorded, Span, Unmatched};
use homeostat_audit::{StoreError, store};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of an event that are read; whole objects are in some, and none is larger than the API server takes. A longer line is
/// counted as none.
const LONGEST: u64 = 16 << 20;

/// Why the record could not be set beside the log, or does not match it.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// The record's files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error("{path} cannot be read; check that it exists and that this user may read it")]
    Log {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no record.
    #[error("{path} holds no entry of a record: give the folder, or what `homeostat audit export` printed")]
    NoRecord {
        /// As given.
        path: PathBuf,
    },
    /// There is no log.
    #[error(
        "there is no event of the API server's audit log: give the file that --audit-log-path of the API server names, one \
         event (audit.k8s.io/v1) a line, not compressed"
    )]
    NoLog,
    /// One says what the other does not.
    #[error("the record and the API server's audit log do not match:\n{0}")]
    Differ(String),
}

/// Reads both, and says what was found.
///
/// # Errors
/// When something of one is not in the other, or one of them cannot be read, or holds nothing.
pub fn run(args: &MatchArgs) -> Result<String, MatchError> {
    let files: Vec<PathBuf> = if args.record.is_dir() {
        store::chains(&args.record)?.into_values().flatten().collect()
    } else {
        vec![args.record.clone()]
    };
    let mut recorded = Recorded::default();
    for line in store::lines(&files) {
        recorded.line(&line?);
    }
    let mut both = recorded.beside(&args.user);
    for path in &args.api_log {
        each_line(path, |line| both.line(line))
            .map_err(|source| MatchError::Log { path: path.clone(), source })?;
        both.end_of_log();
    }
    let out = both.finish();
    let (Some(record), Some(log)) = (out.record, out.log) else {
        let path = args.record.clone();
        return Err(if out.record.is_none() { MatchError::NoRecord { path } } else { MatchError::NoLog });
    };
    let text = words(&out, record, log, &args.user);
    if out.matches() { Ok(text) } else { Err(MatchError::Differ(text)) }
}

/// Hands over line after line, each in the same bounded memory.
fn each_line(path: &Path, mut take: impl FnMut(&str)) -> std::io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == LONGEST && line.last() != Some(&b'\n') {
            reader.skip_until(b'\n')?;
            take("too long");
        } else {
            take(&String::from_utf8_lossy(&line));
        }
    }
}

fn words(out: &Outcome, record: Span, log: Span, user: &str) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |what: &str, found: String| {
        let _ = writeln!(text, "{what:<14}{found}");
    };
    line(
        "record",
        format!(
            "{} entries from {:.0} to {:.0}, {} effects that name their request",
            out.entries, record.first, record.last, out.effects
        ),
    );
    line(
        "log",
        format!(
            "{} events from {:.0} to {:.0}, {} of {user}; nothing outside of this time is compared",
            out.events, log.first, log.last, out.requests
        ),
    );
    line("matched", format!("{} effects are in the log", out.matched));
    for (count, said) in [
        (out.answered_late, "writes whose answer did not arrive; their actions are on record"),
        (out.unsure, "writes that are not on record, and the log does not say whether they were carried out"),
    ] {
        if count > 0 {
            line("", format!("{count} {said}"));
        }
    }
    for (count, said) in [
        (
            out.outside,
            "effects outside of the log's time, or within 5 s of its ends: a longer log tells of them",
        ),
        (
            out.older,
            "writes from before the record begins: what was pruned, or another pod's record, tells of them",
        ),
        (out.dry_runs, "dry runs"),
        (out.refused, "writes that were refused"),
    ] {
        if count > 0 {
            line("not compared", format!("{count} {said}"));
        }
    }
    if !out.own.is_empty() {
        let own: Vec<String> =
            out.own.iter().map(|(resource, count)| format!("{count} {resource}")).collect();
        line("not compared", format!("what it writes of itself: {}", own.join(", ")));
    }
    for (count, said) in [
        (out.record_unreadable, "lines of the record are no entries; homeostat audit verify tells more"),
        (out.log_unreadable, "lines of the log are no events"),
        (out.lost, "decisions could not be recorded, as the record itself says"),
        (out.beyond, "effects and actions found no room to be compared; give a part of the record"),
    ] {
        if count > 0 {
            line("attention", format!("{count} {said}"));
        }
    }
    if out.requests == 0 {
        line(
            "attention",
            format!(
                "no request of {user}: is that the service account, and does the audit policy log its writes?"
            ),
        );
    }
    told(&mut text, "effects on record that are not in the log", &out.not_in_log);
    told(&mut text, "effects on record that are another request in the log", &out.differing);
    told(&mut text, "writes in the log that are not on record", &out.not_in_record);
    text
}

fn told(text: &mut String, what: &str, unmatched: &Unmatched) {
    let _ = writeln!(text, "{:<14}{what}", unmatched.count);
    text.extend(unmatched.lines.iter().map(|line| format!("  {line}\n")));
    let more = unmatched.count.saturating_sub(unmatched.lines.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_takes_bounded_memory_and_the_next_one_is_read() {
        let path = std::env::temp_dir().join(format!("homeostat-match-{}.log", std::process::id()));
        let long = "x".repeat(usize::try_from(LONGEST).unwrap() + 5);
        std::fs::write(&path, format!("one\n{long}\ntwo")).unwrap();
        let mut lines = Vec::new();
        each_line(&path, |line| lines.push(line.to_owned())).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lines, ["one\n", "too long", "two"]);
    }

    #[test]
    fn what_is_found_is_told_in_words_with_the_time_that_was_compared() {
        let at = |second: i64| homeostat_knowledge::Timestamp::from_second(1_800_000_000 + second).unwrap();
        let span = Span { first: at(0), last: at(60) };
        let mut out = Outcome { requests: 3, outside: 2, log_unreadable: 1, ..Outcome::default() };
        let text = words(&out, span, span, "homeostat");
        assert!(text.contains("from 2027-01-15T08:00:00Z to 2027-01-15T08:01:00Z"), "{text}");
        assert!(text.contains("2 effects outside of the log's time"), "{text}");
        assert!(text.contains("1 lines of the log are no events"), "{text}");
        assert!(!text.contains("is that the service account"), "{text}");
        out.requests = 0;
        out.not_in_record = Unmatched { count: 3, lines: vec!["delete pods shop/order-x".to_owned()] };
        let text = words(&out, span, span, "homeostat");
        assert!(text.contains("no request of homeostat: is that the service account"), "{text}");
        let listed = "3             writes in the log that are not on record\n  delete pods shop/order-x\n  and 2 more\n";
        assert!(text.ends_with(listed), "{text}");
    }
}
