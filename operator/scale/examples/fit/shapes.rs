//! A catalogue: what each tenant runs, on how much.

use homeostat_scale::jobs::calendar::{Calendar, CalendarError, CalendarSpec};
use homeostat_scale::jobs::{Size, SizeError};
use jiff::Timestamp;
use serde::Deserialize;
use std::path::Path;

/// Seconds that a pod may take to start.
const POD_START: std::ops::RangeInclusive<f64> = 0.0..=3_600.0;
const POD_START_WANTED: &str = "from 0 to 3600";

/// As it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shapes {
    pub name: String,
    pub begins: Timestamp,
    pub capacity: Amount,
    pub zones: Vec<String>,
    pub always_on: Amount,
    pub pod_start_seconds: f64,
    pub size_factor: Spread,
    pub weekend_factor: f64,
    pub memory_growth_per_week: f64,
    pub jobs: Vec<Shape>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amount {
    pub vcpu: f64,
    pub memory_gib: f64,
}

/// Log-normal with mean 1; what lies outside is set to the bound.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spread {
    pub sigma: f64,
    pub least: f64,
    pub most: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    pub name: String,
    pub cron: String,
    pub vcpu: f64,
    pub memory_gib: f64,
    pub minutes: f64,
    pub spread: Spread,
    pub due_minutes: f64,
    pub needs: Option<String>,
    #[serde(default)]
    pub fail_share: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum ShapesError {
    #[error("cannot read {path}: {reason}; name a catalogue with --shapes FILE")]
    Read { path: String, reason: String },
    #[error("{path}:{line}:{column}: {message}")]
    Syntax { path: String, line: u64, column: u64, message: String },
    #[error("{path}: {what} is {value}; give a number {wanted}")]
    Value { path: String, what: String, value: f64, wanted: &'static str },
    #[error("--pod-start is {value}; give a number {POD_START_WANTED}")]
    PodStart { value: f64 },
    #[error("{path}: {what}: {source}")]
    Size { path: String, what: String, source: SizeError },
    #[error("{path}: job {job}: {source}")]
    Calendar { path: String, job: String, source: CalendarError },
    #[error(
        "{path}: job {job} needs {needs}, which does not stand before it; put it there or leave `needs` out"
    )]
    Needs { path: String, job: String, needs: String },
    #[error("{path}: {what} is empty; list at least one")]
    Empty { path: String, what: &'static str },
}

/// A checked one in whole units.
#[derive(Clone, Debug)]
pub struct Catalogue {
    pub shapes: Shapes,
    pub capacity: Size,
    pub always_on: Size,
    pub kinds: Vec<Kind>,
    pub begins_ms: i64,
}

impl Catalogue {
    /// Pods take so long to start, whatever the catalogue says.
    pub fn start_pods_within(&mut self, seconds: f64) -> Result<(), ShapesError> {
        if !POD_START.contains(&seconds) {
            return Err(ShapesError::PodStart { value: seconds });
        }
        self.shapes.pod_start_seconds = seconds;
        Ok(())
    }
}

/// A job of the catalogue.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: String,
    pub size: Size,
    pub due_ms: i64,
    pub needs: Option<usize>,
    /// Per zone, in order: moment in milliseconds since 1970 and whether it is a weekend there.
    pub slots: Vec<Vec<(i64, bool)>>,
}

pub fn read(path: &Path, days: u32) -> Result<Catalogue, ShapesError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ShapesError::Read { path: shown.clone(), reason: error.to_string() })?;
    parse(&shown, &text, days)
}

pub fn parse(path: &str, text: &str, days: u32) -> Result<Catalogue, ShapesError> {
    let options: serde_saphyr::Options = serde_saphyr::options! { with_snippet: false };
    let shapes: Shapes = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let message = error.without_snippet().to_string();
        let suffix = format!(" at line {line}, column {column}");
        let message = message.strip_suffix(&suffix).unwrap_or(&message).to_owned();
        ShapesError::Syntax { path: path.to_owned(), line, column, message }
    })?;
    check(path, &shapes)?;
    let size = |what: &str, vcpu: f64, gib: f64| {
        Size::new(vcpu, gib).map_err(|source| ShapesError::Size {
            path: path.to_owned(),
            what: what.to_owned(),
            source,
        })
    };
    let end = shapes.begins.as_millisecond() + i64::from(days) * 86_400_000;
    let mut kinds: Vec<Kind> = Vec::new();
    for shape in &shapes.jobs {
        let needs = match &shape.needs {
            None => None,
            Some(needs) => Some(kinds.iter().position(|kind| kind.name == *needs).ok_or_else(|| {
                ShapesError::Needs { path: path.to_owned(), job: shape.name.clone(), needs: needs.clone() }
            })?),
        };
        let mut slots = Vec::new();
        for zone in &shapes.zones {
            slots.push(fired(shapes.begins, end, &shape.cron, zone).map_err(|source| {
                ShapesError::Calendar { path: path.to_owned(), job: shape.name.clone(), source }
            })?);
        }
        kinds.push(Kind {
            name: shape.name.clone(),
            size: size(&shape.name, shape.vcpu, shape.memory_gib)?,
            due_ms: (shape.due_minutes * 60_000.0) as i64,
            needs,
            slots,
        });
    }
    Ok(Catalogue {
        capacity: size("capacity", shapes.capacity.vcpu, shapes.capacity.memory_gib)?,
        always_on: size("alwaysOn", shapes.always_on.vcpu, shapes.always_on.memory_gib)?,
        kinds,
        begins_ms: shapes.begins.as_millisecond(),
        shapes,
    })
}

fn fired(begins: Timestamp, end: i64, cron: &str, zone: &str) -> Result<Vec<(i64, bool)>, CalendarError> {
    let spec =
        CalendarSpec { cron: cron.to_owned(), zone: zone.to_owned(), except: Vec::new(), extra: Vec::new() };
    // The first slot may be the beginning itself.
    let before = begins.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap_or(begins);
    let calendar = Calendar::new(spec, before)?;
    let until = Timestamp::from_millisecond(end - 1).unwrap_or(Timestamp::MAX);
    let weekend = |at: Timestamp| {
        let day = at.to_zoned(calendar.zone().clone()).weekday().to_monday_one_offset();
        day >= 6
    };
    let all = calendar.between(before, until, 1_000_000);
    Ok(all.into_iter().map(|at| (at.as_millisecond(), weekend(at))).collect())
}

fn check(path: &str, shapes: &Shapes) -> Result<(), ShapesError> {
    if shapes.zones.is_empty() {
        return Err(ShapesError::Empty { path: path.to_owned(), what: "zones" });
    }
    if shapes.jobs.is_empty() {
        return Err(ShapesError::Empty { path: path.to_owned(), what: "jobs" });
    }
    let within = |what: String, value: f64, least: f64, most: f64, wanted: &'static str| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(ShapesError::Value { path: path.to_owned(), what, value, wanted })
        }
    };
    let spread = |what: &str, spread: &Spread| {
        within(format!("{what}.sigma"), spread.sigma, 0.0, 3.0, "from 0 to 3")?;
        within(format!("{what}.least"), spread.least, 0.0, 1.0, "from 0 to 1, which is the mean")?;
        within(format!("{what}.most"), spread.most, 1.0, 1_000.0, "from 1, which is the mean, to 1000")
    };
    let (least, most) = POD_START.into_inner();
    within("podStartSeconds".to_owned(), shapes.pod_start_seconds, least, most, POD_START_WANTED)?;
    within("weekendFactor".to_owned(), shapes.weekend_factor, 0.01, 100.0, "from 0.01 to 100")?;
    within("memoryGrowthPerWeek".to_owned(), shapes.memory_growth_per_week, -0.9, 10.0, "from -0.9 to 10")?;
    spread("sizeFactor", &shapes.size_factor)?;
    for job in &shapes.jobs {
        let name = |field: &str| format!("{}.{field}", job.name);
        within(name("minutes"), job.minutes, 0.01, 100_000.0, "from 0.01 to 100000")?;
        within(name("dueMinutes"), job.due_minutes, job.minutes, 100_000.0, "of at least its minutes")?;
        within(name("failShare"), job.fail_share, 0.0, 1.0, "from 0 to 1")?;
        within(name("vcpu"), job.vcpu, 0.001, 1_000_000.0, "from 0.001 to 1000000")?;
        spread(&name("spread"), &job.spread)?;
    }
    Ok(())
}
