//! The generated definitions and each of their rules, as the API server judges them.

use homeostat_crds::rules::{self, Case};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::ApiResource;
use kube::core::gvk::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::stage::{SOON, Stage, until};

/// The generated definitions, as `make crds` writes them, accepted and served.
pub async fn install(stage: &Stage) {
    let folder = stage.path("crds/generated").display().to_string();
    stage.kubectl(&["create", "--filename", &folder]).await;
    stage.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "--filename", &folder]).await;
    for definition in homeostat_crds::all() {
        let names = &definition.spec.names;
        let kind = GroupVersionKind::gvk(homeostat_crds::GROUP, homeostat_crds::VERSION, &names.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, &names.plural);
        let api: Api<DynamicObject> = Api::all_with(stage.client.clone(), &kind);
        // Established comes a moment before the API server serves the kind.
        until("a kind that is served", SOON, async || {
            api.list(&ListParams::default().limit(1)).await.ok().map(drop)
        })
        .await;
    }
}

/// Takes the definitions away, and every object of theirs.
pub async fn remove(stage: &Stage) {
    let folder = stage.path("crds/generated").display().to_string();
    stage.kubectl(&["delete", "--timeout=60s", "--filename", &folder]).await;
}

/// Every definition is accepted; of every rule the good example is accepted and the bad one refused with its message at
/// its field.
pub async fn hold(stage: &Stage) {
    install(stage).await;
    let cases = rules::cases().unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(text) = check(&stage.client, case).await {
            wrong.push(format!("{}: {text}", case.message));
        }
    }
    // Removed before anything is asserted: the chart brings its own and does not take over foreign ones.
    remove(stage).await;
    assert!(cases.len() > 30, "only {} examples", cases.len());
    assert!(wrong.is_empty(), "{} of {} rules:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

async fn check(client: &Client, case: &Case) -> Result<(), String> {
    let api = api_of(client, &case.valid);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let Some(before) = &case.before else {
        let valid = api.create(&dry, &object(&case.valid)).await;
        valid.map_err(|error| format!("the good example is refused: {error}"))?;
        let api = api_of(client, &case.invalid);
        return refused(api.create(&dry, &object(&case.invalid)).await, case);
    };
    let before = api.create(&PostParams::default(), &object(before)).await;
    let before = before.map_err(|error| format!("the object before is refused: {error}"))?;
    let name = before.name_any();
    let after = |example: &Value| {
        let mut object = object(example);
        object.metadata.resource_version.clone_from(&before.metadata.resource_version);
        object
    };
    let valid = api.replace(&name, &dry, &after(&case.valid)).await;
    let invalid = api.replace(&name, &dry, &after(&case.invalid)).await;
    api.delete(&name, &DeleteParams::default()).await.map_err(|error| error.to_string())?;
    valid.map_err(|error| format!("the good example is refused: {error}"))?;
    refused(invalid, case)
}

fn refused<T>(answer: kube::Result<T>, case: &Case) -> Result<(), String> {
    // The API server's own word for the object as a whole.
    let field = if case.field.is_empty() { "<nil>" } else { &case.field };
    match answer {
        Ok(_) => Err("the bad example is accepted".to_owned()),
        Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains(&case.message) => {
            let mut causes = status.details.iter().flat_map(|details| &details.causes);
            if causes.any(|cause| cause.field == field && cause.message.contains(&case.message)) {
                return Ok(());
            }
            Err(format!("the refusal does not name {field}: {:?}", status.details))
        }
        Err(error) => Err(format!("the bad example is refused for another reason: {error}")),
    }
}

fn object(example: &Value) -> DynamicObject {
    serde_json::from_value(example.clone()).unwrap()
}

/// The API that an example is sent to.
pub fn api_of(client: &Client, example: &Value) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "homeostat.dev",
        "v1alpha1",
        example["kind"].as_str().unwrap(),
    ));
    match example["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
