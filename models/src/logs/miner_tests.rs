use super::*;
use proptest::prelude::*;

fn miner() -> Miner {
    Miner::new(MinerConfig::default()).expect("a valid setting")
}

fn small() -> MinerConfig {
    MinerConfig {
        max_clusters: 50,
        max_siblings: 8,
        remembered_shapes: 64,
        max_line_bytes: 256,
        max_words: 16,
        ..MinerConfig::default()
    }
}

#[test]
fn lines_of_one_statement_share_an_id_and_a_template() {
    let mut miner = miner();
    let first = miner.push(b"2026-01-02 10:00:01 INFO web: user alice logged in from 10.0.0.1 after 3 ms");
    let second = miner.push(b"2026-01-02 10:00:02 INFO web: user bob logged in from 10.0.0.2 after 12 ms");
    let third = miner.push(b"2026-01-02 10:00:03 ERROR web: database is gone");
    assert_eq!((first.id, first.new, second.new, second.count), (second.id, true, false, 2));
    assert_ne!(third.id, first.id);
    assert_eq!(third.severity, Some(Severity::Error));
    assert_eq!(miner.template(first.id).as_deref(), Some("user <*> logged in from <*> after <*> ms"));
    assert_eq!(miner.template(third.id).as_deref(), Some("database is gone"));
}

#[test]
fn words_that_say_what_happened_keep_templates_apart() {
    let mut miner = miner();
    let paused = miner.push(b"VM Paused (Lifecycle Event)").id;
    let resumed = miner.push(b"VM Resumed (Lifecycle Event)").id;
    assert_ne!(paused, resumed);
}

#[test]
fn a_word_with_many_values_becomes_variable() {
    let mut miner = miner();
    let names = ["amber", "birch", "cedar", "dahlia", "elder", "fern", "ginkgo", "hazel", "iris", "juniper"];
    let ids: Vec<u64> =
        names.iter().map(|name| miner.push(format!("greeted {name} at the door").as_bytes()).id).collect();
    assert_eq!(ids[7..], [ids[6]; 3], "{ids:?}");
    assert_eq!(miner.template(ids[9]).as_deref(), Some("greeted <*> at the door"));
    // A line keeps the id that it was given before.
    assert_eq!(miner.push(b"greeted cedar at the door").id, ids[2]);
}

#[test]
fn binary_and_huge_lines_are_data() {
    let mut miner = miner();
    let huge = vec![b'x'; 1 << 20];
    let id = miner.push(&huge).id;
    assert_eq!(miner.push(&huge).id, id);
    let binary: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let id = miner.push(&binary).id;
    assert!(miner.template(id).expect("kept").contains('\u{fffd}'));
    miner.push(b"");
    miner.push(b"\xff\xfe");
    assert!(miner.bytes() < 2 << 20, "{} bytes", miner.bytes());
}

#[test]
fn two_hundred_thousand_shapes_stay_below_the_counted_bound_and_ids_are_never_given_twice() {
    let config = small();
    let mut miner = Miner::new(config).expect("a valid setting");
    let mut largest = 0;
    let mut last_new = None;
    for turn in 0..200_000_u64 {
        // Letters only, so that nothing is masked; lengths of 1 to 40 words.
        let word: String =
            (0..12).map(|place| char::from(b'a' + ((turn >> (2 * place)) % 26) as u8)).collect();
        let line = vec![word; (turn % 40) as usize + 1].join(" ");
        let mined = miner.push(line.as_bytes());
        if mined.new {
            assert!(last_new.is_none_or(|last| mined.id > last));
            last_new = Some(mined.id);
        }
        largest = largest.max(miner.bytes());
    }
    assert!(miner.len() <= 50);
    // Text and word table of a cluster, the shapes, and as much again for capacities.
    let cluster = 3 * config.max_line_bytes + 24 * config.max_words + 256;
    let bound = 2 * (config.max_clusters * cluster + config.remembered_shapes * 24) + 65_536;
    assert!(largest <= bound, "{largest} bytes, the bound is {bound}");
}

#[test]
fn the_least_recently_used_template_makes_room() {
    let mut miner = Miner::new(MinerConfig { max_clusters: 2, ..small() }).expect("a valid setting");
    let kept = miner.push(b"alpha one").id;
    let gone = miner.push(b"beta two").id;
    miner.push(b"alpha one");
    miner.push(b"gamma three");
    assert!(miner.template(kept).is_some() && miner.template(gone).is_none());
    assert!(miner.push(b"beta two").id > gone, "a new id for a template that was let go");
}

#[test]
fn settings_and_states_that_cannot_work_are_refused() {
    let error =
        Miner::new(MinerConfig { remembered_shapes: 100, ..small() }).expect_err("not a power of two");
    assert_eq!(error.to_string(), "remembered_shapes is 100, it must be a power of two, 16 to 4194304");
    let error = Miner::new(MinerConfig { similarity: f64::NAN, ..small() }).expect_err("NaN");
    assert_eq!(error.to_string(), "similarity is NaN, it must be 0 to 1");
    let mut miner = Miner::new(small()).expect("a valid setting");
    miner.push(b"one line");
    let good = serde_json::to_value(&miner).expect("serialises");
    for (pointer, value) in [
        ("/clusters/0/1/text", serde_json::json!([1])),
        ("/next_id", serde_json::json!(0)),
        ("/config/max_words", serde_json::json!(0)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).expect("a field") = value;
        assert!(serde_json::from_value::<Miner>(bad).is_err(), "{pointer}");
    }
}

/// Lines as fuzzers make them: pieces of real ones, random bytes, repeats.
fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        Just(b"2026-01-02 10:00:01,123 ".to_vec()),
        Just(b"INFO ".to_vec()),
        Just(b"[main] ".to_vec()),
        Just(b"a.b.C: ".to_vec()),
        Just(b"<*> ".to_vec()),
        Just(b"Jul ".to_vec()),
        Just(b"user=root ".to_vec()),
        Just(b"| ".to_vec()),
        Just(b"((((".to_vec()),
        "[a-c]{1,2} ".prop_map(String::into_bytes),
        "[0-9]{1,12}[.:-]?".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat()), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_mined_within_bounds(lines in lines()) {
        let config = MinerConfig { max_clusters: 8, max_siblings: 3, remembered_shapes: 16, max_line_bytes: 64, max_words: 6, ..small() };
        let mut miner = Miner::new(config).expect("a valid setting");
        for line in &lines {
            let mined = miner.push(line);
            prop_assert!(mined.message <= line.len());
            prop_assert!(miner.len() <= 8);
            prop_assert!(miner.template(mined.id).is_some());
            prop_assert_eq!(mined.new, mined.count == 1);
        }
        let all = miner.templates();
        prop_assert!(all.len() == miner.len() && all.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_restored_miner_goes_on_as_if_never_stopped(lines in lines(), cut in 0_usize..60) {
        let config = MinerConfig { max_clusters: 12, max_siblings: 4, remembered_shapes: 16, ..small() };
        let mut miner = Miner::new(config).expect("a valid setting");
        let cut = cut.min(lines.len());
        for line in &lines[..cut] {
            miner.push(line);
        }
        let text = serde_json::to_string(&miner).expect("serialises");
        let mut restored: Miner = serde_json::from_str(&text).expect("deserialises");
        for line in &lines[cut..] {
            prop_assert_eq!(miner.push(line), restored.push(line));
        }
        prop_assert_eq!(miner.templates(), restored.templates());
    }

    #[test]
    fn later_lines_change_no_id_given_before(lines in lines()) {
        let ids = |lines: &[Vec<u8>]| -> Vec<u64> {
            let mut miner = miner();
            lines.iter().map(|line| miner.push(line).id).collect()
        };
        let all = ids(&lines);
        let half = ids(&lines[..lines.len() / 2]);
        prop_assert_eq!(&all[..half.len()], half.as_slice());
    }
}
