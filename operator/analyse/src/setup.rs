//! Why the containers of a placed pod are not made: a volume, a `ConfigMap`, a `Secret`, the pod's network.
//!
//! The kubelet says it in the reason and message of a waiting container, and in Events about the pod. Both are texts of
//! others: they are cut, cleaned and shown, and nothing is decided by them except the kind of the finding.

use crate::redact::hide;
use homeostat_knowledge::kubelet::{NO_IMAGE, NOT_MADE};
use homeostat_knowledge::records::{EventRecord, SetupWait};
use homeostat_knowledge::{Evidence, FindingKind, PodRecord, SignedDuration};

/// Events that say why a pod is not set up; the kubelet tries again and repeats them.
const EVENTS: [&str; 4] = ["FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"];

/// Named by the kubelet for so long before it is a finding: its caches and a slow attach often need a second try.
const TOLD_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Not said why for so long before it is a finding: large images take minutes. It is also how long a Deployment waits
/// for progress unless told otherwise (`progressDeadlineSeconds`).
const UNTOLD_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Characters of a text that are shown.
const SHOWN: usize = 256;

/// The last Event about a pod that says why it is not set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    reason: String,
    note: String,
}

/// What an Event says of a pod's set-up; `None` for Events about other things.
pub(crate) fn said(event: &EventRecord) -> Option<Said> {
    let about = event.warning && &*event.kind == "Pod" && EVENTS.contains(&&*event.reason);
    about.then(|| Said { reason: event.reason.to_string(), note: event.note.to_string() })
}

/// The kubelet says of a container that it cannot make it, so that what ran before is not the matter any more.
pub(crate) fn cannot_be_made(pod: &PodRecord) -> bool {
    pod.setup.as_ref().is_some_and(|wait| NOT_MADE.contains(&&*wait.reason))
}

/// The finding about a pod that waits for its containers for so long; `None` while it may still be usual.
pub(crate) fn judge(
    wait: &SetupWait,
    said: Option<&Said>,
    waited: SignedDuration,
) -> Option<(FindingKind, Vec<Evidence>)> {
    let reason = shown(&wait.reason);
    if NO_IMAGE.contains(&&*wait.reason) {
        return Some((FindingKind::ImagePullFailed, vec![Evidence::new("kubelet", reason)]));
    }
    let text = match (&wait.message, said) {
        (Some(message), _) => Some(format!("{reason}: {}", shown(message))),
        (None, Some(said)) => Some(format!("{}: {}", said.reason, shown(&said.note))),
        (None, None) if NOT_MADE.contains(&&*wait.reason) => Some(reason.clone()),
        (None, None) => None,
    };
    if waited < if text.is_some() { TOLD_AFTER } else { UNTOLD_AFTER } {
        return None;
    }
    let Some(text) = text else {
        let seconds = waited.as_secs();
        let untold = format!("{reason} for {seconds} s, and no Event says why");
        return Some((FindingKind::SetupFailed, vec![Evidence::new("kubelet", untold)]));
    };
    let mut evidence = Vec::with_capacity(2);
    if let Some((kind, name)) = missing(&text) {
        evidence.push(Evidence::new("waits for", format!("{kind} {name}")));
    }
    evidence.push(Evidence::new("kubelet", text));
    Some((FindingKind::SetupFailed, evidence))
}

/// The object that a kubelet's message names, most exact first: a volume is named beside what it is made of.
fn missing(text: &str) -> Option<(&'static str, &str)> {
    let kinds = [
        ("ConfigMap", "configmap"),
        ("Secret", "secret"),
        ("PersistentVolumeClaim", "persistentvolumeclaim"),
        ("volume", "volume"),
    ];
    // Same length as the text, so that places in one are places in the other.
    let lower = text.to_ascii_lowercase();
    kinds.into_iter().find_map(|(kind, word)| {
        lower.match_indices(word).find_map(|(at, _)| Some((kind, named(&text[at + word.len()..])?)))
    })
}

/// The name right after a kind, as kubelets write it: ` "NAME"`, ` NAMESPACE/NAME` or `s=[NAME`.
fn named(rest: &str) -> Option<&str> {
    let quoted = rest.strip_prefix(" \"").or_else(|| rest.strip_prefix("s=["));
    let name = match quoted {
        Some(rest) => rest.split(['"', ' ', ']']).next()?,
        None => rest.strip_prefix(' ')?.split(|letter: char| letter != '/' && !of_name(letter)).next()?,
    };
    let name = match name.split_once('/') {
        Some((_, name)) => name,
        None if quoted.is_some() => name,
        None => return None,
    };
    (!name.is_empty() && name.len() <= 253 && name.chars().all(of_name)).then_some(name)
}

fn of_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || letter == '.'
}

fn shown(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    hide(&text).chars().take(SHOWN).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use homeostat_knowledge::{Name, ObjectKey};

    fn wait(reason: &str, message: Option<&str>) -> SetupWait {
        SetupWait { reason: reason.into(), message: message.map(Name::from) }
    }

    fn event(reason: &str, note: &str) -> EventRecord {
        EventRecord {
            kind: "Pod".into(),
            object: ObjectKey::new("shop", "order-a"),
            uid: None,
            warning: true,
            reason: reason.into(),
            note: note.into(),
        }
    }

    #[test]
    fn what_a_kubelet_misses_is_named() {
        for (text, expected) in [
            ("configmap \"order-settings\" not found", Some(("ConfigMap", "order-settings"))),
            (
                "couldn't find key port in ConfigMap shop/order-settings",
                Some(("ConfigMap", "order-settings")),
            ),
            ("couldn't find key token in Secret shop/keys", Some(("Secret", "keys"))),
            (
                "MountVolume.SetUp failed for volume \"cfg\" : secret \"keys\" not found",
                Some(("Secret", "keys")),
            ),
            ("MountVolume.SetUp failed for volume \"pvc-1\" : timed out", Some(("volume", "pvc-1"))),
            ("Multi-Attach error for volume \"pvc-1\" Volume is already used", Some(("volume", "pvc-1"))),
            (
                "Unable to attach or mount volumes: unmounted volumes=[data keys]: timed out",
                Some(("volume", "data")),
            ),
            ("secret \"$(reboot)\" not found", None),
            ("secret \"\" not found", None),
            ("plugin type=\"bridge\" failed: no free address", None),
            ("größe: a volume", None),
        ] {
            assert_eq!(missing(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_named_is_a_finding_after_half_a_minute_and_what_is_not_after_ten() {
        let seconds = SignedDuration::from_secs;
        let creating = wait("ContainerCreating", None);
        let heard = said(&event("FailedMount", "configmap \"a\" not found")).unwrap();
        assert_eq!(judge(&creating, Some(&heard), seconds(29)), None);
        let (kind, evidence) = judge(&creating, Some(&heard), seconds(30)).unwrap();
        assert_eq!((kind, evidence[0].observed.as_str()), (FindingKind::SetupFailed, "ConfigMap a"));
        assert_eq!(evidence[1].observed, "FailedMount: configmap \"a\" not found");
        assert_eq!(judge(&creating, None, seconds(599)), None);
        assert!(judge(&creating, None, seconds(600)).is_some());
        let refused = wait("CreateContainerConfigError", None);
        assert!(judge(&refused, None, seconds(30)).is_some());
        let image = judge(&wait("ErrImagePull", Some("not found")), None, SignedDuration::ZERO).unwrap();
        assert_eq!(image.0, FindingKind::ImagePullFailed, "an init container's image");
    }

    #[test]
    fn texts_of_others_are_cut_and_cleaned() {
        let text = format!("secret \"keys\" not found\u{1b}[2J\n{}", "x".repeat(2_000));
        let (_, evidence) =
            judge(&wait("CreateContainerConfigError", Some(&text)), None, TOLD_AFTER).unwrap();
        assert_eq!(evidence[0].observed, "Secret keys");
        assert!(!evidence[1].observed.contains(char::is_control));
        assert!(evidence[1].observed.chars().count() <= 2 + SHOWN + "CreateContainerConfigError".len());
    }

    #[test]
    fn other_events_say_nothing_of_it() {
        assert_eq!(said(&event("Unhealthy", "probe failed")), None);
        assert_eq!(said(&EventRecord { warning: false, ..event("FailedMount", "x") }), None);
        assert_eq!(said(&EventRecord { kind: "Node".into(), ..event("FailedMount", "x") }), None);
    }
}
