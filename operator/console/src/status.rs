//! The status page: what is open, what was done, how the sources are, whether the kill switch is engaged.

use crate::http::Readiness;
use crate::metrics;
use crate::recent::Closed;
use crate::report::{ReportError, render, text, view};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::{KillSwitch, RESET_BREAKER};
use homeostat_knowledge::{
    ActionRecord, ActionState, HalfDone, Incident, IncidentState, Origin, Snapshot, Timestamp, half_done,
};
use serde::Serialize;
use std::sync::Arc;

/// Actions shown.
const ACTIONS: usize = 20;
/// Changes shown that the kill switch leaves half done.
const HALF_DONE: usize = 50;

/// What `/` shows and `/api/snapshot.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    generation: u64,
    made_at: Timestamp,
    readiness: &'static str,
    kill_switch: Switch,
    /// Since when the cluster's breaker is open.
    breaker_open_since: Option<Timestamp>,
    /// How a person resets it.
    reset_breaker: &'static str,
    /// What the kill switch leaves half done, first what has to be mended; at most [`HALF_DONE`].
    half_done: Vec<HalfDone>,
    /// How many more there are.
    half_done_more: usize,
    ceiling: &'static str,
    objects: Vec<Objects>,
    sources: Vec<SourceLine>,
    incidents: Vec<IncidentLine>,
    closed: Vec<IncidentLine>,
    actions: Vec<ActionLine>,
    /// Actions in the snapshot; at most [`ACTIONS`] of them are lines.
    actions_kept: usize,
    /// Actions that wait for a person's approval.
    waiting: usize,
    /// Open incidents that people must take over.
    handed_over: usize,
    /// Sources that are down: what they would show is not seen.
    down: Vec<String>,
    /// Workloads under control.
    workloads: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Switch {
    state: &'static str,
    reason: Option<String>,
    by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Objects {
    kind: &'static str,
    count: usize,
    shown: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceLine {
    name: String,
    state: &'static str,
    reason: String,
    accepted: u64,
    dropped: u64,
    accepted_shown: String,
    dropped_shown: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct IncidentLine {
    name: String,
    namespace: String,
    tenant: Option<String>,
    workload: Option<String>,
    state: &'static str,
    severity: &'static str,
    summary: String,
    impact_start: Timestamp,
    detected: Timestamp,
    mitigated: Option<Timestamp>,
    open_for: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionLine {
    name: String,
    /// What asks for it.
    origin: &'static str,
    workload: String,
    /// The incident that it serves; one of a forecast or a schedule serves none.
    incident: Option<String>,
    action: &'static str,
    target: String,
    state: &'static str,
    intent: Option<Timestamp>,
    message: String,
    needs_people: bool,
}

fn incident_line(incident: &Incident, until: Option<Timestamp>) -> IncidentLine {
    IncidentLine {
        name: incident.id.to_string(),
        namespace: incident.namespace.to_string(),
        tenant: incident.tenant.as_ref().map(ToString::to_string),
        workload: incident.workload.as_ref().map(ToString::to_string),
        state: metrics::incident_state(incident.state),
        severity: metrics::severity(incident.severity),
        summary: incident.summary(),
        impact_start: incident.instants.impact_start,
        detected: incident.instants.detected,
        mitigated: incident.instants.mitigated,
        open_for: until.map_or_else(
            || text::NO_DATA.to_owned(),
            |until| text::duration(until.duration_since(incident.instants.impact_start)),
        ),
    }
}

fn action_line(action: &ActionRecord) -> ActionLine {
    ActionLine {
        name: action.id.to_string(),
        origin: action.origin.name(),
        workload: action.workload.to_string(),
        incident: (action.origin == Origin::Incident).then(|| action.incident.to_string()),
        action: action.kind().name(),
        target: format!("{} {}", action.target.kind, action.target.key),
        state: metrics::action_state(action.state),
        intent: action.instants.intent,
        message: action.message.clone(),
        needs_people: crate::report::incident::needs_people(action.state),
    }
}

/// The summary of a snapshot.
pub fn summary(snapshot: &Snapshot, closed: &[Arc<Closed>], readiness: Readiness, now: Timestamp) -> Summary {
    let mut actions: Vec<&Arc<ActionRecord>> = snapshot.actions.values().collect();
    // What waits for people first, then the newest.
    actions.sort_by_key(|action| {
        let waiting = crate::report::incident::needs_people(action.state) && !action.state.ended();
        (std::cmp::Reverse(waiting), std::cmp::Reverse(action.instants.intent))
    });
    let mut incidents: Vec<&Arc<Incident>> = snapshot.incidents.values().collect();
    incidents.sort_by_key(|incident| (std::cmp::Reverse(incident.severity), incident.instants.impact_start));
    let (reason, by) = match &snapshot.control.kill_switch {
        KillSwitch::Engaged { reason, by } => {
            (Some(reason.to_string()), by.as_ref().map(ToString::to_string))
        }
        KillSwitch::Off | KillSwitch::Unreadable => (None, None),
    };
    let mut left = half_done(snapshot);
    let half_done_more = left.len().saturating_sub(HALF_DONE);
    left.truncate(HALF_DONE);
    Summary {
        generation: snapshot.generation,
        made_at: now,
        readiness: match readiness {
            Readiness::Starting => "starting",
            Readiness::Ready => "ready",
            Readiness::Stopping => "stopping",
        },
        kill_switch: Switch { state: metrics::kill_switch(&snapshot.control.kill_switch), reason, by },
        breaker_open_since: snapshot.control.breaker.open_since(now),
        reset_breaker: RESET_BREAKER,
        half_done: left,
        half_done_more,
        ceiling: snapshot.control.ceiling.name(),
        objects: [
            ("Tenants", snapshot.tenants.size()),
            ("Workloads", snapshot.workloads.size()),
            ("Controllers", snapshot.controllers.size()),
            ("Pods", snapshot.pods.size()),
            ("Nodes", snapshot.nodes.size()),
            ("Services", snapshot.services.size()),
        ]
        .map(|(kind, count)| Objects { kind, count, shown: text::count(count as u64) })
        .to_vec(),
        sources: snapshot
            .sources
            .iter()
            .map(|(name, report)| SourceLine {
                name: name.to_string(),
                state: metrics::source_state(&report.state),
                reason: match &report.state {
                    SourceState::Off => "not configured".to_owned(),
                    SourceState::Healthy => String::new(),
                    SourceState::Down(reason) => reason.to_string(),
                },
                accepted: report.accepted,
                dropped: report.dropped,
                accepted_shown: text::count(report.accepted),
                dropped_shown: text::count(report.dropped),
            })
            .collect(),
        handed_over: incidents.iter().filter(|incident| incident.state == IncidentState::HandedOver).count(),
        incidents: incidents.into_iter().map(|incident| incident_line(incident, Some(now))).collect(),
        closed: closed
            .iter()
            .filter(|closed| !snapshot.incidents.contains_key(&closed.incident.id))
            .map(|closed| incident_line(&closed.incident, closed.incident.instants.mitigated))
            .collect(),
        actions_kept: actions.len(),
        waiting: actions.iter().filter(|action| action.state == ActionState::AwaitingApproval).count(),
        down: snapshot
            .sources
            .iter()
            .filter(|(_, report)| matches!(report.state, SourceState::Down(_)))
            .map(|(name, _)| name.to_string())
            .collect(),
        workloads: snapshot.workloads.size(),
        actions: actions.into_iter().take(ACTIONS).map(|action| action_line(action)).collect(),
    }
}

/// The page.
pub fn html(
    snapshot: &Snapshot,
    closed: &[Arc<Closed>],
    readiness: Readiness,
    now: Timestamp,
) -> Result<String, ReportError> {
    render("status.html", minijinja::context! { page => view(summary(snapshot, closed, readiness, now)) })
}

/// The page for what is not there. The name comes from whoever made the link: it becomes part of a command only when
/// it is one that an object may have.
pub fn missing(incident: Option<&str>, home: &str) -> Result<String, ReportError> {
    let known = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
    };
    let what = match incident {
        Some(_) => "No incident has this name",
        None => "There is no such page",
    };
    render("missing.html", minijinja::context! { what, home, incident => incident.filter(known) })
}
