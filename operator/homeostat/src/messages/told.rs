//! What people are told, as data: one [`Message`] for each Event of an incident, and for each question to a person. Pure.

use homeostat_analyse::TAKEN_UP;
use homeostat_cluster::{EventReason, Fact};
use homeostat_execute::asking::step_of;
use homeostat_knowledge::incident::{Instants, TimelineEntry, TimelineKind};
use homeostat_knowledge::{
    ActionRecord, Cause, Incident, Name, Severity, SignedDuration, TenantName, Timestamp,
};
use serde::Serialize;

/// What changed longer ago is no news: whoever led then has told it. Longer than a message is tried, and than it takes to
/// lead again after a restart.
const NEWS: SignedDuration = SignedDuration::from_mins(15);
/// Characters of a sentence.
const SENTENCE: usize = 300;
/// Characters of what is done or advised.
const ADVICE: usize = 600;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum About {
    /// An incident.
    Incident,
    /// An action that waits for a person.
    Action,
    /// The route itself: messages were held back.
    Route,
}

/// The cause that ranks first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopCause {
    /// Kind and name, such as `Workload/order`.
    pub entity: String,
    /// How it is broken.
    pub kind: &'static str,
    /// 0 to 1, two digits.
    pub confidence: f64,
    /// Its first line of evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// When what happened; RFC 3339, UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// First bad sample or failed request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact_start: Option<Timestamp>,
    /// When it was recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected: Option<Timestamp>,
    /// Back inside the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mitigated: Option<Timestamp>,
    /// Verification window passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Timestamp>,
    /// No answer counts after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_until: Option<Timestamp>,
    /// Messages are held back until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
}

/// One piece of news for one tenant. Its JSON is the body that a `Webhook` gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The same for every try of the same news, also after a restart, and for nothing else.
    pub key: String,
    /// Reason of the Event, or `MessagesHeldBack`.
    pub reason: &'static str,
    /// What it is about.
    pub about: About,
    /// Name of the Incident or Action; of the route.
    pub id: Name,
    /// Where that stands.
    pub state: String,
    /// How bad.
    pub severity: Severity,
    /// Whose.
    pub tenant: TenantName,
    /// Namespace of the Incident or Action; empty for a route.
    pub namespace: Name,
    /// Name of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Name>,
    /// One sentence.
    pub summary: String,
    /// Why, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<TopCause>,
    /// What is done, or what a person is advised to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// When what happened.
    pub times: Times,
    /// When it was told.
    pub at: Timestamp,
    /// A page about it, where the address of the pages is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How bad it was when it was told before; routes that were told then are not told again that it got worse.
    #[serde(skip)]
    pub was: Option<Severity>,
}

/// Why people outside of the cluster are told of an incident that is written now, and how bad it was when they were told
/// before. `reason`: what has changed since it was written last, `was`: how bad it was then; `None` where this process has
/// not written it yet. What another one wrote is told again while it is news, under the same key: that one may have ended
/// before it got through.
pub fn because(
    reason: Option<EventReason>,
    was: Option<Severity>,
    incident: &Incident,
    now: Timestamp,
) -> Option<(EventReason, Option<Severity>)> {
    match (reason, was) {
        // It got worse.
        (None, Some(was)) => (was < incident.severity).then_some((EventReason::IncidentOpened, Some(was))),
        _ if now.duration_since(changed_at(incident)) > NEWS => None,
        (Some(reason), _) => Some((reason, None)),
        // Acted on when it was taken up.
        (None, None) if incident.reopen_count > 0 => Some((EventReason::IncidentReopened, None)),
        (None, None) => Some((EventReason::IncidentOpened, None)),
    }
}

/// When an incident was opened, or stood differently, last.
fn changed_at(incident: &Incident) -> Timestamp {
    let Instants { detected, mitigated, resolved, .. } = incident.instants;
    let told = |line: &&TimelineEntry| line.what == TimelineKind::State && line.text != TAKEN_UP;
    let line = incident.timeline.iter().rev().find(told).map(|line| line.at);
    [mitigated, resolved, line].into_iter().flatten().fold(detected, Ord::max)
}

/// What is told of an incident, `None` for one that belongs to no tenant. `was`: it is told because it got worse.
pub fn of_incident(
    reason: EventReason,
    incident: &Incident,
    was: Option<Severity>,
    now: Timestamp,
) -> Option<Message> {
    let instants = &incident.instants;
    let mark = match reason {
        EventReason::IncidentMitigated => instants.mitigated.map_or(0, Timestamp::as_millisecond),
        EventReason::IncidentResolved => instants.resolved.map_or(0, Timestamp::as_millisecond),
        // It can be handed over again for another reason.
        EventReason::HandedOver => i64::from(fold(incident.handed_over.as_deref().unwrap_or_default())),
        _ => incident.severity as i64,
    };
    let (namespace, id, again) = (&incident.namespace, &incident.id.0, incident.reopen_count);
    Some(Message {
        key: format!("{namespace}/{id}/{}/{again}/{mark}", reason.name()),
        reason: reason.name(),
        about: About::Incident,
        id: id.clone(),
        state: format!("{:?}", incident.state),
        severity: incident.severity,
        tenant: incident.tenant.clone()?,
        namespace: namespace.clone(),
        workload: incident.workload.as_ref().map(|key| key.name.clone()),
        summary: plain(&incident.summary(), SENTENCE),
        cause: incident.top_cause().map(cause),
        advice: advice(incident),
        times: Times {
            impact_start: Some(instants.impact_start),
            detected: Some(instants.detected),
            mitigated: instants.mitigated,
            resolved: instants.resolved,
            ..Times::default()
        },
        at: now,
        url: None,
        was,
    })
}

/// That an action waits for a person, first and each time that it is asked again; `None` for every other state.
pub fn of_action(record: &ActionRecord, severity: Severity, now: Timestamp) -> Option<Message> {
    let reason = Fact::of_action(record)?.reason;
    if !matches!(reason, EventReason::ApprovalNeeded | EventReason::ApprovalOverdue) {
        return None;
    }
    let (namespace, id, target) = (&record.namespace, &record.id.0, &record.target);
    let summary =
        format!("{} of {} {}: {}", record.kind(), target.kind, target.key.name, record.evidence.summary);
    let advice =
        format!("homeostat approve {id} -n {namespace}, or deny it with a reason; {}", record.message);
    Some(Message {
        key: format!("{namespace}/{id}/{}/{:?}", reason.name(), step_of(&record.message)),
        reason: reason.name(),
        about: About::Action,
        id: id.clone(),
        state: format!("{:?}", record.state),
        severity,
        tenant: record.tenant.clone(),
        namespace: namespace.clone(),
        workload: Some(record.workload.name.clone()),
        summary: plain(&summary, SENTENCE),
        cause: None,
        advice: Some(plain(&advice, ADVICE)),
        times: Times { answer_until: record.request.expires, ..Times::default() },
        at: now,
        url: None,
        was: None,
    })
}

/// That messages of a route are held back until the hour is over, or (`count`) how many were.
pub fn held_back(
    tenant: &TenantName,
    route: &Name,
    count: Option<u64>,
    until: Timestamp,
    now: Timestamp,
) -> Message {
    let (state, summary) = match count {
        None => ("Holding", format!("this one and all that follow are held back until {until:.0}")),
        Some(count) => ("Over", format!("{count} messages were held back until {until:.0}")),
    };
    Message {
        key: format!("{tenant}/{route}/MessagesHeldBack/{state}/{}", until.as_second()),
        reason: "MessagesHeldBack",
        about: About::Route,
        id: route.clone(),
        state: state.to_owned(),
        severity: Severity::Warning,
        tenant: tenant.clone(),
        namespace: Name::from(""),
        workload: None,
        summary: format!("Too many messages in an hour: {summary}"),
        cause: None,
        advice: Some("See all that is open: kubectl get incidents,actions -A".to_owned()),
        times: Times { held_until: Some(until), ..Times::default() },
        at: now,
        url: None,
        was: None,
    }
}

fn cause(cause: &Cause) -> TopCause {
    TopCause {
        entity: plain(&cause.entity.to_string(), SENTENCE),
        kind: cause.kind.name(),
        // What is no number becomes null in JSON, which a receiver may not expect.
        confidence: if cause.confidence.is_finite() {
            (cause.confidence * 100.0).round() / 100.0
        } else {
            0.0
        },
        evidence: cause.evidence.first().map(|line| plain(&line.to_string(), SENTENCE)),
    }
}

/// Why people must take over; else the last thing that was decided or done.
fn advice(incident: &Incident) -> Option<String> {
    let done = || {
        let mut lines = incident.timeline.iter().rev();
        let told = lines.find(|line| matches!(line.what, TimelineKind::Decision | TimelineKind::Action))?;
        Some(told.text.as_str())
    };
    incident.handed_over.as_deref().or_else(done).map(|text| plain(text, ADVICE))
}

/// Text as it may be shown anywhere: one line, no control characters, nothing that turns or hides text, at most `most`
/// characters.
pub fn plain(text: &str, most: usize) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
    };
    let shown = text.chars().filter(|c| !hidden(*c)).map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = shown.take(most + 1).collect();
    let mut line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > most || shown.chars().count() > most {
        line = line.chars().take(most.saturating_sub(1)).collect();
        line.push('…');
    }
    line
}

/// A short digest of a text that stays the same over versions (FNV-1a). It tells apart, it proves nothing.
fn fold(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |digest, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
