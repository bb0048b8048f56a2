//! The report of one incident: what happened, why, what was done, on which evidence, did it help.

use super::figures::{KeyFigure, of_incidents};
use super::markdown::{head, plain, table};
use super::timeline::{Bar, Drawing, Hue, Lane, Mark, Plot};
use super::{ReportError, render, text, view};
use crate::metrics;
use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{
    ActionRecord, ActionState, ApprovalDecision, Entity, Evidence, GuardResult, Incident, Timestamp,
};
use serde::Serialize;
use std::fmt::Write;

/// An incident with its actions, as it stood at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentReport {
    /// The incident.
    pub incident: Incident,
    /// Its actions, oldest first.
    pub actions: Vec<ActionRecord>,
    /// When the report was made; open stretches end here.
    pub made_at: Timestamp,
}

/// The report's content: what the JSON holds and the other forms are made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentDocument {
    kind: &'static str,
    name: String,
    namespace: String,
    tenant: Option<String>,
    workload: Option<String>,
    state: &'static str,
    severity: &'static str,
    summary: String,
    handed_over: Option<String>,
    acknowledged_by: Option<String>,
    reopen_count: u32,
    made_at: Timestamp,
    instants: InstantsDocument,
    figures: Vec<FigureDocument>,
    causes: Vec<CauseDocument>,
    findings: Vec<FindingDocument>,
    actions: Vec<ActionDocument>,
    affected: Vec<String>,
    timeline: Vec<LineDocument>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstantsDocument {
    impact_start: Timestamp,
    detected: Timestamp,
    acknowledged: Option<Timestamp>,
    mitigated: Option<Timestamp>,
    resolved: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FigureDocument {
    name: String,
    definition: String,
    /// `None` while it is open.
    seconds: Option<f64>,
    shown: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct CauseDocument {
    rank: usize,
    entity: String,
    entity_kind: &'static str,
    kind: &'static str,
    confidence: f64,
    evidence: Vec<Evidence>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingDocument {
    entity: String,
    entity_kind: &'static str,
    kind: &'static str,
    since: Timestamp,
    detected: Timestamp,
    last_seen: Timestamp,
    confidence: f64,
    active: bool,
    evidence: Vec<Evidence>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionDocument {
    name: String,
    action: &'static str,
    target: String,
    playbook: String,
    state: &'static str,
    message: String,
    helped: Option<bool>,
    outcome: String,
    evidence: String,
    before: String,
    approval: Option<String>,
    intent: Option<Timestamp>,
    sent: Option<Timestamp>,
    acknowledged: Option<Timestamp>,
    verified: Option<Timestamp>,
    closed: Option<Timestamp>,
    /// How many guards let it pass, for the folded line.
    permitted: usize,
    guards: Vec<GuardDocument>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct GuardDocument {
    name: &'static str,
    result: &'static str,
    permits: bool,
    observed: String,
    limit: String,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct LineDocument {
    at: Timestamp,
    after: String,
    what: &'static str,
    text: String,
}

/// `Workload shop/order` without its kind: namespace and name, or the name alone.
fn entity_name(entity: &Entity) -> String {
    match entity.namespace() {
        Some(namespace) => format!("{namespace}/{}", entity.name()),
        None => entity.name().to_owned(),
    }
}

fn what(kind: TimelineKind) -> &'static str {
    match kind {
        TimelineKind::Finding => "Finding",
        TimelineKind::Cause => "Cause",
        TimelineKind::Decision => "Decision",
        TimelineKind::Action => "Action",
        TimelineKind::State => "State",
        TimelineKind::Person => "Person",
    }
}

fn action_document(action: &ActionRecord) -> ActionDocument {
    let before = &action.before;
    let before: Vec<String> = [
        before.replicas.map(|replicas| format!("replicas {replicas}")),
        before.ready.map(|ready| format!("ready {ready}")),
        before.revision.as_ref().map(|revision| format!("revision {revision}")),
        before.restarts.map(|restarts| format!("restarts {restarts}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    ActionDocument {
        name: action.id.to_string(),
        action: action.kind().name(),
        target: format!("{} {}", action.target.kind, action.target.key),
        playbook: format!("{}, step {}", action.playbook.name, action.playbook.step),
        state: metrics::action_state(action.state),
        message: action.message.clone(),
        helped: action.outcome.as_ref().map(|outcome| outcome.helped),
        outcome: action.outcome.as_ref().map(|outcome| outcome.reason.clone()).unwrap_or_default(),
        evidence: action.evidence.summary.clone(),
        before: before.join(", "),
        approval: action.approval.as_ref().map(|approval| {
            let decision = match approval.decision {
                ApprovalDecision::Approve => "approved",
                ApprovalDecision::Deny => "denied",
            };
            format!("{decision} by {} at {}", approval.approved_by, text::instant(approval.at))
        }),
        intent: action.instants.intent,
        sent: action.instants.sent,
        acknowledged: action.instants.acknowledged,
        verified: action.instants.verified,
        closed: action.instants.closed,
        permitted: action.guards.iter().filter(|guard| guard.result.permits()).count(),
        guards: action
            .guards
            .iter()
            .map(|guard| GuardDocument {
                name: guard.name.name(),
                result: match guard.result {
                    GuardResult::Passed => "Passed",
                    GuardResult::Refused => "Refused",
                    GuardResult::Unset => "Unset",
                    GuardResult::Unknown => "Unknown",
                },
                permits: guard.result.permits(),
                observed: guard.observed.clone(),
                limit: guard.limit.clone(),
                message: guard.message.clone(),
            })
            .collect(),
    }
}

impl IncidentReport {
    /// The content that all forms are made from.
    pub fn document(&self) -> IncidentDocument {
        let incident = &self.incident;
        let instants = incident.instants;
        IncidentDocument {
            kind: "IncidentReport",
            name: incident.id.to_string(),
            namespace: incident.namespace.to_string(),
            tenant: incident.tenant.as_ref().map(ToString::to_string),
            workload: incident.workload.as_ref().map(ToString::to_string),
            state: metrics::incident_state(incident.state),
            severity: metrics::severity(incident.severity),
            summary: incident.summary(),
            handed_over: incident.handed_over.clone(),
            acknowledged_by: incident.acknowledged_by.as_ref().map(ToString::to_string),
            reopen_count: incident.reopen_count,
            made_at: self.made_at,
            instants: InstantsDocument {
                impact_start: instants.impact_start,
                detected: instants.detected,
                acknowledged: instants.acknowledged,
                mitigated: instants.mitigated,
                resolved: instants.resolved,
            },
            figures: of_incidents(&[incident]).iter().map(figure_document).collect(),
            causes: incident
                .causes
                .iter()
                .zip(1..)
                .map(|(cause, rank)| CauseDocument {
                    rank,
                    entity: entity_name(&cause.entity),
                    entity_kind: cause.entity.kind(),
                    kind: cause.kind.name(),
                    confidence: cause.confidence,
                    evidence: cause.evidence.clone(),
                })
                .collect(),
            findings: incident
                .findings
                .iter()
                .map(|finding| FindingDocument {
                    entity: entity_name(&finding.entity),
                    entity_kind: finding.entity.kind(),
                    kind: finding.kind.name(),
                    since: finding.since,
                    detected: finding.detected,
                    last_seen: finding.last_seen,
                    confidence: finding.confidence,
                    active: finding.active,
                    evidence: finding.evidence.clone(),
                })
                .collect(),
            actions: self.actions.iter().map(action_document).collect(),
            affected: incident.affected.iter().map(ToString::to_string).collect(),
            timeline: incident
                .timeline
                .iter()
                .map(|entry| LineDocument {
                    at: entry.at,
                    after: signed(entry.at.duration_since(instants.impact_start).as_secs_f64()),
                    what: what(entry.what),
                    text: entry.text.clone(),
                })
                .collect(),
        }
    }

    /// The plots: the first moments, and the whole when it is much longer.
    pub fn plots(&self) -> Vec<Drawing> {
        let instants = &self.incident.instants;
        let start = instants.impact_start;
        let last_line = self.incident.timeline.iter().map(|entry| entry.at).max();
        let end = match instants.resolved {
            Some(resolved) => last_line.map_or(resolved, |last| last.max(resolved)),
            None => self.made_at.max(last_line.unwrap_or(self.made_at)),
        };
        let length = end.duration_since(start).as_secs_f64().max(0.1);
        let busy =
            instants.mitigated.unwrap_or(instants.detected).duration_since(start).as_secs_f64().max(0.1);
        let mut plots = Vec::new();
        if busy * 3.0 < length {
            plots.push(self.plot("First moments", ahead(start, busy * 1.4)).draw());
        }
        plots.push(self.plot("Whole incident", ahead(start, length * 1.03)).draw());
        plots
    }

    fn plot(&self, title: &str, end: Timestamp) -> Plot {
        let instants = &self.incident.instants;
        let mut impact = Lane { name: "Impact".to_owned(), ..Lane::default() };
        impact.bars.push(Bar {
            from: instants.impact_start,
            to: instants.mitigated,
            label: "outside the objective".to_owned(),
            hue: Hue::Bad,
        });
        if let Some(mitigated) = instants.mitigated {
            impact.bars.push(Bar {
                from: mitigated,
                to: instants.resolved,
                label: "back inside the objective, being watched".to_owned(),
                hue: Hue::Good,
            });
        }
        let findings = Lane {
            name: "Findings".to_owned(),
            bars: Vec::new(),
            marks: self
                .incident
                .findings
                .iter()
                .map(|finding| Mark {
                    at: finding.detected,
                    label: format!("{} {}", finding.kind, entity_name(&finding.entity)),
                    hue: Hue::Warn,
                })
                .collect(),
        };
        let lines = |name: &str, kinds: &[TimelineKind], hue| Lane {
            name: name.to_owned(),
            bars: Vec::new(),
            marks: self
                .incident
                .timeline
                .iter()
                .filter(|entry| kinds.contains(&entry.what))
                .map(|entry| Mark { at: entry.at, label: entry.text.clone(), hue })
                .collect(),
        };
        let mut actions = lines("Actions", &[TimelineKind::Action], Hue::Act);
        for action in &self.actions {
            let at = &action.instants;
            let Some(from) = at.sent.or(at.intent) else { continue };
            let to = at.closed.or(at.verified).or_else(|| action.state.ended().then_some(from));
            let label = format!("{} {}", action.kind(), action.target.key);
            actions.bars.push(Bar { from, to, label, hue: Hue::Act });
        }
        let decisions = lines(
            "Decisions",
            &[TimelineKind::Cause, TimelineKind::Decision, TimelineKind::Person],
            Hue::Mind,
        );
        let mark = |at: Timestamp, label: &str, hue| Mark { at, label: label.to_owned(), hue };
        let mut named = vec![
            mark(instants.impact_start, "impact start", Hue::Bad),
            mark(instants.detected, "detected", Hue::Warn),
        ];
        named.extend(instants.acknowledged.map(|at| mark(at, "acknowledged", Hue::Calm)));
        named.extend(instants.mitigated.map(|at| mark(at, "mitigated", Hue::Good)));
        named.extend(instants.resolved.map(|at| mark(at, "resolved", Hue::Good)));
        named.sort_by_key(|mark| mark.at);
        Plot {
            title: title.to_owned(),
            start: instants.impact_start,
            end,
            lanes: vec![impact, findings, decisions, actions],
            instants: named,
        }
    }

    /// One self-contained page.
    ///
    /// # Errors
    /// [`ReportError::Template`] for a defect of this program.
    pub fn html(&self) -> Result<String, ReportError> {
        self.page(false)
    }

    /// The page as the console serves it, with links to its other pages. A file has none: they would lead nowhere.
    pub(crate) fn served(&self) -> Result<String, ReportError> {
        self.page(true)
    }

    fn page(&self, served: bool) -> Result<String, ReportError> {
        let (report, plots) = (view(self.document()), view(self.plots()));
        render("incident.html", minijinja::context! { report, plots, served })
    }

    /// The same content as JSON.
    ///
    /// # Errors
    /// [`ReportError::Json`] for a defect of this program.
    pub fn json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(&self.document())?)
    }

    /// The same content as Markdown.
    pub fn markdown(&self) -> String {
        let report = self.document();
        let mut page = format!("# Incident {}\n\n**{}**\n\n", plain(&report.name), plain(&report.summary));
        let optional = |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), plain);
        let show = |at: Option<Timestamp>| at.map_or_else(|| text::NO_DATA.to_owned(), text::instant);
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "- State: {}, severity {}\n- Workload: {}, tenant {}\n- Reopened: {} times\n- Report made: {}\n",
            text::words(report.state),
            text::words(report.severity),
            optional(&report.workload),
            optional(&report.tenant),
            report.reopen_count,
            text::instant(report.made_at),
        );
        if let Some(reason) = &report.handed_over {
            let _ = writeln!(page, "- Handed over to people: {}", plain(reason));
        }
        if let Some(person) = &report.acknowledged_by {
            let _ = writeln!(page, "- Acknowledged by: {}", plain(person));
        }
        let at = &report.instants;
        let instants = [
            ("impact start", Some(at.impact_start)),
            ("detected", Some(at.detected)),
            ("acknowledged", at.acknowledged),
            ("mitigated", at.mitigated),
            ("resolved", at.resolved),
        ]
        .map(|(name, at)| vec![name.to_owned(), show(at)]);
        section(&mut page, "Instants", &["Instant", "Time"], &[], &instants);
        let figures: Vec<Vec<String>> = report
            .figures
            .iter()
            .map(|figure| vec![plain(&figure.name), figure.shown.clone(), plain(&figure.definition)])
            .collect();
        section(&mut page, "Key figures", &["Figure", "Value", "Definition"], &[false, true], &figures);
        let causes: Vec<Vec<String>> = report
            .causes
            .iter()
            .map(|cause| {
                vec![
                    cause.rank.to_string(),
                    format!("{} {}", cause.entity_kind, plain(&cause.entity)),
                    cause.kind.to_owned(),
                    text::chance(cause.confidence),
                    evidence(&cause.evidence),
                ]
            })
            .collect();
        let names = ["Rank", "Entity", "Cause", "Confidence", "Evidence"];
        section(&mut page, "Causes", &names, &[true, false, false, true], &causes);
        let findings: Vec<Vec<String>> = report
            .findings
            .iter()
            .map(|finding| {
                vec![
                    finding.kind.to_owned(),
                    format!("{} {}", finding.entity_kind, plain(&finding.entity)),
                    text::instant(finding.since),
                    text::instant(finding.detected),
                    if finding.active { "active" } else { "over" }.to_owned(),
                    evidence(&finding.evidence),
                ]
            })
            .collect();
        let names = ["Finding", "Entity", "Since", "Detected", "State", "Evidence"];
        section(&mut page, "Findings", &names, &[], &findings);
        let actions: Vec<Vec<String>> = report
            .actions
            .iter()
            .map(|action| {
                vec![
                    plain(&action.name),
                    action.action.to_owned(),
                    plain(&action.target),
                    plain(&action.playbook),
                    text::words(action.state),
                    show(action.sent),
                    helped(action.helped).to_owned(),
                    plain(if action.outcome.is_empty() { &action.message } else { &action.outcome }),
                ]
            })
            .collect();
        let names = ["Action", "Kind", "Target", "Playbook", "State", "Sent", "Helped", "Outcome"];
        section(&mut page, "Actions", &names, &[], &actions);
        for action in &report.actions {
            let guards: Vec<Vec<String>> = action
                .guards
                .iter()
                .map(|guard| {
                    vec![
                        guard.name.to_owned(),
                        guard.result.to_owned(),
                        plain(&guard.observed),
                        plain(&guard.limit),
                        plain(&guard.message),
                    ]
                })
                .collect();
            let title = format!("Guards of {}", plain(&action.name));
            section(&mut page, &title, &["Guard", "Result", "Observed", "Limit", "Message"], &[], &guards);
        }
        let lines: Vec<Vec<String>> = report
            .timeline
            .iter()
            .map(|line| {
                vec![text::instant(line.at), line.after.clone(), line.what.to_owned(), plain(&line.text)]
            })
            .collect();
        section(&mut page, "Timeline", &["Time", "After", "What", "Text"], &[false, true], &lines);
        if !report.affected.is_empty() {
            let affected: Vec<String> = report.affected.iter().map(|name| plain(name)).collect();
            let _ = write!(page, "\n## Affected workloads\n\n{}\n", affected.join(", "));
        }
        page
    }
}

fn section(page: &mut String, title: &str, names: &[&str], right: &[bool], rows: &[Vec<String>]) {
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n\n");
    if rows.is_empty() {
        page.push_str("None.\n");
    } else {
        page.push_str(&table(&head(names), right, rows));
    }
}

fn evidence(lines: &[Evidence]) -> String {
    lines.iter().map(|line| plain(&line.to_string())).collect::<Vec<_>>().join("; ")
}

/// Whether an action helped, in a word.
pub(crate) fn helped(helped: Option<bool>) -> &'static str {
    match helped {
        Some(true) => "yes",
        Some(false) => "no",
        None => text::NO_DATA,
    }
}

fn figure_document(figure: &KeyFigure) -> FigureDocument {
    FigureDocument {
        name: figure.name.clone(),
        definition: figure.definition.clone(),
        seconds: figure.mean,
        shown: if figure.open > 0 { "open".to_owned() } else { figure.show(figure.mean) },
    }
}

fn signed(seconds: f64) -> String {
    let text = text::seconds(seconds);
    if seconds < 0.0 { text } else { format!("+{text}") }
}

fn ahead(start: Timestamp, seconds: f64) -> Timestamp {
    let step = homeostat_knowledge::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    start.saturating_add(step).unwrap_or(start)
}

/// An action state that a reader should look at.
pub(crate) fn needs_people(state: ActionState) -> bool {
    matches!(state, ActionState::AwaitingApproval | ActionState::HandedOver | ActionState::Failed)
}
