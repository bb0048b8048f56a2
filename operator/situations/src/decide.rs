//! One situation through the planner, the checker and the guards, as they ship. Nothing is sent anywhere: what the
//! API server would say is part of the situation.

use crate::given::{Answer, Given};
use crate::world::{HOME, now};
use homeostat_execute::actions::Protected;
use homeostat_execute::facts::{self, guard_input};
use homeostat_execute::guards::{
    ActionFacts, DryRunFacts, FreshFacts, Mode, evaluate, mode_of, permitted, refusal,
};
use homeostat_execute::roots::RootHistory;
use homeostat_knowledge::action::ActionInstants;
use homeostat_knowledge::{
    ActionId, ActionKind, ActionRecord, ActionState, Admitted, Finding, GuardName, Incident, Name, Plan,
    SeededIds, Snapshot,
};
use homeostat_plan::{Checker, Decision, plan};
use homeostat_playbooks::Playbook;
use std::collections::BTreeMap;

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be done without a person.
    Act,
    /// It would be done once a person approved.
    Ask,
    /// It would only be recommended.
    Recommend,
    /// It was planned, and this guard (or `Checker`) stopped it.
    Refuse(String),
    /// Not yet.
    Wait,
    /// People take over.
    GiveUp,
    /// Nothing to do.
    Nothing,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Act => formatter.write_str("act"),
            Self::Ask => formatter.write_str("ask"),
            Self::Recommend => formatter.write_str("recommend"),
            Self::Refuse(by) => write!(formatter, "refuse ({by})"),
            Self::Wait => formatter.write_str("wait"),
            Self::GiveUp => formatter.write_str("give up"),
            Self::Nothing => formatter.write_str("nothing"),
        }
    }
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What came out.
    pub verdict: Verdict,
    /// The planned step, whatever became of it.
    pub step: Option<PlannedStep>,
    /// Seconds from now until it asks again.
    pub until: Option<f64>,
    /// Why.
    pub why: String,
    /// Commands for people.
    pub advice: Vec<String>,
}

/// A planned step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Kind of the action.
    pub action: ActionKind,
    /// Name of the object that it is done to.
    pub target: Name,
    /// Playbook that asks for it.
    pub playbook: Name,
    /// Step of its ladder, from 1.
    pub number: u32,
}

/// Decides a situation with these playbooks. Pure.
pub fn decide(given: &Given, playbooks: &[Playbook]) -> Decided {
    let (snapshot, incident) = given.build();
    let decision = plan(&incident, &snapshot, playbooks, now(), &mut SeededIds::new(1));
    let mut decided = Decided {
        verdict: Verdict::Nothing,
        step: None,
        until: None,
        why: decision.reason().to_owned(),
        advice: Vec::new(),
    };
    match decision {
        Decision::Nothing { .. } => {}
        Decision::Wait { until, .. } => {
            decided.verdict = Verdict::Wait;
            decided.until = until.map(|at| at.duration_since(now()).as_secs_f64());
        }
        Decision::HandOver { advice, .. } => {
            decided.verdict = Verdict::GiveUp;
            decided.advice = advice;
        }
        Decision::Act(draft) => {
            decided.step = draft.steps.first().map(|step| PlannedStep {
                action: step.parameters.kind(),
                target: step.target.key.name.clone(),
                playbook: draft.playbook.name.clone(),
                number: draft.playbook.step,
            });
            match Checker::new(HOME).check(draft, &snapshot, now()) {
                Err(objections) => {
                    decided.verdict = Verdict::Refuse("Checker".to_owned());
                    decided.why =
                        objections.iter().map(|one| one.message.as_str()).collect::<Vec<_>>().join("; ");
                }
                Ok(admitted) => guard(given, &admitted, &snapshot, &incident, &mut decided),
            }
        }
    }
    decided
}

/// The guards, through the last one when it would run alone, else through the dry run.
fn guard(
    given: &Given,
    plan: &Plan<Admitted>,
    snapshot: &Snapshot,
    incident: &Incident,
    decided: &mut Decided,
) {
    let Some(record) = record(plan) else { return };
    let facts = ActionFacts::of(&record, snapshot);
    let mode = snapshot
        .tenants
        .get(&record.tenant)
        .map_or(Mode::Nothing, |tenant| mode_of(&facts, tenant, &snapshot.control));
    let mut roots = RootHistory::default();
    let calm =
        snapshot.tenants.get(&record.tenant).map(|tenant| tenant.limits.storm_calm).unwrap_or_default();
    roots.observe(snapshot, now(), calm);
    let through = if mode == Mode::Act { GuardName::FreshRead } else { GuardName::DryRun };
    let mut situation = facts::Situation {
        through,
        resumed: false,
        kill_switch: given.switch(),
        leads: given.cluster.leads,
        breaches: given.cluster.breach.then(|| "S2 was broken".to_owned()).into_iter().collect(),
        newest_epoch: None,
        dry_run: match given.cluster.dry_run {
            Answer::Accepts => DryRunFacts::Passed,
            Answer::Refuses => DryRunFacts::Refused("the API server would not do it".to_owned()),
            Answer::Silent => DryRunFacts::Unknown("the API server did not answer".to_owned()),
        },
        fresh: match given.cluster.fresh {
            Answer::Accepts => FreshFacts::Same,
            Answer::Refuses => FreshFacts::Differs("it is another object now".to_owned()),
            Answer::Silent => FreshFacts::Unreadable("the API server did not answer".to_owned()),
        },
        roots: roots.of(&record.tenant),
        places: roots.places(&record, snapshot),
        history: facts::history(snapshot, std::iter::empty(), &BTreeMap::new()),
    };
    // The same kind of step in this incident was the same one of the same playbook.
    for earlier in &mut situation.history {
        if earlier.incident == record.incident && earlier.kind == record.kind() {
            earlier.playbook.clone_from(&record.playbook);
        }
    }
    let protected = Protected::with_own_namespace(HOME);
    let input = guard_input(&record, finding(incident), snapshot, situation, &protected, now());
    let reports = evaluate(&input);
    if permitted(&reports, through) {
        decided.verdict = match mode {
            Mode::Act => Verdict::Act,
            Mode::Approve => Verdict::Ask,
            Mode::Recommend => Verdict::Recommend,
            Mode::Nothing => Verdict::Nothing,
        };
    } else if let Some(report) = refusal(&reports) {
        decided.verdict = Verdict::Refuse(report.name.name().to_owned());
        decided.why =
            if report.message.is_empty() { report.observed.clone() } else { report.message.clone() };
    }
}

/// The action as it would be stored.
fn record(plan: &Plan<Admitted>) -> Option<ActionRecord> {
    let id = ActionId::new(format!("{}-next", plan.incident));
    let record = plan.record(id, Name::from(""))?;
    Some(ActionRecord {
        resource_version: "1".into(),
        state: ActionState::Admitted,
        instants: ActionInstants { intent: Some(now()), ..ActionInstants::default() },
        ..record
    })
}

/// The finding that the first-ranked cause stands on.
fn finding(incident: &Incident) -> Option<&Finding> {
    let cause = incident.top_cause()?;
    incident.findings.iter().find(|finding| {
        finding.kind == cause.kind
            && (finding.entity == cause.entity || finding.entity.workload() == cause.entity.workload())
    })
}
