//! Secrets in texts of others: what looks like one is not shown.
//!
//! Log lines, operations and messages of kubelets become evidence that stands in incidents, Events, reports and the record
//! of decisions, which more people read than the place it came from. What is hidden too often is a nuisance; a password in
//! an incident has to be changed.

use std::borrow::Cow;

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";

/// A value after one of these, with `=` or `:` between, is a secret. Letters that follow belong to the name.
const NAMES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "privatekey",
    "private_key",
    "private-key",
    "credential",
    "cookie",
];
/// The rest of the line after one of these is a secret.
const LINES: [&str; 2] = ["authorization", "-----begin"];
/// A word after one of these is a secret.
const SCHEMES: [&str; 1] = ["bearer "];
/// What begins so is a secret whatever stands before it, when it goes on for [`LONG`] characters: tokens of common issuers.
const BEGINNINGS: [&str; 13] = [
    "eyj",
    "akia",
    "asia",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk-",
    "sk_live_",
    "hvs.",
];
const LONG: usize = 12;

/// The text without what looks like a secret.
pub(crate) fn hide(text: &str) -> Cow<'_, str> {
    // Same length as the text, so that places in one are places in the other.
    let lower = text.to_ascii_lowercase();
    let mut found: Vec<(usize, usize)> = Vec::new();
    for name in NAMES {
        found.extend(lower.match_indices(name).filter_map(|(at, _)| value(text, at + name.len())));
    }
    for word in LINES {
        // A name alone is no secret: it ends the line, or a sentence goes on with it.
        found.extend(lower.match_indices(word).filter_map(|(at, _)| {
            let rest = &text[at + word.len()..];
            let key =
                word.starts_with('-') || rest.trim_start_matches(['"', '\'', ' ']).starts_with([':', '=']);
            key.then(|| (at + word.len(), text.len()))
        }));
    }
    for scheme in SCHEMES {
        found.extend(lower.match_indices(scheme).map(|(at, _)| word(text, at + scheme.len())));
    }
    for beginning in BEGINNINGS {
        found.extend(lower.match_indices(beginning).filter_map(|(at, _)| {
            let alone = !text[..at].ends_with(|letter: char| letter.is_alphanumeric());
            let (start, end) = word(text, at);
            (alone && end - start >= beginning.len() + LONG).then_some((start, end))
        }));
    }
    found.extend(text.match_indices("://").filter_map(|(at, _)| {
        let start = at + 3;
        let rest = &text[start..];
        let host =
            rest.split(|letter: char| letter == '/' || letter.is_whitespace()).next().unwrap_or_default();
        // Texts are cut before they come here: what would be a port is a password whose end is missing.
        let cut = || {
            let port = host.rsplit_once(':').filter(|_| host.len() == rest.len())?.1;
            (!port.ends_with(']') && !port.chars().all(|letter| letter.is_ascii_digit()))
                .then_some(host.len())
        };
        host.rfind('@').or_else(cut).map(|length| (start, start + length))
    }));
    cover(text, found)
}

/// The value after a name that ends at `at`, if there is one.
fn value(text: &str, at: usize) -> Option<(usize, usize)> {
    let skip = |at: usize, of: fn(char) -> bool| {
        at + text[at..].find(|letter| !of(letter)).unwrap_or(text.len() - at)
    };
    let at = skip(at, |letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    let at = skip(at, |letter| matches!(letter, '"' | '\'' | '\\' | ' ' | ']'));
    let at = text[at..].starts_with([':', '=']).then_some(at)?;
    let at = skip(at, |letter| matches!(letter, ':' | '=' | ' ' | '\\' | '[' | '>'));
    let quote = text[at..].chars().next().filter(|letter| matches!(letter, '"' | '\'' | '`'));
    let span = match quote {
        Some(quote) => {
            let start = at + 1;
            (start, start + text[start..].find(quote).unwrap_or(text.len() - start))
        }
        None => word(text, at),
    };
    (span.1 > span.0).then_some(span)
}

/// The word that begins at `at`.
fn word(text: &str, at: usize) -> (usize, usize) {
    let ends = |letter: char| {
        letter.is_whitespace() || matches!(letter, '&' | ';' | ',' | '"' | '\'' | ')' | '}' | ']')
    };
    (at, at + text[at..].find(ends).unwrap_or(text.len() - at))
}

/// The text with these parts covered; parts may overlap.
fn cover(text: &str, mut parts: Vec<(usize, usize)>) -> Cow<'_, str> {
    if parts.is_empty() {
        return Cow::Borrowed(text);
    }
    parts.sort_unstable();
    let (mut shown, mut at) = (String::with_capacity(text.len()), 0);
    for (start, end) in parts {
        if start >= at {
            shown.push_str(&text[at..start]);
            shown.push_str(HIDDEN);
        }
        at = at.max(end);
    }
    shown.push_str(&text[at..]);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_what_is_around_it_stays() {
        for (text, shown) in [
            ("login of bob failed, password=hunter2", "login of bob failed, password=[hidden]"),
            ("db_password: 'two words' is wrong", "db_password: '[hidden]' is wrong"),
            (r#"{"user":"bob","apiKey":"k-1","n":3}"#, r#"{"user":"bob","apiKey":"[hidden]","n":3}"#),
            (r#"{\"token\":\"abc\",\"n\":3}"#, r#"{\"token\":\"[hidden]",\"n\":3}"#),
            ("GET /a?access_token=abc&page=2", "GET /a?access_token=[hidden]&page=2"),
            ("AWS_SECRET_ACCESS_KEY = wJalr/x+y", "AWS_SECRET_ACCESS_KEY = [hidden]"),
            ("dial postgres://app:pw@db:5432/x", "dial postgres://[hidden]@db:5432/x"),
            ("dial postgres://app:p4ssw", "dial postgres://[hidden]"),
            ("401 for Bearer abc.def now", "401 for Bearer [hidden] now"),
            ("Authorization: Basic dXNlcjpwdw==", "Authorization[hidden]"),
            ("key -----BEGIN RSA PRIVATE KEY----- MIIE", "key -----BEGIN[hidden]"),
            ("refused eyJhbGciOiJIUzI1NiJ9.e30.x_y", "refused [hidden]"),
            ("id AKIAIOSFODNN7EXAMPLE unknown", "id [hidden] unknown"),
            ("Password=a Token=b", "Password=[hidden] Token=[hidden]"),
            ("PASSWORT pwd=über;x", "PASSWORT pwd=[hidden];x"),
        ] {
            assert_eq!(hide(text), shown);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "secret \"keys\" not found",
            "couldn't find key token in Secret shop/keys",
            "MountVolume.SetUp failed for volume \"cfg\" : secret \"keys\" not found",
            "the password was wrong",
            "authorization failed for bob",
            "payment of order <*> failed: connection refused",
            "http://order:8080/a@b",
            "cannot reach http://order:8080",
            "cannot reach http://[fd00::1]",
            "task-queue is full, task-1234567890123",
            "password=",
            "token:",
        ] {
            assert_eq!(hide(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_value_after_a_name_is_never_shown(
            before in "[a-z =:?&\"'{-]{0,20}",
            name in proptest::sample::select(NAMES.to_vec()),
            between in proptest::sample::select(vec!["=", ":", ": ", " = ", "\":\"", "='", "=\""]),
            after in "[ ,;\"'}é-]{0,3}[a-z =:]{0,20}",
        ) {
            let text = format!("{before}{name}{between}cAnArY7{after}");
            proptest::prop_assert!(!hide(&text).contains("cAnArY7"), "{text} gives {}", hide(&text));
        }

        #[test]
        fn any_text_is_hidden_without_harm(text in ".{0,200}") {
            let once = hide(&text).into_owned();
            proptest::prop_assert!(hide(&once).len() <= once.len() + HIDDEN.len());
        }
    }
}
