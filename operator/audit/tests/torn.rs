//! Files that are cut at any byte, or whose bytes are flipped: noticed, set aside, and recording goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use homeostat_audit::store::{self, StoreLimits};
use homeostat_audit::{Anchor, Decision, Journal, Salt, verify};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

const ENTRIES: u64 = 4;
const WHO: &str = "homeostat-0";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn decision(number: u64) -> Decision {
    let personal = number.is_multiple_of(2).then(|| json!({ "approvedBy": "ana" }));
    Decision { key: String::new(), facts: json!({ "what": "ActionSent", "action": number }), personal }
}

fn salts() -> impl FnMut() -> Salt {
    let mut next = 0_u8;
    move || {
        next = next.wrapping_add(1);
        Salt([next; 16])
    }
}

/// A folder with one chain of [`ENTRIES`], which is spoilt and put back again and again.
struct Record {
    folder: PathBuf,
    file: PathBuf,
    whole: Vec<u8>,
    chain: String,
    anchors: BTreeMap<String, Anchor>,
}

impl Record {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("homeostat-torn-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let (mut journal, _) =
            Journal::open(&folder, WHO, StoreLimits::default(), &BTreeMap::new(), at(0)).unwrap();
        (0..ENTRIES).for_each(|number| journal.record(decision(number), at(1), salts()));
        journal.flush(at(1), salts()).unwrap();
        let chain = journal.chain().to_owned();
        let file = store::chains(&folder).unwrap()[&chain][0].clone();
        let whole = std::fs::read(&file).unwrap();
        let anchors = BTreeMap::from([(chain.clone(), journal.anchor(at(1)).unwrap())]);
        Self { folder, file, whole, chain, anchors }
    }

    /// A process starts with this file there: its chain, what it says is broken, and the chain that it then has after
    /// another entry, as it is checked.
    fn start(&self, bytes: &[u8], anchors: &BTreeMap<String, Anchor>, writes: bool) -> Started {
        for file in std::fs::read_dir(&self.folder).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        std::fs::write(&self.file, bytes).unwrap();
        let open =
            |second| Journal::open(&self.folder, WHO, StoreLimits::default(), anchors, at(second)).unwrap();
        let (mut journal, broken) = open(10);
        let chain = journal.chain().to_owned();
        let same = chain == self.chain;
        if writes {
            journal.record(decision(9), at(11), salts());
            journal.flush(at(11), salts()).unwrap();
            drop(journal);
            // Another start goes on with what this one began: no second set-aside for the same damage.
            let (journal, again) = open(20);
            assert_eq!((journal.chain(), again), (chain.as_str(), None));
        }
        let files = store::chains(&self.folder).unwrap().remove(&chain).unwrap_or_default();
        let lines: Vec<String> =
            store::lines(&files).map(|line| line.unwrap().trim_end().to_owned()).collect();
        let report = verify(lines.iter().map(String::as_str), None);
        let now = std::fs::read(&self.file).unwrap();
        if !same {
            assert_eq!(now, bytes, "what was set aside is left as it is, for people");
        }
        Started { same, broken, clean: !writes || report.clean(), last: report.last }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Started {
    same: bool,
    broken: Option<String>,
    clean: bool,
    last: Option<u64>,
}

#[test]
fn a_record_that_is_cut_at_any_byte_is_gone_on_with_or_set_aside() {
    let record = Record::new("cut");
    let (mut went_on, mut set_aside) = (0, 0);
    let (all, last) =
        (record.whole.len(), record.whole.trim_ascii_end().iter().rposition(|byte| *byte == b'\n'));
    // Each byte of the last entry, and some of all the others.
    for length in (0..last.unwrap()).step_by(7).chain(last.unwrap()..all) {
        let cut = &record.whole[..length];
        // A start reads; now and then it also writes, which waits for the disk.
        let writes = length % 32 == 0;
        let entries = (cut.split(|byte| *byte == b'\n').count() as u64).saturating_sub(2);
        let started = record.start(cut, &BTreeMap::new(), writes);
        let context = format!("cut at {length}: {:?}", started.broken);
        assert!(started.clean, "{context}");
        if started.same {
            went_on += 1;
            assert_eq!(started.broken, None, "{context}");
            if writes {
                assert_eq!(started.last, Some(entries + 1), "{context}: behind the last whole entry");
            }
        } else {
            set_aside += 1;
        }
        // Who has told how far it was knows that something is missing.
        let known = record.start(cut, &record.anchors, writes);
        assert!(!known.same && known.broken.is_some() && known.clean, "{context}");
    }
    assert!(went_on > 200 && set_aside > 0, "{went_on} {set_aside}");
}

#[test]
fn flipped_bytes_are_noticed_wherever_they_are_and_recording_goes_on() {
    let record = Record::new("flip");
    let mut drawn = 11_u64;
    let mut draw = |below: usize| {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(drawn >> 33).unwrap() % below
    };
    let mut noticed = 0;
    for round in 0..1_000 {
        let mut bytes = record.whole.clone();
        for _ in 0..=draw(3) {
            let place = draw(bytes.len());
            bytes[place] ^= u8::try_from(1 + draw(255)).unwrap();
        }
        let started = record.start(&bytes, &record.anchors, round % 64 == 0);
        let context = format!("round {round}: {:?}", started.broken);
        assert!(started.clean, "{context}");
        assert_eq!(started.same, started.broken.is_none(), "{context}: set aside and told, or whole");
        noticed += usize::from(!started.same);
    }
    // A digit of a digest in capitals says the same; little else does.
    assert!(noticed >= 990, "{noticed} of 1,000");
    // No line can be read.
    for change in [|byte: u8| !byte, |_: u8| 0, |_: u8| b'\n', |_: u8| 0xff] {
        let bytes: Vec<u8> = record.whole.iter().map(|byte| change(*byte)).collect();
        for anchors in [&record.anchors, &BTreeMap::new()] {
            let started = record.start(&bytes, anchors, true);
            assert!(!started.same && started.broken.is_some() && started.clean, "{:?}", started.broken);
        }
    }
}
