//! Right and wrong, and the totals.

use crate::decide::{Decided, Verdict, decide};
use crate::file::SituationFile;
use crate::given::{Label, Situation};
use homeostat_playbooks::Playbook;
use serde::Serialize;
use std::fmt::Write as _;

/// One situation with its answer.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// File that it comes from.
    pub file: String,
    /// Its name.
    pub name: String,
    /// The right answer.
    pub expected: Label,
    /// The answer.
    pub decided: Decided,
    /// What is wrong with the answer; `None`: nothing.
    pub problem: Option<String>,
    /// Something would be done, or a person asked to approve it, that is not the right action here.
    pub wrong_action: bool,
}

/// Totals over all situations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// Situations, variants included.
    pub situations: usize,
    /// Situations without variants.
    pub distinct: usize,
    /// Right in every respect.
    pub right: usize,
    /// Wrong actions.
    pub wrong_actions: usize,
    /// Situations in which an action is the right answer.
    pub to_act: usize,
    /// Of those, right actions taken or proposed for approval.
    pub acted: usize,
}

impl Score {
    /// Share of the right actions that were taken, 0 to 1; 1 when there is nothing to do.
    #[expect(clippy::cast_precision_loss, reason = "counts of situations are small")]
    pub fn recall(&self) -> f64 {
        if self.to_act == 0 { 1.0 } else { self.acted as f64 / self.to_act as f64 }
    }
}

/// Compares an answer with the right one: what is wrong, when something is, and whether it is a wrong action.
pub fn judge(situation: &Situation, decided: &Decided, playbook: Option<&str>) -> (Option<String>, bool) {
    let expect = &situation.expect;
    let answered = matches!(
        (situation.label, &decided.verdict),
        (Label::MustAct, Verdict::Act)
            | (Label::MustAsk, Verdict::Ask)
            | (Label::MustRecommend, Verdict::Recommend)
            | (Label::MustWait, Verdict::Wait)
            | (Label::MustGiveUp, Verdict::GiveUp)
            | (Label::MustRefuse, Verdict::Refuse(_))
            | (Label::MustNotAct, Verdict::Nothing | Verdict::Wait | Verdict::Refuse(_))
    );
    let would_act = matches!(decided.verdict, Verdict::Act | Verdict::Ask);
    // To ask where it could act alone is slow, not wrong.
    let may_act =
        situation.label.acts() && !(situation.label == Label::MustAsk && decided.verdict == Verdict::Act);
    let other = decided.step.as_ref().filter(|_| situation.label.acts() || !would_act).and_then(|step| {
        let playbook = expect.playbook.as_deref().or(playbook.filter(|_| situation.label.acts()));
        if expect.action.as_deref().is_some_and(|action| step.action.name() != action) {
            return Some(format!(
                "{} instead of {}",
                step.action,
                expect.action.as_deref().unwrap_or_default()
            ));
        }
        if expect.target.as_deref().is_some_and(|target| &*step.target != target) {
            return Some(format!("on {}", step.target));
        }
        if playbook.is_some_and(|name| &*step.playbook != name) {
            return Some(format!("by playbook {}", step.playbook));
        }
        expect.step.filter(|number| *number != step.number).map(|_| format!("by step {}", step.number))
    });
    let wrong_action = would_act && (!may_act || other.is_some());
    if !answered {
        return (Some(format!("decided {}", decided.verdict)), wrong_action);
    }
    if let Some(other) = other {
        return (Some(other), wrong_action);
    }
    if let (Some(guard), Verdict::Refuse(by)) = (&expect.guard, &decided.verdict)
        && guard != by
    {
        return (Some(format!("refused by {by}, not by {guard}")), false);
    }
    if let Some(reason) = &expect.reason
        && !decided.why.contains(reason.as_str())
    {
        return (Some(format!("the reason is not {reason:?}")), false);
    }
    if let Some(until) = expect.until
        && !decided.until.is_some_and(|at| (at - until).abs() <= 0.001)
    {
        return (Some(format!("it waits for {:?} s, not {until} s", decided.until)), false);
    }
    if decided.verdict == Verdict::GiveUp
        && decided.advice.iter().all(|command| !command.starts_with("kubectl"))
    {
        return (Some("people get no command to start with".to_owned()), false);
    }
    (None, false)
}

/// Decides every situation of these files with these playbooks.
pub fn run(files: &[SituationFile], playbooks: &[Playbook]) -> (Score, Vec<Outcome>) {
    let mut score = Score::default();
    let mut outcomes = Vec::new();
    for file in files {
        score.distinct += file.distinct;
        for situation in &file.situations {
            let decided = decide(&situation.given, playbooks);
            let (problem, wrong_action) = judge(situation, &decided, file.playbook.as_deref());
            let acted = matches!(decided.verdict, Verdict::Act | Verdict::Ask) && !wrong_action;
            score.situations += 1;
            score.right += usize::from(problem.is_none());
            score.wrong_actions += usize::from(wrong_action);
            score.to_act += usize::from(situation.label.acts());
            score.acted += usize::from(situation.label.acts() && acted);
            outcomes.push(Outcome {
                file: file.path.display().to_string(),
                name: situation.name.clone(),
                expected: situation.label,
                decided,
                problem,
                wrong_action,
            });
        }
    }
    (score, outcomes)
}

/// A table for people: situation, expected, decided, why.
pub fn table(outcomes: &[Outcome], only_differences: bool) -> String {
    let rows: Vec<&Outcome> =
        outcomes.iter().filter(|row| !only_differences || row.problem.is_some()).collect();
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).clamp(9, 72);
    let mut text = String::new();
    if !rows.is_empty() {
        let _ = writeln!(text, "  {:<width$}  {:<13}  {:<22}  WHY", "SITUATION", "EXPECTED", "DECIDED");
    }
    for row in rows {
        let mark = if row.problem.is_some() { '!' } else { ' ' };
        let mut decided = row.decided.verdict.to_string();
        if let Some(step) = &row.decided.step {
            let _ = write!(decided, ": {} {}", step.action, step.target);
        }
        let problem = row.problem.as_ref().map(|problem| format!("[{problem}] ")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{mark} {:<width$}  {:<13}  {decided:<22}  {problem}{}",
            row.name,
            row.expected.name(),
            row.decided.why
        );
    }
    text
}

/// The totals in one line each.
pub fn totals(score: &Score) -> String {
    format!(
        "{} situations ({} distinct), {} right in every respect\n{} wrong actions\n{} of {} right actions taken or proposed: recall {:.1} %\n",
        score.situations,
        score.distinct,
        score.right,
        score.wrong_actions,
        score.acted,
        score.to_act,
        score.recall() * 100.0
    )
}

/// The same for programs: totals, and every situation with its answer.
pub fn json(score: &Score, outcomes: &[Outcome]) -> serde_json::Value {
    let rows: Vec<_> = outcomes
        .iter()
        .map(|row| {
            serde_json::json!({
                "file": row.file,
                "name": row.name,
                "expected": row.expected.name(),
                "decided": row.decided.verdict.to_string(),
                "action": row.decided.step.as_ref().map(|step| step.action.name()),
                "target": row.decided.step.as_ref().map(|step| step.target.to_string()),
                "playbook": row.decided.step.as_ref().map(|step| step.playbook.to_string()),
                "why": row.decided.why,
                "problem": row.problem,
                "wrongAction": row.wrong_action,
            })
        })
        .collect();
    serde_json::json!({ "score": score, "recall": score.recall(), "situations": rows })
}
