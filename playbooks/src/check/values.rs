//! What a step is done to, and its values: absolute, and fixed when the playbook is written. Nothing that a pod, a log
//! or a label says can get into an action.

use super::Checker;
use crate::document::LadderStep;
use crate::parse::Rule;
use homeostat_knowledge::{ActionKind, Name};
use serde_saphyr::{Location, Spanned};

/// Signs of a text that wants to be filled in later.
const TEMPLATES: [&str; 6] = ["{{", "{%", "${", "$(", "<%", "`"];

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// The values that actions take; each `None` where the planner chooses.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub replicas: Option<i32>,
    pub revision: Option<Name>,
    pub memory_bytes: Option<u64>,
    pub grace_seconds: Option<u32>,
}

/// The word for what an action is done to.
fn target(action: ActionKind) -> Option<&'static str> {
    match action {
        ActionKind::EvictPod | ActionKind::ResizePod => Some("SickPod"),
        ActionKind::RollingRestart
        | ActionKind::ScaleUp
        | ActionKind::ScaleDown
        | ActionKind::DriveBounds
        | ActionKind::Suspend
        | ActionKind::Resume
        | ActionKind::RetryJob
        | ActionKind::StartJob
        | ActionKind::CreateJob => Some("SickWorkload"),
        ActionKind::RollBack => Some("PreviousRevision"),
        ActionKind::Cordon | ActionKind::Uncordon | ActionKind::Drain => Some("SickNode"),
        ActionKind::Notify => None,
    }
}

impl Checker {
    pub(super) fn values(&mut self, step: &LadderStep, action: ActionKind, at: Location) -> Values {
        if let Some(to) = &step.to
            && Some(to.value.as_str()) != target(action)
        {
            let hint = target(action).map_or("leave it out".to_owned(), |word| format!("expected {word}"));
            let message = format!("{action} has no target {}: {hint}", shown(&to.value));
            self.refuse(to.referenced, Rule::RelativeTarget, message);
        }
        let mut values = Values::default();
        for (name, value) in &step.parameters {
            self.value(action, name, value, &mut values);
        }
        let named = step.parameters.contains_key("revision");
        if action == ActionKind::RollBack && step.to.is_none() && !named {
            let message = "RollBack needs to: PreviousRevision or parameters.revision";
            self.refuse(at, Rule::RelativeTarget, message);
        }
        values
    }

    fn value(&mut self, action: ActionKind, name: &str, value: &Spanned<String>, values: &mut Values) {
        let text = value.value.as_str();
        if TEMPLATES.iter().any(|sign| text.contains(sign)) {
            let message = format!(
                "{name}: {} would be filled in from something that is not known yet: values of actions are written, never made from telemetry",
                shown(text)
            );
            self.refuse(value.referenced, Rule::Template, message);
            return;
        }
        if text.starts_with(['+', '-', '*']) || text.ends_with('%') {
            let message = format!(
                "{name}: {} is relative to something that can change: write the absolute value",
                shown(text)
            );
            self.refuse(value.referenced, Rule::RelativeTarget, message);
            return;
        }
        let wanted = match (action, name) {
            (ActionKind::ScaleUp | ActionKind::ScaleDown, "replicas") => {
                values.replicas = text.parse::<i32>().ok().filter(|number| (1..=100_000).contains(number));
                values.replicas.is_none().then_some("a number from 1 to 100000")
            }
            (ActionKind::RollBack, "revision") => {
                values.revision = object_name(text).then(|| Name::from(text));
                values.revision.is_none().then_some("the name of a revision")
            }
            (ActionKind::EvictPod, "gracePeriodSeconds") => {
                values.grace_seconds = text.parse::<u32>().ok().filter(|number| (1..=3_600).contains(number));
                values.grace_seconds.is_none().then_some("a number from 1 to 3600")
            }
            (ActionKind::ResizePod, "memory") => {
                values.memory_bytes = bytes(text);
                values.memory_bytes.is_none().then_some("an amount such as 512Mi")
            }
            _ => {
                let message = format!("{action} has no parameter {}", shown(name));
                self.refuse(value.referenced, Rule::Value, message);
                return;
            }
        };
        if let Some(wanted) = wanted {
            let message = format!("{name} is {}, expected {wanted}", shown(text));
            self.refuse(value.referenced, Rule::Value, message);
        }
    }
}

/// As it can be printed: short, without control characters.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().filter(|letter| !letter.is_control()).take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// A name that an object of Kubernetes can have.
fn object_name(text: &str) -> bool {
    let edge = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    text.len() <= LONGEST_NAME
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
        })
}

/// A whole number of bytes, KiB, MiB or GiB, at least 1 MiB and at most 1 TiB.
fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = [("Ki", 10), ("Mi", 20), ("Gi", 30)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let digits = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let amount = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(1 << shift)?;
    ((1 << 20)..=(1 << 40)).contains(&amount).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::{bytes, object_name};

    #[test]
    fn amounts_and_names() {
        for (text, amount) in [
            ("512Mi", Some(512 << 20)),
            ("2Gi", Some(2 << 30)),
            ("1048576", Some(1 << 20)),
            ("1Ki", None),
            ("2000Gi", None),
            ("Mi", None),
            ("+1Gi", None),
            ("1.5Gi", None),
            ("99999999999999999999Gi", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), amount, "{text}");
        }
        for (text, is) in
            [("order-7d", true), ("a.b", true), ("", false), ("-a", false), ("A", false), ("a b", false)]
        {
            assert_eq!(object_name(text), is, "{text}");
        }
        assert!(!object_name(&"a".repeat(254)));
    }
}
