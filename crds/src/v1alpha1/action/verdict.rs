//! Whether an action was right, as far as anybody knows. The same for reports and for the command line.

use crate::common::ANNOTATION_VERDICT;
use std::collections::BTreeMap;

/// What a person said of an action by its annotation `homeostat.dev/verdict`: `Right` or `Wrong`. Any other word says
/// nothing.
pub fn word_of_a_person(annotations: &BTreeMap<String, String>) -> Option<bool> {
    match annotations.get(ANNOTATION_VERDICT).map(String::as_str) {
        Some("Right") => Some(true),
        Some("Wrong") => Some(false),
        _ => None,
    }
}

/// Whether what is done for the Workload `acted_on` is aimed at what the incident is about. `cause`: kind and name of its
/// first cause, `workload`: the Workload that this one is or belongs to, both of its status. `None` where it cannot be told.
pub fn aimed_at_cause(cause: Option<(&str, &str)>, workload: Option<&str>, acted_on: &str) -> Option<bool> {
    match cause {
        // What is done to a node serves a Workload of the node's name. That of the pods on it may be a part of that.
        Some(("Node", node)) => (node == acted_on).then_some(true),
        // Nothing inside of the cluster was broken.
        Some(("External" | "Source", _)) => Some(false),
        _ => Some(workload? == acted_on),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_says_right_or_wrong_and_nothing_else() {
        let said = |word: &str| {
            word_of_a_person(&BTreeMap::from([(ANNOTATION_VERDICT.to_owned(), word.to_owned())]))
        };
        assert_eq!((said("Right"), said("Wrong"), said("perhaps")), (Some(true), Some(false), None));
        assert_eq!(word_of_a_person(&BTreeMap::new()), None);
    }

    #[test]
    fn it_is_aimed_at_the_cause_when_that_is_what_it_serves() {
        let pod = Some(("Pod", "cart-x"));
        assert_eq!(aimed_at_cause(pod, Some("cart"), "cart"), Some(true));
        assert_eq!(aimed_at_cause(pod, Some("stock"), "cart"), Some(false));
        assert_eq!(aimed_at_cause(None, None, "cart"), None);
        let outside = Some(("External", "pay.example:443"));
        assert_eq!(aimed_at_cause(outside, Some("cart"), "cart"), Some(false), "only the first that suffers");
        let node = Some(("Node", "node-2"));
        assert_eq!(aimed_at_cause(node, Some("cart"), "node-2"), Some(true));
        assert_eq!(aimed_at_cause(node, Some("cart"), "cart"), None, "it may be a part of a drain");
    }
}
