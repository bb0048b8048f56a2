//! Every shipped playbook in its recorded situations: where it must act, wait, not act, give up.

#![allow(clippy::panic, clippy::expect_used, clippy::float_cmp, reason = "tests")]

mod common;

use common::{Label, Situation, now};
use homeostat_knowledge::{ActionKind, SeededIds};
use homeostat_plan::{Decision, check, describe, plan};
use homeostat_playbooks::{Playbook, shipped};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    situations: Vec<Situation>,
}

fn recorded(playbook: &str) -> Vec<Situation> {
    let path = format!("{}/../../playbooks/tests/situations/{playbook}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let recorded: Recorded = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    recorded.situations
}

/// What is wrong with the answer, when something is.
fn judge(situation: &Situation, decision: &Decision, playbook: &Playbook) -> Option<String> {
    let expect = &situation.expect;
    let right = matches!(
        (situation.label, decision),
        (Label::MustAct, Decision::Act(_))
            | (Label::MustWait, Decision::Wait { .. })
            | (Label::MustGiveUp, Decision::HandOver { .. })
            | (Label::MustNotAct, Decision::Nothing { .. } | Decision::Wait { .. })
    );
    if !right {
        return Some(format!("decided {}", decision.name()));
    }
    if let Some(reason) = &expect.reason
        && !decision.reason().contains(reason.as_str())
    {
        return Some(format!("the reason is not {reason:?}"));
    }
    if let Some(until) = expect.until {
        let Decision::Wait { until: Some(at), .. } = decision else {
            return Some("it does not say until when".to_owned());
        };
        if (at.duration_since(now()).as_secs_f64() - until).abs() > 0.001 {
            return Some(format!("it waits until {at}, not {until} s"));
        }
    }
    if let Decision::Act(plan) = decision {
        let step = &plan.steps[0];
        let wrong = plan.playbook.name != playbook.name
            || expect.action.as_deref().is_some_and(|action| step.parameters.kind().name() != action)
            || expect.target.as_deref().is_some_and(|target| &*step.target.key.name != target)
            || expect.step.is_some_and(|number| plan.playbook.step != number);
        if wrong {
            return Some("another playbook, step, action or target".to_owned());
        }
    }
    if let Decision::HandOver { advice, .. } = decision
        && advice.iter().all(|command| !command.starts_with("kubectl"))
    {
        return Some("people get no command to start with".to_owned());
    }
    None
}

#[test]
fn every_shipped_playbook_decides_its_recorded_situations_rightly() {
    let playbooks = shipped();
    let (mut wrong, mut total) = (Vec::new(), 0);
    for playbook in &playbooks {
        for situation in recorded(&playbook.name) {
            total += 1;
            let (snapshot, incident) = situation.given.build();
            let decision = plan(&incident, &snapshot, &playbooks, now(), &mut SeededIds::new(1));
            if let Some(problem) = judge(&situation, &decision, playbook) {
                let told = describe(&decision, &incident);
                wrong.push(format!("{}: {}: {problem}\n{told}", playbook.name, situation.name));
            }
            if let Decision::Act(plan) = decision
                && let Err(objections) = check(plan, &snapshot, now())
            {
                wrong.push(format!("{}: {}: refused: {objections:?}", playbook.name, situation.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {total} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(total >= 60, "only {total} situations are recorded");
}

#[test]
fn every_shipped_playbook_has_situations_of_every_kind() {
    for playbook in shipped() {
        let labels: BTreeSet<Label> =
            recorded(&playbook.name).iter().map(|situation| situation.label).collect();
        let mut needed = BTreeSet::from([Label::MustNotAct]);
        if playbook.ladder.iter().any(|rung| rung.action != ActionKind::Notify) {
            needed.extend([Label::MustAct, Label::MustWait, Label::MustGiveUp]);
        } else if &*playbook.name != "no-data" {
            needed.insert(Label::MustGiveUp);
        }
        assert!(needed.is_subset(&labels), "{}: {labels:?}, needed {needed:?}", playbook.name);
    }
}
