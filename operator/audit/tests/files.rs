//! The record on a disk that is small, fails, and loses its power.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use common::{Folder, at, decision, salts};
use homeostat_audit::journal::BACKLOG;
use homeostat_audit::store::{self, StoreLimits};
use homeostat_audit::{Anchor, Decision, Journal, Line, StoreError};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

const SMALL: StoreLimits = StoreLimits { bytes: 40_000, segment: 5_000 };

fn open(folder: &Path, anchors: &BTreeMap<String, Anchor>, second: i64) -> (Journal, Option<String>) {
    Journal::open(folder, "homeostat-0", SMALL, anchors, at(second)).unwrap()
}

#[test]
fn a_restart_goes_on_with_the_chain_and_removes_a_line_that_was_cut() {
    let folder = Folder::new("restart");
    let (mut journal, _) = open(&folder.0, &BTreeMap::new(), 0);
    for number in 0..5 {
        journal.record(decision(number), at(number), salts());
    }
    journal.flush(at(5), salts()).unwrap();
    let chain = journal.chain().to_owned();
    let file = store::chains(&folder.0).unwrap()[&chain][0].clone();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"{\"entry\":{\"seq\":6,\"at\":");
    std::fs::write(&file, bytes).unwrap();

    let (mut journal, broken) = open(&folder.0, &BTreeMap::new(), 10);
    assert_eq!((journal.chain(), broken), (chain.as_str(), None));
    journal.record(decision(5), at(11), salts());
    journal.flush(at(11), salts()).unwrap();
    let report = folder.check(&chain, None);
    assert!(report.clean(), "{:?}", report.flaws);
    assert_eq!(report.last, Some(6));
}

#[test]
fn the_files_stay_within_their_bytes_and_what_is_left_still_hangs_together() {
    let folder = Folder::new("bounded");
    let (mut journal, _) = open(&folder.0, &BTreeMap::new(), 0);
    let chain = journal.chain().to_owned();
    let mut last = None;
    for number in 0..600 {
        journal.record(decision(number), at(number), salts());
        journal.flush(at(number), salts()).unwrap();
        if number % 10 == 9
            && let Some(anchor) = journal.anchor(at(number))
        {
            journal.told(anchor.clone()).unwrap();
            last = Some(anchor);
            let files = &store::chains(&folder.0).unwrap()[&chain];
            let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
            assert!(bytes <= SMALL.bytes, "{bytes} bytes after {number}");
        }
    }
    let anchor = last.unwrap();
    let report = folder.check(&chain, Some(&anchor));
    assert!(report.clean(), "{:?}", report.flaws);
    assert!(report.first > Some(300) && report.last == Some(600), "{report:?}");
    assert!(journal.anchor(at(700)).is_none(), "nothing new, nothing to tell");
    assert_eq!(open(&folder.0, &BTreeMap::from([(chain.clone(), anchor)]), 700).0.chain(), chain);
}

#[test]
fn without_a_new_anchor_nothing_is_pruned_and_what_finds_no_room_waits() {
    let folder = Folder::new("full");
    let (mut journal, _) = open(&folder.0, &BTreeMap::new(), 0);
    let mut refused = None;
    for number in 0..200 {
        journal.record(decision(number), at(number), salts());
        refused = journal.flush(at(number), salts()).err().or(refused);
    }
    assert!(matches!(refused, Some(StoreError::Full { limit: 40_000 })), "{refused:?}");
    let counts = journal.counts();
    assert!(counts.waiting > 0 && counts.lost == 0 && counts.written + counts.waiting == 200, "{counts:?}");
    // The anchor is told again: there is room.
    while journal.counts().waiting > 0 {
        let anchor = journal.anchor(at(300)).unwrap();
        journal.told(anchor).unwrap();
        let _ = journal.flush(at(300), salts());
    }
    let report = folder.check(journal.chain(), None);
    assert!(report.clean() && report.last == Some(200), "{report:?}");
}

#[test]
fn while_the_disk_fails_decisions_wait_up_to_a_bound_and_the_loss_is_on_record() {
    let folder = Folder::new("failing");
    let (mut journal, _) =
        Journal::open(&folder.0, "homeostat-0", StoreLimits::default(), &BTreeMap::new(), at(0)).unwrap();
    // The folder goes away, as a volume does.
    std::fs::remove_dir_all(&folder.0).unwrap();
    let more = 7;
    for number in 0..i64::try_from(BACKLOG).unwrap() + more {
        journal.record(decision(number), at(0), salts());
    }
    assert!(matches!(journal.flush(at(1), salts()), Err(StoreError::Io { .. })));
    assert_eq!((journal.counts().waiting, journal.counts().lost), (BACKLOG as u64, 7));

    std::fs::create_dir_all(&folder.0).unwrap();
    journal.flush(at(2), salts()).unwrap();
    journal.record(decision(1), at(3), salts());
    journal.flush(at(3), salts()).unwrap();
    let lines = folder.lines(journal.chain());
    let lost = &lines[lines.len() - 2];
    assert!(lost.contains("RecordsLost") && lost.contains("\"count\":7"), "{lost}");
    assert!(folder.check(journal.chain(), None).clean());
}

#[test]
fn a_chain_that_was_tampered_with_is_left_for_people_and_a_new_one_begins() {
    let folder = Folder::new("broken");
    let (mut journal, _) = open(&folder.0, &BTreeMap::new(), 0);
    for number in 0..5 {
        journal.record(decision(number), at(number), salts());
    }
    journal.flush(at(5), salts()).unwrap();
    let anchor = journal.anchor(at(6)).unwrap();
    let chain = journal.chain().to_owned();
    journal.told(anchor.clone()).unwrap();
    let file = store::chains(&folder.0).unwrap()[&chain][0].clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let cut: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, &cut).unwrap();

    let anchors = BTreeMap::from([(chain.clone(), anchor)]);
    let (journal, broken) = open(&folder.0, &anchors, 10);
    assert_ne!(journal.chain(), chain);
    assert!(broken.is_some_and(|why| why.contains("entry 5 was anchored")));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), cut, "the evidence is not touched");
}

#[test]
fn names_are_erased_after_their_time_and_the_chain_stays_whole() {
    let folder = Folder::new("erase");
    let (mut journal, _) = open(&folder.0, &BTreeMap::new(), 0);
    for number in 0..60 {
        journal.record(decision(number), at(number), salts());
    }
    journal.flush(at(60), salts()).unwrap();
    let anchor = journal.anchor(at(60)).unwrap();
    assert_eq!(journal.erase(at(40)).unwrap(), 20);
    assert_eq!(journal.erase(at(40)).unwrap(), 0, "once");
    journal.record(decision(60), at(61), salts());
    journal.flush(at(61), salts()).unwrap();
    let report = folder.check(journal.chain(), Some(&anchor));
    assert!(report.clean(), "{:?}", report.flaws);
    assert_eq!((report.erased, report.last), (20, Some(61)));
    let named = |line: &&String| line.contains("ana");
    let lines = folder.lines(journal.chain());
    assert_eq!(lines.iter().filter(named).count(), 11);
    let young = lines.iter().filter(named).all(|line| match serde_json::from_str(line).unwrap() {
        Line::Entry(entry) => entry.at >= at(40),
        Line::Checkpoint(_) => false,
    });
    assert!(young);
}

#[test]
fn the_same_refusal_is_one_entry_with_first_last_and_count() {
    let folder = Folder::new("repeats");
    let (mut journal, _) = open(&folder.0, &BTreeMap::new(), 0);
    let refusal =
        || Decision { key: "order/Budget".into(), facts: json!({ "what": "ActionRefused" }), personal: None };
    for second in 0..100 {
        journal.record(refusal(), at(second), salts());
    }
    journal.close(at(101), salts()).unwrap();
    let lines = folder.lines(journal.chain());
    assert_eq!(lines.len(), 3, "a beginning, the first, the rest: {lines:?}");
    assert!(!lines[1].contains("repeats") && lines[2].contains("\"count\":100"), "{lines:?}");
}
