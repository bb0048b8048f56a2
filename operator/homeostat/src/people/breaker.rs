//! The cluster's breaker, as the command line shows it.

use homeostat_crds::MicroTime;
use homeostat_crds::common::ANNOTATION_BREAKER_RESET_AT;
use homeostat_crds::v1alpha1::ControlPlane;
use homeostat_knowledge::Timestamp;
use homeostat_knowledge::policy::{BreakerLatch, RESET_BREAKER};
use kube::ResourceExt;

/// Since when it is open, as the leader wrote it last. Pure.
pub fn open_since(control: &ControlPlane, now: Timestamp) -> Option<Timestamp> {
    let opened = control.status.as_ref()?.breaker_open_since.map(MicroTime::timestamp);
    let reset = control.annotations().get(ANNOTATION_BREAKER_RESET_AT);
    let reset = reset.and_then(|text| text.parse().ok());
    BreakerLatch { opened, reset }.open_since(now)
}

/// That it is open, and how a person resets it; `None` while it is closed. Pure.
pub fn text(control: &ControlPlane, now: Timestamp) -> Option<String> {
    let since = open_since(control, now)?;
    Some(format!(
        "The cluster's breaker is open since {since:.0}: repairs all over the cluster did not help, and none is done until a \
         person resets it.\nReset it when the cause is mended: {RESET_BREAKER}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn control(annotations: &Value, status: &Value) -> ControlPlane {
        serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane",
            "metadata": { "name": "default", "annotations": annotations }, "spec": {}, "status": status,
        }))
        .expect("a ControlPlane")
    }

    #[test]
    fn an_open_breaker_is_shown_with_its_command_until_it_is_reset() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("an instant");
        let open = json!({ "breakerOpenSince": "2026-11-22T09:00:00.500000Z" });
        let shown = text(&control(&json!({}), &open), now).expect("it is open");
        assert!(
            shown.contains("2026-11-22T09:00:0") && shown.contains("homeostat resume --breaker"),
            "{shown}"
        );
        for (reset, shows) in [
            ("2026-11-22T09:00:00Z", true),
            ("2026-11-22T09:00:01Z", false),
            ("2026-11-23T09:00:00Z", true),
            ("today", true),
        ] {
            let annotations = json!({ "homeostat.dev/breaker-reset-at": reset });
            assert_eq!(text(&control(&annotations, &open), now).is_some(), shows, "{reset}");
        }
        assert_eq!(text(&control(&json!({}), &json!({})), now), None);
    }
}
