//! `homeostat pending`: what waits for a person, why, on which evidence, and until when; and what the kill switch leaves
//! half done.

use super::table::table;
use super::{PeopleError, people};
use super::{breaker, half_done};
use crate::args::PendingArgs;
use homeostat_crds::common::clip;
use homeostat_crds::v1alpha1::Action;
use homeostat_crds::v1alpha1::action::ActionState;
use homeostat_knowledge::Timestamp;
use kube::ResourceExt;
use std::fmt::Write as _;

/// Characters of the evidence in the table; `-o yaml` shows all of it.
const EVIDENCE: usize = 100;

/// The text to print.
///
/// # Errors
/// What the API server answered.
pub async fn run(args: &PendingArgs, now: Timestamp) -> Result<String, PeopleError> {
    let people = people().await?;
    let actions = people.actions(args.namespace.as_deref()).await?;
    let mut shown = text(&actions, now);
    if args.namespace.is_none() {
        // Who may approve need not be allowed to read the ControlPlane.
        let control = people.control_plane().await.ok().flatten();
        let breaker = control.as_ref().and_then(|control| breaker::text(control, now));
        for more in breaker.into_iter().chain(control.as_ref().and_then(half_done::text)) {
            shown = format!("{shown}\n\n{more}");
        }
    }
    Ok(shown)
}

/// Until when an action may be approved.
pub fn deadline(action: &Action) -> Timestamp {
    action.spec.expires_at.unwrap_or(action.spec.evidence.taken_at).timestamp()
}

/// What an action does, in a few words.
pub fn what(action: &Action) -> String {
    let (spec, parameters) = (&action.spec, &action.spec.parameters);
    let mut text = format!("{} {}/{}", spec.action, spec.target.kind, spec.target.name);
    let mut with = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, " {name}={value}");
        }
    };
    with("replicas", parameters.replicas.map(|n| n.to_string()));
    with("revision", parameters.revision.clone());
    with("container", parameters.container.clone());
    with("cpu", parameters.cpu.as_ref().map(ToString::to_string));
    with("cpuLimit", parameters.cpu_limit.as_ref().map(ToString::to_string));
    with("memory", parameters.memory.as_ref().map(ToString::to_string));
    with("memoryLimit", parameters.memory_limit.as_ref().map(ToString::to_string));
    with("parallelism", parameters.parallelism.map(|n| n.to_string()));
    with("minReplicas", parameters.min_replicas.map(|n| n.to_string()));
    with("maxReplicas", parameters.max_replicas.map(|n| n.to_string()));
    with("until", parameters.until.map(|at| at.to_string()));
    text
}

/// The waiting actions as a table, the most urgent first. Pure.
pub fn text(actions: &[Action], now: Timestamp) -> String {
    let mut waiting: Vec<(Timestamp, &Action)> = actions
        .iter()
        .filter(|action| {
            let status = action.status.as_ref();
            status.and_then(|status| status.state) == Some(ActionState::AwaitingApproval)
        })
        .map(|action| (deadline(action), action))
        .collect();
    if waiting.is_empty() {
        return "Nothing waits for approval.".to_owned();
    }
    waiting.sort_by_key(|(until, action)| (*until, action.namespace(), action.name_any()));
    let rows: Vec<[String; 6]> = waiting
        .into_iter()
        .map(|(until, action)| {
            [
                action.namespace().unwrap_or_default(),
                action.name_any(),
                what(action),
                action.spec.serves().to_owned(),
                clip(&action.spec.evidence.summary, EVIDENCE),
                left(until, now, action),
            ]
        })
        .collect();
    let mut text = table(["NAMESPACE", "NAME", "WHAT", "SERVES", "EVIDENCE", "UNTIL"], &rows);
    text.push_str(
        "Decide: homeostat approve NAME -n NAMESPACE, or homeostat deny NAME -n NAMESPACE --reason WHY",
    );
    text
}

fn left(until: Timestamp, now: Timestamp, action: &Action) -> String {
    if let Some(approval) = &action.spec.approval {
        return format!("decided by {}", approval.approved_by);
    }
    let seconds = until.duration_since(now).as_secs();
    if seconds <= 0 {
        return format!("{until:.0} (over)");
    }
    format!("{until:.0} ({} min left)", seconds.div_euclid(60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::testing::action;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn only_what_waits_is_listed_and_the_most_urgent_first() {
        let later = json!({ "spec": { "expiresAt": "2026-11-22T09:20:00Z" } });
        let done = json!({ "status": { "state": "Verified" } });
        let all = [action("later", &later), action("done", &done), action("now", &json!({}))];
        let text = text(&all, at("2026-11-22T09:10:00Z"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("now") && lines[1].contains("5 min left"), "{text}");
        assert!(lines[2].contains("later") && lines[2].contains("10 min left"), "{text}");
        assert!(lines[1].contains("EvictPod Pod/cart-x") && lines[1].contains("no answer"), "{text}");
    }

    #[test]
    fn what_is_over_or_decided_says_so() {
        let decided = json!({ "spec": { "approval":
            { "decision": "Approve", "approvedBy": "ana", "evidenceId": "9c41" } } });
        let all = [action("a", &decided), action("b", &json!({}))];
        let text = text(&all, at("2026-11-22T10:00:00Z"));
        assert!(text.contains("decided by ana") && text.contains("(over)"), "{text}");
        assert_eq!(super::text(&[], at("2026-11-22T10:00:00Z")), "Nothing waits for approval.");
    }

    #[test]
    fn parameters_are_part_of_what_is_approved() {
        let scale = json!({ "spec": { "action": "ScaleUp", "parameters": { "replicas": 4 } } });
        assert_eq!(what(&action("a", &scale)), "ScaleUp Pod/cart-x replicas=4");
    }
}
