//! What the kill switch leaves half done, as `homeostat pending` lists it.

use homeostat_crds::v1alpha1::ControlPlane;
use std::fmt::Write as _;

/// The list with its commands, as the leader wrote it last; `None` when nothing is half done. Pure.
pub fn text(control: &ControlPlane) -> Option<String> {
    let status = control.status.as_ref().filter(|status| !status.half_done.is_empty())?;
    let why = control.spec.kill_switch.reason.as_deref().filter(|_| control.spec.kill_switch.engaged);
    let why = why.map_or_else(|| "cannot be read".to_owned(), |why| format!("is engaged ({why})"));
    let mut text = format!("The kill switch {why}, and this is half done:\n");
    for one in &status.half_done {
        let _ = writeln!(
            text,
            "{} {} by {}: {:?}, {}\n  {}",
            one.kind, one.target, one.action, one.state, one.advice, one.command
        );
    }
    if let Some(more) = status.half_done_more {
        let _ = writeln!(text, "{more} more are not listed; they follow once these are mended.");
    }
    text.truncate(text.trim_end().len());
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn control(spec: &Value, status: &Value) -> ControlPlane {
        serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane", "metadata": { "name": "default" },
            "spec": spec, "status": status,
        }))
        .expect("a ControlPlane")
    }

    #[test]
    fn each_change_has_its_command_under_it_and_nothing_is_said_when_there_is_none() {
        let engaged = json!({ "killSwitch": { "engaged": true, "reason": "drill" } });
        let left = json!({ "halfDoneMore": 2, "halfDone": [{
            "action": "n-1-1", "kind": "Cordon", "target": "Node n-1", "state": "Held",
            "advice": "lets new pods on the node again", "command": "kubectl uncordon n-1" }] });
        let shown = text(&control(&engaged, &left)).expect("something is half done");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("is engaged (drill)"), "{shown}");
        assert!(lines[1].contains("Cordon Node n-1 by n-1-1: Held"), "{shown}");
        assert_eq!(lines[2], "  kubectl uncordon n-1");
        assert!(lines[3].starts_with("2 more"), "{shown}");
        let unreadable = text(&control(&json!({}), &left)).expect("something is half done");
        assert!(unreadable.contains("cannot be read"), "{unreadable}");
        assert_eq!(text(&control(&engaged, &json!({}))), None);
    }
}
