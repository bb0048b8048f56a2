//! The shipped playbooks: one visible list. A new one is a file in `library/` and a line here.

use crate::parse::{PlaybookError, Problem, Rule, parse};
use crate::schema::Playbook;

/// Name and text of every shipped playbook.
pub const LIBRARY: [(&str, &str); 35] = [
    ("certificate-expiring", include_str!("../library/certificate-expiring.yaml")),
    ("crash", include_str!("../library/crash.yaml")),
    ("crash-again-backs-off", include_str!("../library/crash-again-backs-off.yaml")),
    ("crash-loop", include_str!("../library/crash-loop.yaml")),
    ("crash-loop-after-release", include_str!("../library/crash-loop-after-release.yaml")),
    ("cron-job-stuck", include_str!("../library/cron-job-stuck.yaml")),
    ("dependency-down", include_str!("../library/dependency-down.yaml")),
    ("ephemeral-storage-filling", include_str!("../library/ephemeral-storage-filling.yaml")),
    ("ephemeral-storage-no-surge", include_str!("../library/ephemeral-storage-no-surge.yaml")),
    ("error-burst", include_str!("../library/error-burst.yaml")),
    ("fault-expected", include_str!("../library/fault-expected.yaml")),
    ("flapping", include_str!("../library/flapping.yaml")),
    ("hung-process", include_str!("../library/hung-process.yaml")),
    ("image-pull-failed", include_str!("../library/image-pull-failed.yaml")),
    ("job-failed", include_str!("../library/job-failed.yaml")),
    ("job-stuck", include_str!("../library/job-stuck.yaml")),
    ("memory-growing", include_str!("../library/memory-growing.yaml")),
    ("no-data", include_str!("../library/no-data.yaml")),
    ("node-not-ready", include_str!("../library/node-not-ready.yaml")),
    ("node-pressure", include_str!("../library/node-pressure.yaml")),
    ("noisy-neighbour", include_str!("../library/noisy-neighbour.yaml")),
    ("not-ready", include_str!("../library/not-ready.yaml")),
    ("out-of-memory", include_str!("../library/out-of-memory.yaml")),
    ("out-of-memory-again", include_str!("../library/out-of-memory-again.yaml")),
    ("ownership-conflict", include_str!("../library/ownership-conflict.yaml")),
    ("queue-growing", include_str!("../library/queue-growing.yaml")),
    ("quota-filling", include_str!("../library/quota-filling.yaml")),
    ("replica-outlier", include_str!("../library/replica-outlier.yaml")),
    ("setup-failed", include_str!("../library/setup-failed.yaml")),
    ("signal-abnormal", include_str!("../library/signal-abnormal.yaml")),
    ("slow", include_str!("../library/slow.yaml")),
    ("slow-after-leak", include_str!("../library/slow-after-leak.yaml")),
    ("unreachable", include_str!("../library/unreachable.yaml")),
    ("unschedulable", include_str!("../library/unschedulable.yaml")),
    ("volume-filling", include_str!("../library/volume-filling.yaml")),
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
    Ok(over(&shipped(), all.into_iter()))
}

/// `base` with `own` beside it, in name order: one of the same name replaces that of the base.
pub fn over(base: &[Playbook], own: impl Iterator<Item = Playbook>) -> Vec<Playbook> {
    let mut all: Vec<Playbook> = own.collect();
    for playbook in base {
        if all.iter().all(|other| other.name != playbook.name) {
            all.push(playbook.clone());
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
