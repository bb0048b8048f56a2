//! `Playbook`: the checker reads it as people wrote it, so that its places are theirs.

use super::Rejection;
use homeostat_knowledge::Name;
use homeostat_knowledge::observation::PlaybookText;
use homeostat_playbooks::parse_spec;
use serde_json::Value;

/// The text of a playbook that the checker accepts, or what is wrong with it. Lines and columns are those of the spec
/// as JSON with two spaces: `kubectl get playbook NAME -o json | jq .spec`.
pub fn playbook_text(name: &str, generation: i64, spec: &Value) -> Result<PlaybookText, Rejection> {
    let text = serde_json::to_string_pretty(spec)
        .map_err(|error| Rejection::Unreadable { message: error.to_string() })?;
    parse_spec(name, generation, &text)
        .map_err(|error| Rejection::Playbook { message: error.to_string() })?;
    Ok(PlaybookText { name: Name::from(name), generation, spec: Name::from(text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_crds::v1alpha1::Playbook;
    use homeostat_playbooks::check::{MAXIMUM_SECONDS, MAXIMUM_STEPS, MAXIMUM_TIMES};
    use homeostat_playbooks::expression::MAXIMUM_LENGTH;
    use kube::CustomResourceExt;
    use serde_json::json;

    /// Where the API server takes more than the checker, a mistake is told only by a condition; where it takes less, a good
    /// playbook is refused. So both have the same bounds, and this is what keeps them so.
    #[test]
    fn the_api_server_and_the_checker_have_the_same_bounds() {
        let definition = serde_json::to_value(Playbook::crd()).unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let step = &spec["ladder"]["items"]["properties"];
        let range = |field: &Value| (field["minimum"].as_f64(), field["maximum"].as_f64());
        let upto = |most: u32| (Some(1.0), Some(f64::from(most)));
        assert_eq!(range(&step["verify"]["properties"]["withinSeconds"]), upto(MAXIMUM_SECONDS));
        assert_eq!(range(&step["afterSeconds"]), upto(MAXIMUM_SECONDS));
        assert_eq!(range(&step["times"]), upto(MAXIMUM_TIMES));
        assert_eq!(spec["ladder"]["maxItems"], MAXIMUM_STEPS);
        assert_eq!(spec["when"]["maxItems"], MAXIMUM_STEPS);
        assert_eq!(spec["when"]["items"]["properties"]["expression"]["maxLength"], MAXIMUM_LENGTH);

        let accepted = |within: u32, length: usize| {
            let rest = length - "workload.rollingOut || ''=='".len() - 1;
            let expression = format!("workload.rollingOut || ''=='{}'", "x".repeat(rest));
            let spec = json!({ "trigger": { "findings": ["Slow"] },
                "when": [{ "name": "long", "expression": expression }],
                "ladder": [{ "action": "EvictPod", "verify": { "withinSeconds": within } }] });
            playbook_text("mine", 1, &spec).is_ok()
        };
        assert!(accepted(1, 100) && accepted(MAXIMUM_SECONDS, MAXIMUM_LENGTH));
        assert!(!accepted(0, 100) && !accepted(MAXIMUM_SECONDS + 1, 100) && !accepted(1, MAXIMUM_LENGTH + 1));
    }

    #[test]
    fn what_the_server_fills_in_is_accepted_and_mistakes_have_a_place() {
        let spec = |action: &str| {
            json!({ "description": "mine", "paused": false, "priority": 3,
                    "trigger": { "findings": ["Slow"], "minimumConfidence": "0.9" },
                    "when": [{ "name": "calm", "expression": "!workload.rollingOut" }],
                    "ladder": [{ "action": action, "verify": { "withinSeconds": 30, "expect": "ObjectivesMet" } }] })
        };
        let text = playbook_text("mine", 4, &spec("EvictPod")).unwrap();
        assert_eq!((&*text.name, text.generation), ("mine", 4));
        let error = playbook_text("mine", 4, &spec("Reboot")).unwrap_err().to_string();
        assert!(error.starts_with("playbook mine is refused: line 5, column 17: no action"), "{error}");
        let error = playbook_text("mine", 4, &json!({ "ladder": [] })).unwrap_err().to_string();
        assert!(error.contains("trigger") && error.contains("line 2"), "{error}");
    }
}
