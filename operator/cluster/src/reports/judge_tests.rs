use super::super::record::About;
use super::*;
use homeostat_crds::v1alpha1::report::ReportFormat;
use homeostat_knowledge::TenantName;
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::TenantPolicy;
use std::sync::Arc;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

fn key() -> ObjectKey {
    ObjectKey::new("shop", "weekly")
}

fn record(tenant: Option<&str>, about: About) -> ReportRecord {
    ReportRecord {
        generation: 3,
        tenant: tenant.map(Name::from),
        about,
        format: ReportFormat::Html,
        observed: None,
        generated: None,
        over: false,
        said: 0,
    }
}

fn period(from: &str, to: &str) -> About {
    About::Period(at(from), at(to))
}

/// `food` owns shop and stock, `water` owns wells.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, namespaces) in [("food", vec!["shop", "stock"]), ("water", vec!["wells"])] {
        let policy =
            TenantPolicy::new(TenantName::new(name), Uid::new(name), namespaces.into_iter().map(Name::from));
        snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(policy))), now());
    }
    snapshot
}

fn of(tenant: Option<&str>, namespace: &str) -> Result<Scope, Outcome> {
    let record = record(tenant, period("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"));
    scope(&ObjectKey::new(namespace, "r"), &record, &snapshot(), &BTreeSet::new())
}

#[test]
fn a_report_counts_the_namespaces_of_its_own_tenant_and_no_others() {
    let food =
        Scope { tenant: Some("food".into()), namespaces: vec!["shop".into(), "stock".into()], prices: None };
    assert_eq!(of(None, "shop"), Ok(food.clone()));
    assert_eq!(of(Some("food"), "stock"), Ok(food.clone()));
    assert_eq!(of(None, "alone"), Ok(Scope { tenant: None, namespaces: vec!["alone".into()], prices: None }));
    assert!(food.shows(Some("food")) && food.shows(None));
    assert!(!food.shows(Some("water")), "a namespace may have had another owner before");
    for (tenant, namespace, told) in
        [("water", "shop", "does not own namespace shop"), ("water", "alone", "belongs to no Tenant")]
    {
        let Err(Outcome::NotMade { message, figures, .. }) = of(Some(tenant), namespace) else { panic!() };
        assert!(message.contains(told) && message.contains("leave spec.tenant out"), "{message}");
        assert!(figures.is_empty());
    }
}

#[test]
fn only_namespaces_that_are_watched_count() {
    let record = record(None, period("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"));
    let watched = BTreeSet::from(["shop".to_owned()]);
    let scope = scope(&key(), &record, &snapshot(), &watched).unwrap();
    assert_eq!(scope.namespaces, vec![Name::from("shop")]);
}

#[test]
fn a_period_that_is_to_come_or_forgotten_has_no_figures_and_says_why() {
    let retention = Retention::default();
    let ahead = |from: &str, to: &str| ahead_of_reading(at(from), at(to), retention, now());
    assert_eq!(ahead("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"), None);
    let Some(Outcome::NotMade { reason, .. }) = ahead("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z") else {
        panic!()
    };
    assert_eq!(reason, Reason::Pending);
    let Some(Outcome::NotMade { reason, message, figures, .. }) =
        ahead("2026-10-01T00:00:00Z", "2026-10-15T12:00:00Z")
    else {
        panic!()
    };
    assert_eq!(reason, Reason::NoData);
    assert!(message.contains("kept for 7 days") && message.contains("the newest 500"), "{message}");
    assert!(figures.iter().all(|figure| figure.value == "no data"));
}

fn message(facts: &Facts, from: &str, to: &str) -> String {
    let scope = Scope { tenant: None, namespaces: vec!["shop".into()], prices: None };
    let outcome = of_a_period(facts, &scope, (at(from), at(to)), Retention::default(), now());
    let Outcome::Made { message, .. } = outcome else { panic!() };
    message
}

#[test]
fn figures_of_a_part_say_so() {
    let (begin, end) = ("2026-11-22T00:00:00Z", "2026-11-22T10:00:00Z");
    assert_eq!(message(&Facts::default(), begin, end), "");
    assert!(
        message(&Facts::default(), begin, "2026-11-23T00:00:00Z").starts_with("so far: the period ends at")
    );
    assert!(message(&Facts::default(), "2026-11-01T00:00:00Z", end).contains("what was removed before"));
    let full = Facts { fullest: 500, ..Facts::default() };
    assert!(message(&full, begin, end).contains("what was removed before"));
    let (unread, cut) = (Facts { unread: 2, ..Facts::default() }, Facts { cut: true, ..Facts::default() });
    assert!(message(&unread, begin, end).contains("2 objects are not counted"));
    assert!(message(&cut, begin, end).contains("ask for a shorter period"));
}

#[test]
fn what_is_kept_for_longer_has_figures_and_a_period_of_which_nothing_is_kept_has_none() {
    let scope = Scope { tenant: None, namespaces: vec!["shop".into()], prices: None };
    let period = (at("2026-11-01T00:00:00Z"), at("2026-11-10T00:00:00Z"));
    assert_eq!(ahead_of_reading(period.0, period.1, Retention::default(), now()), None);
    let of = |facts: &Facts| of_a_period(facts, &scope, period, Retention::default(), now());
    assert!(matches!(of(&Facts::default()), Outcome::NotMade { reason: Reason::NoData, .. }));
    let open = IncidentFacts {
        namespace: "shop".into(),
        name: "cart-hung-1".into(),
        state: None,
        cause: None,
        severity: None,
        expected: false,
        instants: homeostat_crds::v1alpha1::incident::IncidentInstants::default(),
        reopened: 0,
        handed_over: true,
        by_people: false,
    };
    let Outcome::Made { message, .. } = of(&Facts { incidents: vec![open], ..Facts::default() }) else {
        panic!()
    };
    assert!(message.contains("recommendations 30 days") && message.contains("not counted"), "{message}");
}

#[test]
fn the_status_leads_to_the_page_and_says_when_it_has_no_address() {
    let record = record(None, About::Incident("cart-hung-1".into()));
    let scope = Scope { tenant: Some("food".into()), namespaces: vec!["shop".into()], prices: None };
    let made = || Outcome::Made { summary: "one".to_owned(), figures: Vec::new(), message: String::new() };
    let pages: PagesUrl = "http://homeostat.homeostat-system.svc:8081".parse().unwrap();
    let with = status(&record, Some(&scope), &key(), made(), Some(&pages), now());
    assert_eq!(with.url.as_deref(), Some("http://homeostat.homeostat-system.svc:8081/incidents/cart-hung-1"));
    assert_eq!((with.observed_generation, with.generated), (Some(3), Some(MicroTime::new(now()))));
    let without = status(&record, Some(&scope), &key(), made(), None, now());
    assert_eq!(without.url, None);
    for condition in &without.conditions {
        assert_eq!(condition.status, ConditionStatus::True);
        assert!(condition.message.contains("--pages-url"), "{}", condition.message);
    }
    let missing = not_found(&key(), &"cart-hung-1".into(), Retention::default());
    let none = status(&record, Some(&scope), &key(), missing, Some(&pages), now());
    assert_eq!((none.url, none.generated, none.summary), (None, None, None));
    let kinds: Vec<_> = none.conditions.iter().map(|one| (one.type_.as_str(), one.reason.as_str())).collect();
    assert_eq!(kinds, [("Ready", "TargetNotFound"), ("Generated", "TargetNotFound")]);
    assert!(none.conditions[0].message.contains("kubectl get incidents -n shop"));
}
