//! Kill switch: read uncached before each effect; not to be read means stop.

use super::{GuardInput, Ruling};
use homeostat_knowledge::guard::ENGAGED;
use homeostat_knowledge::policy::KillSwitch;

pub(super) fn judge(input: &GuardInput) -> Ruling {
    match &input.kill_switch {
        KillSwitch::Off => Ruling::passed("off", "off"),
        KillSwitch::Engaged { reason, by } => Ruling::refused(
            "engaged",
            "off",
            format!(
                "{ENGAGED}{}: {reason}; set ControlPlane.spec.killSwitch.engaged to false to go on",
                by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default()
            ),
        ),
        KillSwitch::Unreadable => Ruling::unknown(
            "not readable",
            "the ControlPlane object cannot be read; nothing is done until it can: check that it exists, that its condition Ready does not say InvalidSpec, and that the role \
             allows `get`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::input;
    use homeostat_knowledge::Name;
    use homeostat_knowledge::guard::may_name_people;

    #[test]
    fn who_engaged_it_and_why_is_told_and_known_as_personal() {
        let mut case = input();
        case.kill_switch = KillSwitch::Engaged { reason: Name::from("ask ben"), by: Some(Name::from("ana")) };
        let ruling = judge(&case);
        assert!(ruling.message.contains("engaged by ana: ask ben"), "{}", ruling.message);
        assert!(may_name_people(&ruling.message), "{}", ruling.message);
        case.kill_switch = KillSwitch::Unreadable;
        assert!(!may_name_people(&judge(&case).message));
    }
}
