//! Where Kueue is installed, it orders jobs; two orderers on the same capacity would undo each other's work.

use serde::{Deserialize, Serialize};

/// Label that hands a Job to a queue of Kueue.
pub const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";

/// What was found of Kueue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// It was answered what there is; until then a labelled Job is left alone.
    pub known: bool,
    /// Its definitions are served by the API server.
    pub installed: bool,
    /// `LocalQueue`s of the job's namespace, by name.
    pub queues: Vec<String>,
    /// Value of the label on the Job, if it has one: its owner's, or Kueue's own where the namespace has a default queue.
    pub label: Option<String>,
}

/// Who orders a job's runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Orderer {
    /// We start runs when it is their turn.
    Homeostat {
        /// Why.
        reason: String,
    },
    /// A Job is made at once, suspended, in this queue; only its size is ours.
    Kueue {
        /// Name of the queue.
        queue: String,
        /// Why.
        reason: String,
    },
}

/// Who orders a job's runs. The label decides: unless it is told to manage Jobs without it, Kueue starts none that has none.
pub fn orderer(found: &Found) -> Orderer {
    let ours = |reason: String| Orderer::Homeostat { reason };
    let left = |queue: &str, reason: String| Orderer::Kueue { queue: queue.to_owned(), reason };
    if let (false, Some(label)) = (found.known, &found.label) {
        let why = format!(
            "label {QUEUE_LABEL} names queue {label}, and it is not known yet whether Kueue is installed"
        );
        return left(label, why);
    }
    if !found.installed {
        return match &found.label {
            Some(label) => ours(format!("label {QUEUE_LABEL} names {label}, but Kueue is not installed")),
            None => ours("Kueue is not installed".to_owned()),
        };
    }
    match (&found.label, found.queues.as_slice()) {
        (Some(label), queues) if queues.contains(label) => {
            left(label, format!("label {QUEUE_LABEL} names queue {label}"))
        }
        // Kueue keeps such a Job suspended until the queue exists: starting it ourselves would go round a quota.
        (Some(label), _) => {
            left(label, format!("label {QUEUE_LABEL} names queue {label}, which does not exist: create it"))
        }
        (None, []) => ours("the namespace has no queue of Kueue".to_owned()),
        (None, queues) => ours(format!(
            "the job names no queue of Kueue: label it {QUEUE_LABEL} to leave it to one of {}",
            queues.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(installed: bool, queues: &[&str], label: Option<&str>) -> Found {
        Found {
            known: true,
            installed,
            queues: queues.iter().map(|queue| (*queue).to_owned()).collect(),
            label: label.map(str::to_owned),
        }
    }

    #[test]
    fn jobs_are_left_to_a_queue_that_is_there_and_ordered_here_otherwise() {
        let left = |found: Found| match orderer(&found) {
            Orderer::Kueue { queue, .. } => Some(queue),
            Orderer::Homeostat { .. } => None,
        };
        assert_eq!(left(found(false, &[], None)), None);
        assert_eq!(left(found(false, &[], Some("night"))), None);
        let unknown = |label| Found { known: false, ..found(false, &[], label) };
        assert_eq!(left(unknown(Some("night"))).as_deref(), Some("night"));
        assert_eq!(left(unknown(None)), None);
        assert_eq!(left(found(true, &[], None)), None);
        assert_eq!(left(found(true, &["night"], None)), None, "Kueue would never start it");
        assert_eq!(left(found(true, &["day", "night"], None)), None);
        assert_eq!(left(found(true, &["day", "night"], Some("day"))).as_deref(), Some("day"));
        assert_eq!(left(found(true, &["day"], Some("typo"))).as_deref(), Some("typo"));
    }

    #[test]
    fn a_label_without_its_queue_says_what_to_do() {
        let Orderer::Kueue { reason, .. } = orderer(&found(true, &[], Some("typo"))) else {
            panic!("left to Kueue")
        };
        assert!(reason.contains("create it"), "{reason}");
    }
}
