//! All recorded situations: no wrong action, and of the right ones at least nine in ten.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use homeostat_knowledge::ActionKind;
use homeostat_playbooks::shipped;
use homeostat_situations::{Label, read_folder, replay_folder, run, score, test_playbooks};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../playbooks/situations")
}

#[test]
fn every_shipped_playbook_decides_its_recorded_situations_rightly() {
    let files = read_folder(&folder()).expect("readable");
    let (score, outcomes) = run(&files, &shipped());
    let totals = score::totals(&score);
    assert_eq!(score.wrong_actions, 0, "\n{totals}{}", score::table(&outcomes, true));
    assert!(score.recall() >= 0.9, "\n{totals}{}", score::table(&outcomes, true));
    assert_eq!(score.right, score.situations, "\n{totals}{}", score::table(&outcomes, true));
}

#[test]
fn there_are_enough_situations_to_say_something() {
    let (score, outcomes) = run(&read_folder(&folder()).expect("readable"), &shipped());
    assert!(score.situations >= 300 && score.distinct >= 60, "{}", score::totals(&score));
    let mut by_label: BTreeMap<Label, usize> = BTreeMap::new();
    for outcome in &outcomes {
        *by_label.entry(outcome.expected).or_default() += 1;
    }
    assert!(score.to_act >= 60 && score.situations - score.to_act >= 150, "{by_label:?}");
}

#[test]
fn every_shipped_playbook_has_situations_of_every_kind() {
    let files = read_folder(&folder()).expect("readable");
    for playbook in shipped() {
        let own = files.iter().find(|file| file.playbook.as_deref() == Some(&*playbook.name));
        let labels: BTreeSet<Label> =
            own.into_iter().flat_map(|file| &file.situations).map(|situation| situation.label).collect();
        let mut needed = BTreeSet::from([Label::MustNotAct]);
        if playbook.ladder.iter().any(|rung| rung.action != ActionKind::Notify) {
            needed.extend([Label::MustWait, Label::MustGiveUp]);
            assert!(labels.iter().any(|label| label.acts()), "{}: {labels:?}", playbook.name);
        } else if &*playbook.name != "no-data" {
            needed.insert(Label::MustGiveUp);
        }
        assert!(needed.is_subset(&labels), "{}: {labels:?}, needed {needed:?}", playbook.name);
    }
}

#[test]
fn a_wrong_answer_is_counted_as_what_it_is() {
    let text = "
situations:
  - { name: acts although it must not, label: mustNotAct, given: { pods: [{}] } }
  - { name: acts on another, label: mustAct, given: { pods: [{}] }, expect: { target: order-b } }
  - { name: does nothing, label: mustAct, given: { incident: { ended: true }, pods: [{}] } }
  - { name: acts rightly, label: mustAct, given: { pods: [{}] }, expect: { target: order-a } }
";
    let file = homeostat_situations::file::parse(Path::new("x.yaml"), text).expect("valid");
    let (score, _) = run(&[file], &shipped());
    assert_eq!((score.situations, score.right, score.wrong_actions), (4, 1, 2));
    assert_eq!((score.to_act, score.acted), (3, 1));
}

#[test]
fn every_shipped_playbook_file_passes_its_own_test() {
    let library = folder().join("../library");
    let paths: Vec<_> = shipped().iter().map(|own| library.join(format!("{}.yaml", own.name))).collect();
    let checked = test_playbooks(&paths, None).expect("readable");
    assert_eq!(checked.failure, None, "{}", checked.text);
    let error = test_playbooks(&[library.join("absent.yaml")], None).expect_err("there is none");
    assert!(error.to_string().contains("absent.yaml"), "{error}");
}

#[test]
fn a_drain_of_people_s_own_acts_waits_and_gives_up_rightly() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drain/empty-dead-node.yaml");
    let checked = test_playbooks(&[own], None).expect("readable");
    assert_eq!(checked.failure, None, "{}", checked.text);
    assert!(checked.text.contains("11 situations"), "{}", checked.text);
}

#[test]
fn a_folder_without_situations_is_no_success() {
    let error = replay_folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path(), None, false);
    assert!(error.expect_err("nothing to read").to_string().contains("no .yaml file"));
}
