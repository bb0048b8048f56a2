//! Somebody with the files changes them. Every change before the last anchor is found (case T80: 1,000 drawn ones).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use homeostat_audit::{Anchor, Chain, Checkpoint, Digest, Entry, Flaw, Line, Salt, verify};
use jiff::Timestamp;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::try_from(second).unwrap()).unwrap()
}

/// A chain as it was written, of which the first `gone` entries were pruned and the first `told` anchored.
struct Written {
    lines: Vec<Line>,
    anchor: Anchor,
}

fn write(random: &mut ChaCha8Rng, entries: u64, told: u64, gone: u64) -> Written {
    let mut chain = Chain::begin("homeostat-0-1800000000000");
    let mut begin = chain.end().clone();
    let mut lines = Vec::new();
    let mut anchor = None;
    for number in 1..=entries {
        let facts = json!({ "what": "ActionRefused", "tenant": "shop", "action": format!("order-{number}"),
            "guards": [{ "name": "Budget", "result": "Refused", "observed": number.to_string() }] });
        let personal = random.random_bool(0.3).then(|| json!({ "approvedBy": "ana" }));
        let salt = || Salt(random.random());
        lines.push(Line::Entry(chain.append(facts, personal, at(number), salt)));
        if number == gone {
            begin = chain.end().clone();
            lines.clear();
        } else if number % 17 == 0 {
            lines.push(Line::Checkpoint(chain.end().clone()));
        }
        if number == told {
            anchor = Some(chain.anchor(gone, at(number)));
        }
    }
    lines.insert(0, Line::Checkpoint(begin));
    Written { lines, anchor: anchor.unwrap() }
}

fn check(lines: &[Line], anchor: &Anchor) -> homeostat_audit::Report {
    let text: Vec<String> = lines.iter().map(Line::to_json).collect();
    verify(text.iter().map(String::as_str), Some(anchor))
}

/// Places of the entries that the anchor vouches for.
fn covered(written: &Written) -> Vec<usize> {
    let within = |line: &Line| matches!(line, Line::Entry(entry) if entry.seq <= written.anchor.seq);
    (0..written.lines.len()).filter(|place| within(&written.lines[*place])).collect()
}

fn entry(lines: &mut [Line], place: usize) -> &mut Entry {
    match &mut lines[place] {
        Line::Entry(entry) => entry,
        Line::Checkpoint(_) => panic!("no entry at {place}"),
    }
}

/// Computes every digest anew, as somebody can who knows how it is done.
fn rechain(lines: &mut [Line]) {
    let mut end: Option<Checkpoint> = None;
    for line in lines {
        match (line, &mut end) {
            (Line::Checkpoint(checkpoint), None) => end = Some(checkpoint.clone()),
            (Line::Checkpoint(checkpoint), Some(end)) => *checkpoint = end.clone(),
            (Line::Entry(entry), Some(end)) => {
                (entry.seq, entry.previous) = (end.seq + 1, end.digest);
                entry.digest = entry.computed();
                (end.seq, end.digest) = (entry.seq, entry.digest);
            }
            (Line::Entry(_), None) => panic!("the first line is a checkpoint"),
        }
    }
}

/// One drawn change of what the anchor covers; its name.
fn tamper(random: &mut ChaCha8Rng, written: &Written, lines: &mut Vec<Line>) -> &'static str {
    let places = covered(written);
    let place = *places.choose(random).unwrap();
    let others: Vec<usize> = places.iter().copied().filter(|other| *other != place).collect();
    let other = *others.choose(random).unwrap();
    match random.random_range(0..14) {
        0 => {
            entry(lines, place).facts.value.as_mut().unwrap()["tenant"] = json!("bank");
            "edit what was decided"
        }
        1 => {
            let at = entry(lines, place).at;
            entry(lines, place).at = at + jiff::SignedDuration::from_nanos(random.random_range(1..1_000_000));
            "edit when"
        }
        2 => {
            let facts = &mut entry(lines, place).facts;
            facts.salt = Some(Salt(random.random()));
            "edit a salt"
        }
        3 => {
            let facts = json!({ "what": "ActionVerified" });
            entry(lines, place).facts = homeostat_audit::Sealed::new(facts, Salt(random.random()));
            "seal something else"
        }
        4 => {
            entry(lines, place).facts.erase();
            "erase what was decided"
        }
        5 => {
            let forged = homeostat_audit::Sealed::new(json!({ "approvedBy": "ben" }), Salt(random.random()));
            entry(lines, place).personal = Some(forged);
            "name somebody else"
        }
        6 => {
            entry(lines, place).digest = Digest::of(&[&random.random::<[u8; 8]>()]);
            "edit a digest"
        }
        7 => {
            let count = random.random_range(1..=3).min(lines.len() - place);
            lines.drain(place..place + count);
            "drop"
        }
        8 => {
            lines.swap(place, other);
            "reorder"
        }
        9 => {
            lines.truncate(place);
            "truncate"
        }
        10 => {
            let double = lines[place].clone();
            lines.insert(place, double);
            "double"
        }
        11 => {
            entry(lines, place).facts.value.as_mut().unwrap()["tenant"] = json!("bank");
            let value = entry(lines, place).facts.value.clone().unwrap();
            entry(lines, place).facts = homeostat_audit::Sealed::new(value, Salt(random.random()));
            rechain(lines);
            "edit and compute the chain anew"
        }
        12 => {
            lines.remove(place);
            rechain(lines);
            "drop and compute the chain anew"
        }
        _ => {
            // As if everything before had been pruned; the entry itself goes, too.
            let before = entry(lines, place).clone();
            let mark =
                Checkpoint { chain: written.anchor.chain.clone(), seq: before.seq, digest: before.digest };
            lines.drain(..=place);
            lines.insert(0, Line::Checkpoint(mark));
            "prune what may not be pruned"
        }
    }
}

#[test]
fn a_thousand_drawn_tamperings_are_all_found() {
    let mut random = ChaCha8Rng::seed_from_u64(80);
    let mut found = std::collections::BTreeMap::new();
    for number in 0..1_000 {
        let entries = random.random_range(5..40);
        let told = random.random_range(3..=entries);
        let gone = random.random_range(0..=told - 3);
        let written = write(&mut random, entries, told, gone);
        let whole = check(&written.lines, &written.anchor);
        assert!(whole.clean(), "run {number}: {:?}", whole.flaws);
        assert_eq!(whole.anchored, Some(told));
        let mut lines = written.lines.clone();
        let what = tamper(&mut random, &written, &mut lines);
        assert_ne!(lines, written.lines, "run {number}: {what} changed nothing");
        assert!(!check(&lines, &written.anchor).clean(), "run {number}: {what} was not found");
        *found.entry(what).or_insert(0) += 1;
    }
    assert_eq!(found.len(), 14, "every way to tamper was drawn: {found:?}");
}

#[test]
fn erasing_names_is_no_tampering_and_is_counted() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut written = write(&mut random, 50, 40, 10);
    let mut named = 0;
    for line in &mut written.lines {
        if let Line::Entry(Entry { personal: Some(personal), .. }) = line {
            personal.erase();
            named += 1;
        }
    }
    let report = check(&written.lines, &written.anchor);
    assert!(report.clean() && named > 0, "{:?}", report.flaws);
    assert_eq!(report.erased, named);
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let written = write(&mut random, 30, 20, 0);
    let flaws = |change: &dyn Fn(&mut Vec<Line>)| {
        let mut lines = written.lines.clone();
        change(&mut lines);
        check(&lines, &written.anchor).flaws
    };
    assert_eq!(flaws(&|lines| lines.truncate(11)), [Flaw::Truncated { last: 10, told: 20 }]);
    assert_eq!(flaws(&|lines| lines.truncate(25)), [], "after the anchor a cut end cannot be seen");
    let dropped = flaws(&|lines| drop(lines.remove(5)));
    assert_eq!(dropped, [Flaw::Order { expected: 5, found: 6 }]);
    let rewritten = flaws(&|lines| {
        lines.remove(5);
        rechain(lines);
    });
    assert_eq!(rewritten, [Flaw::Rewritten { seq: 20 }]);
    assert_eq!(flaws(&|lines| drop(lines.remove(0)))[0], Flaw::NoBeginning);
    let cut = verify(["{\"entry\":{\"seq\":1"], None);
    assert!(cut.flaws[0].to_string().starts_with("line 1 cannot be read"), "{:?}", cut.flaws);
    assert!(verify::<&str>([], None).flaws.contains(&Flaw::NoBeginning));
}

#[test]
fn without_an_anchor_a_new_chain_looks_whole() {
    // Why anchors exist.
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut written = write(&mut random, 30, 20, 0);
    written.lines.remove(7);
    rechain(&mut written.lines);
    let text: Vec<String> = written.lines.iter().map(Line::to_json).collect();
    assert!(verify(text.iter().map(String::as_str), None).clean());
    assert!(!check(&written.lines, &written.anchor).clean());
}
