//! Where the message of a line begins: timestamp, level, host, process, thread and logger in front of it are columns
//! that the stream repeats on every line.
//!
//! Timestamps and level words are known by their form; every other column is learnt: a number, a bracketed group, a
//! `name:` or a `-` at the same place after the last known column on nearly every line so far belongs to the header.
//! A message would have to begin alike on nearly every line to be mistaken for one. State: four small tables.

use super::mask::{is_date_name, is_space};
use super::severity::{Severity, severity_of, severity_of_field};
use serde::{Deserialize, Serialize};

/// Units that are looked at.
const UNITS: usize = 14;
/// Columns after the last known one whose kinds are counted.
const COLUMNS: usize = 5;
/// Lines after which older counts weigh half.
const HALVE_AT: u32 = 2_048;
/// Longest bracketed group that is one unit.
const MAX_GROUP: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Time,
    Number,
    Level,
    Group,
    Tag,
    Dash,
    Dotted,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    start: usize,
    end: usize,
    form: Form,
    /// Followed by `|`.
    bar: bool,
    /// Followed by two or more spaces.
    padded: bool,
}

/// What was seen at one column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Column {
    number: u32,
    group: u32,
    dotted: u32,
    bar: u32,
    padded: u32,
    /// The first `name:` of the line is here.
    tag: u32,
    /// The first lone dash of the line is here.
    dash: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    lines: u32,
    columns: [Column; COLUMNS],
}

/// Learns the header of one stream of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// By what the line has: nothing, a time, a level, both.
    layouts: [Layout; 4],
}

/// Where the message begins and what the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// First byte of the message.
    pub message: usize,
    /// Level named in the header.
    pub severity: Option<Severity>,
}

impl Header {
    /// Reads one line, learns from it, and says where its message begins.
    pub fn read(&mut self, line: &[u8]) -> Head {
        let mut units = [Unit { start: 0, end: 0, form: Form::Other, bar: false, padded: false }; UNITS];
        let count = units_of(line, &mut units);
        let units = &units[..count];
        let time = last_time(units);
        let level = level(units, time);
        let severity = match level {
            Some(at) => severity_of(&line[units[at].start..units[at].end]),
            None => klog_level(line).or_else(|| severity_of_field(line)),
        };
        let kind = usize::from(time.is_some()) + 2 * usize::from(level.is_some());
        let Some(anchor) = level.max(time) else { return Head { message: first_text(line, 0), severity } };
        let layout = &mut self.layouts[kind];
        let rest = &units[anchor + 1..];
        layout.learn(rest);
        let used = layout.columns_of_header(line, rest);
        let end = units[anchor + used].end;
        let message = first_text(line, end);
        // A line that is all header keeps its last column: an empty message says nothing.
        Head {
            message: if message == line.len() {
                first_text(line, units[anchor].end).min(line.len())
            } else {
                message
            },
            severity,
        }
    }
}

/// Skips white space and one bar.
fn first_text(line: &[u8], mut at: usize) -> usize {
    while at < line.len() && is_space(line[at]) {
        at += 1;
    }
    if line.get(at) == Some(&b'|') {
        at += 1;
        while at < line.len() && is_space(line[at]) {
            at += 1;
        }
    }
    at
}

impl Layout {
    fn learn(&mut self, rest: &[Unit]) {
        if self.lines >= HALVE_AT {
            self.lines /= 2;
            for column in &mut self.columns {
                let Column { number, group, dotted, bar, padded, tag, dash } = column;
                for count in [number, group, dotted, bar, padded, tag, dash] {
                    *count /= 2;
                }
            }
        }
        self.lines += 1;
        let mut tagged = false;
        let mut dashed = false;
        for (column, unit) in self.columns.iter_mut().zip(rest) {
            column.bar += u32::from(unit.bar);
            column.padded += u32::from(unit.padded);
            match unit.form {
                Form::Number | Form::Time => column.number += 1,
                Form::Group => column.group += 1,
                Form::Dotted => column.dotted += 1,
                Form::Tag => {
                    column.tag += u32::from(!tagged);
                    tagged = true;
                }
                Form::Dash => {
                    column.dash += u32::from(!dashed);
                    dashed = true;
                }
                Form::Level | Form::Other => {}
            }
        }
    }

    /// Whether `count` is nearly every line.
    fn usual(&self, count: u32) -> bool {
        f64::from(count) >= 0.95 * f64::from(self.lines)
    }

    fn columns_of_header(&self, line: &[u8], rest: &[Unit]) -> usize {
        let near = &rest[..rest.len().min(COLUMNS)];
        let share = |count: u32| f64::from(count) / f64::from(self.lines.max(1));
        // `name:` or `name[7]:` ends the header where most lines have one within the first columns.
        let tags: f64 = self.columns.iter().map(|column| share(column.tag)).sum();
        let best = (0..COLUMNS).max_by_key(|&at| (self.columns[at].tag, COLUMNS - at)).unwrap_or(0);
        let usual_tag = tags >= 0.8 && share(self.columns[best].tag) >= 0.6;
        // In front of it only known columns and one host may stand, or it is a sentence.
        let known = |unit: &Unit| {
            matches!(unit.form, Form::Number | Form::Time | Form::Group | Form::Dash) || unit.bar
        };
        if let Some(at) = near.iter().position(|unit| unit.form == Form::Tag)
            && near[..at].iter().filter(|unit| !known(unit)).count() <= 1
            && ((usual_tag && at <= best + 1)
                || (at <= 2 && is_process(&line[near[at].start..near[at].end]))
                || (at <= 1 && is_logger(&line[near[at].start..near[at].end])))
        {
            return at + 1;
        }
        // A lone dash in the same way.
        let dashes: f64 = self.columns.iter().map(|column| share(column.dash)).sum();
        if dashes >= 0.9
            && let Some(at) = near.iter().position(|unit| unit.form == Form::Dash)
            && at <= 3
        {
            return at + 1;
        }
        let mut used = 0;
        for (at, (unit, column)) in near.iter().zip(&self.columns).enumerate() {
            let strong = match unit.form {
                Form::Number | Form::Time => self.usual(column.number),
                Form::Group => self.usual(column.group),
                _ => false,
            } || (unit.bar && self.usual(column.bar))
                || (unit.padded && self.usual(column.padded));
            if strong {
                used = at + 1;
            } else if !(unit.form == Form::Dotted && self.usual(column.dotted)) {
                break;
            }
        }
        // Host column of a line without the usual `name:`.
        if used == 0 && usual_tag { best.min(near.len().saturating_sub(1)) } else { used }
    }
}

/// `name[123]:` or `main.go:12]`
fn is_process(unit: &[u8]) -> bool {
    let (body, open) = match (unit.strip_suffix(b"]:"), unit.strip_suffix(b"]")) {
        (Some(body), _) => (body, b'['),
        (None, Some(body)) => (body, b':'),
        (None, None) => return false,
    };
    let digits = body.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && body.len() > digits + 1 && body[body.len() - digits - 1] == open
}

/// `a.b.Class:`
fn is_logger(unit: &[u8]) -> bool {
    let body = &unit[..unit.len() - 1];
    body.split(|&byte| byte == b'.').count() > 2
        && body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'$' | b'_' | b'-'))
        && body.first().is_some_and(u8::is_ascii_alphabetic)
}

fn is_count(unit: &Unit) -> bool {
    matches!(unit.form, Form::Number | Form::Time)
}

/// Level of a line of Kubernetes' own components: `W1126 03:36:10.5   1 main.go:12] text`.
fn klog_level(line: &[u8]) -> Option<Severity> {
    is_klog(line.get(..5)?).then(|| severity_of(&line[..1])).flatten()
}

fn is_klog(text: &[u8]) -> bool {
    text.len() == 5
        && matches!(text[0], b'I' | b'W' | b'E' | b'F')
        && text[1..].iter().all(u8::is_ascii_digit)
}

/// The last timestamp of the group of timestamps in front.
fn last_time(units: &[Unit]) -> Option<usize> {
    let mut last = None;
    for (at, unit) in units.iter().enumerate() {
        match last {
            None if at > 5 => break,
            Some(seen) if at > seen + 3 => break,
            _ if unit.form == Form::Tag => break,
            _ if unit.form == Form::Time => last = Some(at),
            _ => {}
        }
    }
    last
}

/// The level word soon after the timestamp, or in front after nothing but numbers and groups.
fn level(units: &[Unit], time: Option<usize>) -> Option<usize> {
    let from = time.map_or(0, |at| at + 1);
    for (at, unit) in units.iter().enumerate().skip(from).take(5) {
        match unit.form {
            // One letter alone is a level only in the column after numbers, as in Android's logs.
            Form::Level if at > 0 && (unit.end - unit.start > 1 || is_count(&units[at - 1])) => {
                return Some(at);
            }
            Form::Tag => return None,
            Form::Number | Form::Group | Form::Dash => {}
            _ if time.is_some() => {}
            _ => return None,
        }
    }
    None
}

fn units_of(line: &[u8], units: &mut [Unit; UNITS]) -> usize {
    let mut at = 0;
    let mut count = 0;
    while count < UNITS {
        while at < line.len() && (is_space(line[at]) || line[at] == b'|') {
            at += 1;
        }
        if at == line.len() {
            break;
        }
        let start = at;
        let group = if matches!(line[at], b'[' | b'(') { group_end(line, at) } else { None };
        if let Some(end) = group {
            at = end;
        }
        while at < line.len() && !is_space(line[at]) && line[at] != b'|' {
            at += 1;
        }
        let text = &line[start..at];
        let next = |byte: &u8| *byte == b'|';
        units[count] = Unit {
            start,
            end: at,
            form: form(text, group.is_some()),
            bar: line.get(at).is_some_and(next),
            padded: line.len() > at + 1 && is_space(line[at]) && is_space(line[at + 1]),
        };
        count += 1;
    }
    count
}

/// One past the bracket that closes the one at `at`.
fn group_end(line: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in line[at..].iter().take(MAX_GROUP).enumerate() {
        match byte {
            b'[' | b'(' => depth += 1,
            b']' | b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn form(text: &[u8], group: bool) -> Form {
    if is_time(text) || is_klog(text) {
        return Form::Time;
    }
    if severity_of(text).is_some() && is_level(text) {
        return Form::Level;
    }
    if group {
        let inner = &text[1..text.len() - 1];
        if inner.split(|&byte| is_space(byte)).take(6).any(is_time) {
            return Form::Time;
        }
        return if text.ends_with(b":") { Form::Tag } else { Form::Group };
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        return Form::Number;
    }
    if text.iter().all(|&byte| byte == b'-') {
        return Form::Dash;
    }
    if text.ends_with(b":") || is_process(text) {
        return Form::Tag;
    }
    let dotted = text.contains(&b'.')
        && text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'$' | b'_' | b'-'));
    if dotted { Form::Dotted } else { Form::Other }
}

/// A level word stands alone: all capitals, one capital in front, or in brackets; a colon makes it a message.
fn is_level(text: &[u8]) -> bool {
    let bare = !text.iter().any(|byte| matches!(byte, b':' | b'=' | b'.'));
    let lower = text.first().is_some_and(u8::is_ascii_lowercase);
    bare && !lower
}

/// A date, a time of day, or seconds or milliseconds since 1970 (2001 to 2033); also month names.
pub(super) fn is_time(text: &[u8]) -> bool {
    let text = text.strip_suffix(b",").unwrap_or(text);
    let text = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
    if is_date_name(text) {
        return true;
    }
    if !text.first().is_some_and(u8::is_ascii_digit) || text.len() < 5 {
        return false;
    }
    let mut digits = 0_usize;
    let mut signs = 0_usize;
    let mut dots = 0_usize;
    for &byte in text {
        match byte {
            b'0'..=b'9' => digits += 1,
            b':' | b'-' | b'/' => signs += 1,
            b'.' => dots += 1,
            b'T' | b'Z' | b'+' | b',' => {}
            _ => return false,
        }
    }
    if digits == text.len() {
        return text[0] == b'1' && matches!(digits, 10 | 13 | 16 | 19);
    }
    digits >= 4 && (signs >= 1 || dots == 2) && signs + dots <= 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that are found in lines made by `line`, with the severity of the last one.
    fn messages(line: impl Fn(usize, &str) -> String) -> (Vec<String>, Option<Severity>) {
        let texts = [
            "Opening connection to db 7",
            "closed after 12 ms",
            "Warning: queue is long",
            "[client 10.0.0.1] refused",
            "5 retries left",
            "done",
        ];
        let mut header = Header::default();
        let mut severity = None;
        let found = (0..60)
            .map(|turn| {
                let line = line(turn, texts[turn % texts.len()]);
                let head = header.read(line.as_bytes());
                severity = head.severity;
                line[head.message..].to_owned()
            })
            .collect();
        (found, severity)
    }

    fn assert_cut(form: &str, line: impl Fn(usize, &str) -> String) -> Option<Severity> {
        let (found, severity) = messages(line);
        let wrong: Vec<_> = found
            .iter()
            .enumerate()
            .filter(|(turn, message)| {
                let wanted = ["Opening", "closed", "Warning:", "[client", "5 retries", "done"][turn % 6];
                !message.starts_with(wanted)
            })
            .collect();
        assert!(wrong.is_empty(), "{form}: {wrong:?}");
        severity
    }

    #[test]
    fn usual_layouts_are_cut_off_from_the_first_line_on() {
        assert_cut("syslog", |turn, text| {
            format!("Nov  6 03:1{}:01 web-3 nginx[{}]: {text}", turn % 10, 100 + turn)
        });
        assert_cut("RFC 3339", |turn, text| format!("2026-01-02T10:00:{turn:02}.123Z {text}"));
        assert_cut("bracketed", |turn, text| format!("[Sun Nov 01 10:00:{turn:02} 2026] [error] {text}"));
        assert_cut("bars", |turn, text| format!("20260102-10:0:{turn}|Part{}|4711|{text}", turn % 3));
        let severity = assert_cut("log4j", |turn, text| {
            format!("2026-01-02 10:00:{turn:02},120 - WARN  [main thread-{turn}:Peer@{}] - {text}", turn + 7)
        });
        assert_eq!(severity, Some(Severity::Warn));
        assert_cut("Spring Boot", |turn, text| {
            format!(
                "2026-01-02 10:00:{turn:02}.120  INFO 1 --- [nio-8080-exec-{turn}] c.s.OrderService : {text}"
            )
        });
        assert_cut("logger with colon", |turn, text| {
            format!("26/01/02 10:00:{turn:02} INFO rdd.Part{}: {text}", turn % 4)
        });
        let severity = assert_cut("logcat", |turn, text| {
            format!("01-02 10:00:{turn:02}.123  1702  {} E PowerManager: {text}", 2000 + turn)
        });
        assert_eq!(severity, Some(Severity::Error));
        let severity = assert_cut("klog", |turn, text| {
            format!("W0102 10:00:{turn:02}.123456       1 reflector.go:{}] {text}", 500 + turn)
        });
        assert_eq!(severity, Some(Severity::Warn));
    }

    #[test]
    fn a_line_without_a_header_is_all_message() {
        let mut header = Header::default();
        for line in ["user 7 logged in", "done", "a: b", "", "   x", "{\"level\":\"error\"}"] {
            let head = header.read(line.as_bytes());
            assert_eq!(head.message, line.len() - line.trim_start().len(), "{line}");
        }
        let head = header.read(b"{\"ts\":1,\"level\":\"error\",\"msg\":\"x\"}");
        assert_eq!(head.severity, Some(Severity::Error));
    }

    #[test]
    fn a_sentence_with_a_colon_is_no_column() {
        let (found, _) = messages(|turn, text| match turn % 3 {
            0 => format!("2026-01-02 10:00:00 INFO {text}"),
            _ => format!("2026-01-02 10:00:00 INFO cache: {text}"),
        });
        for (turn, message) in found.iter().enumerate().filter(|(turn, _)| turn % 3 != 0) {
            assert!(message.starts_with("cache: "), "{turn}: {message}");
        }
    }
}
