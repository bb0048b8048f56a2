//! Objects as they come from the wire, reduced to what is looked at.
//!
//! [`Light`] reads an object's text once into a small struct: managed fields, environment, probes and mounts are
//! skipped by the parser and never become values. An object that cannot be read does not stop its neighbours:
//! it arrives as [`Light`] with an error and its name. This reads the object's own text, so in a watch the event's
//! type must come before its object; the API server writes it so, and anything else is an error of the stream.

use homeostat_crds::common::{ANNOTATION_HELD_BY, ANNOTATION_HELD_UNTIL};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::records::{ControllerKind, Hold, OwnerRecord};
use homeostat_knowledge::{Name, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

/// The parts of a kind that are looked at.
pub(crate) trait Body: DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The full type; tells path and group, is never built.
    type Kind: Resource<DynamicType = ()> + 'static;
    /// Ask the server for metadata only.
    const METADATA_ONLY: bool = false;
    /// Metadata.
    fn meta(&self) -> &Meta;
}

/// The parts of `metadata` that are looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    pub resource_version: String,
    #[serde(default)]
    pub generation: i64,
    pub creation_timestamp: Option<Time>,
    pub deletion_timestamp: Option<Time>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub owner_references: Vec<Owner>,
}

/// An owner reference.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Owner {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    pub controller: Option<bool>,
}

impl Meta {
    /// Creation time; the beginning of time when the server did not say.
    pub fn created(&self) -> Timestamp {
        self.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }

    /// Kind and name of the owner that controls this object.
    pub fn controlled_by(&self) -> Option<(&str, &str)> {
        let owner = self.owner_references.iter().find(|owner| owner.controller == Some(true))?;
        Some((&owner.kind, &owner.name))
    }

    /// The owner that controls this object.
    pub fn controller(&self, names: &mut Interner) -> Option<OwnerRecord> {
        let owner = self.owner_references.iter().find(|owner| owner.controller == Some(true))?;
        Some(OwnerRecord {
            kind: ControllerKind::from_kind(&owner.kind),
            name: names.intern(&owner.name),
            uid: Uid(names.intern(&owner.uid)),
        })
    }
}

/// Our own mark on what is held.
pub(crate) fn hold(meta: &Meta) -> Option<Hold> {
    let by = meta.annotations.get(ANNOTATION_HELD_BY)?;
    let until = meta.annotations.get(ANNOTATION_HELD_UNTIL).and_then(|text| text.parse().ok());
    Some(Hold { by: Name::from(by.as_str()), until })
}

/// Longest kind and name of an owner that are kept.
const LONGEST_OWNER: usize = 253;

/// Who would change the spec of an object back: a GitOps tool, by these labels and annotations, or the operator whose custom
/// resource controls it.
pub(crate) fn spec_owner(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    controlled_by: Option<(&str, &str)>,
) -> Option<Cow<'static, str>> {
    let tool = gitops_owner(labels, annotations).map(Cow::Borrowed);
    tool.or_else(|| operator(controlled_by?).map(Cow::Owned))
}

/// A custom resource in words. Kinds that are known here let others change what they made.
fn operator((kind, name): (&str, &str)) -> Option<String> {
    if ControllerKind::from_kind(kind) != ControllerKind::Other {
        return None;
    }
    let text = format!("{kind} {name}");
    Some(cut(&text, LONGEST_OWNER).chars().filter(|letter| !letter.is_control()).collect())
}

/// Tools that would change an object with these labels and annotations back.
fn gitops_owner(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Option<&'static str> {
    if annotations.contains_key("argocd.argoproj.io/tracking-id")
        || labels.contains_key("argocd.argoproj.io/instance")
    {
        return Some("Argo CD");
    }
    let flux = ["kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"];
    flux.iter().any(|label| labels.contains_key(*label)).then_some("Flux")
}

#[derive(Deserialize)]
struct OnlyMeta {
    #[serde(default)]
    metadata: OnlyName,
}

/// What is needed to name a broken object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnlyName {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    generation: i64,
}

/// `null` reads as the empty value: Go clients write absent lists and maps so.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One object: its name in any case, its parts when they could be read.
#[derive(Clone, Debug)]
pub(crate) struct Light<B> {
    /// Name, namespace, UID, resource version and generation; nothing else is filled in.
    meta: ObjectMeta,
    /// The parts, or why they could not be read.
    pub body: Result<B, String>,
}

impl<B> Light<B> {
    /// Namespace and name.
    pub fn key(&self, names: &mut Interner) -> ObjectKey {
        ObjectKey {
            namespace: names.intern(self.meta.namespace.as_deref().unwrap_or_default()),
            name: Name::from(self.meta.name.as_deref().unwrap_or_default()),
        }
    }

    /// UID, for objects that could not be read.
    pub fn uid(&self) -> Uid {
        Uid::new(self.meta.uid.as_deref().unwrap_or_default())
    }

    /// `resourceVersion`.
    pub fn version(&self) -> &str {
        self.meta.resource_version.as_deref().unwrap_or_default()
    }

    /// `metadata.generation`.
    pub fn generation(&self) -> i64 {
        self.meta.generation.unwrap_or(0)
    }
}

impl<'de, B: Body> Deserialize<'de> for Light<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let name = |name: &str, namespace: &str, uid: &str, version: &str, generation: i64| ObjectMeta {
            name: Some(name.to_owned()),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
            generation: Some(generation),
            ..ObjectMeta::default()
        };
        match serde_json::from_str::<B>(text.get()) {
            Ok(body) => {
                let m = body.meta();
                let meta = name(&m.name, &m.namespace, &m.uid, &m.resource_version, m.generation);
                Ok(Self { meta, body: Ok(body) })
            }
            Err(why) => {
                // An object whose very name cannot be read is not an object; the stream reports that.
                let m = serde_json::from_str::<OnlyMeta>(text.get()).map_err(serde::de::Error::custom)?;
                let m = m.metadata;
                let meta = name(&m.name, &m.namespace, &m.uid, &m.resource_version, m.generation);
                Ok(Self { meta, body: Err(why.to_string()) })
            }
        }
    }
}

impl<B: Body> Resource for Light<B> {
    type DynamicType = ();
    type Scope = <B::Kind as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        Cow::Owned(B::Kind::kind(&()).into_owned())
    }

    fn group((): &()) -> Cow<'_, str> {
        Cow::Owned(B::Kind::group(&()).into_owned())
    }

    fn version((): &()) -> Cow<'_, str> {
        Cow::Owned(B::Kind::version(&()).into_owned())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Cow::Owned(B::Kind::plural(&()).into_owned())
    }

    fn metadata_api() -> bool {
        B::METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// A whole wire type as its own parts, for kinds of which there are few.
#[derive(Clone, Debug)]
pub(crate) struct Whole<K> {
    pub object: K,
    pub meta: Meta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Whole<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct WithMeta {
            #[serde(default)]
            metadata: Meta,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let object = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let with = serde_json::from_str::<WithMeta>(text.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { object, meta: with.metadata })
    }
}

impl<K> Body for Whole<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    type Kind = K;

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// Gives equal names one allocation. Bounded: beyond the limit names that nobody else uses are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    names: HashSet<Name>,
    /// Names that found no room since it was last looked for unused ones.
    turned_away: usize,
}

impl Interner {
    const LIMIT: usize = 16_384;
    /// Where all names are in use, looking for unused ones at each new name would cost more than the names save.
    const PATIENCE: usize = 4_096;

    /// The shared name.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return Name::clone(name);
        }
        if self.names.len() >= Self::LIMIT && self.turned_away.is_multiple_of(Self::PATIENCE) {
            self.names.retain(|name| Name::strong_count(name) > 1);
            self.turned_away = 0;
        }
        let name = Name::from(text);
        if self.names.len() < Self::LIMIT {
            self.names.insert(Name::clone(&name));
        } else {
            self.turned_away += 1;
        }
        name
    }

    /// The shared name of a text that may be absent.
    pub fn maybe(&mut self, text: Option<&str>) -> Option<Name> {
        text.filter(|text| !text.is_empty()).map(|text| self.intern(text))
    }
}

/// Cuts a text to at most `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::{ObjectList, WatchEvent};

    #[derive(Clone, Debug, Deserialize)]
    struct Part {
        metadata: Meta,
        number: u8,
    }

    impl Body for Part {
        type Kind = Pod;
        fn meta(&self) -> &Meta {
            &self.metadata
        }
    }

    #[test]
    fn a_broken_object_keeps_its_name_and_spares_its_neighbours() {
        let text = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[
            {"metadata":{"name":"good","namespace":"n","managedFields":[{"x":{"y":1}}],"labels":null},"number":1},
            {"metadata":{"name":"bad","namespace":"n","resourceVersion":"7"},"number":"many"}]}"#;
        let list: ObjectList<Light<Part>> = serde_json::from_str(text).unwrap();
        let mut names = Interner::default();
        assert_eq!(list.items[0].body.as_ref().unwrap().number, 1);
        assert_eq!(list.items[1].key(&mut names), ObjectKey::new("n", "bad"));
        assert_eq!(list.items[1].version(), "7");
        assert!(list.items[1].body.is_err());
    }

    #[test]
    fn a_watch_event_is_read_in_one_pass() {
        let text = r#"{"type":"MODIFIED","object":{"metadata":{"name":"p","namespace":"n"},"number":300}}"#;
        let event: WatchEvent<Light<Part>> = serde_json::from_str(text).unwrap();
        let WatchEvent::Modified(object) = event else { panic!("{event:?}") };
        assert!(object.body.is_err());
        let text = r#"{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"8"}}}"#;
        assert!(matches!(serde_json::from_str::<WatchEvent<Light<Part>>>(text), Ok(WatchEvent::Bookmark(_))));
    }

    #[test]
    fn equal_names_share_one_allocation_and_the_table_is_bounded() {
        let mut names = Interner::default();
        let kept = names.intern("node-1");
        assert!(Name::ptr_eq(&kept, &names.intern("node-1")));
        for i in 0..3 * Interner::LIMIT {
            names.intern(&i.to_string());
        }
        assert!(names.names.len() <= Interner::LIMIT);
        assert!(Name::ptr_eq(&kept, &names.intern("node-1")));
    }

    #[test]
    fn where_all_names_are_in_use_later_ones_share_nothing_until_some_are_not() {
        let mut names = Interner::default();
        let mut used: Vec<Name> = (0..Interner::LIMIT).map(|i| names.intern(&i.to_string())).collect();
        let one = names.intern("late");
        assert!(!Name::ptr_eq(&one, &names.intern("late")), "there is no room");
        used.truncate(10);
        for i in 0..=Interner::PATIENCE {
            names.intern(&format!("other-{i}"));
        }
        let late = names.intern("late");
        assert!(Name::ptr_eq(&late, &names.intern("late")), "there is room again");
        assert!(Name::ptr_eq(&used[3], &names.intern("3")));
    }

    #[test]
    fn the_custom_resource_that_controls_an_object_owns_its_spec_and_kinds_of_kubernetes_do_not() {
        let owner = |owners: &serde_json::Value, label: &str| {
            let text = serde_json::json!({ "ownerReferences": owners, "labels": { label: "shop" } });
            let meta: Meta = serde_json::from_str(&text.to_string()).unwrap();
            spec_owner(&meta.labels, &meta.annotations, meta.controlled_by()).map(Cow::into_owned)
        };
        let by = |kind: &str, name: &str, controller: Option<bool>| {
            let owner =
                serde_json::json!({ "kind": kind, "name": name, "uid": "u", "controller": controller });
            serde_json::Value::Array(vec![owner])
        };
        assert_eq!(owner(&by("Kafka", "orders", Some(true)), "app").as_deref(), Some("Kafka orders"));
        for (kind, controller) in [
            ("Deployment", Some(true)),
            ("CronJob", Some(true)),
            ("StatefulSet", Some(true)),
            ("Application", Some(false)),
            ("Application", None),
        ] {
            assert_eq!(owner(&by(kind, "orders", controller), "app"), None, "{kind} {controller:?}");
        }
        assert_eq!(owner(&serde_json::json!([]), "app"), None);
        let both = owner(&by("Kafka", "orders", Some(true)), "argocd.argoproj.io/instance");
        assert_eq!(both.as_deref(), Some("Argo CD"));
        let long = owner(&by("Kafka", &"a\n".repeat(1_000), Some(true)), "app").unwrap();
        assert!(long.len() <= LONGEST_OWNER && !long.contains('\n'), "{long}");
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(cut("größer", 3), "grö");
        assert_eq!(cut("ab", 3), "ab");
    }
}
