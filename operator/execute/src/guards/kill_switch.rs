//! Kill switch: read uncached before each effect; not to be read means stop.

use super::{GuardInput, Ruling};
use homeostat_knowledge::policy::KillSwitch;

pub(super) fn judge(input: &GuardInput) -> Ruling {
    match &input.kill_switch {
        KillSwitch::Off => Ruling::passed("off", "off"),
        KillSwitch::Engaged { reason, by } => Ruling::refused(
            "engaged",
            "off",
            format!(
                "the kill switch is engaged{}: {reason}; set ControlPlane.spec.killSwitch.engaged to false to go on",
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
