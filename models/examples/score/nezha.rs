//! Nezha: metrics, spans and log lines of two applications around injected faults.
//!
//! Of `faults.csv` only the times are read. A fault's case holds the minute without fault as baseline, what happened
//! from its injection up to three minutes later as suspect, and the metrics of the quarter of an hour before. Spans
//! that end later, and lines and rows stamped later, are not used. Services are told from pods by Kubernetes' naming.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use homeostat_models::cause::{self, Case, CauseConfig, Log, Measure, Series, Span, Template, Window};

use super::data::{self, Error};

/// Seconds after the injection up to which anything is used.
const HORIZON: f64 = 180.0;
/// Seconds of metrics before the injection.
const HISTORY: f64 = 900.0;
/// Seconds before the injection that stand in for a missing minute without fault.
const LOOK_BACK: f64 = 120.0;
/// Seconds after the injection until a row of a minute mostly shows the fault.
const SETTLED: f64 = 30.0;

/// Numbers for texts, in order of appearance.
#[derive(Clone, Default)]
struct Names {
    index: BTreeMap<String, usize>,
    list: Vec<String>,
}

impl Names {
    fn of(&mut self, name: &str) -> usize {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        self.index.insert(name.to_owned(), self.list.len());
        self.list.push(name.to_owned());
        self.list.len() - 1
    }
}

/// One day's data.
#[derive(Default)]
struct Day {
    services: Names,
    operations: Names,
    templates: Names,
    traces: Names,
    ids: Names,
    calls: Vec<(usize, usize)>,
    metrics: Vec<Row>,
    spans: Vec<Span>,
    logs: Vec<Log>,
    baseline: Window,
}

/// One row of metrics.
struct Row {
    time: f64,
    service: usize,
    values: Vec<(Measure, f64)>,
}

/// Metrics that are used, with their factor to the crate's unit.
const METRICS: &[(&str, Measure, f64)] = &[
    ("CpuUsageRate(%)", Measure::Cpu, 0.01),
    ("MemoryUsageRate(%)", Measure::Memory, 0.01),
    ("PodWorkload(Ops)", Measure::Requests, 1.0),
];

/// Ranks the services of every fault.
pub fn run(folder: &Path, dump: &Path) -> Result<usize, Error> {
    let mut written = 0;
    for faults in data::files(folder, "faults.csv")? {
        let day_folder = faults.parent().unwrap_or(folder);
        let name = day_folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let day = Day::read(folder, day_folder)?;
        let (header, rows) = data::table(&faults)?;
        let at = column(&faults, &header, "inject_time_utc")?;
        for (index, row) in rows.iter().enumerate() {
            let case = day.case(seconds(&faults, &row[at])?);
            let out = dump.join(&name).join(format!("{index}.csv"));
            let mut file = data::create(&out)?;
            data::line(&mut file, &out, format_args!("rank,service"))?;
            for (rank, candidate) in cause::rank(&case, &CauseConfig::default()).iter().enumerate() {
                let service = &case.entities[candidate.entity];
                data::line(&mut file, &out, format_args!("{},{service}", rank + 1))?;
            }
            file.flush().map_err(data::at(&out))?;
            written += 1;
        }
    }
    Ok(written)
}

/// The case of one fault of a day, by its place in the day's `faults.csv`.
pub fn fault_case(faults: &Path, index: usize) -> Result<Case, Error> {
    let day_folder = faults.parent().unwrap_or(faults);
    let (header, rows) = data::table(faults)?;
    let at = column(faults, &header, "inject_time_utc")?;
    let row = rows.get(index).ok_or_else(|| Error::Content {
        path: faults.to_owned(),
        message: format!("there is no fault {index}, the last one is {}", rows.len().saturating_sub(1)),
    })?;
    let day = Day::read(day_folder.parent().unwrap_or(day_folder), day_folder)?;
    Ok(day.case(seconds(faults, &row[at])?))
}

impl Day {
    fn read(folder: &Path, day: &Path) -> Result<Self, Error> {
        let mut read = Self::default();
        read.metrics(&day.join("metrics.csv.gz"))?;
        let graph = day.join("dependency.csv");
        if graph.exists() {
            read.graph(&graph)?;
        }
        if let Some(quiet) = quiet(folder, day) {
            read.spans(&quiet.join("traces_fault_free.csv.gz"))?;
            read.lines(&quiet.join("logs_fault_free.csv.gz"))?;
        }
        read.baseline =
            Window { spans: std::mem::take(&mut read.spans), logs: std::mem::take(&mut read.logs) };
        read.spans(&day.join("traces.csv.gz"))?;
        read.lines(&day.join("logs.csv.gz"))?;
        Ok(read)
    }

    fn metrics(&mut self, path: &Path) -> Result<(), Error> {
        let (header, rows) = data::table(path)?;
        let (time, pod) = (column(path, &header, "timestamp")?, column(path, &header, "pod")?);
        for row in &rows {
            let values = (METRICS.iter())
                .filter_map(|(name, measure, factor)| {
                    let at = header.iter().position(|column| column == name)?;
                    Some((*measure, factor * row.get(at)?.parse().unwrap_or(f64::NAN)))
                })
                .collect();
            let service = self.services.of(service(&row[pod]));
            self.metrics.push(Row { time: row[time].parse().unwrap_or(f64::NAN), service, values });
        }
        Ok(())
    }

    fn graph(&mut self, path: &Path) -> Result<(), Error> {
        let (_, rows) = data::table(path)?;
        for row in &rows {
            // Only services whose pods have metrics; the rest are addresses.
            if let (Some(from), Some(to)) =
                (self.services.index.get(&row[0]), self.services.index.get(&row[1]))
            {
                self.calls.push((*from, *to));
            }
        }
        Ok(())
    }

    fn spans(&mut self, path: &Path) -> Result<(), Error> {
        if !path.exists() {
            return Ok(());
        }
        let (header, rows) = data::table(path)?;
        let names =
            ["TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartUnixMicro", "DurationMicro"];
        let mut at = [0; 7];
        for (at, name) in at.iter_mut().zip(names) {
            *at = column(path, &header, name)?;
        }
        for row in &rows {
            let micro = |at: usize| row[at].parse::<f64>().unwrap_or(f64::NAN) / 1e6;
            let parent = &row[at[2]];
            self.spans.push(Span {
                trace: self.traces.of(&row[at[0]]) as u64,
                id: self.ids.of(&row[at[1]]) as u64,
                parent: (parent != "root").then(|| self.ids.of(parent) as u64),
                entity: self.services.of(service(&row[at[3]])),
                operation: self.operations.of(&row[at[4]]),
                start: micro(at[5]),
                duration: micro(at[6]),
                // The spans carry no status; Spring answers a failed request with a step of this name.
                error: row[at[4]].contains("BasicErrorController.error"),
            });
        }
        Ok(())
    }

    fn lines(&mut self, path: &Path) -> Result<(), Error> {
        if !path.exists() {
            return Ok(());
        }
        let (header, rows) = data::table(path)?;
        let mut at = [0; 5];
        for (at, name) in at.iter_mut().zip(["TimeUnixNano", "PodName", "TraceID", "SpanID", "Log"]) {
            *at = column(path, &header, name)?;
        }
        for row in &rows {
            self.logs.push(Log {
                entity: self.services.of(service(&row[at[1]])),
                template: self.templates.of(&masked(&row[at[4]])),
                count: 1,
                span: Some((self.traces.of(&row[at[2]]) as u64, self.ids.of(&row[at[3]]) as u64)),
                at: row[at[0]].parse::<f64>().unwrap_or(f64::NAN) / 1e9,
            });
        }
        Ok(())
    }

    /// The minute without fault; without one, the traces that ended shortly before the injection.
    fn quiet(&self, injected: f64) -> Window {
        if !self.baseline.spans.is_empty() {
            return self.baseline.clone();
        }
        let ended =
            |span: &&Span| span.start >= injected - LOOK_BACK && span.start + span.duration < injected;
        let before = |log: &&Log| log.at >= injected - LOOK_BACK && log.at < injected;
        Window {
            spans: self.spans.iter().filter(ended).cloned().collect(),
            logs: self.logs.iter().filter(before).cloned().collect(),
        }
    }

    /// What is known three minutes after an injection.
    fn case(&self, injected: f64) -> Case {
        let horizon = injected + HORIZON;
        let during = |time: f64| time >= injected && time <= horizon;
        let spans = (self.spans.iter())
            .filter(|span| span.start >= injected && span.start + span.duration <= horizon);
        let suspect = Window {
            spans: spans.cloned().collect(),
            logs: self.logs.iter().filter(|log| during(log.at)).cloned().collect(),
        };
        let mut series: BTreeMap<(usize, Measure), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for row in self.metrics.iter().filter(|row| row.time >= injected - HISTORY && row.time <= horizon) {
            for (measure, value) in &row.values {
                let (before, now) = series.entry((row.service, *measure)).or_default();
                if row.time < injected {
                    before.push(*value);
                } else if row.time >= injected + SETTLED {
                    now.push(*value);
                }
            }
        }
        let template = |text: &String| Template {
            text: text.clone(),
            error: text.starts_with("ERROR") || text.starts_with("FATAL"),
        };
        Case {
            entities: self.services.list.clone(),
            operations: self.operations.list.clone(),
            templates: self.templates.list.iter().map(template).collect(),
            calls: self.calls.clone(),
            baseline: self.quiet(injected),
            suspect,
            series: (series.into_iter())
                .map(|((entity, measure), (baseline, suspect))| Series { entity, measure, baseline, suspect })
                .collect(),
            ..Case::default()
        }
    }
}

/// The folder with the minute without fault: the day's own, or that of a day of the same month, which is the same
/// application. A part of the data without that minute takes it from the folder `nezha` below `HOMEOSTAT_DATA`.
fn quiet(folder: &Path, day: &Path) -> Option<PathBuf> {
    let name = day.file_name()?.to_string_lossy().into_owned();
    let whole = std::env::var_os("HOMEOSTAT_DATA").map(|root| PathBuf::from(root).join("nezha"));
    for root in [Some(folder.to_owned()), whole].into_iter().flatten() {
        let all = data::files(&root, "traces_fault_free.csv.gz").unwrap_or_default();
        let days = || all.iter().filter_map(|path| path.parent());
        let named = |day: &Path, length| {
            day.file_name().is_some_and(|other| other.to_string_lossy().get(..length) == name.get(..length))
        };
        if let Some(found) =
            days().find(|day| named(day, name.len())).or_else(|| days().find(|day| named(day, 7)))
        {
            return Some(found.to_owned());
        }
    }
    None
}

/// A pod's service: the name without the two parts that a Deployment adds.
fn service(pod: &str) -> &str {
    let mut ends = pod.rmatch_indices('-').map(|(at, _)| at);
    match (ends.next(), ends.next()) {
        (Some(_), Some(at)) => &pod[..at],
        _ => pod,
    }
}

/// A line without its time and ids, and with what varies masked: words with digits, and what stands in brackets.
fn masked(line: &str) -> String {
    let mut words = line.split_whitespace().peekable();
    let mut kept: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "TraceID:" | "SpanID:" => {
                words.next();
            }
            _ if kept.is_empty()
                && word.contains(':')
                && word.starts_with(|first: char| first.is_ascii_digit()) => {}
            // The place in the code that wrote the line.
            _ if kept.len() == 1 => kept.push(word.to_owned()),
            _ if word.chars().any(|letter| letter.is_ascii_digit()) => kept.push("<*>".to_owned()),
            _ => kept.push(word.to_owned()),
        }
        if kept.len() >= 2 {
            break;
        }
    }
    kept.join(" ")
}

/// Seconds of a text time in UTC.
fn seconds(path: &Path, text: &str) -> Result<f64, Error> {
    let time = text.parse::<jiff::civil::DateTime>().and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
    let content = |error: jiff::Error| Error::Content { path: path.to_owned(), message: error.to_string() };
    Ok(time.map_err(content)?.timestamp().as_second() as f64)
}

/// Place of a named column.
fn column(path: &Path, header: &[String], name: &str) -> Result<usize, Error> {
    header.iter().position(|column| column == name).ok_or_else(|| Error::Content {
        path: path.to_owned(),
        message: format!("there is no column {name}"),
    })
}
