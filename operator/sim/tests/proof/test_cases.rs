//! docs/test-cases.md has every case once, and what it names is a test that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Scenarios of the product have a harness of their own, which lists them here.
const PRODUCT: &str = "e2e/tests/product/";

fn read(path: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cases that the specification numbers; there is no 55 to 59 and no 67 to 69.
fn cases() -> BTreeSet<String> {
    (1..=54).chain(60..=66).chain(70..=80).map(|number| format!("T{number:02}")).collect()
}

/// Is `name` a test in `text`: its function comes right after a `#[test]`, with nothing but other attributes between.
fn is_test(text: &str, name: &str) -> bool {
    text.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = text[..line].lines().rev().map(str::trim);
        let mut attributes = before.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
    })
}

/// Why `named`, a text in backticks, is nothing that can be run; `None` for words that name no test.
fn wrong(named: &str, known: &mut BTreeMap<String, String>) -> Option<String> {
    let mut file = |path: &str| known.entry(path.to_owned()).or_insert_with(|| read(path)).clone();
    if let Some(command) = named.strip_prefix("make ") {
        let target = command.split(' ').next().unwrap_or_default();
        let there = file("Makefile").contains(&format!("\n{target}:"));
        return (!there).then(|| format!("there is no `make {target}`"));
    }
    let (path, name) = named.split_once("::")?;
    if let Some(module) = path.strip_prefix(PRODUCT) {
        let call = format!("{}::{name}(stage)", module.trim_end_matches(".rs"));
        return (!file(&format!("{PRODUCT}main.rs")).contains(&call))
            .then(|| format!("{call} is no scenario"));
    }
    (!is_test(&file(path), name)).then(|| format!("{path} has no test {name}"))
}

#[test]
fn every_case_has_one_row_and_names_tests_that_exist() {
    let (mut rows, mut states) = (Vec::new(), BTreeMap::<String, usize>::new());
    let (mut problems, mut known) = (Vec::new(), BTreeMap::new());
    let text = read("docs/test-cases.md");
    for line in text.lines().filter(|line| line.starts_with("| T")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [case, words, state, tests] = cells[..] else { panic!("four cells: {line}") };
        assert!(words.len() > 20, "{case} says what the case is");
        rows.push(case.to_owned());
        *states.entry(state.to_owned()).or_default() += 1;
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let runs = named.iter().any(|name| name.contains("::") || name.starts_with("make "));
        let honest = match state {
            "covered" => runs && !tests.contains("Missing:"),
            "in part" => runs && tests.contains("Missing:"),
            "not covered" => tests.starts_with("not covered: because "),
            _ => false,
        };
        if !honest {
            problems.push(format!("{case} does not say what its state `{state}` means: {tests}"));
        }
        problems.extend(
            named.into_iter().filter_map(|name| wrong(name, &mut known)).map(|why| format!("{case}: {why}")),
        );
    }
    assert_eq!(problems, [""; 0]);
    let all = rows.len();
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), cases());
    assert_eq!(all, cases().len(), "a case has two rows");
    let count = |state: &str| states.get(state).copied().unwrap_or_default();
    let told = format!(
        "Of {all} cases (the numbers 55 to 59 and 67 to 69 are not given), {} are covered, {} in part and {} not at all.",
        count("covered"),
        count("in part"),
        count("not covered"),
    );
    assert!(text.contains(&told), "the page does not say: {told}");
}
