//! How grave a line says it is.

use serde::{Deserialize, Serialize};

/// Severity, in the order of RFC 5424 but for trace, folded to the six of OpenTelemetry's log data model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Finest detail.
    Trace,
    /// For developers.
    Debug,
    /// Usual events.
    Info,
    /// Something may need care.
    Warn,
    /// Something failed.
    Error,
    /// The program or machine cannot go on.
    Fatal,
}

/// The severity that a level word names, in any case, with brackets and punctuation around it allowed.
/// A single capital letter counts as in Android's and klog's logs. `None` for any other word.
///
/// ```
/// use homeostat_models::logs::{Severity, severity_of};
/// assert_eq!(severity_of(b"[warning]"), Some(Severity::Warn));
/// assert_eq!(severity_of(b"E"), Some(Severity::Error));
/// assert_eq!(severity_of(b"errors"), None);
/// ```
pub fn severity_of(word: &[u8]) -> Option<Severity> {
    let edge = |byte: &u8| !byte.is_ascii_alphanumeric();
    let start = word.iter().position(|byte| !edge(byte))?;
    let end = word.iter().rposition(|byte| !edge(byte))? + 1;
    let word = &word[start..end];
    if word.len() == 1 {
        return match word[0] {
            b'V' => Some(Severity::Trace),
            b'D' => Some(Severity::Debug),
            b'I' => Some(Severity::Info),
            b'W' => Some(Severity::Warn),
            b'E' => Some(Severity::Error),
            b'F' => Some(Severity::Fatal),
            _ => None,
        };
    }
    if word.len() < 3 || word.len() > 13 {
        return None;
    }
    let mut small = [0_u8; 13];
    for (into, byte) in small.iter_mut().zip(word) {
        *into = byte.to_ascii_lowercase();
    }
    match &small[..word.len()] {
        b"trace" | b"finest" | b"finer" | b"verbose" => Some(Severity::Trace),
        b"debug" | b"fine" => Some(Severity::Debug),
        b"info" | b"information" | b"informational" | b"notice" | b"config" => Some(Severity::Info),
        b"warn" | b"warning" => Some(Severity::Warn),
        b"error" | b"err" | b"severe" | b"failure" => Some(Severity::Error),
        b"fatal" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency" | b"panic" => {
            Some(Severity::Fatal)
        }
        _ => None,
    }
}

/// The level of a line of fields: `level=warn` or `"level":"warn"` within the first 256 bytes. Other lines have none.
pub fn severity_of_field(line: &[u8]) -> Option<Severity> {
    let front = &line[..line.len().min(256)];
    let first = front.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    if first[0] != b'{' && !first.contains(&b'=') {
        return None;
    }
    let name = [b"level".as_slice(), b"severity", b"lvl"];
    name.iter().find_map(|name| {
        let at = front.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
        let rest = &front[at + name.len()..];
        let start = rest.iter().position(u8::is_ascii_alphanumeric)?;
        let end = rest[start..]
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .map_or(rest.len(), |end| start + end);
        if start <= 4 { severity_of(&rest[start..end]) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_name_their_level() {
        assert_eq!(severity_of_field(b"ts=1 level=warn msg=x"), Some(Severity::Warn));
        assert_eq!(severity_of_field(b"{\"Severity\": \"ERROR\"}"), Some(Severity::Error));
        assert_eq!(severity_of_field(b"the level=warn of water"), None);
        assert_eq!(severity_of_field(b"{\"level\":"), None);
    }

    #[test]
    fn level_words_are_read_in_any_dress() {
        for (word, severity) in [
            ("INFO", Severity::Info),
            ("Info,", Severity::Info),
            ("[error]", Severity::Error),
            ("<WARN>", Severity::Warn),
            ("FATAL:", Severity::Fatal),
            ("D", Severity::Debug),
            ("SEVERE", Severity::Error),
        ] {
            assert_eq!(severity_of(word.as_bytes()), Some(severity), "{word}");
        }
        for word in ["", "-", "d", "X", "information-desk", "infos", "warnings", "\u{fffd}"] {
            assert_eq!(severity_of(word.as_bytes()), None, "{word}");
        }
    }
}
