//! What is remembered of Reports: small records, bounded in number.

use super::figures::STATE;
use crate::status::digest;
use crate::watches::light::{Body, Light, Meta};
use homeostat_crds::v1alpha1::Report;
use homeostat_crds::v1alpha1::incident::IncidentState;
use homeostat_crds::v1alpha1::report::{ReportFormat, ReportSpec, ReportStatus};
use homeostat_knowledge::{Name, ObjectKey, Timestamp};
use kube::runtime::watcher::Event;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Reports that are served; later ones wait until one of them is deleted.
pub(super) const MOST: usize = 1_000;

/// A Report as it comes from the wire.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ReportBody {
    metadata: Meta,
    spec: ReportSpec,
    status: Option<ReportStatus>,
}

impl Body for ReportBody {
    type Kind = Report;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// What a Report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An incident of its namespace.
    Incident(Name),
    /// What was recognised and done from the first to before the second.
    Period(Timestamp, Timestamp),
}

/// A Report, as far as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportRecord {
    /// Generation of its spec.
    pub generation: i64,
    /// The tenant that it names.
    pub tenant: Option<Name>,
    /// What it is about.
    pub about: About,
    /// Form of its document.
    pub format: ReportFormat,
    /// Generation that its status describes.
    pub observed: Option<i64>,
    /// When its figures were made.
    pub generated: Option<Timestamp>,
    /// Its incident was over when they were made.
    pub over: bool,
    /// What its status says; see [`said`].
    pub said: u64,
}

/// A digest of what a status says, without when it was made and without the order of the figures.
pub(super) fn said(status: &ReportStatus) -> u64 {
    let mut status = ReportStatus { generated: None, ..status.clone() };
    status.key_figures.sort_by(|one, other| one.name.cmp(&other.name));
    digest(Some(&status))
}

/// Its incident was over.
pub(super) fn over(status: &ReportStatus) -> bool {
    let resolved = format!("{:?}", IncidentState::Resolved);
    status.key_figures.iter().any(|figure| figure.name == STATE && figure.value == resolved)
}

impl ReportRecord {
    fn of(body: ReportBody) -> Option<Self> {
        let ReportBody { metadata, spec, status } = body;
        // Exactly one of the two, by a rule of the definition.
        let about = match (spec.incident_ref, spec.period) {
            (Some(incident), _) => About::Incident(Name::from(incident.name)),
            (None, Some(period)) => About::Period(period.from.timestamp(), period.to.timestamp()),
            (None, None) => return None,
        };
        Some(Self {
            generation: metadata.generation,
            tenant: spec.tenant.map(Name::from),
            about,
            format: spec.format,
            observed: status.as_ref().and_then(|status| status.observed_generation),
            generated: status.as_ref().and_then(|status| status.generated).map(Timestamp::from),
            over: status.as_ref().is_some_and(over),
            said: status.as_ref().map_or(0, said),
        })
    }

    /// Its status may have to change: it does not describe the spec yet, or what it is about had not ended then. `open`:
    /// its incident is open now.
    pub fn due(&self, now: Timestamp, open: bool) -> bool {
        if self.observed != Some(self.generation) {
            return true;
        }
        let Some(generated) = self.generated else { return true };
        match self.about {
            About::Incident(_) => !self.over || open,
            About::Period(from, to) => generated < to && now >= from,
        }
    }
}

/// All Reports that are served.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By namespace and name.
    pub records: BTreeMap<ObjectKey, ReportRecord>,
    /// Of lists that are not complete yet, by their namespace; that of all has an empty one.
    listing: BTreeMap<String, BTreeMap<ObjectKey, ReportRecord>>,
    /// Found no room since the watches began.
    turned_away: usize,
    /// It was told that there is no room.
    told: bool,
}

impl Book {
    /// Takes what the watch of `namespace` told; an empty one is that of all.
    pub fn take(&mut self, namespace: &str, event: Event<Light<ReportBody>>) {
        match event {
            Event::Init => {
                self.listing.insert(namespace.to_owned(), BTreeMap::new());
            }
            Event::InitApply(object) => {
                if let Some((key, record)) = Self::read(object) {
                    let listing = self.listing.entry(namespace.to_owned()).or_default();
                    self.turned_away += usize::from(!put(listing, key, record));
                }
            }
            Event::InitDone => {
                self.records.retain(|key, _| !namespace.is_empty() && *key.namespace != *namespace);
                for (key, record) in self.listing.remove(namespace).unwrap_or_default() {
                    self.turned_away += usize::from(!put(&mut self.records, key, record));
                }
                self.tell();
            }
            Event::Apply(object) => {
                if let Some((key, record)) = Self::read(object) {
                    self.turned_away += usize::from(!put(&mut self.records, key, record));
                    self.tell();
                }
            }
            Event::Delete(object) => {
                self.records.remove(&key(&object));
            }
        }
    }

    /// There is room for some that found none: they have to be listed again.
    pub fn has_room_again(&self) -> bool {
        self.turned_away > 0 && self.records.len() < MOST
    }

    fn read(object: Light<ReportBody>) -> Option<(ObjectKey, ReportRecord)> {
        let key = key(&object);
        match object.body {
            Ok(body) => Some((key, ReportRecord::of(body)?)),
            Err(why) => {
                tracing::warn!(report = %key, why, "A Report cannot be read and is not served; a newer version may have written it");
                None
            }
        }
    }

    fn tell(&mut self) {
        let none = self.turned_away == 0;
        if !none && !self.told {
            tracing::warn!(
                served = MOST,
                turned_away = self.turned_away,
                "There are more Reports than are served; delete old ones"
            );
        }
        self.told = !none;
    }
}

fn key(object: &Light<ReportBody>) -> ObjectKey {
    object.key(&mut crate::watches::light::Interner::default())
}

/// `false` when there is no room.
fn put(map: &mut BTreeMap<ObjectKey, ReportRecord>, key: ObjectKey, record: ReportRecord) -> bool {
    let room = map.len() < MOST || map.contains_key(&key);
    if room {
        map.insert(key, record);
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(name: &str, status: &serde_json::Value) -> Light<ReportBody> {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop", "generation": 2 },
            "spec": { "period": { "from": "2026-11-22T00:00:00.000000Z", "to": "2026-11-23T00:00:00.000000Z" } },
            "status": status,
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn more_than_are_served_wait_until_there_is_room() {
        let mut book = Book::default();
        book.take("", Event::Init);
        for number in 0..=MOST {
            book.take("", Event::InitApply(report(&format!("r-{number:04}"), &json!({}))));
        }
        book.take("", Event::InitDone);
        assert_eq!(book.records.len(), MOST);
        assert!(!book.has_room_again());
        book.take("", Event::Apply(report("another", &json!({}))));
        assert_eq!(book.records.len(), MOST, "bounded also while watching");
        book.take("", Event::Delete(report("r-0000", &json!({}))));
        assert!(book.has_room_again());
    }

    #[test]
    fn a_period_is_made_again_until_it_has_ended_and_then_never() {
        let record =
            |status: serde_json::Value| ReportRecord::of(report("r", &status).body.unwrap()).unwrap();
        let (before, inside, after) =
            (at("2026-11-21T23:00:00Z"), at("2026-11-22T12:00:00Z"), at("2026-11-23T00:00:01Z"));
        assert!(record(json!({})).due(before, false), "its status says nothing yet");
        let half = json!({ "observedGeneration": 2, "generated": "2026-11-22T11:00:00.000000Z" });
        assert!(record(half.clone()).due(inside, false) && record(half).due(after, false));
        let whole = |generation: i64| json!({ "observedGeneration": generation, "generated": "2026-11-23T00:00:00.000000Z" });
        assert!(!record(whole(2)).due(after, false), "it is over");
        assert!(record(whole(1)).due(after, false), "somebody changed its spec since");
    }

    #[test]
    fn order_and_time_of_the_figures_are_no_news() {
        let status = |text: serde_json::Value| serde_json::from_value::<ReportStatus>(text).unwrap();
        let (one, two) = (json!({ "name": "A", "value": "1" }), json!({ "name": "B", "value": "2" }));
        let first = status(json!({ "generated": "2026-11-22T11:00:00.000000Z", "keyFigures": [one, two] }));
        let later = status(json!({ "generated": "2026-11-22T12:00:00.000000Z", "keyFigures": [two, one] }));
        assert_eq!(said(&first), said(&later));
        assert_ne!(said(&first), said(&status(json!({ "keyFigures": [one] }))));
    }
}
