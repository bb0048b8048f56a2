//! `homeostat approve` and `homeostat deny`: a person's word on exactly one action.

use super::pending::{deadline, what};
use super::{PeopleError, people};
use crate::args::{ApproveArgs, DenyArgs};
use homeostat_crds::MicroTime;
use homeostat_crds::v1alpha1::Action;
use homeostat_crds::v1alpha1::action::{ActionState, Approval, Decision};
use homeostat_knowledge::{ObjectKey, Timestamp};
use kube::ResourceExt;

/// Approves, and says what.
///
/// # Errors
/// When the action does not wait for a decision, or what the API server answered.
pub async fn approve(args: &ApproveArgs, now: Timestamp) -> Result<String, PeopleError> {
    decide(&args.name, args.namespace.as_deref(), Decision::Approve, args.reason.clone(), now).await
}

/// Denies, and says what.
///
/// # Errors
/// As for [`approve`].
pub async fn deny(args: &DenyArgs, now: Timestamp) -> Result<String, PeopleError> {
    decide(&args.name, args.namespace.as_deref(), Decision::Deny, Some(args.reason.clone()), now).await
}

async fn decide(
    name: &str,
    namespace: Option<&str>,
    decision: Decision,
    reason: Option<String>,
    now: Timestamp,
) -> Result<String, PeopleError> {
    let people = people().await?;
    let action = one(people.actions_named(namespace, name).await?, name, namespace)?;
    let key = ObjectKey::new(action.namespace().unwrap_or_default(), action.name_any());
    let approval = approval(&action, &key, decision, people.whoami().await?, reason, now)?;
    people.decide(&key, &action.uid().unwrap_or_default(), &approval).await?;
    let verb = match decision {
        Decision::Approve => "approved",
        Decision::Deny => "denied",
    };
    Ok(format!("{verb} by {}: {} in {key}", approval.approved_by, what(&action)))
}

/// The one action that is meant. Pure.
pub fn one(found: Vec<Action>, name: &str, namespace: Option<&str>) -> Result<Action, PeopleError> {
    let namespaces: Vec<String> = found.iter().filter_map(ResourceExt::namespace).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(action), None) => Ok(action),
        (Some(_), Some(_)) => {
            Err(PeopleError::ManyActions { name: name.to_owned(), namespaces: namespaces.join(", ") })
        }
        (None, _) => Err(PeopleError::NoAction {
            name: name.to_owned(),
            place: namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default(),
        }),
    }
}

/// The decision to write, bound to the evidence that was seen. Pure.
pub fn approval(
    action: &Action,
    key: &ObjectKey,
    decision: Decision,
    approved_by: String,
    reason: Option<String>,
    now: Timestamp,
) -> Result<Approval, PeopleError> {
    let refuse = |why: String| Err(PeopleError::NotWaiting { name: key.to_string(), why });
    if let Some(given) = &action.spec.approval {
        return refuse(format!("{} decided already", given.approved_by));
    }
    let state = action.status.as_ref().and_then(|status| status.state);
    if state != Some(ActionState::AwaitingApproval) {
        return refuse(
            state.map_or_else(|| "it has no state yet".to_owned(), |state| format!("it is {state:?}")),
        );
    }
    if action.spec.requested_by.as_ref() == Some(&approved_by) {
        return Err(PeopleError::OwnRequest { name: key.to_string(), by: approved_by });
    }
    let until = deadline(action);
    if decision == Decision::Approve && now > until {
        return refuse(format!("it could be approved until {until:.0}"));
    }
    Ok(Approval {
        decision,
        approved_by,
        evidence_id: action.spec.evidence.id.clone(),
        digest: action.spec.digest.clone(),
        at: Some(MicroTime::new(now)),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::testing::action;
    use serde_json::{Value, json};

    fn decided(change: &Value, decision: Decision, at: &str) -> Result<Approval, String> {
        let now = at.parse().expect("an instant");
        let key = ObjectKey::new("shop", "a");
        approval(&action("a", change), &key, decision, "ana".to_owned(), None, now)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_decision_names_the_person_and_the_evidence_that_was_seen() {
        let given = decided(&json!({}), Decision::Approve, "2026-11-22T09:15:00Z").expect("in time");
        assert_eq!((given.approved_by.as_str(), given.evidence_id.as_str()), ("ana", "9c41"));
        assert_eq!(given.decision, Decision::Approve);
        assert!(given.digest.is_some_and(|digest| digest.starts_with("6b86b273")), "and what was asked for");
    }

    #[test]
    fn what_does_not_wait_any_more_is_not_decided_on() {
        let late = decided(&json!({}), Decision::Approve, "2026-11-22T09:15:01Z").expect_err("late");
        assert!(late.contains("2026-11-22T09:15:00Z"), "{late}");
        assert!(decided(&json!({}), Decision::Deny, "2026-11-22T09:15:01Z").is_ok(), "a no is never late");
        let ended =
            decided(&json!({ "status": { "state": "Refused" } }), Decision::Deny, "2026-11-22T09:01:00Z");
        assert!(ended.expect_err("over").contains("it is Refused"));
        let twice = json!({ "spec": { "approval":
            { "decision": "Deny", "approvedBy": "ben", "evidenceId": "9c41" } } });
        let twice = decided(&twice, Decision::Approve, "2026-11-22T09:01:00Z").expect_err("decided");
        assert!(twice.contains("ben decided already"), "{twice}");
    }

    /// Every `kubectl patch` of the documentation, as the object that it is for and the patch.
    fn documented() -> Vec<(String, Value)> {
        let text = include_str!("../../../../docs/sre.md").replace("\\\n", " ");
        let patches = text.lines().filter_map(|line| line.strip_prefix("kubectl patch "));
        let parts = patches.map(|line| {
            let (head, rest) = line.split_once("-p").expect("a patch");
            let json = rest.trim().trim_matches('\'');
            (head.to_owned(), serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}")))
        });
        parts.collect()
    }

    #[test]
    fn kubectl_alone_suffices_to_decide() {
        let documented = documented();
        let (_, patch) = documented.iter().find(|(head, _)| head.starts_with("action ")).expect("documented");
        let approved = action("a", patch);
        let given = serde_json::to_value(&approved.spec.approval).expect("JSON");
        assert_eq!(given, patch["spec"]["approval"], "every field of the documented patch is one of ours");
        let approval = approved.spec.approval.expect("an approval");
        assert_eq!(approval.evidence_id, approved.spec.evidence.id);
        assert_eq!(approval.decision, Decision::Approve);
    }

    #[test]
    fn who_asked_does_not_decide() {
        let asked = json!({ "spec": { "requestedBy": "ana" } });
        let own = decided(&asked, Decision::Approve, "2026-11-22T09:01:00Z").expect_err("her own");
        assert!(own.contains("somebody else has to decide"), "{own}");
    }

    #[test]
    fn a_name_in_two_namespaces_is_not_guessed() {
        let other = action("a", &json!({ "metadata": { "namespace": "bank" } }));
        let both = one(vec![other, action("a", &json!({}))], "a", None).expect_err("two");
        assert!(both.to_string().contains("bank, shop"), "{both}");
        let none = one(Vec::new(), "a", Some("shop")).expect_err("none").to_string();
        assert!(none.contains("in namespace shop"), "{none}");
    }
}
