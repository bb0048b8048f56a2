use super::*;
use crate::testing::{at, record};
use homeostat_knowledge::{EvidenceId, GuardName, GuardResult, Name};
use proptest::prelude::*;

fn reports(result: GuardResult) -> Vec<GuardReport> {
    vec![GuardReport {
        name: GuardName::Storm,
        result,
        observed: "3 of 6".to_owned(),
        limit: "below 2".to_owned(),
        message: "too much at once".to_owned(),
    }]
}

fn approval(decision: ApprovalDecision) -> Approval {
    Approval {
        decision,
        approved_by: Name::from("jane"),
        evidence: EvidenceId::new("evidence"),
        digest: None,
        at: at(5),
    }
}

/// One event of each kind.
fn events() -> Vec<LedgerEvent> {
    let text = || "because".to_owned();
    let passed = || reports(GuardResult::Passed);
    vec![
        LedgerEvent::Recommend { guards: passed(), message: text() },
        LedgerEvent::AskApproval { guards: passed(), message: text() },
        LedgerEvent::Remind { message: text() },
        LedgerEvent::Approve { approval: approval(ApprovalDecision::Approve) },
        LedgerEvent::Admit { guards: passed() },
        LedgerEvent::Claim,
        LedgerEvent::Refuse { guards: reports(GuardResult::Refused) },
        LedgerEvent::Cancel { guards: Vec::new(), reason: text() },
        LedgerEvent::Acknowledge { guards: passed(), message: text() },
        LedgerEvent::FoundDone { guards: passed(), reason: text() },
        LedgerEvent::Block { guards: passed(), reason: text() },
        LedgerEvent::LoseTrack { guards: passed(), reason: text() },
        LedgerEvent::Assume { guards: passed(), reason: text() },
        LedgerEvent::Watch,
        LedgerEvent::Help { reason: text() },
        LedgerEvent::NotHelp { reason: text() },
        LedgerEvent::Undo { reason: text() },
        LedgerEvent::HandOver { reason: text() },
    ]
}

#[test]
fn these_arrows_exist_and_no_others() {
    use ActionState as S;
    let expected: &[(ActionState, &str, ActionState)] = &[
        (S::Proposed, "Recommend", S::Proposed),
        (S::Proposed, "AskApproval", S::AwaitingApproval),
        (S::Proposed, "Admit", S::Admitted),
        (S::Proposed, "Refuse", S::Refused),
        (S::Proposed, "Cancel", S::Cancelled),
        (S::AwaitingApproval, "Remind", S::AwaitingApproval),
        (S::AwaitingApproval, "HandOver", S::HandedOver),
        (S::AwaitingApproval, "Approve", S::AwaitingApproval),
        (S::AwaitingApproval, "Admit", S::Admitted),
        (S::AwaitingApproval, "Refuse", S::Refused),
        (S::AwaitingApproval, "Cancel", S::Cancelled),
        (S::Admitted, "Claim", S::Claimed),
        (S::Admitted, "Refuse", S::Refused),
        (S::Admitted, "Cancel", S::Cancelled),
        (S::Claimed, "Refuse", S::Refused),
        (S::Claimed, "Cancel", S::Cancelled),
        (S::Claimed, "Acknowledge", S::Sent),
        (S::Claimed, "FoundDone", S::Sent),
        (S::Claimed, "Block", S::Failed),
        (S::Claimed, "LoseTrack", S::Failed),
        (S::Claimed, "Assume", S::Sent),
        (S::Sent, "Watch", S::Verifying),
        (S::Sent, "HandOver", S::HandedOver),
        (S::Verifying, "Help", S::Verified),
        (S::Verifying, "NotHelp", S::Failed),
        (S::Verifying, "Undo", S::Undone),
        (S::Verifying, "HandOver", S::HandedOver),
    ];
    for state in ActionState::ALL {
        for event in events() {
            let mut before = record("order-1-1");
            before.state = state;
            let name = event.name();
            let found = next(&before, event, at(9)).map(|after| after.state).ok();
            let wanted = expected
                .iter()
                .find(|(from, event, _)| *from == state && *event == name)
                .map(|(_, _, to)| *to);
            assert_eq!(found, wanted, "{state:?} {name}");
        }
    }
}

#[test]
fn an_undo_alone_is_claimed_anew_and_what_was_sent_never_is() {
    let mut undo = record("order-1-1-undo");
    undo.undo_of = Some(ActionId::new("order-1-1"));
    undo.state = ActionState::Claimed;
    (undo.instants.intent, undo.instants.claimed) = (Some(at(1)), Some(at(2)));
    let again = next(&undo, LedgerEvent::Claim, at(60)).expect("an arrow");
    assert_eq!((again.state, again.instants.claimed), (ActionState::Claimed, Some(at(60))));
    assert!(again.instants.sent.is_none(), "its budget and its effect are still to come");
    let before = [ActionState::Admitted, ActionState::Claimed];
    for state in ActionState::ALL.into_iter().filter(|state| !before.contains(state)) {
        let other = ActionRecord { state, ..undo.clone() };
        assert!(next(&other, LedgerEvent::Claim, at(60)).is_err(), "{state:?}");
    }
}

#[test]
fn what_ended_never_changes_and_always_says_when_and_why() {
    for state in ActionState::ALL.into_iter().filter(|state| state.ended()) {
        for event in events() {
            let mut before = record("order-1-1");
            before.state = state;
            assert!(next(&before, event, at(9)).is_err());
        }
    }
}

#[test]
fn a_denial_is_never_an_approval() {
    let mut before = record("order-1-1");
    before.state = ActionState::AwaitingApproval;
    let event = LedgerEvent::Approve { approval: approval(ApprovalDecision::Deny) };
    assert_eq!(next(&before, event, at(9)), Err(LedgerError::NotApproved { action: before.id.clone() }));
}

#[test]
fn a_refusal_names_its_guard() {
    let after =
        next(&record("order-1-1"), LedgerEvent::Refuse { guards: reports(GuardResult::Refused) }, at(9))
            .expect("an arrow");
    assert_eq!(after.message, "Storm: too much at once");
    assert_eq!(after.instants.closed, Some(at(9)));
}

#[test]
fn an_unknown_outcome_counts_as_done_and_says_so_to_the_end() {
    use crate::history::ActionHistory;
    let step = |record: &ActionRecord, event| next(record, event, at(9)).expect("an arrow");
    let mut claimed = record("order-1-1");
    claimed.state = ActionState::Claimed;
    claimed.instants.claimed = Some(at(3));
    assert!(!outcome_unknown(&claimed), "it may still be resolved");
    let assumed =
        step(&claimed, LedgerEvent::Assume { guards: Vec::new(), reason: "the pod is gone".into() });
    assert_eq!((assumed.state, assumed.instants.sent), (ActionState::Sent, Some(at(3))));
    let watched = step(&assumed, LedgerEvent::Watch);
    for (end, helped) in [
        (LedgerEvent::Help { reason: "well".into() }, Some(true)),
        (LedgerEvent::NotHelp { reason: "ill".into() }, Some(false)),
        (LedgerEvent::HandOver { reason: "gone".into() }, None),
    ] {
        let ended = step(&watched, end);
        assert!(
            outcome_unknown(&ended) && ended.message.starts_with("outcome unknown; "),
            "{}",
            ended.message
        );
        let history = ActionHistory::of(&ended);
        assert_eq!((history.effect, history.counts(), history.helped), (true, true, helped));
        assert_eq!(history.at, Some(at(3)), "budgets count from the claim on");
    }
    let known = step(&claimed, LedgerEvent::FoundDone { guards: Vec::new(), reason: "its mark".into() });
    assert!(!outcome_unknown(&known));
    assert!(
        !step(&step(&known, LedgerEvent::Watch), LedgerEvent::Help { reason: "well".into() })
            .message
            .contains("unknown")
    );
}

proptest! {
    /// Any sequence of events, with a clock that jumps: the record stays consistent.
    #[test]
    fn any_life_is_consistent(picks in prop::collection::vec((0_usize..18, -50_i64..50), 0..60)) {
        let mut life = record("order-1-1");
        let mut clock = 1_000_i64;
        let mut claims = 0;
        let mut sends = 0;
        for (pick, jump) in picks {
            clock += jump;
            let event = events().swap_remove(pick);
            let name = event.name();
            let before = life.clone();
            let Ok(after) = next(&before, event, at(clock)) else { continue };
            prop_assert!(!before.state.ended(), "{:?} changed by {name}", before.state);
            claims += u32::from(name == "Claim");
            sends += u32::from(after.instants.sent.is_some() && before.instants.sent.is_none());
            // Nothing that identifies the action or its target ever changes.
            prop_assert_eq!(&after.id, &before.id);
            prop_assert_eq!(&after.target, &before.target);
            prop_assert_eq!(&after.parameters, &before.parameters);
            prop_assert_eq!(&after.evidence, &before.evidence);
            let instants = after.instants;
            let order = [instants.intent, instants.claimed, instants.sent, instants.acknowledged, instants.verified];
            let known: Vec<_> = order.into_iter().flatten().collect();
            prop_assert!(known.is_sorted(), "{known:?}");
            prop_assert_eq!(after.state.ended(), instants.closed.is_some());
            prop_assert!(!after.message.is_empty());
            if instants.sent.is_some() {
                prop_assert!(instants.intent.is_some() && instants.claimed.is_some(), "S1");
            }
            if after.state == ActionState::Undone {
                prop_assert!(instants.sent.is_some(), "S10");
            }
            life = after;
        }
        prop_assert!(claims <= 1 && sends <= 1, "S2");
    }
}
