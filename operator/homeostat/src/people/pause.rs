//! `homeostat pause` and `homeostat resume`: no action for a tenant or a workload, with or without an end.

use super::{PeopleError, breaker, people, stop};
use crate::args::{PauseArgs, PauseKind, ResumeArgs};
use homeostat_cluster::people::{Pausable, Pause};
use homeostat_knowledge::{ObjectKey, Timestamp};

/// Pauses, and says what.
///
/// # Errors
/// When the end has passed, or what the API server answered.
pub async fn pause(args: &PauseArgs, now: Timestamp) -> Result<String, PeopleError> {
    let (what, pause) =
        (pausable(args.kind, &args.name, args.namespace.as_deref())?, asked(args.until, now)?);
    let open = people().await?.pause(&what, &pause, args.reason.as_deref()).await?;
    Ok(format!("no action for {} {}; watching and reporting go on", name(&what), end(&pause, open)))
}

/// When it ends; `open`: it is paused without an end, by somebody before or by this one. Pure.
fn end(pause: &Pause, open: bool) -> String {
    match pause {
        Pause::Until(until) if open => {
            format!(
                "until {until}, nor after it until somebody resumes it: it was paused without an end before"
            )
        }
        Pause::Until(until) => format!("until {until}"),
        Pause::Open | Pause::Over => "until somebody resumes it".to_owned(),
    }
}

/// Resumes, resets the breaker or releases the kill switch, and says what.
///
/// # Errors
/// What the API server answered.
pub async fn resume(args: &ResumeArgs, now: Timestamp) -> Result<String, PeopleError> {
    if args.kill_switch {
        return stop::release().await;
    }
    let (Some(kind), Some(asked)) = (args.kind, args.name.as_deref()) else {
        let people = people().await?;
        let open =
            people.control_plane().await?.as_ref().and_then(|control| breaker::open_since(control, now));
        let Some(since) = open else { return Ok("the cluster's breaker is not open".to_owned()) };
        // A clock here that is late must not leave it open.
        people.reset_breaker(now.max(since)).await?;
        return Ok(format!(
            "the cluster's breaker, open since {since:.0}, is reset; repairs are possible again, each within its level"
        ));
    };
    let what = pausable(kind, asked, args.namespace.as_deref())?;
    people().await?.pause(&what, &Pause::Over, None).await?;
    Ok(format!("actions for {} are possible again, within its level", name(&what)))
}

fn name(what: &Pausable) -> String {
    match what {
        Pausable::Tenant(name) => format!("Tenant {name}"),
        Pausable::Workload(key) => format!("Workload {key}"),
    }
}

/// What is meant. A workload needs its namespace: pausing another one of the same name would go unnoticed. Pure.
pub fn pausable(kind: PauseKind, name: &str, namespace: Option<&str>) -> Result<Pausable, PeopleError> {
    match (kind, namespace) {
        (PauseKind::Tenant, _) => Ok(Pausable::Tenant(name.to_owned())),
        (PauseKind::Workload, Some(namespace)) => Ok(Pausable::Workload(ObjectKey::new(namespace, name))),
        (PauseKind::Workload, None) => Err(PeopleError::NoNamespace(name.to_owned())),
    }
}

/// The pause that is asked for; an end that has passed would pause nothing. Pure.
pub fn asked(until: Option<Timestamp>, now: Timestamp) -> Result<Pause, PeopleError> {
    match until {
        None => Ok(Pause::Open),
        Some(until) if until > now => Ok(Pause::Until(until)),
        Some(until) => Err(PeopleError::Past { until: until.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pauses_with_an_end_what_is_paused_without_one_is_told() {
        let until: Timestamp = "2026-11-22T18:00:00Z".parse().expect("an instant");
        assert_eq!(end(&Pause::Until(until), false), "until 2026-11-22T18:00:00Z");
        let both = end(&Pause::Until(until), true);
        assert!(
            both.contains("2026-11-22T18:00:00Z") && both.contains("until somebody resumes it"),
            "{both}"
        );
        assert_eq!(end(&Pause::Open, true), "until somebody resumes it");
    }

    #[test]
    fn a_pause_that_would_pause_nothing_is_refused() {
        let now: Timestamp = "2026-11-22T09:00:00Z".parse().expect("an instant");
        assert!(matches!(asked(Some(now), now), Err(PeopleError::Past { .. })));
        assert!(matches!(asked(None, now), Ok(Pause::Open)));
        assert!(matches!(pausable(PauseKind::Workload, "cart", None), Err(PeopleError::NoNamespace(_))));
        let key = ObjectKey::new("shop", "cart");
        assert_eq!(
            pausable(PauseKind::Workload, "cart", Some("shop")).expect("named"),
            Pausable::Workload(key)
        );
    }
}
