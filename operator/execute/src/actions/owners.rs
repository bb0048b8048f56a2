//! Whose field is it? Read from `metadata.managedFields` of the fresh read
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).

use super::Unfit;
use crate::ports::{Field, FieldEdit, FreshTarget};
use crate::skew;
use homeostat_knowledge::fight::{MANAGED_BY, SET_BY};
use homeostat_knowledge::{ActionRecord, SignedDuration, Timestamp};

/// A field that a person or an unknown tool set this recently is theirs.
pub const PERSON_QUIET: SignedDuration = SignedDuration::from_mins(15);

/// The field manager of our own writes.
const OWN: &str = "homeostat";

/// Who is behind a field manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    /// Ourselves, or a part of Kubernetes that writes what others decided.
    Nobody,
    /// A tool that would change the field back.
    Tool(&'static str),
    /// A person, or a tool that we do not know.
    Person,
}

fn hand(edit: &FieldEdit) -> Hand {
    let manager = &*edit.manager;
    let tools = [
        ("argocd", "Argo CD"),
        ("kustomize-controller", "Flux"),
        ("helm-controller", "Flux"),
        ("flux", "Flux"),
        ("keda", "KEDA"),
        ("vpa-", "a VerticalPodAutoscaler"),
        ("updater", "a VerticalPodAutoscaler"),
        ("karpenter", "Karpenter"),
        ("cluster-autoscaler", "the cluster autoscaler"),
    ];
    if manager == OWN || manager.starts_with("kube-") || manager == "kubelet" {
        return Hand::Nobody;
    }
    tools
        .iter()
        .find(|(prefix, _)| manager.starts_with(prefix))
        .map_or(Hand::Person, |(_, name)| Hand::Tool(name))
}

/// Refuses a field that a tool owns, or that a person set within [`PERSON_QUIET`]; to an undo, which may wait for long, also
/// one that a person set at any time since the decision on what it takes back.
pub(super) fn undisturbed(record: &ActionRecord, fresh: &FreshTarget, field: Field) -> Result<(), Unfit> {
    no_tool(record, fresh, field)?;
    let now = record.instants.claimed.unwrap_or(record.evidence.taken_at);
    // What an object was made with is where it begins, not a person's change of it.
    let changed = |edit: &&FieldEdit| {
        fresh.marks.created.is_none() || edit.at > fresh.marks.created || edit.at.is_none()
    };
    for edit in fresh.marks.edits.iter().filter(|edit| edit.field == field).filter(changed) {
        let since = record.undo_of.is_some() && edit.at.is_some_and(|at| at > record.evidence.taken_at);
        if hand(edit) == Hand::Person && (since || recent(edit.at, now)) {
            let when = edit.at.map_or_else(|| "at an unknown time".to_owned(), |at| format!("at {at:.0}"));
            return Err(Unfit::Protected(format!(
                "{} of {} {SET_BY}{} {when}; it is left to them for {} min",
                field.path(),
                record.target.key,
                edit.manager,
                PERSON_QUIET.as_mins()
            )));
        }
    }
    Ok(())
}

/// The field was set by Homeostat last, by nobody else with it, and not before this action was claimed: that is the mark
/// of the action that was to set it. An older write of ours is another action's; the time of a field is the API server's,
/// that of a claim a replica's. What others set before that is a part of the field that we left as it was, as people's
/// ceiling is where only the floor was moved.
pub(super) fn set_by_us(record: &ActionRecord, fresh: &FreshTarget, field: Field) -> bool {
    let Some(earliest) = record.instants.claimed.and_then(|claimed| claimed.checked_sub(skew::BETWEEN).ok())
    else {
        return false;
    };
    last_set_by_us(fresh, field).is_some_and(|ours| ours >= earliest)
}

/// When Homeostat set the field; `None` when it did not, or when somebody else set it with it or later.
pub(super) fn last_set_by_us(fresh: &FreshTarget, field: Field) -> Option<Timestamp> {
    let of_field = || fresh.marks.edits.iter().filter(|edit| edit.field == field);
    let ours = of_field().filter(|edit| &*edit.manager == OWN).filter_map(|edit| edit.at).max()?;
    let before = |edit: &FieldEdit| edit.at.is_some_and(|at| at < ours);
    of_field().all(|edit| &*edit.manager == OWN || before(edit)).then_some(ours)
}

/// Refuses a field that a tool owns, whenever it set it: it would set it again.
pub(super) fn no_tool(record: &ActionRecord, fresh: &FreshTarget, field: Field) -> Result<(), Unfit> {
    for edit in fresh.marks.edits.iter().filter(|edit| edit.field == field) {
        if let Hand::Tool(name) = hand(edit) {
            return Err(Unfit::Protected(format!(
                "{} of {} belongs to {name} {MANAGED_BY}{}); change it there",
                field.path(),
                record.target.key,
                edit.manager
            )));
        }
    }
    Ok(())
}

fn recent(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_none_or(|at| now.duration_since(at) < PERSON_QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, controller, edit, fresh_controller, record};
    use homeostat_knowledge::ControllerKind;

    fn judge(manager: &str, second: i64) -> Result<(), Unfit> {
        let mut fresh = fresh_controller(controller(ControllerKind::Deployment, "order"));
        fresh.marks.edits = vec![edit(Field::Replicas, manager, second)];
        undisturbed(&record("order-1-1"), &fresh, Field::Replicas)
    }

    #[test]
    fn tools_own_what_they_set_and_people_what_they_set_just_now() {
        for (manager, second, who) in [
            ("argocd-controller", -100_000, Some("Argo CD")),
            ("kustomize-controller", -100_000, Some("Flux")),
            ("keda-operator", -100_000, Some("KEDA")),
            ("kubectl-scale", -60, Some("kubectl-scale")),
            ("kubectl-scale", -899, Some("kubectl-scale")),
            ("kubectl-scale", -900, None),
            ("some-script", -1, Some("some-script")),
            ("homeostat", -1, None),
            ("kube-controller-manager", -1, None),
        ] {
            match (judge(manager, second), who) {
                (Ok(()), None) => {}
                (Err(Unfit::Protected(text)), Some(who)) => {
                    assert!(text.contains(who), "{text}");
                    assert_eq!(homeostat_knowledge::fight::named(&text).as_deref(), Some(manager), "{text}");
                }
                (other, _) => panic!("{manager} at {second}: {other:?}"),
            }
        }
        let mut young = fresh_controller(controller(ControllerKind::Deployment, "order"));
        young.marks.created = Some(at(-60));
        young.marks.edits = vec![edit(Field::Replicas, "kubectl-client-side-apply", -60)];
        assert!(undisturbed(&record("a"), &young, Field::Replicas).is_ok(), "it was made with that number");
        young.marks.edits = vec![edit(Field::Replicas, "kubectl-client-side-apply", -59)];
        assert!(undisturbed(&record("a"), &young, Field::Replicas).is_err(), "and changed since");
        young.marks.edits = vec![edit(Field::Replicas, "argocd-controller", -60)];
        assert!(undisturbed(&record("a"), &young, Field::Replicas).is_err(), "tools keep what they made");
        let mut unknown = fresh_controller(controller(ControllerKind::Deployment, "order"));
        unknown.marks.edits = vec![FieldEdit { at: None, ..edit(Field::Replicas, "kubectl-edit", 0) }];
        assert!(undisturbed(&record("a"), &unknown, Field::Replicas).is_err(), "an unknown time is recent");
        assert!(undisturbed(&record("a"), &unknown, Field::Template).is_ok(), "another field");
    }

    #[test]
    fn an_undo_that_waited_for_hours_leaves_what_a_person_set_meanwhile() {
        // Decided at second 0, and kept from it until hours later.
        let mut undo = record("order-1-1-undo");
        undo.instants.claimed = Some(at(20_000));
        let mut fresh = fresh_controller(controller(ControllerKind::Deployment, "order"));
        for (second, theirs) in [(-1, false), (1, true), (19_000, true)] {
            fresh.marks.edits = vec![edit(Field::Replicas, "kubectl-scale", second)];
            undo.undo_of = Some(homeostat_knowledge::ActionId::new("order-1-1"));
            assert_eq!(undisturbed(&undo, &fresh, Field::Replicas).is_err(), theirs, "{second}");
        }
        undo.undo_of = None;
        fresh.marks.edits = vec![edit(Field::Replicas, "kubectl-scale", 1)];
        assert!(undisturbed(&undo, &fresh, Field::Replicas).is_ok(), "what is no undo has its own quiet");
    }
}
