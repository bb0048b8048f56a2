//! What people can do: `kubectl` commands. Only names that the API server accepts get into a command; text
//! from telemetry never does.

use homeostat_knowledge::fight;
use homeostat_knowledge::{ControllerKind, Entity, FindingKind, Incident, Snapshot};

/// Commands for the first-ranked cause of an incident, most useful first, at most six.
pub fn commands(incident: &Incident, snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(cause) = incident.top_cause() else {
        lines.extend(in_namespace(incident, "get events --sort-by=.lastTimestamp"));
        return lines;
    };
    match &cause.entity {
        Entity::Pod { key, .. } if plain(&key.name) && plain(&key.namespace) => {
            let (namespace, name) = (&key.namespace, &key.name);
            lines.push(format!("kubectl -n {namespace} describe pod {name}"));
            if cause.kind == FindingKind::SetupFailed {
                lines.push(format!("kubectl -n {namespace} get configmaps,persistentvolumeclaims"));
            } else if crashes(cause.kind) {
                lines.push(format!("kubectl -n {namespace} logs {name} --previous"));
            }
            lines.push(format!("kubectl -n {namespace} logs {name}"));
        }
        Entity::Workload { .. } if cause.kind == FindingKind::JobFailed => {
            // The last try, whose pod is still there.
            let tries = incident.findings.iter().filter(|finding| finding.kind == cause.kind);
            let pods = tries.filter_map(|finding| match &finding.entity {
                Entity::Pod { key, .. } if plain(&key.name) && plain(&key.namespace) => {
                    Some((finding.since, key))
                }
                _ => None,
            });
            if let Some((_, key)) = pods.max() {
                lines.push(format!("kubectl -n {} logs {}", key.namespace, key.name));
            }
        }
        Entity::Node { name } if plain(name) => lines.push(format!("kubectl describe node {name}")),
        _ => lines.extend(of_what_fills(cause.kind, incident)),
    }
    if let Some(controller) = incident.workload.as_ref().and_then(|key| snapshot.controller_of(key))
        && let Some((_, kind)) = controller.key.kind.api()
        && plain(&controller.key.object.name)
        && plain(&controller.key.object.namespace)
    {
        let (namespace, name) = (&controller.key.object.namespace, &controller.key.object.name);
        let object = format!("{}/{name}", kind.to_lowercase());
        lines.extend(of_the_dispute(cause.kind, incident, &object));
        if crashes(cause.kind)
            || matches!(
                cause.kind,
                FindingKind::ErrorBurst | FindingKind::ImagePullFailed | FindingKind::SetupFailed
            )
        {
            lines.push(format!("kubectl -n {namespace} rollout history {object}"));
            lines.push(format!("kubectl -n {namespace} rollout undo {object}"));
        }
        if cause.kind == FindingKind::VolumeFilling && runs(controller.key.kind) {
            lines.push(format!("kubectl -n {namespace} exec {object} -- du -hd 2 PATH"));
        }
        if cause.kind == FindingKind::EphemeralStorageFilling && runs(controller.key.kind) {
            lines.push(format!("kubectl -n {namespace} exec {object} -- du -xhd 2 /"));
            lines.push(format!("kubectl -n {namespace} rollout restart {object}"));
        }
        lines.push(format!("kubectl -n {namespace} describe {object}"));
    }
    lines.extend(in_namespace(incident, "get events --sort-by=.lastTimestamp"));
    lines.truncate(5);
    lines.extend(in_namespace(incident, &format!("get incident {} -o yaml", incident.id)));
    lines
}

/// What is missing, how much time is left, or who takes what back, is what people need first; the analysis cut and cleaned the
/// kubelet's words.
pub(crate) fn begins_with_evidence(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::SetupFailed
            | FindingKind::VolumeFilling
            | FindingKind::QuotaFilling
            | FindingKind::EphemeralStorageFilling
            | FindingKind::OwnershipConflict
    )
}

/// Who sets which field, and how either of the two gives it up: a Workload that only recommends changes no size.
fn of_the_dispute(kind: FindingKind, incident: &Incident, object: &str) -> Vec<String> {
    let Some(workload) = incident.workload.as_ref().filter(|_| kind == FindingKind::OwnershipConflict) else {
        return Vec::new();
    };
    let (namespace, name) = (&workload.namespace, &workload.name);
    let mut lines = vec![format!("kubectl -n {namespace} get {object} -o yaml --show-managed-fields")];
    if plain(name) && plain(namespace) {
        lines.push(format!(
            "kubectl -n {namespace} patch workload {name} --type merge -p '{{\"spec\":{{\"scaling\":{{\"mode\":\"Recommend\"}}}}}}'"
        ));
        lines.push(fight::RESET.to_owned());
    }
    lines
}

/// How full it is and what makes more room. Words in capitals are for people to fill in: a signal does not name its claim.
/// Growing a claim needs a class whose `allowVolumeExpansion` is true.
fn of_what_fills(kind: FindingKind, incident: &Incident) -> Vec<String> {
    let told: &[&str] = match kind {
        FindingKind::VolumeFilling => &[
            "get persistentvolumeclaims",
            "patch persistentvolumeclaim CLAIM -p '{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"SIZE\"}}}}'",
        ],
        FindingKind::QuotaFilling => &[
            "describe resourcequotas",
            "get deployments,statefulsets,daemonsets,jobs",
            "get pods,persistentvolumeclaims --sort-by=.metadata.creationTimestamp",
        ],
        _ => &[],
    };
    let mut lines: Vec<String> = told.iter().filter_map(|command| in_namespace(incident, command)).collect();
    if kind == FindingKind::VolumeFilling {
        lines.insert(lines.len().min(1), "kubectl get storageclasses".to_owned());
    }
    lines
}

/// `kubectl exec` finds a pod of it.
fn runs(kind: ControllerKind) -> bool {
    matches!(kind, ControllerKind::Deployment | ControllerKind::StatefulSet | ControllerKind::DaemonSet)
}

fn in_namespace(incident: &Incident, command: &str) -> Option<String> {
    (plain(&incident.namespace) && plain(incident.id.as_str()))
        .then(|| format!("kubectl -n {} {command}", incident.namespace))
}

fn crashes(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::Crashed | FindingKind::BackingOff | FindingKind::CrashLoop | FindingKind::OutOfMemory
    )
}

/// A name that needs no quoting in a shell: a DNS name.
fn plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}
