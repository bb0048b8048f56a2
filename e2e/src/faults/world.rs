//! What fault injectors need of the cluster: pods, signals, the application's fault switch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::helper::Helper;
use super::signals::Signals;
use crate::truth::{At, Observer, PodView};

/// Port of the application's fault switch.
const ADMIN_PORT: u16 = 8081;
/// Key of the configuration file in its `ConfigMap`.
const CONFIG_KEY: &str = "config.json";
/// What breaks it: no JSON.
const BROKEN: &str = "{ \"listen\": \"0.0.0.0:8080\",\n";
/// A service that does not serve within this time cannot be broken.
const SERVES: Duration = Duration::from_mins(1);
/// A kubelet shows a changed `ConfigMap` within seconds of the pod's next change.
const SHOWN: Duration = Duration::from_secs(100);

/// Why a fault could not be put on or taken back.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// No pod of the service serves.
    #[error("no pod of {service} served within {} s, so it could not be broken; look at its pods and events", limit.as_secs())]
    NotServing {
        /// The service.
        service: String,
        /// How long it was awaited.
        limit: Duration,
    },
    /// The API server refused.
    #[error("the API server refused to {action}: {source}")]
    Api {
        /// What was asked.
        action: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// A signal could not be sent.
    #[error("cannot signal {target}: {reason}")]
    Signal {
        /// Pod and container.
        target: String,
        /// Why.
        reason: String,
    },
    /// A process that carries a fault did not start.
    #[error("`{command}`, which carries the fault, did not put it on: {reason}")]
    Helper {
        /// The command line.
        command: String,
        /// Why.
        reason: String,
    },
    /// The changed configuration did not reach the node.
    #[error("the node did not show the broken configuration of {service} within {} s", limit.as_secs())]
    NotShown {
        /// The service.
        service: String,
        /// How long it was awaited.
        limit: Duration,
    },
}

fn refused(action: impl Into<String>) -> impl FnOnce(kube::Error) -> FaultError {
    let action = action.into();
    move |source| FaultError::Api { action, source: Box::new(source) }
}

/// The cluster as fault injectors see it.
pub struct World {
    /// The API server.
    pub client: Client,
    /// What has been seen.
    pub observer: Observer,
    /// How signals reach processes.
    pub signals: Signals,
    /// Namespace of each service.
    pub namespaces: BTreeMap<String, String>,
    /// The process that carries the present fault, if one does.
    pub helper: Helper,
    good_configs: Mutex<BTreeMap<String, String>>,
}

impl World {
    /// A world with nothing broken.
    pub fn new(
        client: Client,
        observer: Observer,
        signals: Signals,
        namespaces: BTreeMap<String, String>,
    ) -> Self {
        Self {
            client,
            observer,
            signals,
            namespaces,
            helper: Helper::default(),
            good_configs: Mutex::default(),
        }
    }

    fn namespace(&self, service: &str) -> &str {
        self.namespaces.get(service).map_or("default", String::as_str)
    }

    fn pods(&self, service: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace(service))
    }

    /// The pod that serves, waited for.
    pub async fn serving(&self, service: &str) -> Result<PodView, FaultError> {
        let end = Instant::now() + SERVES;
        loop {
            if let Some(pod) = self.observer.lock().pods.serving(service) {
                return Ok(pod);
            }
            if Instant::now() > end {
                return Err(FaultError::NotServing { service: service.to_owned(), limit: SERVES });
            }
            self.observer.changed(Duration::from_millis(100)).await;
        }
    }

    /// Pods of the service with a running container.
    pub fn running(&self, service: &str) -> Vec<PodView> {
        self.observer.lock().pods.of(service).filter(|pod| pod.running.is_some()).cloned().collect()
    }

    /// Sends a signal to the first process of the pod's container and says when.
    pub async fn signal(&self, pod: &PodView, signal: Signal) -> Result<At, FaultError> {
        self.signals.send(pod, signal).await
    }

    /// Switches a fault inside the process and says when that was asked for.
    pub async fn switch(&self, pod: &PodView, fault: &Value) -> Result<At, FaultError> {
        let path = format!("/api/v1/namespaces/{}/pods/{}:{ADMIN_PORT}/proxy/fault", pod.namespace, pod.name);
        let action = format!("pass a fault on to {}", pod.name);
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(fault.to_string().into_bytes())
            .map_err(|error| refused(action.clone())(kube::Error::HttpError(error)))?;
        let at = At::now();
        self.client.request_text(request).await.map_err(refused(action))?;
        Ok(at)
    }

    /// Switches faults off in every process of the service that can still be reached.
    pub async fn faults_off(&self, service: &str) -> Result<(), FaultError> {
        let none = json!({ "kind": "none" });
        for pod in self.running(service) {
            let off = self.switch(&pod, &none);
            // A process that ends anyway needs no switch.
            let _ = tokio::time::timeout(Duration::from_secs(5), off).await;
        }
        Ok(())
    }

    /// Deletes the service's pods; their owner makes new ones.
    pub async fn replace_pods(&self, service: &str) -> Result<(), FaultError> {
        let pods: Vec<PodView> =
            self.observer.lock().pods.of(service).filter(|pod| !pod.deleting).cloned().collect();
        for pod in pods {
            match self.pods(service).delete(&pod.name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(refused(format!("delete pod {}", pod.name))(error)),
            }
        }
        Ok(())
    }

    /// Restarts the service by its own rollout, the new pod ready first.
    pub async fn roll(&self, service: &str) -> Result<(), FaultError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), self.namespace(service));
        let mark = json!({ "spec": { "template": { "metadata": { "annotations": {
            "e2e/restarted-at": At::now().0.to_string(),
        } } } } });
        api.patch(service, &PatchParams::default(), &Patch::Strategic(&mark))
            .await
            .map_err(refused(format!("restart {service}")))?;
        Ok(())
    }

    /// Sets the number of replicas and says when that was asked for.
    pub async fn scale(&self, service: &str, replicas: i32) -> Result<At, FaultError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), self.namespace(service));
        let at = At::now();
        api.patch_scale(
            service,
            &PatchParams::default(),
            &Patch::Merge(&json!({ "spec": { "replicas": replicas } })),
        )
        .await
        .map_err(refused(format!("scale {service} to {replicas}")))?;
        Ok(at)
    }

    /// Breaks the service's configuration file and waits until its node shows the broken one.
    pub async fn break_config(&self, service: &str) -> Result<(), FaultError> {
        let good = self.write_config(service, BROKEN).await?;
        if let Some(good) = good.filter(|text| text != BROKEN) {
            self.good_configs.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned(), good);
        }
        let pod = self.serving(service).await?;
        // A change of the pod makes the kubelet look at its volumes now instead of within minutes.
        let mark = json!({ "metadata": { "annotations": { "e2e/looked-at": At::now().0.to_string() } } });
        self.pods(service)
            .patch(&pod.name, &PatchParams::default(), &Patch::Merge(&mark))
            .await
            .map_err(refused(format!("annotate {}", pod.name)))?;
        let end = Instant::now() + SHOWN;
        loop {
            match self.signals.shows_config(&pod, CONFIG_KEY, BROKEN) {
                Some(true) => return Ok(()),
                // Nobody can look there: give it the time that it usually takes.
                None => {
                    tokio::time::sleep(Duration::from_secs(15)).await;
                    return Ok(());
                }
                Some(false) if Instant::now() > end => {
                    return Err(FaultError::NotShown { service: service.to_owned(), limit: SHOWN });
                }
                Some(false) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Brings the good configuration back.
    pub async fn mend_config(&self, service: &str) -> Result<(), FaultError> {
        let good = self.good_configs.lock().unwrap_or_else(PoisonError::into_inner).get(service).cloned();
        if let Some(good) = good {
            self.write_config(service, &good).await?;
        }
        Ok(())
    }

    /// Replaces the file and returns what it was before.
    async fn write_config(&self, service: &str, text: &str) -> Result<Option<String>, FaultError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace(service));
        let name = format!("{service}-config");
        let before = api.get(&name).await.map_err(refused(format!("read {name}")))?;
        let patch = json!({ "data": { CONFIG_KEY: text } });
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(refused(format!("change {name}")))?;
        Ok(before.data.and_then(|mut data| data.remove(CONFIG_KEY)))
    }
}
