//! The form in which a receiver gets a message. Pure.

use super::told::{About, Message};
use homeostat_cluster::validate::Route;
use homeostat_crds::v1alpha1::tenant::{Contact, NotifyKind};
use homeostat_knowledge::{Severity, SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// Alertmanager forgets an alert that is not sent again unless it knows its end; this long at most one of ours fires that
/// is never said to be over.
const FIRES: SignedDuration = SignedDuration::from_hours(24);

/// The body for the kind of receiver that this route leads to.
pub fn body(route: &Route, message: &Message) -> Value {
    let contact = route.contact.as_ref();
    match route.kind {
        NotifyKind::Webhook => webhook(message, contact),
        NotifyKind::Slack => slack(message, contact),
        NotifyKind::Alertmanager => alerts(message, contact),
    }
}

fn webhook(message: &Message, contact: Option<&Contact>) -> Value {
    // Everything in it can be written as JSON.
    let mut body = serde_json::to_value(message).unwrap_or_default();
    if let Some(contact) = contact {
        body["contact"] = json!(contact);
    }
    body
}

fn words(contact: &Contact) -> String {
    let known: Vec<&str> = [&contact.email, &contact.url].into_iter().flatten().map(String::as_str).collect();
    known.join(", ")
}

/// An incoming webhook takes one text. Markup is off, and what a chat could still read as a mention or a link is broken up.
fn slack(message: &Message, contact: Option<&Contact>) -> Value {
    let of = match &message.workload {
        Some(workload) => format!("{}/{workload}", message.namespace),
        None => message.tenant.to_string(),
    };
    let mut lines = vec![
        format!("[{:?}] {} {of}: {}", message.severity, message.reason, message.summary),
        format!("{:?} {}, {}, tenant {}", message.about, message.id, message.state, message.tenant),
    ];
    if let Some(cause) = &message.cause {
        lines.push(format!("Cause: {} {} ({:.0} %)", cause.entity, cause.kind, cause.confidence * 100.0));
    }
    lines.extend(message.advice.as_ref().map(|advice| format!("Next: {advice}")));
    lines.extend(message.times.answer_until.map(|until| format!("Answer until {until:.0}")));
    let mut text = inert(&lines.join("\n"));
    // The only links are the tenant's and ours.
    if let Some(contact) = contact {
        text.push_str(&escaped(&format!("\nOwners: {}", words(contact))));
    }
    if let Some(url) = &message.url {
        text.push('\n');
        text.push_str(&escaped(url));
    }
    json!({ "text": text, "mrkdwn": false })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn inert(text: &str) -> String {
    let gap = "\u{200B}";
    let text = escaped(text).replace('@', &format!("@{gap}")).replace("://", &format!(":{gap}//"));
    text.replace("](", &format!("]{gap}(")).replace('`', "'")
}

/// What tells alerts apart must stay the same while an incident changes; routing needs the severity. So each severity has
/// its alert, and all but the present one are over.
fn alerts(message: &Message, contact: Option<&Contact>) -> Value {
    let name = match message.about {
        About::Incident => "HomeostatIncident",
        About::Action => "HomeostatApprovalNeeded",
        About::Route => "HomeostatMessagesHeldBack",
    };
    let times = &message.times;
    let started = times.impact_start.unwrap_or(message.at).min(message.at);
    let over = message.state == "Resolved" || message.state == "Over";
    let later = times.answer_until.or(times.held_until).unwrap_or_else(|| end(message.at));
    let mut annotations = Map::new();
    let mut annotate = |name: &str, text: String| annotations.insert(name.to_owned(), Value::String(text));
    annotate("summary", message.summary.clone());
    annotate("state", message.state.clone());
    annotate("reason", message.reason.to_owned());
    if let Some(workload) = &message.workload {
        annotate("workload", workload.to_string());
    }
    if let Some(cause) = &message.cause {
        annotate("cause", format!("{} {} ({:.2})", cause.entity, cause.kind, cause.confidence));
    }
    if let Some(advice) = &message.advice {
        annotate("description", advice.clone());
    }
    if let Some(contact) = contact {
        annotate("contact", words(contact));
    }
    let alert = |severity: Severity| {
        let fires = severity == message.severity && !over;
        let ends = if fires { later.max(message.at) } else { message.at };
        let mut alert = json!({
            "labels": { "alertname": name, "tenant": message.tenant, "namespace": message.namespace, "id": message.id,
                "severity": format!("{severity:?}").to_lowercase() },
            "annotations": annotations,
            "startsAt": started,
            "endsAt": ends,
        });
        if let Some(url) = &message.url {
            alert["generatorURL"] = json!(url);
        }
        alert
    };
    Value::Array([Severity::Info, Severity::Warning, Severity::Critical].map(alert).into())
}

fn end(at: Timestamp) -> Timestamp {
    at.checked_add(FIRES).unwrap_or(at)
}
