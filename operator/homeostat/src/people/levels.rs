//! `homeostat levels`: how far Homeostat may go, per tenant and action, and why not further.

use super::table::table;
use super::what_if::{self, WhatIf};
use super::{PeopleError, breaker, people};
use crate::args::LevelsArgs;
use homeostat_crds::common::{
    ANNOTATION_DO_NOT_TOUCH_UNTIL, ANNOTATION_LEVELS_RESTORED_AT, ANNOTATION_PAUSED_BECAUSE,
};
use homeostat_crds::v1alpha1::tenant::LevelCap;
use homeostat_crds::v1alpha1::{ControlPlane, Tenant};
use homeostat_crds::{ActionKind, ConditionStatus, ConditionType, Level, conditions};
use homeostat_knowledge::Timestamp;
use homeostat_knowledge::policy::RESET_BREAKER;
use kube::ResourceExt;

/// Every action that a level can be set for. A drain is a cordon and evictions.
pub const ACTIONS: [ActionKind; 15] = [
    ActionKind::ScaleUp,
    ActionKind::ScaleDown,
    ActionKind::DriveBounds,
    ActionKind::EvictPod,
    ActionKind::RollingRestart,
    ActionKind::RollBack,
    ActionKind::Cordon,
    ActionKind::Uncordon,
    ActionKind::Suspend,
    ActionKind::Resume,
    ActionKind::RetryJob,
    ActionKind::StartJob,
    ActionKind::CreateJob,
    ActionKind::ResizePod,
    ActionKind::Notify,
];

/// The text to print.
///
/// # Errors
/// A level that does not exist, or what the API server answered.
pub async fn run(args: &LevelsArgs, now: Timestamp) -> Result<String, PeopleError> {
    let level = args.what_if.as_deref().map(parse).transpose()?;
    let people = people().await?;
    if let Some(tenant) = &args.restore {
        people.restore_levels(tenant, now).await?;
        return Ok(format!(
            "tenant {tenant}: the levels of its spec count again; failures before now do not"
        ));
    }
    let tenants = people.tenants().await?;
    let control = people.control_plane().await?;
    let Some(level) = level else { return Ok(text(&tenants, control.as_ref(), now)) };
    let (actions, incidents) = tokio::try_join!(people.actions(None), people.incidents(None))?;
    let asked = WhatIf { level, now };
    Ok(what_if::text(&what_if::judge(&asked, &actions, &incidents), &asked))
}

/// `L0` to `L4`, or the name. Pure.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str) -> Result<Level, PeopleError> {
    match text {
        "L0" | "Observe" => Ok(Level::Observe),
        "L1" | "Recommend" => Ok(Level::Recommend),
        "L2" | "Approve" => Ok(Level::Approve),
        "L3" | "ActBounded" => Ok(Level::ActBounded),
        "L4" | "ActFull" => Ok(Level::ActFull),
        other => Err(PeopleError::NoLevel(other.to_owned())),
    }
}

/// The levels in effect as a table, and the breakers that are open. Pure.
pub fn text(tenants: &[Tenant], control: Option<&ControlPlane>, now: Timestamp) -> String {
    if tenants.is_empty() {
        return "There is no Tenant: Homeostat watches, and acts on nothing.".to_owned();
    }
    let ceiling = control.map(|control| control.spec.ceilings.level);
    let mut rows = Vec::new();
    for tenant in tenants {
        for action in ACTIONS {
            let asked = tenant.spec.level(action);
            let cap = cap(tenant, action, now);
            let level =
                asked.min(ceiling.unwrap_or_default()).min(cap.map_or(Level::ActFull, |cap| cap.level));
            if level == Level::Recommend && asked == level {
                continue; // What is not listed is recommended; said once below.
            }
            rows.push([
                tenant.name_any(),
                action.to_string(),
                level.to_string(),
                why(tenant, asked, ceiling, control, cap, now),
            ]);
        }
    }
    let mut text = table(["TENANT", "ACTION", "LEVEL", "NOTE"], &rows);
    text.push_str("Every other action of these tenants is at Recommend: shown, not done.");
    let cluster = control.and_then(|control| breaker::text(control, now));
    for open in tenants.iter().filter_map(breaker_of).chain(cluster) {
        text.push_str("\n\n");
        text.push_str(&open);
    }
    text
}

/// That the tenant's own breaker is open, as the leader wrote it last. Its condition tells of the cluster's too, which is
/// told once for all.
fn breaker_of(tenant: &Tenant) -> Option<String> {
    let known = conditions::find(&tenant.status.as_ref()?.conditions, ConditionType::BreakerOpen)?;
    let own = known.status == ConditionStatus::True && !known.message.contains(RESET_BREAKER);
    own.then(|| {
        format!(
            "The breaker of tenant {} is open, and no repair is done there: {}. It closes by itself as these failures grow a \
             day old.",
            tenant.name_any(),
            known.message.trim_end_matches('.')
        )
    })
}

/// The instant in an annotation; `None` when it cannot be read.
fn instant(tenant: &Tenant, annotation: &str) -> Option<Timestamp> {
    tenant.annotations().get(annotation)?.parse().ok()
}

/// What an action was lowered to, and nobody restored since. An unreadable instant restores nothing, and one to come
/// nothing yet.
fn cap(tenant: &Tenant, action: ActionKind, now: Timestamp) -> Option<&LevelCap> {
    let restored = instant(tenant, ANNOTATION_LEVELS_RESTORED_AT).filter(|restored| *restored <= now);
    let caps = tenant.status.iter().flat_map(|status| &status.level_caps);
    let mut standing = caps.filter(|cap| restored.is_none_or(|at| cap.since.timestamp() > at));
    standing.find(|cap| cap.action == action)
}

fn why(
    tenant: &Tenant,
    asked: Level,
    ceiling: Option<Level>,
    control: Option<&ControlPlane>,
    cap: Option<&LevelCap>,
    now: Timestamp,
) -> String {
    let mut notes = Vec::new();
    match (control, ceiling) {
        (None, _) => notes.push("no ControlPlane: nothing is done".to_owned()),
        (Some(control), _) if control.spec.kill_switch.engaged => {
            notes.push("the kill switch is engaged: nothing is done".to_owned());
        }
        (Some(_), Some(ceiling)) if ceiling < asked => {
            notes.push(format!("{asked} asked for, the cluster's ceiling is {ceiling}"));
        }
        _ => {}
    }
    if let Some(paused) = paused(tenant, now) {
        let reason = tenant.annotations().get(ANNOTATION_PAUSED_BECAUSE);
        notes.push(reason.map_or_else(|| paused.clone(), |reason| format!("{paused}: {reason}")));
    }
    if let Some(cap) = cap.filter(|cap| cap.level < asked) {
        notes.push(cap.reason.clone());
    }
    let lowered = tenant.status.as_ref().and_then(|status| status.level_lowered_because.as_ref());
    if let Some(lowered) = lowered.filter(|_| notes.is_empty()) {
        notes.push(format!("lowered: {lowered}"));
    }
    notes.join("; ")
}

/// That a person paused it, and until when if that was said.
fn paused(tenant: &Tenant, now: Timestamp) -> Option<String> {
    if tenant.spec.paused {
        return Some("paused".to_owned());
    }
    let until = instant(tenant, ANNOTATION_DO_NOT_TOUCH_UNTIL).filter(|until| now < *until)?;
    Some(format!("paused until {until}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tenant(spec: &Value, status: &Value) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "store" },
            "spec": spec, "status": status,
        }))
        .expect("a Tenant")
    }

    fn control(spec: &Value) -> ControlPlane {
        serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane", "metadata": { "name": "default" },
            "spec": spec,
        }))
        .expect("a ControlPlane")
    }

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("an instant")
    }

    fn spec() -> Value {
        json!({ "namespaces": ["shop"], "automation": [
            { "actions": ["EvictPod"], "level": "ActFull" }, { "actions": ["ScaleDown"], "level": "Observe" }] })
    }

    #[test]
    fn the_level_in_effect_is_shown_with_what_holds_it_down() {
        let text = text(&[tenant(&spec(), &json!({}))], Some(&control(&json!({}))), now());
        let evict = text.lines().find(|line| line.contains("EvictPod")).expect("listed");
        assert!(evict.contains("ActBounded") && evict.contains("ActFull asked for"), "{text}");
        assert!(text.lines().any(|line| line.contains("ScaleDown") && line.contains("Observe")), "{text}");
        assert!(!text.contains("RollBack"), "what is not listed is said once: {text}");
    }

    #[test]
    fn what_was_lowered_says_why_until_a_person_restores_it() {
        let cap = json!({ "levelCaps": [{ "action": "EvictPod", "level": "Approve",
            "since": "2026-11-22T09:00:00.000000Z", "reason": "3 of 4 EvictPod did not help" }] });
        let mut lowered = tenant(&spec(), &cap);
        let evict = |tenant: &Tenant| {
            let text = text(std::slice::from_ref(tenant), Some(&control(&json!({}))), now());
            text.lines().find(|line| line.contains("EvictPod")).map(str::to_owned).expect("listed")
        };
        assert!(evict(&lowered).contains("Approve ") && evict(&lowered).contains("3 of 4"));
        let annotations = |at: &str| Some([("homeostat.dev/levels-restored-at".into(), at.into())].into());
        lowered.metadata.annotations = annotations("2026-11-22T08:59:59Z");
        assert!(evict(&lowered).contains("3 of 4"), "restored before it was lowered");
        lowered.metadata.annotations = annotations("2026-11-22T12:00:01Z");
        assert!(evict(&lowered).contains("3 of 4"), "to be restored later");
        lowered.metadata.annotations = annotations("2026-11-22T09:00:01Z");
        assert!(!evict(&lowered).contains("3 of 4"));
    }

    #[test]
    fn a_pause_is_shown_with_its_reason_and_its_end() {
        let note = |open: bool, until: &str| {
            let mut spec = spec();
            spec["paused"] = json!(open);
            let mut paused = tenant(&spec, &json!({}));
            let annotations = [
                ("homeostat.dev/do-not-touch-until".into(), until.into()),
                ("homeostat.dev/paused-because".into(), "load test".into()),
            ];
            paused.metadata.annotations = Some(annotations.into());
            let text = text(&[paused], Some(&control(&json!({}))), now());
            text.lines().find(|line| line.contains("EvictPod")).map(str::to_owned).expect("listed")
        };
        let later = "2026-11-22T18:00:00Z";
        assert!(note(false, later).contains("paused until 2026-11-22T18:00:00Z: load test"));
        assert!(note(true, later).contains("paused: load test"), "that one goes on");
        assert!(!note(false, "2026-11-22T12:00:00Z").contains("paused"), "it is over");
    }

    #[test]
    fn what_stops_everything_is_said_on_every_line() {
        let stopped = control(&json!({ "killSwitch": { "engaged": true, "reason": "drill" } }));
        let shown = text(&[tenant(&spec(), &json!({}))], Some(&stopped), now());
        assert!(shown.lines().filter(|line| line.contains("kill switch")).count() == 2, "{shown}");
        let lowered = json!({ "levelLoweredBecause": "3 of the Tenant's last actions did not help" });
        let shown = text(
            &[tenant(&spec(), &lowered)],
            Some(&control(&json!({ "ceilings": { "level": "ActFull" } }))),
            now(),
        );
        assert!(shown.contains("lowered: 3 of"), "{shown}");
        assert!(text(&[tenant(&spec(), &json!({}))], None, now()).contains("no ControlPlane"));
        assert!(text(&[], None, now()).contains("no Tenant"));
    }

    #[test]
    fn an_open_breaker_of_the_cluster_is_shown_with_the_command_that_resets_it() {
        let mut open = control(&json!({}));
        open.status =
            serde_json::from_value(json!({ "breakerOpenSince": "2026-11-22T09:00:00.500000Z" })).ok();
        let tenants = [tenant(&spec(), &json!({}))];
        let shown = text(&tenants, Some(&open), now());
        assert!(shown.contains("cluster's breaker is open"), "{shown}");
        assert!(shown.contains("2026-11-22T09:00:0") && shown.contains(RESET_BREAKER), "{shown}");
        let annotations = [("homeostat.dev/breaker-reset-at".into(), "2026-11-22T09:00:01Z".into())];
        open.metadata.annotations = Some(annotations.into());
        assert!(!text(&tenants, Some(&open), now()).contains("breaker"), "a person reset it");
    }

    #[test]
    fn an_open_breaker_of_a_tenant_is_shown_with_its_reason_and_that_of_the_cluster_once() {
        let says = |status: &str, message: &str| {
            json!({ "conditions": [{ "type": "BreakerOpen", "status": status, "reason": "TooManyFailures",
                "message": message, "lastTransitionTime": "2026-11-22T09:00:00.000000Z" }] })
        };
        let shown = |status: &Value| text(&[tenant(&spec(), status)], Some(&control(&json!({}))), now());
        let own = shown(&says("True", "4 of the Tenant's last actions did not help."));
        assert!(
            own.contains("breaker of tenant store is open") && own.contains("4 of the Tenant's"),
            "{own}"
        );
        assert!(!shown(&says("False", "As expected.")).contains("breaker"));
        let clusters =
            format!("Since today: none is done until a person resets the breaker: {RESET_BREAKER}.");
        assert!(!shown(&says("True", &clusters)).contains("breaker of tenant"));
    }

    #[test]
    fn every_action_that_exists_has_a_level() {
        for action in homeostat_execute::actions::ALL {
            assert!(
                ACTIONS.iter().any(|known| known.to_string() == action.kind().name()),
                "{}",
                action.kind()
            );
        }
    }

    #[test]
    fn levels_have_a_short_and_a_long_name() {
        assert_eq!(parse("L3").expect("short"), parse("ActBounded").expect("long"));
        assert!(matches!(parse("L5"), Err(PeopleError::NoLevel(_))));
    }
}
