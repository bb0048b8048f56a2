//! Files of situations. Each situation may have variants: the same one with some fields changed.

use crate::given::{Expect, Given, Label, Situation};
use crate::words;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Most variants of one situation; more would count one idea too often.
pub const MAXIMUM_VARIANTS: usize = 4;
/// Longest file, bytes.
pub const MAXIMUM_FILE: u64 = 4 * 1024 * 1024;

/// Why situations could not be read.
#[derive(Debug, Error)]
pub enum SituationError {
    /// The file or folder cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Path as given.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Larger than [`MAXIMUM_FILE`].
    #[error("{path} has {bytes} bytes, at most {MAXIMUM_FILE} are read: split it")]
    TooLong {
        /// Path as given.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Not YAML, an unknown field, or a value that a field does not take.
    #[error("{path}, line {line}, column {column}: {message}; docs/situations.md lists every field")]
    Syntax {
        /// Path as given.
        path: String,
        /// From 1; 0 when unknown.
        line: u64,
        /// From 1; 0 when unknown.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// Readable, and yet no set of situations.
    #[error("{path}: {message}")]
    Content {
        /// Path as given.
        path: String,
        /// What is wrong, and with which situation.
        message: String,
    },
}

/// One file: situations with their variants written out.
#[derive(Clone, Debug)]
pub struct SituationFile {
    /// Path as given.
    pub path: PathBuf,
    /// The playbook that acts in all of them, when the file names one.
    pub playbook: Option<String>,
    /// Number of situations without their variants.
    pub distinct: usize,
    /// Every situation, each followed by its variants.
    pub situations: Vec<Situation>,
}

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    playbook: Option<String>,
    situations: Vec<WrittenSituation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSituation {
    name: String,
    label: Label,
    #[serde(default, deserialize_with = "words::read_or_default")]
    given: Given,
    #[serde(default, deserialize_with = "words::read_or_default")]
    expect: Expect,
    #[serde(default, deserialize_with = "words::read_or_default")]
    variants: Vec<WrittenVariant>,
}

/// The fields that differ; the rest is that of the situation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVariant {
    name: String,
    #[serde(default)]
    label: Option<Label>,
    #[serde(default, rename = "given", deserialize_with = "words::read_or_default")]
    _given: Given,
    #[serde(default)]
    expect: Option<Expect>,
}

/// Reads one file.
pub fn read_file(path: &Path) -> Result<SituationFile, SituationError> {
    let shown = path.display().to_string();
    let unreadable = |source| SituationError::Unreadable { path: shown.clone(), source };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > MAXIMUM_FILE {
        return Err(SituationError::TooLong { path: shown, bytes });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(path, &text)
}

/// Reads every `.yaml` and `.yml` file below a folder, in the order of their paths.
pub fn read_folder(folder: &Path) -> Result<Vec<SituationFile>, SituationError> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let unreadable = |source| SituationError::Unreadable { path: next.display().to_string(), source };
        for entry in std::fs::read_dir(&next).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    if paths.is_empty() {
        let message =
            "no .yaml file lies in it; give a folder of situations, such as playbooks/situations".to_owned();
        return Err(SituationError::Content { path: folder.display().to_string(), message });
    }
    paths.iter().map(|path| read_file(path)).collect()
}

/// The situations of one text.
pub fn parse(path: &Path, text: &str) -> Result<SituationFile, SituationError> {
    // As plain values first: a variant is laid over its situation before defaults are filled in, and null is nothing.
    let plain: Value = read(path, text)?;
    let written: Written = match serde_json::from_value(told(&plain)) {
        Ok(written) => written,
        // What is wrong is told with its place in the text.
        Err(_) => read(path, text)?,
    };
    let wrong = |message: String| SituationError::Content { path: path.display().to_string(), message };
    let mut situations: Vec<Situation> = Vec::new();
    for (index, base) in written.situations.iter().enumerate() {
        if base.variants.len() > MAXIMUM_VARIANTS {
            return Err(wrong(format!(
                "{}: {} variants, at most {MAXIMUM_VARIANTS} are allowed",
                base.name,
                base.variants.len()
            )));
        }
        situations.push(Situation {
            name: base.name.clone(),
            label: base.label,
            given: base.given.clone(),
            expect: base.expect.clone(),
        });
        let own = &plain["situations"][index];
        for (number, variant) in base.variants.iter().enumerate() {
            let mut given = own["given"].clone();
            match &own["variants"][number]["given"] {
                Value::Null => {}
                change => lay_over(&mut given, change),
            }
            let given: Given = match given {
                Value::Null => Given::default(),
                given => serde_json::from_value(without_nulls(&given))
                    .map_err(|error| wrong(format!("{}, {}: {error}", base.name, variant.name)))?,
            };
            situations.push(Situation {
                name: format!("{}, {}", base.name, variant.name),
                label: variant.label.unwrap_or(base.label),
                given,
                expect: variant.expect.clone().unwrap_or_else(|| match variant.label {
                    Some(label) if label != base.label => Expect::default(),
                    _ => base.expect.clone(),
                }),
            });
        }
    }
    let mut names: Vec<&str> = situations.iter().map(|situation| situation.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next);
    if let Some((name, _)) = twice {
        return Err(wrong(format!("two situations are called {name:?}")));
    }
    Ok(SituationFile {
        path: path.to_owned(),
        playbook: written.playbook,
        distinct: written.situations.len(),
        situations,
    })
}

/// Fields of `change` replace those of `base`; objects are merged, lists are not, and null takes a field back.
fn lay_over(base: &mut Value, change: &Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    base.remove(key);
                } else {
                    lay_over(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (base, change) => *base = change.clone(),
    }
}

/// The same file without the fields that are null.
fn told(file: &Value) -> Value {
    let mut file = without_nulls(file);
    for situation in list(&mut file, "situations") {
        *situation = without_nulls(situation);
        for variant in list(situation, "variants") {
            *variant = without_nulls(variant);
        }
    }
    file
}

fn list<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Null takes a field of an object back to its default. Within lists it is a value: an action that was never sent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let some = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(some.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, SituationError> {
    let options: serde_saphyr::Options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let message = error.without_snippet().to_string();
        // The position is told once, by us.
        let suffix = format!(" at line {line}, column {column}");
        let message = message.strip_suffix(&suffix).unwrap_or(&message).to_owned();
        SituationError::Syntax { path: path.display().to_string(), line, column, message }
    })
}

#[cfg(test)]
#[allow(clippy::panic, clippy::expect_used, clippy::float_cmp, reason = "tests")]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<SituationFile, SituationError> {
        parse(Path::new("some.yaml"), text)
    }

    #[test]
    fn a_variant_changes_only_what_it_names() {
        let text = "
situations:
  - name: base
    label: mustAct
    given: { incident: { kind: Slow, since: 20 }, pods: [{}] }
    expect: { action: EvictPod }
    variants:
      - { name: longer, given: { incident: { since: 40 } } }
      - { name: nobody, label: mustNotAct, given: { pods: [] } }
";
        let file = read_text(text).expect("valid");
        assert_eq!((file.distinct, file.situations.len()), (1, 3));
        let [_, longer, nobody] = &file.situations[..] else { panic!("three situations") };
        assert_eq!((longer.given.incident.kind.as_str(), longer.given.incident.since), ("Slow", 40.0));
        assert_eq!((longer.given.pods.len(), longer.expect.action.as_deref()), (1, Some("EvictPod")));
        assert_eq!((nobody.label, nobody.given.pods.len()), (Label::MustNotAct, 0));
        assert_eq!(nobody.expect.action, None);
    }

    #[test]
    fn null_takes_a_field_back_to_its_default() {
        let text = "
situations:
  - name: base
    label: mustRefuse
    given: { workload: { doNotTouch: 60, replicas: 3, bounds: [1, 4] }, pods: [{}], blind: no answer }
    expect:
    variants:
      - { name: may be touched, given: { workload: { doNotTouch: null }, blind: null } }
      - { name: usual, given: { workload: null, pods: null } }
      - { name: same, given: null }
  - { name: empty, label: mustNotAct, given: null, variants: null }
";
        let file = read_text(text).expect("valid");
        let [base, touched, usual, same, empty] = &file.situations[..] else { panic!("five situations") };
        assert_eq!((touched.given.workload.do_not_touch, touched.given.workload.replicas), (None, 3));
        assert_eq!((touched.given.blind.as_deref(), touched.given.pods.len()), (None, 1));
        assert_eq!((usual.given.workload.replicas, usual.given.workload.bounds), (1, None));
        assert_eq!((usual.given.pods.len(), usual.given.blind.as_deref()), (0, Some("no answer")));
        assert_eq!(same.given.workload.do_not_touch, base.given.workload.do_not_touch);
        assert_eq!(empty.given.pods.len(), 0);
    }

    #[test]
    fn null_is_nothing_in_every_field_and_a_value_within_a_list() {
        let text = "
situations:
  - name: base
    label: mustAct
    given:
      workload: { replicas: null, target: null, labels: null, allow: null, surges: null }
      tenant: { level: null, levels: { EvictPod: Observe } }
      pods: [{ node: null }]
      actions: [{ sent: null }]
      incident: { kind: null, since: null }
    expect: { action: null }
    variants:
      - { name: usual levels, label: null, given: { tenant: { levels: null }, node: { pressures: null } } }
";
        let file = read_text(text).expect("valid");
        let [base, usual] = &file.situations[..] else { panic!("two situations") };
        let workload = &base.given.workload;
        assert_eq!((workload.replicas, workload.target.as_str(), workload.surges), (1, "Deployment", true));
        assert_eq!((base.given.tenant.levels.len(), usual.given.tenant.levels.len()), (1, 0));
        assert_eq!((base.given.actions[0].sent, base.given.pods[0].node.as_deref()), (None, None));
        assert_eq!((base.given.incident.kind.as_str(), base.given.incident.since), ("Hung", 1.5));
    }

    #[test]
    fn counts_that_no_cluster_has_are_refused() {
        for wrong in
            ["workload: { replicas: -1 }", "tenant: { workloads: 4000000000 }", "node: { others: 100000 }"]
        {
            let text = format!("situations:\n  - name: a\n    label: mustAct\n    given:\n      {wrong}\n");
            let error = read_text(&text).expect_err("refused");
            assert!(matches!(error, SituationError::Syntax { line: 5, .. }), "{error}");
            assert!(error.to_string().contains("out of range"), "{error}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_with_its_place() {
        let unknown =
            "situations:\n  - name: a\n    label: mustAct\n    given: { incident: { colour: red } }\n";
        let wrong =
            "situations:\n  - name: a\n    label: mustAct\n    given:\n      incident: { kind: Sad }\n";
        for (text, part, line) in [(unknown, "colour", 4), (wrong, "Sad", 5)] {
            let error = read_text(text).expect_err("unknown");
            assert!(matches!(error, SituationError::Syntax { line: found, .. } if found == line), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn one_idea_does_not_count_too_often() {
        let variants: String = (0..5).map(|number| format!("      - {{ name: v{number} }}\n")).collect();
        let text = format!("situations:\n  - name: a\n    label: mustAct\n    variants:\n{variants}");
        assert!(read_text(&text).expect_err("five").to_string().contains("at most 4"));
        let twice = "situations:\n  - { name: a, label: mustAct }\n  - { name: a, label: mustWait }\n";
        assert!(read_text(twice).expect_err("twice").to_string().contains("two situations"));
    }
}
