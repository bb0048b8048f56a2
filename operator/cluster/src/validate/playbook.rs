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
    use serde_json::json;

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
