//! What is recorded of a decision, split into what stays and what is personal and may be erased.

use crate::repeats::Run;
use homeostat_knowledge::guard::may_name_people;
use homeostat_knowledge::records::Release;
use homeostat_knowledge::{
    ActionRecord, ActionState, GuardName, GuardReport, Incident, Origin, Restraint, RestraintKind, Target,
};
use serde_json::{Value, json};

/// A decision on its way into the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What makes two decisions the same; empty for those that are always recorded by themselves.
    pub key: String,
    /// What stays.
    pub facts: Value,
    /// Names of people, and texts that may hold one.
    pub personal: Option<Value>,
}

impl Decision {
    /// A new state of an action. `who` is the replica that decided.
    pub fn of_action(record: &ActionRecord, who: &str) -> Self {
        let state = format!("{:?}", record.state);
        let people = record.approval.is_some();
        let message_apart = people || may_name_people(&record.message);
        // What a person approved, or what had its intent stored, is one action with an end of its own: only what is
        // refused at once comes again and again.
        let begun = people || record.instants.intent.or(record.instants.claimed).is_some();
        let refusal = record.guards.iter().find(|guard| !guard.result.permits());
        let key = match (record.state, refusal) {
            (ActionState::Refused, Some(guard)) if !begun => format!(
                "{}/{}/{}/{}/{}/{}/{:?}",
                record.tenant,
                record.workload,
                record.incident,
                record.kind(),
                record.target.uid,
                guard.name.name(),
                guard.result
            ),
            _ => String::new(),
        };
        let facts = json!({
            "what": format!("Action{state}"),
            "who": who,
            "tenant": record.tenant.0,
            "workload": record.workload.to_string(),
            "origin": record.origin.name(),
            "incident": (record.origin == Origin::Incident).then_some(&record.incident),
            "action": record.id,
            "undoOf": record.undo_of,
            "kind": record.kind().name(),
            "target": object(&record.target),
            "after": record.parameters,
            "before": record.before,
            "playbook": record.playbook,
            "epoch": record.epoch,
            "evidence": {
                "id": record.evidence.id,
                "takenAt": record.evidence.taken_at,
                "summary": record.evidence.summary,
            },
            "digest": record.request.digest,
            "guards": record.guards.iter().map(|guard| report(guard, people)).collect::<Vec<_>>(),
            "approval": record.approval.as_ref().map(|approval| json!({
                "decision": approval.decision,
                "evidence": approval.evidence,
                "at": approval.at,
            })),
            "instants": record.instants,
            "helped": record.outcome.as_ref().map(|outcome| outcome.helped),
            "message": (!message_apart).then_some(&record.message),
        });
        let guards: Vec<_> = record.guards.iter().filter(|guard| names_people(guard, people)).collect();
        let personal = (message_apart || !guards.is_empty()).then(|| {
            json!({
                "approvedBy": record.approval.as_ref().map(|approval| &approval.approved_by),
                "message": message_apart.then_some(&record.message),
                "guards": guards,
            })
        });
        Self { key, facts, personal }
    }

    /// The API server took the effect of an action; `audit_id` is its own name for that request.
    pub fn of_effect(record: &ActionRecord, who: &str, audit_id: &str) -> Self {
        Self {
            key: String::new(),
            facts: json!({
                "what": "EffectAcknowledged",
                "who": who,
                "tenant": record.tenant.0,
                "workload": record.workload.to_string(),
                "action": record.id,
                "kind": record.kind().name(),
                "target": object(&record.target),
                "auditId": audit_id,
            }),
            personal: None,
        }
    }

    /// Something that an action held was let go by us: its time was over, or nobody asks for it any more.
    pub fn of_release(release: &Release, who: &str) -> Self {
        Self::of_hold("HoldReleased", release, who)
    }

    /// The mark of an action is gone from what it held, whoever took it away: an action, a person, or the hook before a
    /// removal, which keeps no record of its own.
    pub fn of_mark_gone(release: &Release, who: &str) -> Self {
        Self::of_hold("HoldSeenGone", release, who)
    }

    fn of_hold(what: &str, release: &Release, who: &str) -> Self {
        Self {
            key: String::new(),
            facts: json!({
                "what": what,
                "who": who,
                "action": release.by,
                "target": { "object": release.object, "uid": release.uid },
                "auditId": release.audit_id,
            }),
            personal: None,
        }
    }

    /// What the planner made of an incident.
    pub fn of_plan(incident: &Incident, who: &str, text: &str) -> Self {
        // It repeats what guards and people said of earlier actions.
        let apart = may_name_people(text);
        Self {
            key: format!("{}/{text}", incident.id),
            facts: json!({
                "what": "Planned",
                "who": who,
                "tenant": incident.tenant.as_ref().map(|tenant| &tenant.0),
                "workload": incident.workload.as_ref().map(ToString::to_string),
                "incident": incident.id,
                "evidence": { "id": incident.evidence },
                "message": (!apart).then_some(text),
            }),
            personal: apart.then(|| json!({ "message": text })),
        }
    }

    /// A level that was lowered, or a breaker that opened, because actions did not help.
    pub fn of_restraint(restraint: &Restraint, who: &str) -> Self {
        let (what, lowered) = match restraint.what {
            RestraintKind::LevelLowered { action, level } => ("LevelLowered", Some((action, level))),
            RestraintKind::BreakerOpened => ("BreakerOpened", None),
        };
        let scope = match (&restraint.workload, &restraint.tenant) {
            (Some(_), _) => "Workload",
            (None, Some(_)) => "Tenant",
            (None, None) => "Cluster",
        };
        Self {
            key: String::new(),
            facts: json!({
                "what": what,
                "who": who,
                "scope": scope,
                "tenant": restraint.tenant.as_ref().map(|tenant| &tenant.0),
                "workload": restraint.workload.as_ref().map(ToString::to_string),
                "kind": lowered.map(|(action, _)| action.name()),
                "after": lowered.map(|(_, level)| json!({ "level": level.name() })),
                "since": restraint.since,
                "message": restraint.reason,
            }),
            personal: None,
        }
    }

    /// Decisions that could not be recorded because too many waited.
    pub fn lost(count: u64, who: &str) -> Self {
        Self {
            key: String::new(),
            facts: json!({ "what": "RecordsLost", "who": who, "count": count }),
            personal: None,
        }
    }

    /// The facts, with how often the same was decided.
    pub(crate) fn with(mut self, run: Option<Run>) -> Self {
        if let Some(run) = run {
            self.facts["repeats"] = json!({ "first": run.first, "last": run.last, "count": run.count });
        }
        self
    }
}

/// The one object that is changed.
fn object(target: &Target) -> Value {
    json!({
        "apiVersion": target.api_version,
        "kind": target.kind,
        "namespace": target.key.namespace,
        "name": target.key.name,
        "uid": target.uid,
    })
}

/// Guards whose texts name a person; `people`: one decided on the action.
fn names_people(guard: &GuardReport, people: bool) -> bool {
    (people && guard.name == GuardName::Approval) || may_name_people(&guard.message)
}

fn report(guard: &GuardReport, people: bool) -> Value {
    if names_people(guard, people) {
        return json!({ "name": guard.name.name(), "result": guard.result, "limit": guard.limit });
    }
    json!({
        "name": guard.name.name(),
        "result": guard.result,
        "observed": guard.observed,
        "limit": guard.limit,
        "message": guard.message,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use homeostat_knowledge::action::{ActionInstants, Before, EvidenceRef};
    use homeostat_knowledge::plan::{Expectation, Undo};
    use homeostat_knowledge::{
        ActionId, ActionKind, Approval, ApprovalDecision, EvidenceId, GuardResult, IncidentId, Level, Name,
        ObjectKey, Parameters, PlaybookRef, Request, SignedDuration, TenantName, Timestamp, Uid,
        Verification,
    };

    fn guard(name: GuardName, result: GuardResult, observed: &str) -> GuardReport {
        GuardReport {
            name,
            result,
            observed: observed.to_owned(),
            limit: "-".to_owned(),
            message: format!("because of {observed}"),
        }
    }

    pub(crate) fn record(id: &str) -> ActionRecord {
        ActionRecord {
            id: ActionId::new(id),
            namespace: "shop".into(),
            resource_version: "7".into(),
            origin: homeostat_knowledge::Origin::Incident,
            incident: IncidentId::new("order-1"),
            tenant: TenantName::new("shop"),
            workload: ObjectKey::new("shop", "order"),
            playbook: PlaybookRef { name: "hung-process".into(), version: 1, step: 1 },
            target: Target {
                api_version: "apps/v1".into(),
                kind: "Deployment".into(),
                key: ObjectKey::new("shop", "order"),
                uid: Uid::new("uid"),
                resource_version: "7".into(),
            },
            parameters: Parameters::ScaleUp { replicas: 4 },
            before: Before { replicas: Some(2), ..Before::default() },
            epoch: 3,
            evidence: EvidenceRef {
                id: EvidenceId::new("9c41"),
                taken_at: Timestamp::UNIX_EPOCH,
                summary: "12 of 12 calls failed".into(),
            },
            verification: Verification {
                within: SignedDuration::from_secs(30),
                expect: Expectation::ObjectivesMet,
            },
            undo: Undo::Restore,
            undo_of: None,
            request: Request { by: "homeostat".into(), expires: None, digest: "6b86".into() },
            state: ActionState::Refused,
            guards: vec![
                guard(GuardName::KillSwitch, GuardResult::Passed, "off"),
                guard(GuardName::Budget, GuardResult::Refused, "3 of 3"),
            ],
            instants: ActionInstants::default(),
            outcome: None,
            approval: None,
            message: "Budget: 3 of 3".into(),
        }
    }

    fn approval() -> Approval {
        Approval {
            decision: ApprovalDecision::Approve,
            approved_by: "ana".into(),
            evidence: EvidenceId::new("9c41"),
            digest: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_decision_says_who_what_why_and_from_what_to_what() {
        let facts = Decision::of_action(&record("order-1-1"), "homeostat-0").facts;
        for (field, wanted) in [
            ("/what", json!("ActionRefused")),
            ("/who", json!("homeostat-0")),
            ("/tenant", json!("shop")),
            ("/target/uid", json!("uid")),
            ("/before/replicas", json!(2)),
            ("/after/ScaleUp/replicas", json!(4)),
            ("/evidence/id", json!("9c41")),
            ("/digest", json!("6b86")),
            ("/guards/1/observed", json!("3 of 3")),
        ] {
            assert_eq!(facts.pointer(field), Some(&wanted), "{field}");
        }
    }

    #[test]
    fn what_is_let_go_names_the_object_the_action_that_held_it_and_the_request() {
        let release = Release {
            object: "Node node-1".into(),
            uid: Uid::new("7f"),
            by: "shop.order-1-1".into(),
            audit_id: Some("b1c2".into()),
        };
        let of_us = Decision::of_release(&release, "homeostat-0");
        let seen = Decision::of_mark_gone(&release, "homeostat-0");
        for (decision, what) in [(&of_us, "HoldReleased"), (&seen, "HoldSeenGone")] {
            for (field, wanted) in [
                ("/what", what),
                ("/who", "homeostat-0"),
                ("/action", "shop.order-1-1"),
                ("/target/object", "Node node-1"),
                ("/target/uid", "7f"),
                ("/auditId", "b1c2"),
            ] {
                assert_eq!(decision.facts.pointer(field), Some(&json!(wanted)), "{field}");
            }
            assert_eq!(decision.key, "", "each is recorded by itself");
        }
    }

    #[test]
    fn an_effect_names_its_action_its_object_and_the_request() {
        let decision = Decision::of_effect(&record("order-1-1"), "homeostat-0", "b1c2");
        for (field, wanted) in [
            ("/what", "EffectAcknowledged"),
            ("/workload", "shop/order"),
            ("/action", "order-1-1"),
            ("/kind", "ScaleUp"),
            ("/target/apiVersion", "apps/v1"),
            ("/target/kind", "Deployment"),
            ("/target/name", "order"),
            ("/target/uid", "uid"),
            ("/auditId", "b1c2"),
        ] {
            assert_eq!(decision.facts.pointer(field), Some(&json!(wanted)), "{field}");
        }
    }

    #[test]
    fn what_we_take_from_ourselves_says_from_whom_what_is_left_and_why() {
        let lowered = Restraint {
            tenant: Some(TenantName::new("shop")),
            workload: None,
            what: RestraintKind::LevelLowered { action: ActionKind::EvictPod, level: Level::Approve },
            since: Some(Timestamp::UNIX_EPOCH),
            reason: Name::from("3 of 4 EvictPod did not help"),
        };
        let breaker = |tenant: Option<&str>, workload: Option<&str>| Restraint {
            tenant: tenant.map(TenantName::new),
            workload: workload.map(|name| ObjectKey::new("shop", name)),
            what: RestraintKind::BreakerOpened,
            since: None,
            reason: Name::from("2 actions on it did not help within a day"),
        };
        let facts = Decision::of_restraint(&lowered, "homeostat-0").facts;
        for (field, wanted) in [
            ("/what", json!("LevelLowered")),
            ("/who", json!("homeostat-0")),
            ("/scope", json!("Tenant")),
            ("/tenant", json!("shop")),
            ("/kind", json!("EvictPod")),
            ("/after/level", json!("Approve")),
            ("/since", json!("1970-01-01T00:00:00Z")),
            ("/message", json!("3 of 4 EvictPod did not help")),
        ] {
            assert_eq!(facts.pointer(field), Some(&wanted), "{field}");
        }
        for (restraint, scope, workload) in [
            (breaker(Some("shop"), Some("order")), "Workload", json!("shop/order")),
            (breaker(Some("shop"), None), "Tenant", Value::Null),
            (breaker(None, None), "Cluster", Value::Null),
        ] {
            let decision = Decision::of_restraint(&restraint, "homeostat-0");
            assert_eq!(decision.key, "", "each is recorded by itself");
            let facts = decision.facts;
            assert_eq!((&facts["what"], &facts["scope"]), (&json!("BreakerOpened"), &json!(scope)));
            assert_eq!(facts["workload"], workload, "{scope}");
        }
    }

    #[test]
    fn the_same_refusal_of_another_try_is_the_same_and_nothing_else_is() {
        let key = |change: &dyn Fn(&mut ActionRecord)| {
            let mut record = record("order-1-1");
            change(&mut record);
            Decision::of_action(&record, "homeostat-0").key
        };
        let known = key(&|_| {});
        assert_eq!(key(&|it| it.id = ActionId::new("order-1-2")), known);
        assert_eq!(key(&|it| it.guards[1].observed = "4 of 3".into()), known);
        assert_ne!(key(&|it| it.guards[1].name = GuardName::Storm), known);
        assert_ne!(key(&|it| it.target.uid = Uid::new("other")), known);
        assert_ne!(key(&|it| it.incident = IncidentId::new("order-2")), known);
        assert_eq!(key(&|it| it.state = ActionState::Sent), "", "what was done is always recorded");
    }

    #[test]
    fn a_refusal_of_what_was_approved_or_begun_is_never_a_mere_repetition() {
        let mut plain = record("order-1-1");
        plain.instants.closed = Some(Timestamp::UNIX_EPOCH);
        assert_ne!(Decision::of_action(&plain, "homeostat-0").key, "", "refused at once, it may repeat");
        let changes: [fn(&mut ActionRecord); 3] = [
            |it| it.approval = Some(approval()),
            |it| it.instants.intent = Some(Timestamp::UNIX_EPOCH),
            |it| it.instants.claimed = Some(Timestamp::UNIX_EPOCH),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut begun = plain.clone();
            change(&mut begun);
            let decision = Decision::of_action(&begun, "homeostat-0");
            assert_eq!(decision.key, "", "case {number}: it has an entry of its own");
            assert_eq!(decision.facts["action"], "order-1-1", "case {number}");
        }
    }

    #[test]
    fn a_persons_name_stands_only_in_the_part_that_can_be_erased() {
        let mut approved = record("order-1-1");
        approved.state = ActionState::Admitted;
        approved.message = "approved by ana".into();
        approved.guards.push(guard(GuardName::Approval, GuardResult::Passed, "by ana"));
        approved.approval = Some(approval());
        let decision = Decision::of_action(&approved, "homeostat-0");
        assert!(!decision.facts.to_string().contains("ana"), "{}", decision.facts);
        assert_eq!(decision.facts.pointer("/approval/decision"), Some(&json!("Approve")));
        let personal = decision.personal.expect("a personal part");
        assert_eq!(personal["approvedBy"], "ana");
        assert_eq!(personal["guards"][0]["observed"], "by ana");
    }

    #[test]
    fn who_engaged_the_kill_switch_or_is_to_approve_stands_there_too() {
        for (name, words) in [
            (GuardName::KillSwitch, "the kill switch is engaged by ana: she looks into it"),
            (GuardName::Approval, "needs approval (User ana)"),
        ] {
            let mut refused = record("order-1-1");
            let report = GuardReport { message: words.into(), ..guard(name, GuardResult::Refused, "-") };
            refused.guards.push(report);
            refused.message = format!("{}: {words}", name.name());
            let decision = Decision::of_action(&refused, "homeostat-0");
            assert!(!decision.facts.to_string().contains("ana"), "{}", decision.facts);
            assert_eq!(decision.facts.pointer("/guards/2/name"), Some(&json!(name.name())));
            assert_eq!(decision.facts.pointer("/guards/2/result"), Some(&json!("Refused")));
            let personal = decision.personal.expect("a personal part");
            assert_eq!(personal["message"], refused.message);
            assert_eq!(personal["guards"][0]["message"], words);
        }
        // The end of an action that was not taken back repeats what refused that.
        let mut failed = record("order-1-1");
        failed.message =
            "not taken back (order-1-1-undo): KillSwitch: the kill switch is engaged by ana: x".into();
        let decision = Decision::of_action(&failed, "homeostat-0");
        assert!(!decision.facts.to_string().contains("ana"), "{}", decision.facts);
        assert!(
            Decision::of_action(&record("order-1-1"), "homeostat-0").personal.is_none(),
            "nobody is named"
        );
    }

    #[test]
    fn what_was_planned_because_of_a_persons_word_can_be_erased() {
        let time = Timestamp::UNIX_EPOCH;
        let incident: Incident = serde_json::from_value(json!({
            "id": "order-1", "namespace": "shop", "tenant": "shop", "state": "Open", "severity": "Critical",
            "workload": { "namespace": "shop", "name": "order" }, "findings": [], "causes": [], "affected": [],
            "instants": { "impact_start": time, "detected": time, "acknowledged": null, "mitigated": null,
                "resolved": null },
            "timeline": [], "actions": [], "reopen_count": 0, "evidence": "e", "handed_over": null,
            "acknowledged_by": null,
        }))
        .expect("an incident");
        let named = Decision::of_plan(&incident, "homeostat-0", "EvictPod was asked for: denied by ana");
        assert!(!named.facts.to_string().contains("ana"), "{}", named.facts);
        assert_eq!(named.facts["incident"], "order-1");
        assert_eq!(named.personal, Some(json!({ "message": "EvictPod was asked for: denied by ana" })));
        let plain = Decision::of_plan(&incident, "homeostat-0", "the evidence is old");
        assert_eq!((&plain.facts["message"], plain.personal), (&json!("the evidence is old"), None));
    }
}
