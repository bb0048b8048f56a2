//! What a playbook is, after it was parsed and checked. Nothing past this point sees text.

use crate::expression::Expression;
use homeostat_knowledge::plan::Undo;
use homeostat_knowledge::{ActionKind, FindingKind, Level, Name, Severity, SignedDuration, Verification};
use std::collections::BTreeSet;

/// What to do about which finding: a trigger, conditions, and a ladder of steps that ends with people.
#[derive(Clone, Debug, PartialEq)]
pub struct Playbook {
    /// Name of the `Playbook` object or of the shipped file.
    pub name: Name,
    /// `metadata.generation`; 0 for a shipped one.
    pub version: i64,
    /// What it is for, in a sentence.
    pub description: String,
    /// When it is looked at.
    pub trigger: Trigger,
    /// What else must be true; every line.
    pub when: Vec<When>,
    /// What is done, step after step, while it does not help. Never empty.
    pub ladder: Vec<Rung>,
    /// Least level at which it acts; `None`: what its actions need.
    pub level_needed: Option<Level>,
    /// The highest one that fits is used; on a tie the first by name.
    pub priority: i32,
    /// People switched it off.
    pub paused: bool,
    /// Where it gives up.
    pub limits: Limits,
}

impl Playbook {
    /// Steps that heal: those that do not wait for a quiet minute. With their number in the ladder, from 1.
    pub fn healing(&self) -> impl Iterator<Item = (u32, &Rung)> {
        self.numbered().filter(|(_, rung)| !rung.after.is_aftercare())
    }

    /// Steps for the time after the incident was mitigated. With their number in the ladder, from 1.
    pub fn aftercare(&self) -> impl Iterator<Item = (u32, &Rung)> {
        self.numbered().filter(|(_, rung)| rung.after.is_aftercare())
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &Rung)> {
        (1..).zip(&self.ladder)
    }
}

/// When a playbook is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Kinds of findings. Without `causes` the first-ranked cause must be one of them; with `causes` it is
    /// enough that the incident holds an active finding of such a kind.
    pub findings: BTreeSet<FindingKind>,
    /// Kinds of first-ranked causes; empty: `findings` alone decides.
    pub causes: BTreeSet<FindingKind>,
    /// How sure the findings behind the first-ranked cause must be, 0 to 1.
    pub minimum_confidence: f64,
}

impl Trigger {
    /// The first-ranked cause and the active findings of an incident are what this playbook is for.
    pub fn fits(&self, cause: FindingKind, mut findings: impl Iterator<Item = FindingKind>) -> bool {
        if self.causes.is_empty() {
            return self.findings.contains(&cause);
        }
        self.causes.contains(&cause)
            && (self.findings.is_empty() || findings.any(|kind| self.findings.contains(&kind)))
    }
}

/// A named condition.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// Shown where the playbook was not used because of it.
    pub name: Name,
    /// CEL, compiled once.
    pub expression: Expression,
}

/// One step of a ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// What is done.
    pub action: ActionKind,
    /// What it waits for.
    pub after: After,
    /// What counts as success, by when.
    pub verification: Verification,
    /// Replicas to have; `None` leaves the choice within the bounds to the planner.
    pub replicas: Option<i32>,
    /// Revision to go back to by name; `None`: the one before the present one.
    pub revision: Option<Name>,
    /// Memory of the container to have, bytes; `None` leaves the choice within the bounds to the planner.
    pub memory_bytes: Option<u64>,
    /// Of an eviction: seconds between SIGTERM and SIGKILL; `None`: the pod's own grace period.
    pub grace_seconds: Option<u32>,
    /// What is done when it does not help.
    pub undo: Undo,
    /// How often it is tried within one incident without success before the next step; at least 1.
    pub times: u32,
    /// Of `Notify`: `Info` only tells, `Warning` and `Critical` hand over to people.
    pub severity: Severity,
    /// Least level at which this step is taken; `None`: what the action needs.
    pub requires: Option<Level>,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Immediately,
    /// The kubelet restarts ended containers by itself. Due when it backs off, or when the container does
    /// not run, or the pod does not answer, this long after its end.
    WhenKubeletGaveUp {
        /// Time that the kubelet gets.
        grace: SignedDuration,
    },
    /// Due when the finding lasted this long.
    WhenStillAbnormal {
        /// Least age of the finding.
        age: SignedDuration,
    },
    /// Aftercare: due when the incident is mitigated and the workload was good for this long, nothing else
    /// is wrong around it, and there is room for one more pod.
    InQuietMinute {
        /// Time without a failure.
        quiet: SignedDuration,
    },
}

impl After {
    /// Belongs to the time after the incident was mitigated.
    pub fn is_aftercare(self) -> bool {
        matches!(self, Self::InQuietMinute { .. })
    }
}

/// Where a playbook gives up and people take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Actions within one incident that did not help.
    pub useless_actions: u32,
    /// Actions within one incident, whether they helped or not.
    pub actions: u32,
    /// Time that an incident may stay open with nothing under way.
    pub give_up: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { useless_actions: 2, actions: 20, give_up: SignedDuration::from_mins(10) }
    }
}
