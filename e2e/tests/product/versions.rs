//! Every definition stores its objects in another version for a while, and then in the first one again (case T33): what was
//! written is read as it was, and the ports carry on what was under way.
//!
//! Before the chart is installed, and alone, as scenarios run one after the other. Others would notice nothing of it but
//! watches that begin again: `v1alpha1` is served all the time, and of an object in another version only the name differs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::FutureExt;
use homeostat_cluster::incidents::{Written, stored};
use homeostat_cluster::ledger::record;
use homeostat_cluster::{ApiLedger, IncidentStore};
use homeostat_crds::v1alpha1::{
    Action, ControlPlane, Forecast, Incident, Playbook, Report, Tenant, Workload,
};
use homeostat_crds::{GROUP, VERSION};
use homeostat_e2e::clock::SystemClock;
use homeostat_execute::ports::{Ledger, LedgerStoreError};
use homeostat_knowledge::{ActionId, ActionRecord, ActionState, ObjectKey, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams, TypeMeta,
};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rules;
use crate::stage::{SOON, Stage, until};

/// A later version with the same fields.
const OTHER: &str = "v1beta1";
const NAMESPACE: &str = "versions";
/// What ports write.
const ACTIONS: usize = 120;
const INCIDENTS: usize = 100;
/// Of each other sample so many copies; there can be one `ControlPlane` only.
const SAMPLES: [(&str, usize); 8] = [
    ("controlplane", 1),
    ("tenant", 10),
    ("playbook", 10),
    ("workload", 10),
    ("workload-batch", 10),
    ("workload-worker", 10),
    ("report", 20),
    ("forecast", 50),
];

/// Every object of ours in `v1alpha1`, by kind, namespace and name.
type Objects = BTreeMap<String, Value>;

/// What is stored comes back whole through another stored version and back, and is carried on in each.
pub async fn store_another_and_back(stage: &Stage) {
    rules::install(stage).await;
    let played = AssertUnwindSafe(Box::pin(play(stage))).catch_unwind().await;
    // Whatever happened: the chart brings its own definitions and does not take over foreign ones.
    rules::remove(stage).await;
    stage.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s"]).await;
    if let Err(panic) = played {
        resume_unwind(panic);
    }
}

async fn play(stage: &Stage) {
    let client = &stage.client;
    stage.kubectl(&["create", "namespace", NAMESPACE]).await;
    let ledger = ApiLedger::new(client.clone(), Arc::new(SystemClock));
    let incidents = IncidentStore::new(client.clone(), Arc::new(SystemClock));
    let [first, second] = Box::pin(actions(stage, &ledger)).await;
    let incident = Box::pin(write_incidents(stage, &incidents)).await;
    for (sample, copies) in SAMPLES {
        Box::pin(copy(stage, sample, copies)).await;
    }
    let written = all(client).await;
    let copies: usize = SAMPLES.iter().map(|(_, copies)| copies).sum();
    assert_eq!(written.len(), ACTIONS + INCIDENTS + copies);

    change(client, |definition| store(definition, OTHER)).await;
    same(&written, &all(client).await, "before anything is stored anew");
    // What nobody wrote since still has the version that it was read with.
    let second = step(&ledger, &second, ActionState::Claimed).await.unwrap();
    assert_eq!(read(&ledger, &second).await, second);
    let again = homeostat_knowledge::Incident { reopen_count: incident.reopen_count + 1, ..incident };
    assert_eq!(Box::pin(incidents.write(&again)).await, Ok(Written::Updated));

    let before = all(client).await;
    // These two may be in the other version already.
    let meanwhile = [format!("Action/{}", second.id.as_str()), format!("Incident/{}", again.id.as_str())];
    rewrite(client, OTHER, &meanwhile).await;
    only_stored(client, OTHER).await;
    same(&before, &all(client).await, "stored in the other version");
    // Now it has another one: whoever read it before has to read it again.
    assert_eq!(step(&ledger, &first, ActionState::Claimed).await, Err(LedgerStoreError::Conflict));
    let twice = Box::pin(ledger.create(&first)).await;
    assert_eq!(twice, Err(LedgerStoreError::AlreadyExists), "its name is taken");
    let now = read(&ledger, &first).await;
    assert_ne!(now.resource_version, first.resource_version);
    assert_eq!(ActionRecord { resource_version: first.resource_version.clone(), ..now.clone() }, first);
    let claimed = step(&ledger, &now, ActionState::Claimed).await.unwrap();
    assert_eq!(step(&ledger, &now, ActionState::Claimed).await, Err(LedgerStoreError::Conflict));

    let before = all(client).await;
    change(client, |definition| store(definition, VERSION)).await;
    rewrite(client, VERSION, &[]).await;
    only_stored(client, VERSION).await;
    change(client, |definition| definition.spec.versions.retain(|one| one.name == VERSION)).await;
    same(&before, &all(client).await, "stored in the first version again");
    assert_eq!(step(&ledger, &claimed, ActionState::Sent).await, Err(LedgerStoreError::Conflict));
    let mut now = read(&ledger, &claimed).await;
    for state in [ActionState::Sent, ActionState::Verifying, ActionState::Verified] {
        now = step(&ledger, &now, state).await.unwrap();
    }
    assert_eq!(read(&ledger, &now).await, now);
}

/// A sample of the crate of the definitions.
fn sample(stage: &Stage, name: &str) -> Value {
    serde_saphyr::from_str(&stage.read(&format!("crds/examples/{name}.yaml"))).unwrap()
}

/// The ledger stores them with all that the sample has; the first two are under way.
async fn actions(stage: &Stage, ledger: &ApiLedger) -> [ActionRecord; 2] {
    let mut object: Action = serde_json::from_value(sample(stage, "action")).unwrap();
    object.metadata.namespace = Some(NAMESPACE.to_owned());
    let ended = record(&object, Timestamp::UNIX_EPOCH).unwrap();
    let named = |number: usize| ActionId::new(format!("{}-{number}", ended.id.as_str()));
    for number in 0..ACTIONS {
        let mut one = ActionRecord { id: named(number), ..ended.clone() };
        if number < 2 {
            one.state = ActionState::Admitted;
            one.outcome = None;
        }
        Box::pin(ledger.create(&one)).await.unwrap();
    }
    let [first, second] = [0, 1].map(|number| ActionRecord { id: named(number), ..ended.clone() });
    [read(ledger, &first).await, read(ledger, &second).await]
}

/// The port of incidents writes them as the sample is; gives the last one.
async fn write_incidents(stage: &Stage, port: &IncidentStore) -> homeostat_knowledge::Incident {
    let object: Incident = serde_json::from_value(sample(stage, "incident")).unwrap();
    let key = |number: usize| ObjectKey::new(NAMESPACE, format!("order-{number}"));
    for number in 0..INCIDENTS {
        let incident = stored(&object, Timestamp::UNIX_EPOCH, key(number)).unwrap().incident;
        assert_eq!(Box::pin(port.write(&incident)).await, Ok(Written::Created));
    }
    stored(&object, Timestamp::UNIX_EPOCH, key(INCIDENTS - 1)).unwrap().incident
}

/// Copies of a sample, each with a status.
async fn copy(stage: &Stage, name: &str, copies: usize) {
    let mut object = sample(stage, name);
    if object["metadata"]["namespace"].is_string() {
        object["metadata"]["namespace"] = json!(NAMESPACE);
    }
    if object["status"].is_null() {
        object["status"] = json!({ "observedGeneration": 1, "conditions": [{
            "type": "Ready", "status": "False", "reason": "AsExpected", "message": "a \"text\" – with signs",
            "observedGeneration": 1, "lastTransitionTime": "2026-11-22T09:14:35.612007Z" }] });
    }
    let api = rules::api_of(&stage.client, &object);
    let mut object: DynamicObject = serde_json::from_value(object).unwrap();
    for number in 0..copies {
        if copies > 1 {
            object.metadata.name = Some(format!("{name}-{number}"));
        }
        object.metadata.resource_version = None;
        let made = api.create(&PostParams::default(), &object).await.unwrap();
        object.metadata.resource_version = made.metadata.resource_version;
        api.replace_status(&object.name_any(), &PostParams::default(), &object).await.unwrap();
    }
}

/// What the ledger has of this action.
async fn read(ledger: &ApiLedger, action: &ActionRecord) -> ActionRecord {
    Box::pin(ledger.read(&action.key())).await.unwrap().unwrap()
}

/// Takes the action, as it is known, to another state.
async fn step(
    ledger: &ApiLedger,
    known: &ActionRecord,
    state: ActionState,
) -> Result<ActionRecord, LedgerStoreError> {
    let next = ActionRecord { state, ..known.clone() };
    let resource_version = Box::pin(ledger.update(&next)).await?;
    Ok(ActionRecord { resource_version, ..next })
}

/// Everything as our types read it.
async fn all(client: &Client) -> Objects {
    let mut all = Objects::new();
    Box::pin(list::<Tenant>(client, &mut all)).await;
    Box::pin(list::<Workload>(client, &mut all)).await;
    Box::pin(list::<Playbook>(client, &mut all)).await;
    Box::pin(list::<ControlPlane>(client, &mut all)).await;
    Box::pin(list::<Incident>(client, &mut all)).await;
    Box::pin(list::<Action>(client, &mut all)).await;
    Box::pin(list::<Report>(client, &mut all)).await;
    Box::pin(list::<Forecast>(client, &mut all)).await;
    all
}

/// All of one kind, without what each write changes.
async fn list<K>(client: &Client, all: &mut Objects)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let api: Api<K> = Api::all(client.clone());
    let kind = K::kind(&());
    // Right after a change of a definition its kind is not served for a moment.
    let found =
        until(&format!("a list of {kind}"), SOON, async || api.list(&ListParams::default()).await.ok()).await;
    for object in found {
        let name = format!("{kind} {}/{}", object.namespace().unwrap_or_default(), object.name_any());
        let mut object = serde_json::to_value(&object).unwrap();
        let metadata = object["metadata"].as_object_mut().unwrap();
        for counted in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(counted);
        }
        all.insert(name, object);
    }
}

fn same(before: &Objects, after: &Objects, when: &str) {
    for (name, object) in before {
        assert_eq!(after.get(name), Some(object), "{name}, {when}");
    }
    assert_eq!(before.len(), after.len(), "{when}");
}

/// Both versions are served, and this one is stored.
fn store(definition: &mut CustomResourceDefinition, version: &str) {
    let versions = &mut definition.spec.versions;
    if versions.len() == 1 {
        let other = CustomResourceDefinitionVersion { name: OTHER.to_owned(), ..versions[0].clone() };
        versions.push(other);
    }
    for one in versions {
        one.storage = one.name == version;
    }
}

/// Changes every definition.
async fn change(client: &Client, edit: impl Fn(&mut CustomResourceDefinition)) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in homeostat_crds::all() {
        let name = definition.name_any();
        until(&format!("a change of {name}"), SOON, async || {
            let mut now = definitions.get(&name).await.unwrap();
            edit(&mut now);
            match definitions.replace(&name, &PostParams::default(), &now).await {
                // The API server notes in its status what it makes of it.
                Err(kube::Error::Api(status)) if status.code == 409 => None,
                answer => {
                    answer.unwrap();
                    Some(())
                }
            }
        })
        .await;
    }
}

/// Writes every object as it is, as whoever migrates stored versions does. That an object gets a new version by that shows that
/// it was stored in another one; once it is in this one, it gets none.
async fn rewrite(client: &Client, version: &str, meanwhile: &[String]) {
    for definition in homeostat_crds::all() {
        let names = &definition.spec.names;
        let kind = GroupVersionKind::gvk(GROUP, version, &names.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, &names.plural);
        let everywhere: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        let objects = until(&format!("{} in {version}", names.plural), SOON, async || {
            everywhere.list(&ListParams::default()).await.ok()
        })
        .await;
        assert!(!objects.items.is_empty(), "{}", names.plural);
        for mut object in objects {
            object.types = Some(TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() });
            let api = match object.namespace() {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
                None => everywhere.clone(),
            };
            let moves = !meanwhile.contains(&format!("{}/{}", kind.kind, object.name_any()));
            Box::pin(write_as_it_is(&api, &object, version, moves)).await;
        }
    }
}

async fn write_as_it_is(api: &Api<DynamicObject>, object: &DynamicObject, version: &str, moves: bool) {
    let name = object.name_any();
    // A change of a definition is taken up a moment after it is made.
    let written = until(&format!("{name} being stored in {version}"), SOON, async || {
        let written = api.replace(&name, &PostParams::default(), object).await;
        let written = written.inspect_err(|error| println!("{name}: {error}")).ok()?;
        (!moves || written.resource_version() != object.resource_version()).then_some(written)
    })
    .await;
    let again = api.replace(&name, &PostParams::default(), &written).await.unwrap();
    assert_eq!(again.resource_version(), written.resource_version(), "{name} is stored in {version}");
}

/// Everything was stored anew: of the versions that the API server noted only this one is left.
async fn only_stored(client: &Client, version: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let noted = |definition: CustomResourceDefinition| {
        definition.status.and_then(|status| status.stored_versions).unwrap_or_default()
    };
    for definition in homeostat_crds::all() {
        let name = definition.name_any();
        let both = noted(definitions.get(&name).await.unwrap());
        assert_eq!(both.len(), 2, "{name}: {both:?}");
        let patch = Patch::Merge(json!({ "status": { "storedVersions": [version] } }));
        let patched = definitions.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(noted(patched), [version], "{name}");
    }
}
