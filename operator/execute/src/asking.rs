//! What a person is asked for, and what becomes of a question that nobody answers. Pure.

use homeostat_knowledge::guard::{DENIED_BY, NEEDS_APPROVAL};
use homeostat_knowledge::{
    ActionRecord, Approval, ApprovalDecision, Name, Parameters, TenantPolicy, Timestamp,
};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Digest of everything that an approval is for: the target and its UID, what is written, the fields that were read,
/// the frozen evidence, who asked, and until when. SHA-256, in hexadecimal. It is the same before an action is stored
/// and after it was read back: instants count in microseconds.
pub fn digest(record: &ActionRecord) -> Name {
    let (target, before) = (&record.target, &record.before);
    let micros = |at: Timestamp| at.as_microsecond();
    let mut text = String::from("homeostat approval 1");
    let mut part = |value: &dyn std::fmt::Debug| {
        // Debug puts texts in quotes, so that no text can look like two. Writing to a String cannot fail.
        let _ = write!(text, "\n{value:?}");
    };
    for word in [&record.namespace, &record.id.0, &record.incident.0, &record.tenant.0, &record.workload.name]
    {
        part(word);
    }
    for word in [&target.api_version, &target.kind, &target.key.namespace, &target.key.name, &target.uid.0] {
        part(word);
    }
    part(&record.kind().name());
    match &record.parameters {
        // An own grace period is none of the values, so that what was approved before stays approved.
        Parameters::EvictPod { grace_seconds: None }
        | Parameters::RollingRestart
        | Parameters::Uncordon
        | Parameters::Resume
        | Parameters::RetryJob => {}
        Parameters::EvictPod { grace_seconds: Some(seconds) } => part(seconds),
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => part(replicas),
        Parameters::DriveBounds { bounds, until } => part(&(bounds.min, bounds.max, micros(*until))),
        Parameters::RollBack { revision } => part(revision),
        Parameters::Cordon { until } | Parameters::Suspend { until } => part(&micros(*until)),
        Parameters::ResizePod {
            container,
            cpu_millis,
            cpu_limit_millis,
            memory_bytes,
            memory_limit_bytes,
        } => {
            part(&(container, cpu_millis, memory_bytes));
            if let Some(limit) = memory_limit_bytes {
                part(limit);
            }
            if let Some(limit) = cpu_limit_millis {
                part(&("cpu limit", limit));
            }
        }
        Parameters::StartJob { cpu_millis, memory_bytes, parallelism } => {
            part(&(cpu_millis, memory_bytes));
            if let Some(pods) = parallelism {
                part(&("parallelism", pods));
            }
        }
        Parameters::CreateJob { slot } => part(&("slot", micros(*slot))),
        Parameters::Notify { message } => part(message),
    }
    part(&(before.replicas, before.ready, &before.revision, before.restarts));
    part(&(before.cordoned, before.suspended, before.cpu_millis, before.memory_bytes));
    if let Some(limit) = before.memory_limit_bytes {
        part(&("limit", limit));
    }
    if let Some(limit) = before.cpu_limit_millis {
        part(&("cpu limit", limit));
    }
    if let Some(bounds) = before.bounds {
        part(&(bounds.min, bounds.max));
    }
    if let Some(pods) = before.parallelism {
        part(&("parallelism", pods));
    }
    part(&record.undo);
    part(&(record.evidence.id.as_str(), micros(record.evidence.taken_at)));
    part(&(&record.request.by, record.request.expires.map(micros)));
    Name::from(format!("{:x}", Sha256::digest(text.as_bytes())))
}

/// What an approval must fit.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The action, as it would be carried out now.
    pub digest: &'a Name,
    /// What was asked for.
    pub request: &'a homeostat_knowledge::action::Request,
    /// The evidence that it stands on.
    pub evidence: &'a homeostat_knowledge::EvidenceId,
}

/// Does this approval hold for what was asked, at `now`? It holds for one action, which is carried out once; an action
/// that is asked for anew has another name and so another digest.
///
/// When it was given does not count: that is the word of a person's clock, which may be late, and a decision cannot be written
/// anew. The evidence and the digest say that the question was there before, and the API server takes no decision on an action
/// that does not wait for one.
///
/// # Errors
/// Why it does not hold.
pub(crate) fn approval_holds(approval: &Approval, asked: &Asked<'_>, now: Timestamp) -> Result<(), String> {
    let Asked { digest, request, evidence } = asked;
    if approval.decision == ApprovalDecision::Deny {
        return Err(format!("{DENIED_BY}{}", approval.approved_by));
    }
    if approval.approved_by.is_empty() {
        return Err("nobody's name stands under it".to_owned());
    }
    if request.by.is_empty() {
        return Err("it is not known who asked, so not whether somebody else approved".to_owned());
    }
    if approval.approved_by == request.by {
        return Err("who asked may not approve".to_owned());
    }
    if approval.evidence != **evidence {
        return Err("it was given for other evidence".to_owned());
    }
    if request.digest != **digest || approval.digest.as_ref().is_some_and(|seen| seen != *digest) {
        return Err("target, parameters or evidence are not those that were approved".to_owned());
    }
    match request.expires {
        Some(expires) if now <= expires => Ok(()),
        Some(expires) => Err(format!("it expired at {expires:.0}")),
        None => Err("nobody was asked, so nobody could approve".to_owned()),
    }
}

/// How far a question got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Patience {
    /// The approvers were asked.
    Asked,
    /// They were asked again.
    Reminded,
    /// The owners were told that no approver answers.
    Escalated,
    /// Time is up: people have to take over.
    Over,
}

/// How far an unanswered question is at `now`: a reminder after a third of the time, the owners after two thirds.
pub fn patience(asked: Timestamp, expires: Timestamp, now: Timestamp) -> Patience {
    let third = expires.duration_since(asked) / 3;
    let waited = now.duration_since(asked);
    if now > expires {
        Patience::Over
    } else if waited >= third * 2 {
        Patience::Escalated
    } else if waited >= third {
        Patience::Reminded
    } else {
        Patience::Asked
    }
}

/// When the next step of patience is due.
pub(crate) fn next_step(asked: Timestamp, expires: Timestamp, now: Timestamp) -> Timestamp {
    let third = expires.duration_since(asked) / 3;
    let steps = [asked.checked_add(third), asked.checked_add(third * 2)];
    steps.into_iter().filter_map(Result::ok).find(|step| *step > now).unwrap_or(expires)
}

const REMINDER: &str = "still ";
const ESCALATION: &str = "no approver answers; ";

/// What is said at a step of patience.
pub fn words(step: Patience, expires: Timestamp, tenant: Option<&TenantPolicy>) -> String {
    let list = |people: &[(Name, Name)]| {
        let all: Vec<String> = people.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        if all.is_empty() { "nobody is named".to_owned() } else { all.join(", ") }
    };
    let approvers = tenant.map_or_else(|| "unknown".to_owned(), |tenant| list(&tenant.approvers));
    let asks = format!("{NEEDS_APPROVAL} until {expires:.0} (approvers: {approvers})");
    match step {
        Patience::Asked => asks,
        Patience::Reminded => format!("{REMINDER}{asks}"),
        Patience::Escalated => {
            let owners = tenant.map_or_else(|| "unknown".to_owned(), |tenant| list(&tenant.owners));
            format!("{ESCALATION}owners ({owners}), please see to it: {asks}")
        }
        Patience::Over => {
            format!("nobody answered until {expires:.0}; nothing was done, people must take over")
        }
    }
}

/// The step that a stored message of [`words`] stands for, so that a restart repeats nothing.
pub fn step_of(message: &str) -> Patience {
    if message.starts_with(ESCALATION) {
        Patience::Escalated
    } else if message.starts_with(REMINDER) {
        Patience::Reminded
    } else {
        Patience::Asked
    }
}

/// What the object's annotation "do not touch until" asks for at `now`; `None` when it is over. What is no instant is
/// respected until somebody mends it: it was written to keep us away.
pub fn hands_off(annotation: &str, now: Timestamp) -> Option<String> {
    match annotation.parse::<Timestamp>() {
        Ok(until) if now < until => Some(format!("a person asked to leave it alone until {until:.0}")),
        Ok(_) => None,
        Err(_) => {
            let text: String = annotation.chars().filter(|c| !c.is_control()).take(64).collect();
            Some(format!("a person asked to leave it alone until `{text}`, which is no instant; correct it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, record};
    use homeostat_knowledge::guard::may_name_people;
    use homeostat_knowledge::{ObjectKey, Uid};

    #[test]
    fn another_target_value_or_evidence_is_another_question() {
        let mut asked = record("order-1-1");
        asked.parameters = Parameters::ScaleUp { replicas: 4 };
        asked.request.expires = Some(at(900));
        let known = digest(&asked);
        let changes: [fn(&mut ActionRecord); 9] = [
            |it| it.id = homeostat_knowledge::ActionId::new("order-1-2"),
            |it| it.target.uid = Uid::new("another"),
            |it| it.target.key = ObjectKey::new("shop", "another"),
            |it| it.parameters = Parameters::ScaleUp { replicas: 5 },
            |it| it.parameters = Parameters::ScaleDown { replicas: 4 },
            |it| it.before.replicas = Some(2),
            |it| it.evidence.id = homeostat_knowledge::EvidenceId::new("other"),
            |it| it.request.by = Name::from("somebody"),
            |it| it.request.expires = Some(at(901)),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = asked.clone();
            change(&mut other);
            assert_ne!(digest(&other), known, "change {index}");
        }
        let mut later = asked.clone();
        later.state = homeostat_knowledge::ActionState::AwaitingApproval;
        later.message = "needs approval".to_owned();
        later.guards.clear();
        assert_eq!(digest(&later), known, "where it stands is not part of what is asked");
        assert_eq!(known.len(), 64);
    }

    #[test]
    fn nobody_answers_remind_escalate_hand_over() {
        use Patience as P;
        let (asked, expires) = (at(0), at(900));
        let steps: Vec<Patience> =
            [0, 299, 300, 599, 600, 900, 901].map(|second| patience(asked, expires, at(second))).into();
        let wanted = [P::Asked, P::Asked, P::Reminded, P::Reminded, P::Escalated, P::Escalated, P::Over];
        assert_eq!(steps, wanted);
        assert_eq!(next_step(asked, expires, at(0)), at(300));
        assert_eq!(next_step(asked, expires, at(300)), at(600));
        assert_eq!(next_step(asked, expires, at(700)), expires);
    }

    #[test]
    fn each_step_says_whom_and_is_known_again_after_a_restart() {
        let mut tenant = crate::guards::testing::tenant();
        tenant.owners = vec![(Name::from("Group"), Name::from("store-owners"))];
        for step in [Patience::Asked, Patience::Reminded, Patience::Escalated] {
            let text = words(step, at(900), Some(&tenant));
            assert_eq!(step_of(&text), step, "{text}");
            assert!(text.contains("Group sre"), "{text}");
            assert_eq!(text.contains("Group store-owners"), step == Patience::Escalated, "{text}");
            assert!(may_name_people(&text), "{text}");
        }
        assert!(words(Patience::Asked, at(900), None).contains("unknown"));
    }

    #[test]
    fn hands_off_means_until_then_and_what_cannot_be_read_means_always() {
        let until = at(60).to_string();
        assert!(hands_off(&until, at(59)).is_some_and(|why| why.contains(&until)));
        assert_eq!(hands_off(&until, at(60)), None);
        let why = hands_off("to\u{7}morrow", at(0)).expect("respected");
        assert!(why.contains("`tomorrow`") && why.contains("correct it"), "{why}");
    }
}
