//! The house as ARCHITECTURE.md describes it: what the page says is read from the page and compared with the code,
//! so that neither can drift.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file longer than this is hard to read; longer ones are listed in [`LONG`] with a reason.
const LONGEST: usize = 600;

/// Longer files and why they are better whole.
const LONG: [(&str, &str); 0] = [];

/// Words by which the sample application would be known to the product: its names, and those of its services that are no
/// words of the field, as a string. `order` is one ("in order", "order by").
const SAMPLE_WORDS: [&str; 8] = [
    "food-delivery",
    "food_delivery",
    "kitchen",
    "payment-provider",
    "\"consumer\"",
    "\"accounting\"",
    "\"notification\"",
    "\"gateway\"",
];

/// Crates that decide: no runtime, no client, no I/O can come in by a dependency.
const PURE: [&str; 5] =
    ["homeostat-knowledge", "homeostat-models", "homeostat-playbooks", "homeostat-analyse", "homeostat-plan"];

/// What those must not use.
const IMPURE: [&str; 8] = ["tokio", "kube", "k8s-openapi", "reqwest", "hyper", "axum", "tonic", "rand"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the crate lies two folders deep")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn architecture() -> String {
    read(&root().join("ARCHITECTURE.md"))
}

fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
    })
}

fn members() -> Vec<&'static Package> {
    metadata().packages.iter().collect()
}

/// Every file below a folder whose name ends so, without build output and hidden folders.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(entry.path());
            } else if kind.is_file() && name.ends_with(end) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Rows of the table below a heading: cells, trimmed.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, after) = text.split_once(heading).unwrap_or_else(|| panic!("ARCHITECTURE.md has no `{heading}`"));
    let rows: Vec<Vec<String>> = after
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table below `{heading}`");
    rows
}

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Workspace crates that a crate uses, of one kind of dependency.
fn uses(package: &Package, kind: DependencyKind) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == kind && dependency.path.is_some())
        .map(|dependency| dependency.name.clone())
        .collect()
}

#[test]
fn crates_use_exactly_the_crates_that_the_table_of_edges_lists() {
    let text = architecture();
    let listed: BTreeMap<String, BTreeSet<String>> = table(&text, "## Edges")
        .into_iter()
        .map(|row| (quoted(&row[0]).pop_first().expect("a crate name in backticks"), quoted(&row[2])))
        .collect();
    let real: BTreeMap<String, BTreeSet<String>> = members()
        .into_iter()
        .map(|package| (package.name.to_string(), uses(package, DependencyKind::Normal)))
        .collect();
    assert_eq!(real, listed, "left: Cargo.toml files; right: ARCHITECTURE.md");
    for row in table(&text, "## Edges") {
        let name = quoted(&row[0]).pop_first().unwrap();
        let folder = quoted(&row[1]).pop_first().expect("a folder in backticks");
        let package = members().into_iter().find(|package| *package.name == *name).unwrap();
        assert_eq!(package.manifest_path, root().join(folder).join("Cargo.toml").to_str().unwrap());
    }
}

#[test]
fn nothing_depends_on_the_tests_the_sample_or_the_binary() {
    for package in members() {
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development] {
            for leaf in ["homeostat-e2e", "homeostat-sim", "food-delivery", "homeostat"] {
                // The tests on a real API server compare the simulated one with it.
                let compared = kind == DependencyKind::Development
                    && (package.name.as_str(), leaf) == ("homeostat-e2e", "homeostat-sim");
                assert!(compared || !uses(package, kind).contains(leaf), "{} uses {leaf}", package.name);
            }
        }
        assert!(uses(package, DependencyKind::Build).is_empty(), "{}", package.name);
    }
}

#[test]
fn crates_that_decide_have_no_way_to_the_world() {
    for package in members().into_iter().filter(|package| PURE.contains(&package.name.as_str())) {
        for dependency in package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal) {
            assert!(!IMPURE.contains(&dependency.name.as_str()), "{} uses {}", package.name, dependency.name);
        }
    }
}

#[test]
fn only_the_cluster_crate_and_the_wiring_have_a_client() {
    let clients: BTreeSet<&str> = members()
        .into_iter()
        .filter(|package| {
            package.dependencies.iter().any(|one| one.kind == DependencyKind::Normal && one.name == "kube")
        })
        .map(|package| package.name.as_str())
        .collect();
    // crds derives the kinds; e2e and the sample, whose beat makes Jobs, are no part of the product.
    assert_eq!(
        clients,
        BTreeSet::from(["homeostat", "homeostat-cluster", "homeostat-crds", "homeostat-e2e", "water-dss"])
    );
    for file in files(&root().join("operator/homeostat/src"), ".rs") {
        let text = read(&file);
        assert!(!text.contains("kube::Api") && !text.contains("Api::"), "{} makes requests", short(&file));
    }
}

#[test]
fn no_product_file_knows_the_sample_application() {
    let mut folders: Vec<PathBuf> =
        ["crds/src", "models/src", "playbooks/src", "playbooks/library", "charts"]
            .map(|path| root().join(path))
            .to_vec();
    for crate_folder in std::fs::read_dir(root().join("operator")).unwrap() {
        folders.push(crate_folder.unwrap().path().join("src"));
    }
    for folder in folders {
        for file in files(&folder, "") {
            let text = read(&file).to_lowercase();
            for word in SAMPLE_WORDS {
                assert!(!text.contains(word), "{} mentions {word}", short(&file));
            }
        }
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for (path, reason) in LONG {
        assert!(root().join(path).is_file() && reason.len() > 20, "{path}");
    }
    for file in files(&root(), ".rs") {
        let lines = read(&file).lines().count();
        let listed = LONG.iter().any(|(path, _)| *path == short(&file));
        assert!(
            lines <= LONGEST || listed,
            "{} has {lines} lines: split it, or list it in LONG with a reason",
            short(&file)
        );
    }
}

#[test]
fn every_crate_forbids_unsafe_code_and_says_what_it_is_for() {
    let workspace = read(&root().join("Cargo.toml"));
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for package in members() {
        let manifest = read(package.manifest_path.as_std_path());
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} has lints of its own", package.name);
        assert!(package.description.as_ref().is_some_and(|text| text.len() > 20), "{}", package.name);
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
        assert!(package.publish.as_ref().is_some_and(Vec::is_empty), "{} could be published", package.name);
    }
}

#[test]
fn every_invariant_has_a_test() {
    let tests: BTreeSet<String> = files(&root(), ".rs")
        .iter()
        .flat_map(|file| {
            let text = read(file);
            let names: Vec<String> = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split_once('(').map(|(name, _)| name.to_owned()))
                .filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
                .collect();
            names
        })
        .collect();
    let rows = table(&architecture(), "## Invariants");
    assert!(rows.len() >= 10);
    for row in rows {
        let named = quoted(row.last().unwrap());
        assert!(!named.is_empty(), "no test: {row:?}");
        for test in named {
            assert!(tests.contains(&test), "ARCHITECTURE.md names the test {test}, which does not exist");
        }
    }
}

/// Documents of the repository.
fn documents() -> Vec<PathBuf> {
    files(&root(), ".md")
}

#[test]
fn links_and_paths_in_documents_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{}: the link {target} leads nowhere", short(&document));
        }
    }
    // These two are maps: every path in backticks is a place.
    for name in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for path in quoted(&outside_blocks(&read(&root().join(name)))) {
            let is_path = path.contains('/')
                && path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
                && [".rs", ".md", ".yaml", ".toml", "/"].iter().any(|end| path.ends_with(end));
            assert!(!is_path || root().join(&path).exists(), "{name}: there is no {path}");
        }
    }
}

/// A document without its blocks of code.
fn outside_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn decisions_are_numbered_and_say_why() {
    let records = files(&root().join("docs/adr"), ".md");
    assert!(records.len() >= 8);
    for (index, record) in records.iter().enumerate() {
        let name = record.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{:04}-", index + 1)), "{name} is out of order");
        let text = read(record);
        for heading in ["## Context", "## Decision", "## Consequences"] {
            assert!(text.contains(heading), "{name} has no `{heading}`");
        }
    }
}

#[test]
fn a_service_of_ones_own_takes_ten_lines_in_the_readme() {
    let readme = read(&root().join("README.md"));
    let block = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("kind: Workload"))
        .expect("the README shows a Workload");
    assert!(block.lines().count() <= 10, "with its Tenant: {block}");
    for object in block.split("---\n") {
        let value: serde_json::Value =
            serde_saphyr::from_str(object).unwrap_or_else(|error| panic!("{error}\n{object}"));
        let checked = match value["kind"].as_str() {
            Some("Tenant") => serde_json::from_value::<homeostat_crds::v1alpha1::Tenant>(value).map(drop),
            Some("Workload") => serde_json::from_value::<homeostat_crds::v1alpha1::Workload>(value).map(drop),
            other => panic!("unexpected kind {other:?}"),
        };
        checked.unwrap_or_else(|error| panic!("{error}\n{object}"));
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let text = read(&root().join("docs/adr/0002-dependencies.md"));
    let named = quoted(&text);
    let manifest = read(&root().join("Cargo.toml"));
    let (_, after) = manifest.split_once("[workspace.dependencies]").unwrap();
    let listed = after.lines().skip(1).take_while(|line| !line.starts_with('['));
    for line in listed.filter(|line| !line.starts_with('#')) {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        assert!(
            name.starts_with("homeostat-") || named.contains(name),
            "docs/adr/0002-dependencies.md does not say why {name} is used"
        );
    }
}
