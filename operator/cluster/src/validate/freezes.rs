//! Freeze windows of a tenant, by the rules of the guard that heeds them: one that it cannot understand would refuse
//! every action.

use super::{Rejection, seconds};
use homeostat_crds::v1alpha1::tenant::Freeze as Wire;
use homeostat_execute::guards::{FreezeError, frozen};
use homeostat_knowledge::policy::Freeze;
use homeostat_knowledge::{Name, Timestamp};

/// The windows, or the first field that cannot work. `now` is from where a schedule is followed to a time at which it
/// comes true.
pub(super) fn freezes(wire: &[Wire], now: Timestamp) -> Result<Vec<Freeze>, Rejection> {
    wire.iter().enumerate().map(|(index, one)| freeze(index, one, now)).collect()
}

fn freeze(index: usize, wire: &Wire, now: Timestamp) -> Result<Freeze, Rejection> {
    let field = |name: &str| format!("spec.freezes[{index}].{name}");
    let freeze = Freeze {
        name: Name::from(wire.name.as_str()),
        schedule: Name::from(wire.schedule.as_str()),
        time_zone: Name::from(wire.time_zone.as_str()),
        duration: seconds(&field("durationSeconds"), wire.duration_seconds, 60, 2_678_400)?,
    };
    match frozen(std::slice::from_ref(&freeze), now).err() {
        None => Ok(freeze),
        Some(FreezeError::TimeZone { zone, .. }) => {
            let rule = "it must be an IANA time zone that this system knows";
            Err(Rejection::field(field("timeZone"), format!("`{zone}`"), rule))
        }
        Some(FreezeError::Schedule { schedule, reason, .. }) => {
            let rule = format!(
                "it must be five fields of cron (minute, hour, day of month, month, day of week) that come true on some \
                 day, such as `0 18 * * 5`: {reason}"
            );
            Err(Rejection::field(field("schedule"), format!("`{schedule}`"), rule))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(schedule: &str, time_zone: &str, duration_seconds: i64) -> Wire {
        Wire {
            name: "night".to_owned(),
            schedule: schedule.to_owned(),
            time_zone: time_zone.to_owned(),
            duration_seconds,
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_the_guard_understands_is_taken_over() {
        for schedule in ["0 18 * * 5", "*/30 2 * * MON-FRI", "0 0 29 2 *", "0 0 L * *", "@daily"] {
            let taken = freezes(&[wire(schedule, "Europe/Madrid", 60)], now()).unwrap();
            assert_eq!(frozen(&taken, now()), Ok(None), "{schedule}");
        }
        assert_eq!(freezes(&[], now()), Ok(Vec::new()));
    }

    #[test]
    fn what_the_guard_cannot_follow_is_refused_by_its_field() {
        let good = wire("0 18 * * 5", "UTC", 3_600);
        for (bad, text) in [
            (wire("99 99 * * *", "UTC", 60), "spec.freezes[1].schedule is `99 99 * * *`, but"),
            (wire("0 0 30 2 *", "UTC", 60), "spec.freezes[1].schedule is `0 0 30 2 *`, but"),
            (wire("0 0 18 * * 5", "UTC", 60), "spec.freezes[1].schedule is `0 0 18 * * 5`, but"),
            (wire("0 18 * * 5", "Mars/Olympus", 60), "spec.freezes[1].timeZone is `Mars/Olympus`, but"),
            (
                wire("0 18 * * 5", "UTC", 59),
                "spec.freezes[1].durationSeconds is 59, but it must be between 60",
            ),
            (wire("0 18 * * 5", "UTC", 2_678_401), "spec.freezes[1].durationSeconds is 2678401, but"),
        ] {
            let error = freezes(&[good.clone(), bad], now()).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        let never = freezes(&[wire("0 0 30 2 *", "UTC", 60)], now()).unwrap_err().to_string();
        assert!(
            never.contains("five fields") && never.contains("`0 18 * * 5`"),
            "what to write instead: {never}"
        );
    }
}
