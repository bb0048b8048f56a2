//! `homeostat levels --what-if LEVEL`: what a level would have done, from what was recommended and what became of
//! the incident without it. What cannot be known is "no data", never zero.
//!
//! A recommendation is *right* when the incident was not over within the time in which the action would have been
//! verified, and what it would have touched is the incident's first cause as it is known now. It is *unneeded* when
//! the incident ended by itself within that time, and *wrong* when the cause turned out to be something else. A
//! person's word on it (annotation `homeostat.dev/verdict`) goes before both. The downtime that it would have saved is
//! the time from the recommendation to the end of the impact, less the usual time from effect to verdict of actions of
//! its kind that did help here; without any such action it is not known.

use super::table::table;
use homeostat_crds::v1alpha1::action::{ActionState, OutcomeResult, aimed_at_cause, word_of_a_person};
use homeostat_crds::v1alpha1::{Action, Incident, IncidentStatus};
use homeostat_crds::{ActionKind, Level};
use homeostat_execute::actions::spec;
use homeostat_execute::driver::{PROPOSAL_OUTLIVED, PROPOSAL_RAISED};
use homeostat_knowledge::{ActionKind as Kind, SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Days that are looked back at most. Recommendations and their incidents are kept so long, the newest 500 of a namespace.
const DAYS: i64 = 30;

/// The question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WhatIf {
    /// The level that every tenant would have had for every action.
    pub level: Level,
    /// Time of the question.
    pub now: Timestamp,
}

/// Was a recommendation right?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    /// The incident went on, and its cause is what would have been acted on.
    Right,
    /// The incident ended by itself as soon as the action could have.
    Unneeded,
    /// The cause turned out to be something else.
    Wrong,
    /// The incident is not over, or not stored any more, or its cause is one that does not tell.
    Unknown,
}

/// What a level would have done with one kind of action for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Recommendations that would have been carried out without asking anybody.
    pub alone: u32,
    /// Recommendations that a person would have been asked for.
    pub asked: u32,
    /// Right ones.
    pub right: u32,
    /// Unneeded ones.
    pub unneeded: u32,
    /// Wrong ones.
    pub wrong: u32,
    /// Those that nobody can judge.
    pub unknown: u32,
    /// Downtime that the right ones would have saved, as far as it is known.
    pub saved: SignedDuration,
    /// Right ones whose saving is not known.
    pub saved_unknown: u32,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Per tenant and action.
    pub rows: BTreeMap<(String, ActionKind), Row>,
    /// Time of the oldest recommendation that is still stored.
    pub since: Option<Timestamp>,
}

/// Judges every recommendation that is still stored. Pure.
pub fn judge(asked: &WhatIf, actions: &[Action], incidents: &[Incident]) -> Answer {
    let earliest = asked.now.checked_sub(SignedDuration::from_hours(24 * DAYS)).unwrap_or(Timestamp::MIN);
    let incidents: BTreeMap<(String, String), &Incident> = incidents
        .iter()
        .map(|incident| ((incident.namespace().unwrap_or_default(), incident.name_any()), incident))
        .collect();
    let usual = usual(actions);
    let mut answer = Answer::default();
    // What a forecast asks for is no answer to an incident: nothing tells whether it would have been right.
    let answers = |action: &&Action| recommendation(action) && action.spec.incident_ref.is_some();
    for action in actions.iter().filter(answers) {
        let at = action.spec.evidence.taken_at.timestamp();
        let Some(alone) = alone(action.spec.action, asked.level).filter(|_| at >= earliest) else { continue };
        answer.since = Some(answer.since.map_or(at, |since| since.min(at)));
        if asked.level < Level::Approve {
            continue; // Nothing would have been done.
        }
        let row = answer.rows.entry((action.spec.tenant.clone(), action.spec.action)).or_default();
        if alone {
            row.alone += 1;
        } else {
            row.asked += 1;
        }
        let key = (action.namespace().unwrap_or_default(), action.spec.serves().to_owned());
        let (judgement, longer) = verdict(action, incidents.get(&key).copied());
        match judgement {
            Judgement::Unneeded => row.unneeded += 1,
            Judgement::Wrong => row.wrong += 1,
            Judgement::Unknown => row.unknown += 1,
            Judgement::Right => {
                row.right += 1;
                match usual.get(&action.spec.action).zip(longer) {
                    Some((usual, longer)) => {
                        row.saved =
                            row.saved.saturating_add(longer.saturating_sub(*usual).max(SignedDuration::ZERO));
                    }
                    None => row.saved_unknown += 1,
                }
            }
        }
    }
    answer
}

/// A recommendation that stands, or stood until its incident was over or its level was raised.
fn recommendation(action: &Action) -> bool {
    let Some(status) = &action.status else { return false };
    let message = status.message.as_deref();
    match status.state {
        Some(ActionState::Proposed) => true,
        Some(ActionState::Cancelled) => [PROPOSAL_OUTLIVED, PROPOSAL_RAISED].map(Some).contains(&message),
        _ => false,
    }
}

/// Whether it runs without a person at this level; `None` for what changes nothing or is not implemented. Whether a person who
/// is otherwise always asked would have been spared is not stored: they count as asked.
fn alone(action: ActionKind, level: Level) -> Option<bool> {
    let kind = Kind::ALL.iter().copied().find(|kind| kind.name() == action.to_string())?;
    let spec = spec(kind).filter(|spec| spec.changes_state())?;
    let alone_at = super::levels::parse(spec.alone_at().name()).ok()?;
    Some(level >= alone_at && !spec.always_asks())
}

/// The judgement, and how long the impact lasted after the recommendation, where it is over.
fn verdict(action: &Action, incident: Option<&Incident>) -> (Judgement, Option<SignedDuration>) {
    let status = incident.and_then(|incident| incident.status.as_ref());
    let ended = status.and_then(|status| status.instants.as_ref()?.mitigated);
    let taken_at = action.spec.evidence.taken_at.timestamp();
    let longer = ended.map(|ended| ended.timestamp().duration_since(taken_at));
    let judgement = match (word_of_a_person(action.annotations()), status.zip(longer)) {
        (Some(true), _) => Judgement::Right,
        (Some(false), _) => Judgement::Wrong,
        (None, Some((status, longer))) => judgement(action, status, longer),
        (None, None) => Judgement::Unknown,
    };
    (judgement, longer)
}

fn judgement(action: &Action, status: &IncidentStatus, longer: SignedDuration) -> Judgement {
    if longer <= SignedDuration::from_secs(i64::from(action.spec.verify.within_seconds)) {
        return Judgement::Unneeded;
    }
    let first = status.causes.iter().min_by_key(|cause| cause.rank);
    let cause = first.map(|cause| (cause.entity.kind.as_str(), cause.entity.name.as_str()));
    match aimed_at_cause(cause, status.workload.as_deref(), &action.spec.workload_ref.name) {
        Some(true) => Judgement::Right,
        Some(false) => Judgement::Wrong,
        None => Judgement::Unknown,
    }
}

/// Median time from effect to verdict of what helped, per kind.
fn usual(actions: &[Action]) -> BTreeMap<ActionKind, SignedDuration> {
    let mut times: BTreeMap<ActionKind, Vec<SignedDuration>> = BTreeMap::new();
    for action in actions {
        let Some(status) = &action.status else { continue };
        let helped = status.outcome.as_ref().is_some_and(|outcome| outcome.result == OutcomeResult::Helped);
        let Some(instants) = status.instants.as_ref().filter(|_| helped) else { continue };
        if let (Some(sent), Some(verified)) = (instants.sent, instants.verified) {
            let time = verified.timestamp().duration_since(sent.timestamp());
            times.entry(action.spec.action).or_default().push(time);
        }
    }
    let median = |mut all: Vec<SignedDuration>| {
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    times.into_iter().filter_map(|(kind, all)| Some((kind, median(all)?))).collect()
}

/// The answer for people. Pure.
pub fn text(answer: &Answer, asked: &WhatIf) -> String {
    let Some(since) = answer.since else {
        return format!("no data: no recommendation of the last {DAYS} days is stored");
    };
    if answer.rows.is_empty() {
        return format!("At {} nothing would have been done.", asked.level);
    }
    let rows: Vec<[String; 9]> = answer
        .rows
        .iter()
        .map(|((tenant, action), row)| {
            [
                tenant.clone(),
                action.to_string(),
                row.alone.to_string(),
                row.asked.to_string(),
                row.right.to_string(),
                row.unneeded.to_string(),
                row.wrong.to_string(),
                row.unknown.to_string(),
                saved(row),
            ]
        })
        .collect();
    let head =
        ["TENANT", "ACTION", "ALONE", "ASKED", "RIGHT", "UNNEEDED", "WRONG", "NO DATA", "DOWNTIME SAVED"];
    let days = asked.now.duration_since(since).as_secs().div_euclid(86_400).saturating_add(1).min(DAYS);
    let mut text = format!(
        "With every action at {}, from {since:.0} to {:.0} ({days} of {DAYS} days: no older recommendation is stored):\n",
        asked.level, asked.now
    );
    text.push_str(&table(head, &rows));
    text.push_str("Guards other than the level, budgets and cool-downs may have stopped some of them.");
    text
}

fn saved(row: &Row) -> String {
    match (row.right, row.right.saturating_sub(row.saved_unknown)) {
        (0, _) => "none".to_owned(),
        (_, 0) => "no data".to_owned(),
        (right, known) if known < right => {
            format!("{} min of {known}, no data of {}", minutes(row.saved), row.saved_unknown)
        }
        _ => format!("{} min", minutes(row.saved)),
    }
}

fn minutes(time: SignedDuration) -> String {
    format!("{:.1}", time.as_secs_f64() / 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::testing::action;
    use serde_json::{Value, json};

    fn proposal(name: &str, incident: &str) -> Action {
        action(
            name,
            &json!({ "spec": { "incidentRef": { "name": incident } }, "status": { "state": "Proposed" } }),
        )
    }

    fn incident(name: &str, workload: &str, mitigated: &Value) -> Incident {
        serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Incident",
            "metadata": { "name": name, "namespace": "shop" },
            "spec": { "fingerprint": "f", "openedBy": "homeostat" },
            "status": { "workload": workload, "instants": { "mitigated": mitigated } },
        }))
        .expect("an Incident")
    }

    fn helped() -> Action {
        action(
            "helped",
            &json!({ "status": { "state": "Verified",
            "outcome": { "helped": true, "result": "Helped", "reason": "well" },
            "instants": { "sent": "2026-11-20T09:00:00Z", "verified": "2026-11-20T09:02:00Z" } } }),
        )
    }

    fn asked(level: Level) -> WhatIf {
        WhatIf { level, now: "2026-11-23T09:00:00Z".parse().expect("an instant") }
    }

    fn row(actions: &[Action], incidents: &[Incident]) -> Row {
        let answer = judge(&asked(Level::ActBounded), actions, incidents);
        answer.rows.values().next().expect("one row").clone()
    }

    #[test]
    fn a_recommendation_is_judged_by_how_its_incident_went_on() {
        let late = json!("2026-11-22T09:10:00Z");
        let incidents = [
            incident("right", "cart", &late),
            incident("wrong", "stock", &late),
            incident("brief", "cart", &json!("2026-11-22T09:00:20Z")),
            incident("open", "cart", &Value::Null),
        ];
        let all = ["right", "wrong", "brief", "open", "gone"].map(|name| proposal(name, name));
        let found = row(&all, &incidents);
        assert_eq!((found.right, found.wrong, found.unneeded, found.unknown), (1, 1, 1, 2));
        assert_eq!((found.alone, found.asked), (5, 0));
    }

    #[test]
    fn a_persons_word_goes_before_what_the_incident_shows() {
        let incidents = [incident("cart-1", "cart", &json!("2026-11-22T09:10:00Z"))];
        let said = |word: &str| {
            let change = json!({ "metadata": { "annotations": { "homeostat.dev/verdict": word } },
                "status": { "state": "Proposed" } });
            action("a", &change)
        };
        let found = row(&[said("Wrong"), said("Right"), said("no idea")], &incidents);
        assert_eq!((found.right, found.wrong), (2, 1));
        let found = row(&[said("Right"), helped()], &[]);
        assert_eq!(
            (found.right, saved(&found)),
            (1, "no data".to_owned()),
            "how long it lasted is not known"
        );
    }

    #[test]
    fn what_a_dependency_outside_broke_was_no_workloads_fault() {
        let mut outside = incident("cart-1", "cart", &json!("2026-11-22T09:10:00Z"));
        let cause = json!({ "rank": 1, "entity": { "kind": "External", "name": "pay.example:443" },
            "kind": "DependencyDown", "confidencePercent": 90 });
        outside.status.as_mut().expect("a status").causes =
            vec![serde_json::from_value(cause).expect("a cause")];
        assert_eq!(row(&[proposal("a", "cart-1")], &[outside]).wrong, 1);
    }

    #[test]
    fn saved_downtime_is_the_rest_of_the_impact_less_the_usual_repair() {
        let incidents = [incident("right", "cart", &json!("2026-11-22T09:10:00Z"))];
        let known = row(&[proposal("a", "right"), helped()], &incidents);
        assert_eq!(saved(&known), "8.0 min");
        let unknown = row(&[proposal("a", "right")], &incidents);
        assert_eq!(saved(&unknown), "no data", "without an action that helped there is no measure");
    }

    #[test]
    fn what_was_done_refused_or_only_told_is_no_recommendation() {
        let done = action("done", &json!({ "status": { "state": "Failed" } }));
        let cancelled = action("c", &json!({ "status": { "state": "Cancelled", "message": "target gone" } }));
        let told = action("t", &json!({ "spec": { "action": "Notify" }, "status": { "state": "Proposed" } }));
        let answer = judge(&asked(Level::ActFull), &[done, cancelled, told], &[]);
        assert_eq!(
            text(&answer, &asked(Level::ActFull)),
            "no data: no recommendation of the last 30 days is stored"
        );
        let outlived = json!({ "status": { "state": "Cancelled", "message": PROPOSAL_OUTLIVED } });
        let answer = judge(&asked(Level::ActFull), &[action("o", &outlived)], &[]);
        assert_eq!(answer.rows.len(), 1, "its incident is over, it still counts");
    }

    #[test]
    fn the_answer_says_what_period_it_covers() {
        let text = |taken: &str| {
            let change =
                json!({ "spec": { "evidence": { "takenAt": taken } }, "status": { "state": "Proposed" } });
            let answer = judge(&asked(Level::ActBounded), &[action("a", &change)], &[]);
            text(&answer, &asked(Level::ActBounded))
        };
        let month = text("2026-10-24T10:00:00.000000Z");
        assert!(
            month.contains("from 2026-10-24T10:00:00Z to 2026-11-23T09:00:00Z (30 of 30 days"),
            "{month}"
        );
        let week = text("2026-11-17T10:00:00.000000Z");
        assert!(week.contains("(6 of 30 days"), "{week}");
        assert!(text("2026-10-20T10:00:00.000000Z").starts_with("no data"), "older ones do not count");
    }

    #[test]
    fn a_level_below_that_of_the_action_asks_and_one_below_approve_does_nothing() {
        let scale =
            action("s", &json!({ "spec": { "action": "ScaleDown" }, "status": { "state": "Proposed" } }));
        let found = row(std::slice::from_ref(&scale), &[]);
        assert_eq!((found.alone, found.asked), (0, 1), "ScaleDown runs alone at ActFull only");
        let back =
            action("r", &json!({ "spec": { "action": "RollBack" }, "status": { "state": "Proposed" } }));
        for (one, alone) in [(&back, 0), (&scale, 1)] {
            let full = judge(&asked(Level::ActFull), std::slice::from_ref(one), &[]);
            let row = full.rows.values().next().expect("one row");
            assert_eq!((row.alone, row.asked), (alone, 1 - alone), "who rolls back is asked at every level");
        }
        let nothing = judge(&asked(Level::Recommend), &[scale], &[]);
        assert_eq!(text(&nothing, &asked(Level::Recommend)), "At Recommend nothing would have been done.");
    }
}
