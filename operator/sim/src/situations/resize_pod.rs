//! A pod asks for less than its process needs.

use super::evict_pod::{first_pod, ill_pod, pod_of, replace, touch};
use super::{Chosen, EffectRequest, Situation, same_uid, same_version};
use crate::kubernetes::{self, REQUESTS};
use crate::objects::{CONTAINER, OTHERS, OURS, edit};
use crate::server::{Refused, Server};
use homeostat_execute::ports::Field;
use homeostat_knowledge::policy::{Bounds, Permits};
use homeostat_knowledge::{
    ActionKind, Before, Entity, FindingKind, Name, Parameters, Snapshot, Timestamp, WorkloadKey,
};

/// Thousandths of a core that are enough.
const ENOUGH: u64 = 200;

/// A process that is slow for want of CPU.
pub struct StarvedPod;

impl Situation for StarvedPod {
    fn kind(&self) -> ActionKind {
        ActionKind::ResizePod
    }

    fn finding(&self) -> FindingKind {
        FindingKind::Slow
    }

    fn permits(&self) -> Permits {
        Permits { cpu_millis: Some(Bounds { min: 50, max: 400 }), ..Permits::default() }
    }

    /// Somebody has set what it asks for back, and it is too little.
    fn fall_ill(&self, server: &mut Server, workload: &WorkloadKey) {
        let Some(key) = first_pod(server, workload) else { return };
        kubernetes::fall_ill(server, &key, self.finding());
        if let Some(mut pod) = server.pods.get(&key).cloned() {
            if pod.requests != REQUESTS {
                pod.set_by = edit(Field::Resources, OTHERS, None);
            }
            pod.requests = REQUESTS;
            server.put_pod(pod);
        }
    }

    fn ailing(&self, server: &Server, workload: &WorkloadKey) -> Option<Entity> {
        ill_pod(server, workload)
    }

    fn step(&self, snapshot: &Snapshot, _: &WorkloadKey, cause: &Entity, _: Timestamp) -> Option<Chosen> {
        let pod = pod_of(snapshot, cause)?;
        let parameters = Parameters::ResizePod {
            container: Name::from(CONTAINER),
            cpu_millis: Some(ENOUGH),
            cpu_limit_millis: None,
            memory_bytes: None,
            memory_limit_bytes: None,
        };
        let before = Before { cpu_millis: REQUESTS.cpu_millis, ..Before::default() };
        Some(Chosen { target: Snapshot::pod_target(pod), parameters, before })
    }

    fn check(&self, server: &Server, request: &EffectRequest) -> Result<(), Refused> {
        let pod = server.pods.get(&request.target.key).ok_or(Refused::NotFound)?;
        same_uid(request, &pod.record.uid)?;
        same_version(request, &pod.record.resource_version)
    }

    fn apply(&self, server: &mut Server, request: &EffectRequest, now: Timestamp) {
        let Parameters::ResizePod { cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes, .. } =
            &request.parameters
        else {
            return;
        };
        let Some(mut pod) = server.pods.get(&request.target.key).cloned() else { return };
        let before = pod.requests;
        pod.requests.cpu_millis = cpu_millis.or(pod.requests.cpu_millis);
        pod.requests.cpu_limit_millis = cpu_limit_millis.or(pod.requests.cpu_limit_millis);
        pod.requests.memory_bytes = memory_bytes.or(pod.requests.memory_bytes);
        pod.requests.memory_limit_bytes = memory_limit_bytes.or(pod.requests.memory_limit_bytes);
        if pod.requests != before {
            pod.set_by = edit(Field::Resources, OURS, Some(now));
        }
        if pod.ailment == Some(self.finding()) && pod.requests.cpu_millis >= Some(ENOUGH) {
            pod.ailment = None;
        }
        server.put_pod(pod);
    }

    fn somebody_else(&self, server: &mut Server, workload: &WorkloadKey, now: Timestamp) {
        replace(server, workload, now);
    }

    fn touch(&self, server: &mut Server, workload: &WorkloadKey) {
        touch(server, workload);
    }
}
