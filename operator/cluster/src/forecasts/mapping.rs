//! A record becomes a `Forecast`.

use homeostat_crds::common::{LABEL_TENANT, LABEL_WORKLOAD};
use homeostat_crds::conditions::Statement;
use homeostat_crds::v1alpha1::action::NameRef;
use homeostat_crds::v1alpha1::forecast::{
    ForecastLimit, ForecastPoint, ForecastScaling, ForecastSkill as WireSkill, MAX_MEMORY, MAX_POINTS,
};
use homeostat_crds::v1alpha1::workload::ScalingMode as WireMode;
use homeostat_crds::v1alpha1::{Forecast, ForecastSpec, ForecastStatus, Workload};
use homeostat_crds::{ConditionStatus, ConditionType, MicroTime, Reason, clip};
use homeostat_knowledge::forecast::{LoadLimit, Outlook, REQUESTS, RUNS, SizeTrouble};
use homeostat_knowledge::policy::ScalingMode;
use homeostat_knowledge::{ForecastRecord, ForecastSkill, ObjectKey, SignedDuration, SizeAdvice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A number that moved by more than this share of the larger one is news.
const MOVED: f64 = 0.05;
/// Less than this is nothing, in requests per second.
const NOTHING: f64 = 0.01;
/// A trouble that went is told when it was told so long ago: one that comes and goes is not written each time.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);
/// The time to a limit is told anew so often at least.
const RENEWED: SignedDuration = SignedDuration::from_mins(30);
/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// Namespace and name of the object.
pub fn key(record: &ForecastRecord) -> ObjectKey {
    ObjectKey::new(record.workload.namespace.clone(), name(&record.workload.name, &record.signal))
}

/// Name of the object for this workload and signal.
pub fn name(workload: &str, signal: &str) -> String {
    let name = format!("{workload}-{signal}");
    if name.len() <= LONGEST_NAME {
        name
    } else {
        // Two long names must not become one; DNS names are ASCII.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let start: String = name.chars().take(LONGEST_NAME - 18).collect();
        format!("{start}-h{:016x}", hasher.finish())
    }
}

/// The object without its status. It is removed by the API server together with its Workload.
pub fn object(record: &ForecastRecord) -> Forecast {
    let key = key(record);
    let spec = ForecastSpec {
        workload_ref: NameRef { name: record.workload.name.to_string() },
        signal: record.signal.to_string(),
        horizon_seconds: i32::try_from(record.outlook.horizon_seconds).unwrap_or(i32::MAX),
    };
    let mut object = Forecast::new(&key.name, spec);
    object.metadata.namespace = Some(key.namespace.to_string());
    let mut labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "homeostat".to_owned())]);
    let tenant = record.tenant.as_ref().map(|tenant| (LABEL_TENANT, &tenant.0));
    for (label, value) in [(LABEL_WORKLOAD, &record.workload.name)].into_iter().chain(tenant) {
        // Longer names than a label can hold are found in the spec.
        if (1..=63).contains(&value.len()) {
            labels.insert(label.to_owned(), value.to_string());
        }
    }
    object.metadata.labels = Some(labels);
    object.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Workload::api_version(&()).into_owned(),
        kind: Workload::kind(&()).into_owned(),
        name: record.workload.name.to_string(),
        uid: record.workload_uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }]);
    object
}

/// The status without its conditions.
pub fn status(record: &ForecastRecord, generation: Option<i64>) -> ForecastStatus {
    let outlook = &record.outlook;
    let points = outlook.points.iter().take(MAX_POINTS).map(|point| ForecastPoint {
        at: MicroTime::new(point.at),
        p10: decimal(point.p10),
        p50: decimal(point.p50),
        p90: decimal(point.p90),
    });
    ForecastStatus {
        observed_generation: generation,
        updated: Some(MicroTime::new(outlook.made)),
        model: outlook.model.as_ref().map(|model| clip(model, 63)),
        reason: Some(clip(&outlook.reason, 1_024)),
        error: outlook.error.map(decimal),
        skill: Some(match outlook.skill {
            ForecastSkill::Proven => WireSkill::Proven,
            ForecastSkill::Absent => WireSkill::Absent,
            ForecastSkill::Unknown => WireSkill::Unknown,
        }),
        now: outlook.now.map(decimal),
        p10: outlook.low().map(decimal),
        p50: outlook.peak.map(|peak| decimal(peak.p50)),
        p90: outlook.peak.map(|peak| decimal(peak.p90)),
        points: points.collect(),
        next_choice: outlook.next_choice.map(MicroTime::new),
        scaling: sizes(record).then(|| scaling(record)),
        time_to_limit: outlook.limit.as_ref().map(limit),
        memory: record.memory.clone().filter(|memory| memory.len() <= MAX_MEMORY),
        conditions: Vec::new(),
    }
}

/// Whether a size follows from it.
fn sizes(record: &ForecastRecord) -> bool {
    *record.signal == *REQUESTS
}

fn scaling(record: &ForecastRecord) -> ForecastScaling {
    ForecastScaling {
        mode: match record.mode {
            ScalingMode::Observe => WireMode::Observe,
            ScalingMode::Recommend => WireMode::Recommend,
            ScalingMode::Auto => WireMode::Auto,
        },
        replicas: Some(count(record.replicas)),
        wanted: record.size.wanted.map(count),
        load_per_replica: record.size.per_replica.map(decimal),
        reason: clip(&record.size.why, 1_024),
        done: record.size.done.as_ref().map(|done| clip(done, 1_024)),
    }
}

/// What is true of it.
pub fn statements(record: &ForecastRecord) -> Vec<Statement> {
    let outlook = &record.outlook;
    let ready = if outlook.points.is_empty() && *record.signal != *RUNS {
        Statement::new(ConditionType::Ready, false, Reason::NoData, outlook.reason.clone())
    } else {
        Statement::new(ConditionType::Ready, true, Reason::AsExpected, "")
    };
    let (skilled, reason) = match outlook.skill {
        ForecastSkill::Proven => (ConditionStatus::True, Reason::BeatsNaive),
        ForecastSkill::Absent => (ConditionStatus::False, Reason::NoSkill),
        ForecastSkill::Unknown => (ConditionStatus::Unknown, Reason::NoData),
    };
    let mut all = vec![ready, Statement::new(ConditionType::Skilled, skilled, reason, "")];
    all.extend(sizes(record).then(|| sized(&record.size)));
    all
}

/// Whether anything is in the way of deciding the size: the first of the troubles, with all of them in words.
fn sized(size: &SizeAdvice) -> Statement {
    let Some(first) = size.troubles.iter().min() else {
        return Statement::new(ConditionType::Sized, true, Reason::AsExpected, "");
    };
    let status = if first.is_early() { ConditionStatus::Unknown } else { ConditionStatus::False };
    Statement::new(ConditionType::Sized, status, reason(*first), size.why.clone())
}

fn reason(trouble: SizeTrouble) -> Reason {
    match trouble {
        SizeTrouble::TooMany => Reason::TooMany,
        SizeTrouble::NoBounds => Reason::NoBounds,
        SizeTrouble::InvalidSetting => Reason::InvalidSpec,
        SizeTrouble::TargetNotFound => Reason::TargetNotFound,
        SizeTrouble::ScaledTwice => Reason::TargetScaledTwice,
        SizeTrouble::ScaledByOther => Reason::TargetScaledByOther,
        SizeTrouble::CalendarNotUsable => Reason::CalendarNotUsable,
        SizeTrouble::QuotaReached => Reason::QuotaReached,
        SizeTrouble::DeadlineNotKept => Reason::DeadlineNotKept,
        SizeTrouble::SignalNotUsable => Reason::SignalNotUsable,
        SizeTrouble::SignalNotSeen => Reason::SignalNotSeen,
        SizeTrouble::SeriesNotSeen => Reason::SeriesNotSeen,
        SizeTrouble::RequestsNotSeen => Reason::RequestsNotSeen,
        SizeTrouble::NothingSeen => Reason::NoData,
        SizeTrouble::CapacityNotKnown => Reason::Learning,
    }
}

/// Whether a person would want to see `new` in place of `old`: another verdict, another size, another trouble, numbers that
/// moved by more than 5 %, or half of the old forecast is over (half an hour, where a time to a limit is told). Words that
/// differ in their numbers only, and what is kept for a restart, wait for the last of these; what runs taught does not.
pub fn differs(old: &ForecastRecord, new: &ForecastRecord) -> bool {
    let (before, after) = (&old.outlook, &new.outlook);
    let verdict = |record: &ForecastRecord| {
        let outlook = &record.outlook;
        let words = (outlook.skill, outlook.model.clone(), outlook.next_choice, outlook.points.is_empty());
        let size = (
            record.mode,
            record.replicas,
            record.size.wanted,
            std::mem::discriminant(&record.size.effect),
            record.size.done.clone(),
            outlook.limit.is_some(),
        );
        (record.workload_uid.clone(), record.tenant.clone(), outlook.horizon_seconds, words, size)
    };
    if verdict(old) != verdict(new) {
        return true;
    }
    // A restart right after a run was killed for memory must not forget that.
    if *new.signal == *RUNS && old.memory != new.memory {
        return true;
    }
    let peaks = |outlook: &Outlook| [outlook.peak.map(|peak| peak.p50), outlook.peak.map(|peak| peak.p90)];
    let numbers = |record: &ForecastRecord| {
        let single = [record.outlook.now, record.outlook.error, record.size.per_replica];
        single.into_iter().chain(peaks(&record.outlook)).collect::<Vec<Option<f64>>>()
    };
    if numbers(old).into_iter().zip(numbers(new)).any(|(before, after)| moved(before, after)) {
        return true;
    }
    if troubled(&old.size, &new.size) {
        return true;
    }
    let age = after.made.duration_since(before.made).as_secs();
    // Without a forecast and with nothing to keep, its words could be news: a count of minutes that are missing is not.
    let kept = new.memory.is_some() && old.memory != new.memory;
    // What is expected of the next run does not get old.
    let ages = !before.points.is_empty() && *new.signal != *RUNS;
    let worth = ages || kept || old.size.troubles != new.size.troubles;
    // A time that is left runs out whether or not anything else moves.
    let longest = if after.limit.is_some() { RENEWED } else { SignedDuration::MAX };
    worth && age >= (i64::from(before.horizon_seconds) / 2).min(longest.as_secs())
}

/// Whether a trouble came, or one went that does not come and go all the time.
fn troubled(old: &SizeAdvice, new: &SizeAdvice) -> bool {
    let came = new.troubles.iter().any(|trouble| !old.troubles.contains(trouble));
    let went = old.troubles.iter().any(|trouble| !new.troubles.contains(trouble));
    came || (went && new.decided.duration_since(old.decided) >= SETTLED)
}

fn moved(before: Option<f64>, after: Option<f64>) -> bool {
    match (before, after) {
        (None, None) => false,
        (Some(before), Some(after)) => {
            (before - after).abs() > (MOVED * before.abs().max(after.abs())).max(NOTHING)
        }
        _ => true,
    }
}

fn limit(limit: &LoadLimit) -> ForecastLimit {
    let whole = |seconds: f64| seconds.clamp(0.0, 1e12) as i64;
    ForecastLimit {
        load: decimal(limit.load),
        p10_seconds: limit.p10_seconds.map(whole),
        p50_seconds: whole(limit.p50_seconds),
        reason: clip(&limit.reason, 1_024),
    }
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX).min(100_000)
}

/// A number as the schema wants it; what is beyond its range is cut.
fn decimal(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-1e99, 1e99) } else { 0.0 };
    if value != 0.0 && !(1e-3..1e12).contains(&value.abs()) {
        return if value.abs() < 1e-3 { "0".to_owned() } else { format!("{value:.3e}") };
    }
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_crds::Numeric;

    #[test]
    fn numbers_keep_the_form_of_the_schema() {
        let cases =
            [(0.0, "0"), (-0.0, "0"), (12.0, "12"), (0.65149, "0.651"), (-3.5, "-3.5"), (100.0, "100")];
        for (value, text) in cases {
            assert_eq!(decimal(value), text);
        }
        for value in [f64::MAX, f64::MIN, 1e12, 1e300, 1e-300, f64::NAN, f64::INFINITY, 999_999_999_999.9] {
            let text = decimal(value);
            let digits = text.trim_start_matches('-').split(['.', 'e']).next().unwrap_or_default().len();
            assert!(text.number().is_some() && text.len() <= 32 && digits <= 15, "{value}: {text}");
        }
    }
}
