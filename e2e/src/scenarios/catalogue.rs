//! The committed list of faults, with what must become of each.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kinds::Kind;
use crate::demo::DemoError;

/// What must become of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Label {
    /// Healed without a person.
    MustHeal,
    /// Reported with the right cause first, and left alone.
    MustHandOver,
}

/// What an incident must name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Named {
    /// The broken service, its pod or its address.
    #[default]
    Service,
    /// The neighbour that takes what others need, or the node.
    Neighbour,
    /// The node.
    Node,
}

/// One line of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entry {
    /// Which.
    pub kind: Kind,
    /// What must become of it.
    pub label: Label,
    /// What is done, in words.
    pub does: String,
    /// What an incident must name.
    #[serde(default)]
    pub cause: Named,
    /// How many effects can be useful.
    #[serde(default)]
    useful_effects: Option<usize>,
}

impl Entry {
    /// How many effects can be useful; more are wrong.
    pub fn useful_effects(&self) -> usize {
        match (self.useful_effects, self.label) {
            (Some(effects), _) => effects,
            // A repair, and one that follows it up.
            (None, Label::MustHeal) => 2,
            (None, Label::MustHandOver) => 0,
        }
    }
}

/// Reads the catalogue of the clone at `root`.
pub fn read(root: &Path) -> Result<Vec<Entry>, DemoError> {
    let path = root.join("e2e/scenarios/catalogue.yaml");
    let text = std::fs::read_to_string(&path).map_err(|source| DemoError::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    serde_saphyr::from_str(&text).map_err(|error| DemoError::Broken(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_catalogue_has_every_kind_once_and_enough_of_each_label() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let entries = read(&root).unwrap();
        let kinds: BTreeSet<Kind> = entries.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds.len(), entries.len());
        assert_eq!(kinds, Kind::ALL.into_iter().collect());
        let heal = entries.iter().filter(|entry| entry.label == Label::MustHeal).count();
        assert!(kinds.len() >= 20 && heal >= 14, "{heal} of {}", kinds.len());
        assert!(entries.iter().all(|e| e.useful_effects() <= 2));
    }
}
