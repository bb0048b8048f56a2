//! What an action changes, for people who decide on it: the fields of the target before and after, as a unified diff.

use homeostat_crds::common::{ANNOTATION_HELD_UNTIL, ANNOTATION_RESTARTED_BY};
use homeostat_knowledge::runs::made_name;
use homeostat_knowledge::{ActionRecord, GuardName, GuardResult, Parameters, Timestamp};
use std::fmt::Display;

/// Known from the moment on when the API server took the change for a try; `None` before, and where nothing changes.
///
/// What was not read is shown as `(unset)`; values of a template, which may hold secrets, are not shown at all.
pub(super) fn diff(record: &ActionRecord) -> Option<String> {
    let tried = |(name, result)| name == GuardName::DryRun && result == GuardResult::Passed;
    if !record.guards.iter().any(|guard| tried((guard.name, guard.result))) {
        return None;
    }
    let lines = changed(record)?;
    Some(format!("{} {}\n{}", record.target.kind, record.target.key, lines.0.join("\n")))
}

/// Lines of a diff.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    /// Nothing where it is the same.
    fn change(mut self, field: &str, before: Option<impl Display>, after: impl Display) -> Self {
        let before = before.map_or_else(|| "(unset)".to_owned(), |before| before.to_string());
        let after = after.to_string();
        if before != after {
            self.0.extend([format!("- {field}: {before}"), format!("+ {field}: {after}")]);
        }
        self
    }

    fn change_if(self, field: &str, before: Option<impl Display>, after: Option<impl Display>) -> Self {
        match after {
            Some(after) => self.change(field, before, after),
            None => self,
        }
    }

    fn add(mut self, line: impl Display) -> Self {
        self.0.push(format!("+ {line}"));
        self
    }

    fn drop(mut self, line: impl Display) -> Self {
        self.0.push(format!("- {line}"));
        self
    }

    fn held(self, until: &Timestamp) -> Self {
        self.add(format!("metadata.annotations[{ANNOTATION_HELD_UNTIL}]: {until:.0}"))
    }
}

fn changed(record: &ActionRecord) -> Option<Lines> {
    let before = &record.before;
    let lines = Lines::default();
    Some(match &record.parameters {
        Parameters::EvictPod { grace_seconds } => {
            let grace = grace_seconds.map_or_else(String::new, |seconds| format!(", {seconds} s to end"));
            lines
                .drop(format!("this pod (UID {}{grace})", record.target.uid))
                .add("a new pod by its controller")
        }
        Parameters::RollingRestart => lines
            .add(format!("spec.template.metadata.annotations[{ANNOTATION_RESTARTED_BY}]: {}", record.id.0))
            .add("every pod anew, one after the other"),
        Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } => {
            lines.change("spec.replicas", before.replicas, replicas)
        }
        Parameters::DriveBounds { bounds, until } => lines
            .change("spec.minReplicas", before.bounds.map(|bounds| bounds.min), bounds.min)
            .change("spec.maxReplicas", before.bounds.map(|bounds| bounds.max), bounds.max)
            .held(until),
        Parameters::RollBack { revision } => {
            let present = before.revision.as_ref().map(|revision| format!("of revision {revision}"));
            lines.change("spec.template", present, format!("of {revision}"))
        }
        Parameters::Cordon { until } => {
            lines.change("spec.unschedulable", Some(before.cordoned.unwrap_or(false)), true).held(until)
        }
        Parameters::Uncordon => lines.change("spec.unschedulable", before.cordoned, false),
        Parameters::Suspend { until } => {
            lines.change("spec.suspend", Some(before.suspended.unwrap_or(false)), true).held(until)
        }
        Parameters::Resume => lines.change("spec.suspend", before.suspended, false),
        Parameters::RetryJob => lines.add("a new Job of the same template"),
        Parameters::StartJob { cpu_millis, memory_bytes, parallelism } => {
            let resources = "spec.template.spec.containers[*].resources";
            let begun = match before.suspended {
                Some(true) => lines.change("spec.suspend", Some(true), false),
                _ => lines.add("a new Job of the same template"),
            };
            begun
                .change_if("spec.parallelism", before.parallelism, *parallelism)
                .change_if(&format!("{resources}.requests.cpu"), cores(before.cpu_millis), cores(*cpu_millis))
                .change_if(
                    &format!("{resources}.requests.memory"),
                    bytes(before.memory_bytes),
                    bytes(*memory_bytes),
                )
                .change_if(&format!("{resources}.limits.memory"), None::<&str>, bytes(*memory_bytes))
        }
        Parameters::CreateJob { slot } => {
            lines.add(format!("a new Job {} of its jobTemplate, suspended", made_name(&record.target, *slot)))
        }
        Parameters::ResizePod {
            container,
            cpu_millis,
            cpu_limit_millis,
            memory_bytes,
            memory_limit_bytes,
        } => {
            let of_pod = &*record.target.kind == "Pod";
            let spec = if of_pod { "spec" } else { "spec.jobTemplate.spec.template.spec" };
            let resources = format!("{spec}.containers[{container}].resources");
            // The limit of a template is its request; that of a pod stays where none is named.
            let limit = memory_limit_bytes.or(memory_bytes.filter(|_| !of_pod));
            lines
                .change_if(&format!("{resources}.requests.cpu"), cores(before.cpu_millis), cores(*cpu_millis))
                .change_if(
                    &format!("{resources}.limits.cpu"),
                    cores(before.cpu_limit_millis),
                    cores(*cpu_limit_millis),
                )
                .change_if(
                    &format!("{resources}.requests.memory"),
                    bytes(before.memory_bytes),
                    bytes(*memory_bytes),
                )
                .change_if(
                    &format!("{resources}.limits.memory"),
                    bytes(before.memory_limit_bytes.or(before.memory_bytes)),
                    bytes(limit),
                )
        }
        Parameters::Notify { .. } => return None,
    })
}

fn cores(millis: Option<u64>) -> Option<String> {
    millis.map(|millis| format!("{millis}m"))
}

fn bytes(bytes: Option<u64>) -> Option<String> {
    bytes.map(|bytes| {
        let whole = bytes >> 20;
        if whole << 20 == bytes { format!("{whole}Mi") } else { bytes.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::eviction;
    use homeostat_knowledge::policy::Bounds;
    use homeostat_knowledge::{Before, GuardReport, Name, ObjectKey, Target};

    fn shown(target: (&str, &str), parameters: Parameters, before: Before) -> String {
        let mut record = eviction();
        record.target = Target {
            kind: Name::from(target.0),
            key: ObjectKey::new(if target.0 == "Node" { "" } else { "shop" }, target.1),
            ..record.target
        };
        (record.parameters, record.before) = (parameters, before);
        record.guards.push(GuardReport {
            name: GuardName::DryRun,
            result: GuardResult::Passed,
            observed: String::new(),
            limit: String::new(),
            message: String::new(),
        });
        diff(&record).unwrap_or_default()
    }

    #[test]
    fn people_see_each_field_before_and_after() {
        let until: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let before = Before { replicas: Some(2), ..Before::default() };
        assert_eq!(
            shown(("Deployment", "order"), Parameters::ScaleUp { replicas: 4 }, before),
            "Deployment shop/order\n- spec.replicas: 2\n+ spec.replicas: 4"
        );
        let before = Before { revision: Some("7".into()), ..Before::default() };
        assert_eq!(
            shown(("Deployment", "order"), Parameters::RollBack { revision: "order-58f".into() }, before),
            "Deployment shop/order\n- spec.template: of revision 7\n+ spec.template: of order-58f"
        );
        let held = "+ metadata.annotations[homeostat.dev/held-until]: 2026-11-22T10:00:00Z";
        assert_eq!(
            shown(("Node", "blue"), Parameters::Cordon { until }, Before::default()),
            format!("Node blue\n- spec.unschedulable: false\n+ spec.unschedulable: true\n{held}")
        );
        let before = Before { bounds: Some(Bounds { min: 2, max: 10 }), ..Before::default() };
        let drive = Parameters::DriveBounds { bounds: Bounds { min: 6, max: 10 }, until };
        assert_eq!(
            shown(("HorizontalPodAutoscaler", "order"), drive, before),
            format!(
                "HorizontalPodAutoscaler shop/order\n- spec.minReplicas: 2\n+ spec.minReplicas: 6\n{held}"
            )
        );
    }

    #[test]
    fn sizes_are_shown_in_the_units_of_a_manifest_and_where_they_are() {
        let resize = Parameters::ResizePod {
            container: "app".into(),
            cpu_millis: Some(250),
            cpu_limit_millis: Some(500),
            memory_bytes: Some(256 << 20),
            memory_limit_bytes: Some((512 << 20) + 1),
        };
        let before =
            Before { cpu_limit_millis: Some(250), memory_bytes: Some(128 << 20), ..Before::default() };
        let resources = "spec.containers[app].resources";
        let fields = |resources: &str| {
            format!(
                "- {resources}.requests.cpu: (unset)\n+ {resources}.requests.cpu: 250m\n\
                 - {resources}.limits.cpu: 250m\n+ {resources}.limits.cpu: 500m\n\
                 - {resources}.requests.memory: 128Mi\n+ {resources}.requests.memory: 256Mi\n\
                 - {resources}.limits.memory: 128Mi\n+ {resources}.limits.memory: 536870913"
            )
        };
        let pod = shown(("Pod", "order-x"), resize.clone(), before.clone());
        assert_eq!(pod, format!("Pod shop/order-x\n{}", fields(resources)));
        let next = shown(("CronJob", "night"), resize, before);
        let template = format!("spec.jobTemplate.spec.template.{resources}");
        assert_eq!(next, format!("CronJob shop/night\n{}", fields(&template)));
    }

    #[test]
    fn a_run_that_begins_and_a_run_again_are_told_apart() {
        let start = Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: Some(4) };
        let waits = Before { suspended: Some(true), parallelism: Some(1), ..Before::default() };
        assert_eq!(
            shown(("Job", "night-1"), start.clone(), waits),
            "Job shop/night-1\n- spec.suspend: true\n+ spec.suspend: false\n- spec.parallelism: 1\n+ spec.parallelism: 4"
        );
        let failed = Before { suspended: Some(false), parallelism: Some(1), ..Before::default() };
        assert!(shown(("Job", "night-1"), start, failed).contains("+ a new Job of the same template"));
        let create = Parameters::CreateJob { slot: Timestamp::UNIX_EPOCH };
        assert_eq!(
            shown(("CronJob", "night"), create, Before::default()),
            "CronJob shop/night\n+ a new Job night-backlog-0 of its jobTemplate, suspended"
        );
    }

    #[test]
    fn nothing_is_shown_before_the_try_and_where_nothing_changes() {
        assert_eq!(diff(&eviction()), None);
        let notify = Parameters::Notify { message: "look".into() };
        assert_eq!(shown(("Deployment", "order"), notify, Before::default()), "");
    }
}
