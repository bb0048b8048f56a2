//! The shipped playbooks: one visible list. A new one is a file in `library/` and a line here.

use crate::parse::{PlaybookError, Problem, Rule, parse};
use crate::schema::Playbook;

/// Name and text of every shipped playbook.
pub const LIBRARY: [(&str, &str); 19] = [
    ("crash", include_str!("../library/crash.yaml")),
    ("crash-again-backs-off", include_str!("../library/crash-again-backs-off.yaml")),
    ("crash-loop", include_str!("../library/crash-loop.yaml")),
    ("crash-loop-after-release", include_str!("../library/crash-loop-after-release.yaml")),
    ("dependency-down", include_str!("../library/dependency-down.yaml")),
    ("error-burst", include_str!("../library/error-burst.yaml")),
    ("flapping", include_str!("../library/flapping.yaml")),
    ("hung-process", include_str!("../library/hung-process.yaml")),
    ("image-pull-failed", include_str!("../library/image-pull-failed.yaml")),
    ("job-failed", include_str!("../library/job-failed.yaml")),
    ("no-data", include_str!("../library/no-data.yaml")),
    ("node-not-ready", include_str!("../library/node-not-ready.yaml")),
    ("node-pressure", include_str!("../library/node-pressure.yaml")),
    ("not-ready", include_str!("../library/not-ready.yaml")),
    ("out-of-memory", include_str!("../library/out-of-memory.yaml")),
    ("signal-abnormal", include_str!("../library/signal-abnormal.yaml")),
    ("slow", include_str!("../library/slow.yaml")),
    ("unreachable", include_str!("../library/unreachable.yaml")),
    ("unschedulable", include_str!("../library/unschedulable.yaml")),
];

/// The shipped playbooks, in the order of [`LIBRARY`].
///
/// # Panics
/// Never: the texts are part of the program, and a test parses each of them.
pub fn shipped() -> Vec<Playbook> {
    #[expect(
        clippy::expect_used,
        reason = "the texts are part of the program and a test parses each of them"
    )]
    LIBRARY.iter().map(|(_, text)| parse(text).expect("shipped playbooks are valid")).collect()
}

/// The shipped playbooks with people's own: one of the same name replaces the shipped one.
///
/// Refuses two own playbooks of the same name.
pub fn with_own(own: Vec<Playbook>) -> Result<Vec<Playbook>, PlaybookError> {
    let mut all: Vec<Playbook> = Vec::with_capacity(LIBRARY.len() + own.len());
    for playbook in own {
        if all.iter().any(|other| other.name == playbook.name) {
            let message = format!("two playbooks are called {}: rename one", playbook.name);
            return Err(PlaybookError::Refused {
                name: playbook.name.to_string(),
                problems: vec![Problem { line: 0, column: 0, rule: Rule::DuplicateName, message }],
            });
        }
        all.push(playbook);
    }
    for playbook in shipped() {
        if all.iter().all(|other| other.name != playbook.name) {
            all.push(playbook);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}
