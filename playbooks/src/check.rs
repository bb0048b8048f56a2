//! The checker: turns a document into a playbook, or says everything that is wrong with it, in the order
//! of the text. It is the only way to a [`Playbook`] made from text.

mod values;

use crate::document::{Document, LadderStep, Limits as WrittenLimits, Spec};
use crate::expression::Expression;
use crate::parse::{PlaybookError, Problem, Rule};
use crate::schema::{After, Limits, Playbook, Rung, Trigger, When};
use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::{ActionKind, FindingKind, Level, Name, Severity, SignedDuration, Verification};
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeSet;
use values::Values;

/// Actions that a playbook may ask for. Everything else that the API knows is refused by name.
pub const AVAILABLE: [ActionKind; 13] = [
    ActionKind::ScaleUp,
    ActionKind::ScaleDown,
    ActionKind::EvictPod,
    ActionKind::RollingRestart,
    ActionKind::RollBack,
    ActionKind::Cordon,
    ActionKind::Uncordon,
    ActionKind::Drain,
    ActionKind::Suspend,
    ActionKind::Resume,
    ActionKind::RetryJob,
    ActionKind::ResizePod,
    ActionKind::Notify,
];

/// Actions with a before-image to go back to. Of a drain it is that of its cordon.
pub const RESTORABLE: [ActionKind; 6] = [
    ActionKind::ScaleUp,
    ActionKind::ScaleDown,
    ActionKind::Cordon,
    ActionKind::Drain,
    ActionKind::Suspend,
    ActionKind::ResizePod,
];

/// Most steps of a ladder.
pub const MAXIMUM_STEPS: usize = 16;
/// Most tries of one step within one incident.
pub const MAXIMUM_TIMES: u32 = 5;
/// Longest wait and longest verification window, seconds.
pub const MAXIMUM_SECONDS: u32 = 3600;

/// Checks a whole object.
pub(crate) fn document(written: &Document) -> Result<Playbook, PlaybookError> {
    let mut checker = Checker::default();
    if written.api_version.value != "homeostat.dev/v1alpha1" {
        checker.refuse(
            written.api_version.referenced,
            Rule::Header,
            format!("apiVersion is {}, expected homeostat.dev/v1alpha1", written.api_version.value),
        );
    }
    if written.kind.value != "Playbook" {
        checker.refuse(
            written.kind.referenced,
            Rule::Header,
            format!("kind is {}, expected Playbook", written.kind.value),
        );
    }
    let name = &written.metadata.name;
    checker.name(&name.value, name.referenced);
    checker.finish(&name.value, written.metadata.generation, &written.spec)
}

/// Checks a spec whose name comes from the API server.
pub(crate) fn spec(name: &str, generation: i64, written: &Spec) -> Result<Playbook, PlaybookError> {
    let mut checker = Checker::default();
    checker.name(name, Location::UNKNOWN);
    checker.finish(name, generation, written)
}

/// The action that takes this one back.
fn opposite(kind: ActionKind) -> Option<ActionKind> {
    match kind {
        ActionKind::ScaleUp => Some(ActionKind::ScaleDown),
        ActionKind::ScaleDown => Some(ActionKind::ScaleUp),
        ActionKind::Cordon | ActionKind::Drain => Some(ActionKind::Uncordon),
        ActionKind::Uncordon => Some(ActionKind::Cordon),
        ActionKind::Suspend => Some(ActionKind::Resume),
        ActionKind::Resume => Some(ActionKind::Suspend),
        _ => None,
    }
}

#[derive(Default)]
struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn refuse(&mut self, at: Location, rule: Rule, message: impl Into<String>) {
        self.problems.push(Problem::at(at, rule, message));
    }

    fn finish(mut self, name: &str, version: i64, written: &Spec) -> Result<Playbook, PlaybookError> {
        let playbook = Playbook {
            name: Name::from(name),
            version,
            description: written.description.clone(),
            trigger: self.trigger(written),
            when: self.when(written),
            ladder: self.ladder(written),
            level_needed: written.level_needed.as_ref().and_then(|level| self.level(level)),
            priority: written.priority,
            paused: written.paused,
            limits: self.limits(&written.limits),
        };
        for (step, rung) in written.ladder.value.iter().zip(&playbook.ladder) {
            let (wait, end) = match rung.after {
                After::WhenStillAbnormal { age } => (age, "it would never be done"),
                After::WhenKubeletGaveUp { grace } => (grace, "people take over before the kubelet gave up"),
                After::Immediately | After::InQuietMinute { .. } => continue,
            };
            if wait >= playbook.limits.give_up {
                let give_up = playbook.limits.give_up.as_secs();
                let message = format!("would wait longer than giveUpSeconds ({give_up}): {end}");
                self.refuse(step.referenced, Rule::After, message);
            }
        }
        if let (Some(level), Some(text)) = (playbook.level_needed, &written.level_needed)
            && let Some(rung) = playbook.ladder.iter().find(|rung| rung.action != ActionKind::Notify)
        {
            self.enough(level, rung.action, text.referenced);
        }
        self.reachable(written, &playbook);
        self.circles(written);
        if self.problems.is_empty() {
            return Ok(playbook);
        }
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(PlaybookError::Refused { name: name.to_owned(), problems: self.problems })
    }

    /// Actions that did not help end the ladder at `uselessActions`: no repair after them would ever be done.
    fn reachable(&mut self, written: &Spec, playbook: &Playbook) {
        // A step that was refused is no rung, and then the two lists do not belong together.
        if playbook.ladder.len() != written.ladder.value.len() {
            return;
        }
        let limit = playbook.limits.useless_actions;
        let mut tries = 0;
        for (step, rung) in written.ladder.value.iter().zip(&playbook.ladder) {
            if rung.action == ActionKind::Notify || rung.after.is_aftercare() {
                continue;
            }
            if tries >= limit {
                let message = format!(
                    "{} is never reached: the steps before it are tried {tries} times, and uselessActions ({limit}) ends the ladder; raise it or lower times",
                    rung.action
                );
                self.refuse(step.referenced, Rule::Unreachable, message);
            }
            tries += rung.times;
        }
    }

    /// A step that takes back what an earlier one did would let the ladder go in circles.
    fn circles(&mut self, written: &Spec) {
        let steps = &written.ladder.value;
        for (index, step) in steps.iter().enumerate() {
            let opposite = ActionKind::from_name(&step.value.action.value).and_then(opposite);
            let Some(opposite) = opposite else { continue };
            // A drain begins with a cordon.
            let does = |name: &str| {
                name == opposite.name()
                    || (opposite == ActionKind::Cordon && name == ActionKind::Drain.name())
            };
            let earlier = |other: &Spanned<LadderStep>| does(&other.value.action.value);
            if let Some(number) = steps[..index].iter().position(earlier) {
                let message = format!(
                    "{} takes back what step {} does: write undo: Restore there, or use two playbooks",
                    step.value.action.value,
                    number + 1
                );
                self.refuse(step.referenced, Rule::Loop, message);
            }
        }
    }

    fn name(&mut self, name: &str, at: Location) {
        let valid = (1..=253).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
        if !valid {
            self.refuse(at, Rule::Header, format!("{name:?} cannot be the name of an object"));
        }
    }

    fn trigger(&mut self, written: &Spec) -> Trigger {
        let findings = self.kinds(&written.trigger.value.findings);
        let causes = self.kinds(&written.trigger.value.causes);
        if written.trigger.value.findings.is_empty() && written.trigger.value.causes.is_empty() {
            let message = "the trigger names no finding and no cause: it would never be used";
            self.refuse(written.trigger.referenced, Rule::Trigger, message);
        }
        let minimum_confidence = written.trigger.value.minimum_confidence.as_ref().map_or(0.9, |text| {
            let number = text.value.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
            number.unwrap_or_else(|| {
                let message = format!("minimumConfidence is {:?}, expected a number from 0 to 1", text.value);
                self.refuse(text.referenced, Rule::Trigger, message);
                1.0
            })
        });
        Trigger { findings, causes, minimum_confidence }
    }

    fn kinds(&mut self, written: &[Spanned<String>]) -> BTreeSet<FindingKind> {
        let mut kinds = BTreeSet::new();
        for name in written {
            let Some(kind) = FindingKind::from_name(&name.value) else {
                let known = FindingKind::ALL.map(FindingKind::name).join(", ");
                let message = format!("no finding is called {}; known are {known}", name.value);
                self.refuse(name.referenced, Rule::Trigger, message);
                continue;
            };
            if !kinds.insert(kind) {
                self.refuse(name.referenced, Rule::Trigger, format!("{kind} is named twice"));
            }
        }
        kinds
    }

    fn when(&mut self, written: &Spec) -> Vec<When> {
        let mut conditions: Vec<When> = Vec::new();
        if written.when.len() > MAXIMUM_STEPS {
            let message = format!("{} conditions, at most {MAXIMUM_STEPS} are allowed", written.when.len());
            self.refuse(written.when[0].name.referenced, Rule::Expression, message);
        }
        for line in &written.when {
            if conditions.iter().any(|other| *other.name == line.name.value) {
                let message = format!("two conditions are called {}", line.name.value);
                self.refuse(line.name.referenced, Rule::Expression, message);
            }
            match Expression::compile(&line.expression.value) {
                Ok(expression) => {
                    conditions.push(When { name: Name::from(line.name.value.as_str()), expression });
                }
                Err(error) => self.refuse(
                    line.expression.referenced,
                    Rule::Expression,
                    format!("condition {}: {error}", line.name.value),
                ),
            }
        }
        conditions
    }

    fn ladder(&mut self, written: &Spec) -> Vec<Rung> {
        let steps = &written.ladder.value;
        if steps.is_empty() || steps.len() > MAXIMUM_STEPS {
            self.refuse(
                written.ladder.referenced,
                Rule::LadderLength,
                format!("the ladder has {} steps, expected 1 to {MAXIMUM_STEPS}", steps.len()),
            );
        }
        if let Some(end) = steps.iter().position(|step| step.value.action.value == "Notify") {
            for step in &steps[end + 1..] {
                let message = format!(
                    "{} is never reached: Notify hands over to people and ends the ladder",
                    step.value.action.value
                );
                self.refuse(step.referenced, Rule::Unreachable, message);
            }
        }
        steps.iter().filter_map(|step| self.rung(&step.value, step.referenced)).collect()
    }

    fn rung(&mut self, step: &LadderStep, at: Location) -> Option<Rung> {
        let action = self.action(&step.action)?;
        let Values { replicas, revision, memory_bytes, grace_seconds } = self.values(step, action, at);
        let verification = self.verification(step, action, at);
        let after = self.after(step, action, at);
        let times = self.bounded(step.times.as_ref(), "times", 1, MAXIMUM_TIMES, 1);
        if after.is_aftercare() && times > 1 {
            let message = "InQuietMinute is done once per crash: leave times out";
            self.refuse(at, Rule::After, message);
        }
        let undo = match step.undo.as_ref().map(|undo| (undo.value.as_str(), undo.referenced)) {
            None if RESTORABLE.contains(&action) => {
                let message =
                    format!("{action} does not say whether it is taken back: add undo, Restore or Never");
                self.refuse(at, Rule::Undo, message);
                Undo::None
            }
            None | Some(("Never", _)) => Undo::None,
            Some(("Restore", _)) if RESTORABLE.contains(&action) => Undo::Restore,
            Some(("Restore", place)) => {
                let message =
                    format!("{action} cannot be undone: there is no state before to go back to; write Never");
                self.refuse(place, Rule::Undo, message);
                Undo::None
            }
            Some((other, place)) => {
                let message = format!("undo is {other}, expected Never or Restore");
                self.refuse(place, Rule::Undo, message);
                Undo::None
            }
        };
        let severity = match step.severity.as_ref().map(|text| (text.value.as_str(), text.referenced)) {
            None | Some(("Critical", _)) => Severity::Critical,
            Some(("Warning", _)) => Severity::Warning,
            Some(("Info", _)) => Severity::Info,
            Some((other, place)) => {
                let message = format!("severity is {other}, expected Info, Warning or Critical");
                self.refuse(place, Rule::Value, message);
                Severity::Critical
            }
        };
        let requires = step.requires.as_ref().and_then(|level| self.level(level));
        if let (Some(level), Some(written)) = (requires, &step.requires) {
            self.enough(level, action, written.referenced);
        }
        Some(Rung {
            action,
            after,
            verification,
            replicas,
            revision,
            memory_bytes,
            grace_seconds,
            undo,
            times,
            severity,
            requires,
        })
    }

    fn action(&mut self, written: &Spanned<String>) -> Option<ActionKind> {
        let known = || AVAILABLE.map(ActionKind::name).join(", ");
        let message = match ActionKind::from_name(&written.value) {
            Some(kind) if AVAILABLE.contains(&kind) => return Some(kind),
            Some(kind) => format!("{kind} cannot be asked for by playbooks; available are {}", known()),
            None => format!("no action is called {}; available are {}", written.value, known()),
        };
        self.refuse(written.referenced, Rule::Action, message);
        None
    }

    fn verification(&mut self, step: &LadderStep, action: ActionKind, at: Location) -> Verification {
        let nothing = Verification { within: SignedDuration::ZERO, expect: Expectation::Nothing };
        let Some(verify) = &step.verify else {
            if action != ActionKind::Notify {
                let message = format!("{action} does not say what counts as success: add verify");
                self.refuse(at, Rule::Verification, message);
            }
            return nothing;
        };
        if action == ActionKind::Notify {
            let place = verify.within_seconds.referenced;
            self.refuse(place, Rule::Verification, "Notify changes nothing, so there is nothing to verify");
            return nothing;
        }
        let seconds = verify.within_seconds.value;
        if !(1..=MAXIMUM_SECONDS).contains(&seconds) {
            let message = format!("withinSeconds is {seconds}, expected 1 to {MAXIMUM_SECONDS}");
            self.refuse(verify.within_seconds.referenced, Rule::Verification, message);
        }
        let expect = match verify.expect.as_ref().map(|word| (word.value.as_str(), word.referenced)) {
            None | Some(("ObjectivesMet", _)) => Expectation::ObjectivesMet,
            Some(("RolloutComplete", _)) => Expectation::RolloutComplete,
            Some((other, place)) => {
                let message = format!("expect is {other}, expected ObjectivesMet or RolloutComplete");
                self.refuse(place, Rule::Verification, message);
                Expectation::ObjectivesMet
            }
        };
        Verification { within: SignedDuration::from_secs(i64::from(seconds)), expect }
    }

    fn after(&mut self, step: &LadderStep, action: ActionKind, at: Location) -> After {
        let word = step.after.as_ref().map_or("Immediately", |after| after.value.as_str());
        let place = step.after.as_ref().map_or(at, |after| after.referenced);
        let seconds = |checker: &mut Self, default| {
            let value =
                checker.bounded(step.after_seconds.as_ref(), "afterSeconds", 1, MAXIMUM_SECONDS, default);
            SignedDuration::from_secs(i64::from(value))
        };
        let after = match word {
            "Immediately" => {
                if let Some(seconds) = &step.after_seconds {
                    let message =
                        "Immediately waits for nothing: leave afterSeconds out, or name what to wait for";
                    self.refuse(seconds.referenced, Rule::After, message);
                }
                After::Immediately
            }
            "WhenKubeletGaveUp" => After::WhenKubeletGaveUp { grace: seconds(self, 3) },
            "WhenStillAbnormal" => After::WhenStillAbnormal { age: seconds(self, 60) },
            "InQuietMinute" => After::InQuietMinute { quiet: seconds(self, 10) },
            other => {
                let message = format!(
                    "after is {other}, expected Immediately, WhenKubeletGaveUp, WhenStillAbnormal or InQuietMinute"
                );
                self.refuse(place, Rule::After, message);
                After::Immediately
            }
        };
        let fits = match after {
            After::Immediately | After::WhenStillAbnormal { .. } => true,
            After::WhenKubeletGaveUp { .. } => action != ActionKind::Notify,
            After::InQuietMinute { .. } => action == ActionKind::RollingRestart,
        };
        if !fits {
            self.refuse(place, Rule::After, format!("{action} cannot wait for {word}"));
        }
        after
    }

    fn level(&mut self, written: &Spanned<String>) -> Option<Level> {
        let levels = [Level::Observe, Level::Recommend, Level::Approve, Level::ActBounded, Level::ActFull];
        let found = levels.into_iter().find(|level| level.name() == written.value);
        if found.is_none() {
            let known = levels.map(Level::name).join(", ");
            let message = format!("no level is called {}; known are {known}", written.value);
            self.refuse(written.referenced, Rule::Value, message);
        }
        found
    }

    /// Below Approve nothing that changes something is ever done: a step for such a level could not be taken.
    fn enough(&mut self, level: Level, action: ActionKind, at: Location) {
        if action != ActionKind::Notify && level < Level::Approve {
            let message = format!(
                "{} is too low for {action}: nothing is changed below {}; write that or more, or leave it out",
                level.name(),
                Level::Approve.name()
            );
            self.refuse(at, Rule::Level, message);
        }
    }

    fn limits(&mut self, written: &WrittenLimits) -> Limits {
        let default = Limits::default();
        let seconds = self.bounded(written.give_up_seconds.as_ref(), "giveUpSeconds", 10, 86_400, 600);
        Limits {
            useless_actions: self.bounded(
                written.useless_actions.as_ref(),
                "uselessActions",
                1,
                MAXIMUM_TIMES,
                default.useless_actions,
            ),
            actions: self.bounded(written.actions.as_ref(), "actions", 1, 100, default.actions),
            give_up: SignedDuration::from_secs(i64::from(seconds)),
        }
    }

    fn bounded(
        &mut self,
        written: Option<&Spanned<u32>>,
        field: &str,
        least: u32,
        most: u32,
        default: u32,
    ) -> u32 {
        let Some(written) = written else { return default };
        if (least..=most).contains(&written.value) {
            return written.value;
        }
        let message = format!("{field} is {}, expected {least} to {most}", written.value);
        self.refuse(written.referenced, Rule::Value, message);
        default
    }
}
