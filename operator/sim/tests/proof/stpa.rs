//! docs/stpa.md is complete, and what it names exists.

use homeostat_execute::actions;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FAILURES: [&str; 4] = ["missing", "wrong", "mistimed", "too long or short"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of all functions in the tests and sources below `operator`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn each_row_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/stpa.md")).expect("docs/stpa.md");
    let mut known = BTreeSet::new();
    functions(&root().join("operator"), &mut known);
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [action, failure, what, how, tests] = cells[..] else { panic!("five cells: {line}") };
        assert!(what.len() > 20 && how.len() > 10, "{line}");
        let fresh = rows.entry(action.trim_matches('`').to_owned()).or_default().insert(failure.to_owned());
        assert!(fresh, "twice: {action} {failure}");
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{action} {failure} names no test");
        for name in named {
            assert!(known.contains(name), "{action} {failure}: there is no test {name}");
        }
    }
    let failures: BTreeSet<String> = FAILURES.map(str::to_owned).into();
    let expected: BTreeMap<String, BTreeSet<String>> = actions::ALL
        .iter()
        .filter(|spec| spec.changes_state())
        .map(|spec| (spec.kind().to_string(), failures.clone()))
        .collect();
    assert_eq!(rows, expected, "left: docs/stpa.md; right: every action that changes something");
}
