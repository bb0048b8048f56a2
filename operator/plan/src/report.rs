//! A decision in words: what is done or not done, why, what was considered, what people can do.

use crate::check::{Objection, ObjectionSeverity};
use crate::decision::Decision;
use homeostat_knowledge::{Incident, Plan};
use std::fmt::Write;

/// A few lines of plain text about one decision.
pub fn describe(decision: &Decision, incident: &Incident) -> String {
    let mut text = format!("{}: {}\n", incident.id, incident.summary());
    match decision {
        Decision::Act(plan) => steps(&mut text, plan),
        Decision::Wait { until: Some(until), reason, .. } => {
            line(&mut text, &format!("wait until {until:.3}: {reason}"));
        }
        Decision::Wait { until: None, reason, .. } => {
            line(&mut text, &format!("wait for a change: {reason}"));
        }
        Decision::HandOver { reason, .. } => line(&mut text, &format!("people must take over: {reason}")),
        Decision::Nothing { reason, .. } => line(&mut text, &format!("nothing is done: {reason}")),
    }
    if let Some(others) = incident.causes.get(1..).filter(|others| !others.is_empty()) {
        let others: Vec<String> = others
            .iter()
            .map(|cause| format!("{} ({}, {:.2})", cause.entity, cause.kind, cause.confidence))
            .collect();
        line(&mut text, &format!("less likely causes: {}", others.join(", ")));
    }
    for note in decision.explanation() {
        line(&mut text, &format!("considered: {note}"));
    }
    if let Decision::HandOver { advice, .. } = decision {
        for command in advice {
            line(&mut text, &format!("try: {command}"));
        }
    }
    text
}

/// What the checker had against a plan, one line each.
pub fn describe_objections(objections: &[Objection]) -> String {
    let mut text = String::new();
    for objection in objections {
        let word = match objection.severity {
            ObjectionSeverity::Blocking => "refused",
            ObjectionSeverity::Remark => "remark",
        };
        line(&mut text, &format!("{word}: {}", objection.message));
    }
    text
}

fn steps<Phase>(text: &mut String, plan: &Plan<Phase>) {
    for step in &plan.steps {
        let playbook = format!(
            "playbook {} version {} step {}",
            plan.playbook.name, plan.playbook.version, plan.playbook.step
        );
        let within = step.verification.within;
        line(
            text,
            &format!(
                "{} {}/{} ({playbook}); then {:?} within {within:#}",
                step.parameters.kind(),
                step.target.kind,
                step.target.key.name,
                step.verification.expect
            ),
        );
    }
}

fn line(text: &mut String, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {content}");
}
