//! A new release, rolled out to the staging tenant first and to all others once it has proved itself there.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use super::workers::KINDS;
use super::{PREFIX, WaterArgs};
use crate::demo::DemoError;
use crate::demo::live::Live;

/// Label of the release, on each Job.
pub const VERSION: &str = "app.kubernetes.io/version";
/// Number of the tenant that comes first.
pub const STAGING: u32 = 0;
/// Good runs of the release there before anybody else gets it.
const PROOF: usize = 3;

/// How far it is: seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Staging {
    /// When the staging tenant got it.
    pub staged_at: Option<f64>,
    /// Runs of the release that ended well there before the others got it.
    pub proved: usize,
    /// When the others got it.
    pub released_at: Option<f64>,
}

impl Staging {
    /// Goes on as far as it can: `due` says that the release is ready, `good` how many of its runs in staging ended well.
    pub async fn step(
        &mut self,
        client: &Client,
        args: &WaterArgs,
        live: &Live,
        (due, good, now): (bool, usize, f64),
    ) -> Result<(), DemoError> {
        if due && self.staged_at.is_none() {
            roll_out(client, STAGING).await?;
            self.staged_at = Some(now);
            live.say(format!("release 2 goes to staging, tenant {PREFIX}{STAGING}"));
        } else if self.staged_at.is_some() && self.released_at.is_none() && good >= PROOF {
            for tenant in (0..args.tenants).filter(|tenant| *tenant != STAGING) {
                roll_out(client, tenant).await?;
            }
            self.proved = good;
            self.released_at = Some(now);
            live.say(format!("release 2 goes to all others: {good} runs in staging ended well"));
        }
        Ok(())
    }
}

/// Changes the release of a tenant's programs, and nothing else of them: what they ask for may have been sized since.
async fn roll_out(client: &Client, tenant: u32) -> Result<(), DemoError> {
    let namespace = format!("{PREFIX}{tenant}");
    let parameters = PatchParams::default();
    let container = |name: &str| json!({"name": name, "env": [{"name": "RELEASE", "value": "2"}]});
    let pod = |name: &str| json!({"spec": {"containers": [container(name)]}});
    let job: Value = json!({"spec": {"jobTemplate": {
        "metadata": {"labels": {VERSION: "2"}}, "spec": {"template": pod("run")},
    }}});
    let crons: Api<CronJob> = Api::namespaced(client.clone(), &namespace);
    let patched = crons.patch("optimisation", &parameters, &Patch::Strategic(job)).await;
    patched.map_err(DemoError::api("change the release of a CronJob"))?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    for kind in KINDS {
        let patch = Patch::Strategic(json!({"spec": {"template": pod("work")}}));
        let patched = deployments.patch(kind, &parameters, &patch).await;
        patched.map_err(DemoError::api("change the release of a Deployment"))?;
    }
    Ok(())
}
