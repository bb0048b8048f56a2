//! The beat: makes the Jobs of a simulated hour from the tenants' `CronJob`s, suspended, as their controller would.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use super::{WaterArgs, api_error};
use crate::demo::DemoError;

/// Hour of the night at which key figures are due, in three zones in turn.
const NIGHT: [u32; 3] = [2, 1, 0];

/// A simulated hour as people say it.
pub fn clock(hour: u32) -> String {
    let day = ["Fri", "Sat", "Sun", "Mon", "Tue", "Wed", "Thu"][(hour / 24 % 7) as usize];
    format!("{day} {:02}:00", hour % 24)
}

/// Names of the jobs that fire in an hour.
fn due(tenant: u32, hour: u32) -> Vec<&'static str> {
    let mut due = vec!["forecast", "optimisation"];
    if hour % 24 == NIGHT[tenant as usize % NIGHT.len()] {
        due.push("kpi");
    }
    due
}

/// Makes the Jobs of an hour; `number` counts hours of this scenario. Returns how many.
pub async fn hour(client: &Client, args: &WaterArgs, hour: u32, number: u32) -> Result<usize, DemoError> {
    let slot = Timestamp::now();
    let mut made = 0;
    for tenant in 0..args.tenants {
        let namespace = format!("water-{tenant}");
        let crons: Api<CronJob> = Api::namespaced(client.clone(), &namespace);
        let jobs: Api<Job> = Api::namespaced(client.clone(), &namespace);
        for name in due(tenant, hour) {
            let cron = crons.get(name).await.map_err(api_error("read a CronJob"))?;
            let job = job_of(&cron, slot, hour, number)?;
            jobs.create(&PostParams::default(), &job).await.map_err(api_error("make a Job"))?;
            made += 1;
        }
    }
    Ok(made)
}

fn job_of(cron: &CronJob, slot: Timestamp, hour: u32, number: u32) -> Result<Job, DemoError> {
    let missing = || DemoError::Broken(format!("CronJob {} has no template", cron.name_any()));
    let mut spec = cron.spec.job_template.spec.clone().ok_or_else(missing)?;
    let containers = spec.template.spec.as_mut().map(|pod| &mut pod.containers).ok_or_else(missing)?;
    // Memory that grows does so from the first run of the scenario on.
    let grows =
        containers.iter().any(|one| one.env.iter().flatten().any(|variable| variable.name == "GROWS"));
    let told = if grows { number } else { hour };
    for container in containers {
        container.env.get_or_insert_default().push(EnvVar {
            name: "HOUR".to_owned(),
            value: Some(told.to_string()),
            ..EnvVar::default()
        });
    }
    let owner = OwnerReference {
        api_version: "batch/v1".to_owned(),
        kind: "CronJob".to_owned(),
        name: cron.name_any(),
        uid: cron.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hour:03}", cron.name_any())),
            annotations: Some(BTreeMap::from([(
                "batch.kubernetes.io/cronjob-scheduled-timestamp".to_owned(),
                slot.to_string(),
            )])),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_figures_come_once_a_day_in_each_zone() {
        for tenant in 0..6 {
            let nights = (0..48).filter(|hour| due(tenant, *hour).contains(&"kpi")).count();
            assert_eq!(nights, 2, "{tenant}");
        }
        assert_eq!(due(0, 5), ["forecast", "optimisation"]);
        assert_eq!((clock(20), clock(26)), ("Fri 20:00".to_owned(), "Sat 02:00".to_owned()));
    }
}
