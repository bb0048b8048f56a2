//! Dry run: the API server itself says that it would do it.

use super::{DryRunFacts, GuardInput, Ruling};

pub(super) fn judge(input: &GuardInput) -> Ruling {
    match &input.dry_run {
        DryRunFacts::Passed => Ruling::passed("accepted", "accepted by the API server"),
        DryRunFacts::NotRun => Ruling::unknown("not run", "without a dry run nothing is done"),
        DryRunFacts::Refused(reason) => {
            Ruling::refused("refused", "accepted by the API server", format!("{reason}; nothing was tried"))
        }
        DryRunFacts::Unknown(reason) => Ruling::unknown("no answer", reason.clone()),
    }
}
