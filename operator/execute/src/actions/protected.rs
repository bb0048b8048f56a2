//! What nobody may touch through Homeostat: the system's namespaces, what carries every other pod wherever it lies, what
//! people protect, and sizes that could not be put back.

use super::Unfit;
use crate::ports::FreshTarget;
use homeostat_knowledge::guard::MOST_PER_CONTAINER;
use homeostat_knowledge::policy::ProtectedPolicy;
use homeostat_knowledge::records::Amounts;
use homeostat_knowledge::{ActionRecord, ControllerRecord, Name, ObjectKey, Parameters, Target};
use std::collections::{BTreeMap, BTreeSet};

/// Namespaces of Kubernetes itself, and those that network, DNS, storage and admission plugins are installed in by
/// their own manifests. What runs there keeps the cluster alive, and a mistake there is not undone by a restart.
pub const SYSTEM_NAMESPACES: [&str; 41] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "calico-system",
    "calico-apiserver",
    "tigera-operator",
    "cilium",
    "cilium-secrets",
    "cilium-system",
    "kube-flannel",
    "kube-ovn",
    "antrea-system",
    "metallb-system",
    "spiderpool",
    "rook-ceph",
    "longhorn-system",
    "openebs",
    "portworx",
    "ceph-csi",
    "ceph-csi-rbd",
    "ceph-csi-cephfs",
    "csi-driver",
    "topolvm-system",
    "piraeus-datastore",
    "linstor",
    "trident",
    "local-path-storage",
    "cert-manager",
    "gatekeeper-system",
    "opa",
    "opa-gatekeeper",
    "kyverno",
    "kubewarden",
    "istio-system",
    "linkerd",
    "coredns",
    "node-local-dns",
    "openshift-dns",
    "openshift-storage",
    "gke-managed-system",
    "cattle-system",
];

/// Beginnings of names that Kubernetes and its distributions keep for the system.
pub const SYSTEM_PREFIXES: [&str; 2] = ["kube-", "openshift-"];

/// Labels of the pod templates of what every other pod needs, wherever it runs, as its own manifests set them.
const CARRIERS: [(&str, &[&str], &str); 5] = [
    ("k8s-app", &["kube-dns", "coredns", "node-local-dns", "kube-dns-autoscaler"], "DNS"),
    ("app.kubernetes.io/name", &["coredns", "node-local-dns"], "DNS"),
    (
        "k8s-app",
        &[
            "kube-proxy",
            "cilium",
            "calico-node",
            "calico-typha",
            "calico-kube-controllers",
            "flannel",
            "canal",
        ],
        "network",
    ),
    ("app.kubernetes.io/name", &["cilium-agent"], "network"),
    ("app.kubernetes.io/name", &["homeostat"], "repair"),
];

/// What nobody may touch through Homeostat, whatever a tenant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    own: Name,
    namespaces: BTreeSet<Name>,
    most: Amounts,
    people: ProtectedPolicy,
}

impl Protected {
    /// The system namespaces and the one that Homeostat itself runs in.
    pub fn with_own_namespace(own: impl Into<Name>) -> Self {
        let own = own.into();
        let system = SYSTEM_NAMESPACES.into_iter().map(Name::from);
        Self {
            namespaces: system.chain([own.clone()]).collect(),
            own,
            most: Amounts::default(),
            people: ProtectedPolicy::default(),
        }
    }

    /// The same with what people protect at this moment.
    #[must_use]
    pub fn with_people(&self, people: &ProtectedPolicy) -> Self {
        Self { people: people.clone(), ..self.clone() }
    }

    /// The same, where the API server lets Homeostat give a container no more than this, as request and as limit; `None`: it
    /// does not ask.
    #[must_use]
    pub fn with_most(self, most: Amounts) -> Self {
        Self { most, ..self }
    }

    /// Nothing is protected: for looking only, never for a decision.
    pub(crate) fn none() -> Self {
        Self {
            own: Name::from(""),
            namespaces: BTreeSet::new(),
            most: Amounts::default(),
            people: ProtectedPolicy::default(),
        }
    }

    /// The namespace that Homeostat itself runs in.
    pub fn own(&self) -> &Name {
        &self.own
    }

    /// Refuses what every other pod needs, outside of the system namespaces, and what people protect by its labels.
    pub fn refuse_labels(&self, controller: &ControllerRecord) -> Result<(), Unfit> {
        self.refuse_carrier(&controller.key.object, &controller.template_labels)
    }

    /// The same by the labels that the target has at this moment, its own where it is a pod: snapshots keep those of
    /// templates only, and may be old.
    pub fn refuse_fresh(&self, target: &Target, fresh: &FreshTarget) -> Result<(), Unfit> {
        if let Some(controller) = &fresh.controller {
            self.refuse_labels(controller)?;
        }
        match fresh.pod {
            Some(_) => self.refuse_carrier(&target.key, &fresh.marks.labels),
            None => Ok(()),
        }
    }

    fn refuse_carrier(&self, key: &ObjectKey, labels: &BTreeMap<Name, Name>) -> Result<(), Unfit> {
        if self.own.is_empty() {
            return Ok(()); // For looking only.
        }
        let carries =
            |label: &str, values: &[&str]| labels.get(label).is_some_and(|found| values.contains(&&**found));
        if let Some((.., what)) = CARRIERS.iter().find(|(label, values, _)| carries(label, values)) {
            return Err(Unfit::Protected(format!("{key} serves the cluster's {what} and is never touched")));
        }
        for (label, value) in &self.people.labels {
            if let Some(found) = labels.get(label)
                && value.as_ref().is_none_or(|value| value == found)
            {
                return Err(Unfit::Protected(format!(
                    "{key} has the label {label}={found} and is never touched: spec.protected.labels of the ControlPlane \
                     names it"
                )));
            }
        }
        Ok(())
    }

    /// Refuses a change of a size that lies above what may be given: it could not be taken back.
    pub(crate) fn refuse_lasting(&self, record: &ActionRecord) -> Result<(), Unfit> {
        let Parameters::ResizePod {
            container,
            cpu_millis,
            cpu_limit_millis,
            memory_bytes,
            memory_limit_bytes,
        } = &record.parameters
        else {
            return Ok(());
        };
        let above = |what: &str, unit: &str, set: Option<u64>, before: Option<u64>, most: Option<u64>| {
            let (before, most) = (set.and(before)?, most?);
            (before > most).then(|| {
                Unfit::Protected(format!(
                    "{what} of container {container} of {} is {before}{unit}, above the {most}{unit} that Homeostat may give \
                     (the chart's value {MOST_PER_CONTAINER}): a change could not be taken back; raise that value, or \
                     change the size in its template",
                    record.target.key
                ))
            })
        };
        let before = &record.before;
        let found = above("CPU", "m", *cpu_millis, before.cpu_millis, self.most.cpu_millis)
            .or_else(|| {
                above("CPU limit", "m", *cpu_limit_millis, before.cpu_limit_millis, self.most.cpu_millis)
            })
            .or_else(|| above("memory", " bytes", *memory_bytes, before.memory_bytes, self.most.memory_bytes))
            .or_else(|| {
                let most = self.most.memory_bytes;
                above("memory limit", " bytes", *memory_limit_bytes, before.memory_limit_bytes, most)
            });
        found.map_or(Ok(()), Err)
    }

    /// Refuses targets in protected namespaces, and cluster-scoped ones.
    pub fn refuse(&self, namespace: &str) -> Result<(), Unfit> {
        if namespace.is_empty() {
            return Err(Unfit::Protected("cluster-scoped objects are not touched".to_owned()));
        }
        let reserved =
            !self.own.is_empty() && SYSTEM_PREFIXES.iter().any(|prefix| namespace.starts_with(prefix));
        if reserved || self.namespaces.contains(namespace) {
            return Err(Unfit::Protected(format!(
                "namespace {namespace} belongs to the system and is never touched"
            )));
        }
        if self.people.namespaces.contains(namespace) {
            return Err(Unfit::Protected(format!(
                "namespace {namespace} is never touched: spec.protected.namespaces of the ControlPlane names it"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::{self, ActionSpec};
    use crate::testing::{
        controller, fresh_controller, fresh_pod, pod, put_controller, record, run, run_action, runs, snapshot,
    };
    use homeostat_knowledge::{ActionKind, ControllerKind, Parameters};

    #[test]
    fn system_namespaces_and_our_own_are_never_touched() {
        let protected = Protected::with_own_namespace("homeostat");
        let reserved = ["homeostat", "", "kube-router", "openshift-ovn-kubernetes"];
        for namespace in SYSTEM_NAMESPACES.into_iter().chain(reserved) {
            assert!(protected.refuse(namespace).is_err(), "{namespace:?}");
        }
        for namespace in ["shop", "kubernetes-shop", "istio-ingress"] {
            assert!(protected.refuse(namespace).is_ok(), "{namespace}");
        }
    }

    #[test]
    fn what_carries_every_other_pod_is_known_by_its_labels() {
        let protected = Protected::with_own_namespace("homeostat");
        for (label, value, kept) in [
            ("k8s-app", "kube-dns", true),
            ("k8s-app", "calico-node", true),
            ("app.kubernetes.io/name", "cilium-agent", true),
            ("app.kubernetes.io/name", "homeostat", true),
            ("k8s-app", "shop", false),
            ("app", "coredns-dashboard", false),
        ] {
            let mut record = controller(ControllerKind::DaemonSet, "order");
            record.template_labels = [(Name::from(label), Name::from(value))].into();
            assert_eq!(protected.refuse_labels(&record).is_err(), kept, "{label}: {value}");
        }
    }

    /// DNS, wherever it lies.
    fn dns() -> BTreeMap<Name, Name> {
        BTreeMap::from([(Name::from("k8s-app"), Name::from("coredns"))])
    }

    fn why(
        spec: &dyn ActionSpec,
        record: &homeostat_knowledge::ActionRecord,
        snapshot: &homeostat_knowledge::Snapshot,
    ) -> String {
        let refused = spec.check(record, snapshot, &Protected::with_own_namespace("homeostat"));
        refused.err().map_or_else(String::new, |unfit| unfit.to_string())
    }

    #[test]
    fn runs_that_carry_every_other_pod_are_no_target_of_any_action_on_them() {
        let until = crate::testing::at(3_600);
        let start = Parameters::StartJob { cpu_millis: None, memory_bytes: None, parallelism: None };
        let resize = Parameters::ResizePod {
            container: Name::from("app"),
            cpu_millis: Some(100),
            cpu_limit_millis: None,
            memory_bytes: None,
            memory_limit_bytes: None,
        };
        for (kind, parameters) in [
            (ControllerKind::Job, Parameters::RetryJob),
            (ControllerKind::Job, start),
            (ControllerKind::CronJob, Parameters::Suspend { until }),
            (ControllerKind::CronJob, Parameters::Resume),
            (ControllerKind::CronJob, Parameters::CreateJob { slot: until }),
            (ControllerKind::CronJob, resize),
        ] {
            let record = run_action("order-1-1", kind, parameters);
            let spec = actions::spec(record.kind()).unwrap();
            let mut snapshot = runs(kind, true);
            assert!(!why(spec, &record, &snapshot).contains("the cluster's DNS"), "{kind:?}");
            let mut found = run(kind);
            found.template_labels = dns();
            put_controller(&mut snapshot, found);
            let refused = why(spec, &record, &snapshot);
            assert!(
                refused.contains("serves the cluster's DNS and is never touched"),
                "{}: {refused}",
                record.kind()
            );
        }
    }

    #[test]
    fn a_pod_that_carries_every_other_pod_is_not_resized() {
        let mut record = record("order-1-1");
        record.parameters = Parameters::ResizePod {
            container: Name::from("app"),
            cpu_millis: Some(100),
            cpu_limit_millis: None,
            memory_bytes: None,
            memory_limit_bytes: None,
        };
        let spec = actions::spec(ActionKind::ResizePod).unwrap();
        let mut snapshot = snapshot();
        assert!(!why(spec, &record, &snapshot).contains("the cluster's DNS"));
        let mut found = (**snapshot.controller_of(&record.workload).unwrap()).clone();
        found.template_labels = dns();
        put_controller(&mut snapshot, found);
        let refused = why(spec, &record, &snapshot);
        assert!(refused.contains("serves the cluster's DNS and is never touched"), "{refused}");
    }

    /// What people wrote into the `ControlPlane`.
    fn by_people(namespaces: &[&str], labels: &[(&str, Option<&str>)]) -> Protected {
        Protected::with_own_namespace("homeostat").with_people(&ProtectedPolicy {
            namespaces: namespaces.iter().copied().map(Name::from).collect(),
            labels: labels.iter().map(|(key, value)| (Name::from(*key), value.map(Name::from))).collect(),
        })
    }

    #[test]
    fn what_people_protect_is_refused_by_the_name_of_their_rule() {
        let protected = by_people(&["tapes"], &[("app", Some("webhook")), ("keep", None)]);
        let refused = protected.refuse("tapes").expect_err("named").to_string();
        assert!(refused.contains("tapes") && refused.contains("spec.protected.namespaces"), "{refused}");
        assert_eq!(protected.refuse("shop"), Ok(()));
        assert!(protected.refuse("kube-system").is_err(), "what belongs to the system stays");
        for (label, value, kept) in [
            ("app", "webhook", true),
            ("app", "order", false),
            ("keep", "", true),
            ("role", "webhook", false),
        ] {
            let mut record = controller(ControllerKind::Deployment, "order");
            record.template_labels = [(Name::from(label), Name::from(value))].into();
            let refused = protected.refuse_labels(&record).err().map(|unfit| unfit.to_string());
            assert_eq!(refused.is_some(), kept, "{label}: {value}");
            let named = |why: String| why.contains("spec.protected.labels") && why.contains(label);
            assert!(refused.is_none_or(named), "{label}: {value}");
        }
        let mut single = fresh_pod(pod());
        single.marks.labels = [(Name::from("keep"), Name::from("yes"))].into();
        assert!(protected.refuse_fresh(&record("order-1-1").target, &single).is_err(), "set a moment ago");
    }

    #[test]
    fn the_labels_of_this_moment_count_too() {
        let protected = Protected::with_own_namespace("homeostat");
        let target = record("order-1-1").target;
        let mut single = fresh_pod(pod());
        assert_eq!(protected.refuse_fresh(&target, &single), Ok(()));
        single.marks.labels = dns();
        assert!(protected.refuse_fresh(&target, &single).is_err());
        let mut whole = fresh_controller(controller(ControllerKind::Deployment, "order"));
        whole.marks.labels = dns();
        assert_eq!(protected.refuse_fresh(&target, &whole), Ok(()), "its pods do not say so");
        if let Some(record) = &mut whole.controller {
            record.template_labels = dns();
        }
        assert!(protected.refuse_fresh(&target, &whole).is_err());
        assert_eq!(Protected::none().refuse_fresh(&target, &whole), Ok(()), "for looking only");
    }
}
