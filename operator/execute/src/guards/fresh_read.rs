//! Fresh read: the API server, asked now, still shows the target that was decided on.

use super::{FreshFacts, GuardInput, Ruling};

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let limit = format!("UID {}, still sick", input.action.target.uid);
    match &input.fresh {
        FreshFacts::Same => Ruling::passed("same target", limit),
        FreshFacts::NotRead => Ruling::unknown("not read", "without a fresh read nothing is done"),
        FreshFacts::Differs(reason) => {
            Ruling::refused("differs", limit, format!("{reason}; the situation is judged anew"))
        }
        FreshFacts::Unreadable(reason) => Ruling::unknown("not readable", reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use crate::guards::testing::{first_refusal, input};
    use crate::guards::{DryRunFacts, FreshFacts};
    use homeostat_knowledge::GuardName;

    #[test]
    fn what_was_not_asked_or_not_answered_refuses() {
        for fresh in [
            FreshFacts::NotRead,
            FreshFacts::Differs("another pod".to_owned()),
            FreshFacts::Unreadable("timeout".to_owned()),
        ] {
            let mut case = input();
            case.fresh = fresh;
            assert_eq!(first_refusal(&case), Some(GuardName::FreshRead));
        }
        for dry_run in [
            DryRunFacts::NotRun,
            DryRunFacts::Refused("budget".to_owned()),
            DryRunFacts::Unknown("timeout".to_owned()),
        ] {
            let mut case = input();
            case.dry_run = dry_run;
            assert_eq!(first_refusal(&case), Some(GuardName::DryRun));
        }
        let mut case = input();
        case.intent_stored = false;
        assert_eq!(first_refusal(&case), Some(GuardName::Intent));
    }
}
