//! `PetShop`: five-minute metrics and a call graph per scenario; one file of rows and one symptom per issue.
//!
//! Of `target.json` only the symptom is read: where, when, in which measure. Rows stamped later than ten minutes after it are
//! not used.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use homeostat_models::cause::{self, Case, CauseConfig, Measure, Series, Symptom};

use super::data::{self, Error};

/// Seconds after the symptom up to which rows are used.
const HORIZON: f64 = 600.0;

/// One table of metrics: row times, and columns by node and measure.
struct Table {
    times: Vec<f64>,
    columns: Vec<(String, Measure, Vec<f64>)>,
}

#[derive(serde::Deserialize)]
struct Target {
    target: Seen,
}

#[derive(serde::Deserialize)]
struct Seen {
    node: String,
    metric: String,
    timestamp: f64,
}

/// Ranks the nodes of every issue.
pub fn run(folder: &Path, dump: &Path) -> Result<usize, Error> {
    let mut written = 0;
    for target in data::files(folder, "target.json")? {
        let issue = target.parent().unwrap_or(folder);
        let (case, symptom) = issue_case(&target)?;
        let out = dump.join(issue.strip_prefix(folder).unwrap_or(issue)).with_extension("csv");
        let mut file = data::create(&out)?;
        data::line(&mut file, &out, format_args!("rank,node"))?;
        let ranked = cause::rank(&case, &CauseConfig::default());
        for (rank, candidate) in ranked.iter().filter(|candidate| candidate.entity != symptom).enumerate() {
            data::line(
                &mut file,
                &out,
                format_args!("{},{}", rank + 1, quoted(&case.entities[candidate.entity])),
            )?;
        }
        file.flush().map_err(data::at(&out))?;
        written += 1;
    }
    Ok(written)
}

/// The case of the issue whose `target.json` this is, and the index of the node where it was seen.
pub fn issue_case(target: &Path) -> Result<(Case, usize), Error> {
    let issue = target.parent().unwrap_or(target);
    let scenario = issue.ancestors().nth(2).unwrap_or(issue);
    let text = std::fs::read(target).map_err(data::at(target))?;
    let seen: Target = serde_json::from_slice(&text)
        .map_err(|error| Error::Content { path: target.to_owned(), message: error.to_string() })?;
    case(scenario, issue, &seen.target)
}

fn case(scenario: &Path, issue: &Path, seen: &Seen) -> Result<(Case, usize), Error> {
    let (header, rows) = data::table(&scenario.join("graph.csv.gz"))?;
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let mut case = Case::default();
    let mut entity = |case: &mut Case, name: &str| {
        *index.entry(name.to_owned()).or_insert_with(|| {
            case.entities.push(name.to_owned());
            case.entities.len() - 1
        })
    };
    for row in &rows {
        let caller = entity(&mut case, &row[0]);
        for (column, cell) in row.iter().enumerate().skip(1) {
            if cell.parse::<f64>().unwrap_or(0.0) > 0.0 {
                let callee = entity(&mut case, &header[column]);
                case.calls.push((caller, callee));
            }
        }
    }
    let usual = table(&scenario.join("noissue/metrics.csv.gz"))?;
    let now = table(&issue.join("metrics.csv.gz"))?;
    let within = |time: f64| time >= seen.timestamp && time <= seen.timestamp + HORIZON;
    for (node, measure, baseline) in usual.columns {
        let column = now.columns.iter().find(|column| column.0 == node && column.1 == measure);
        let suspect = (column.map(|column| column.2.as_slice()).unwrap_or_default().iter().zip(&now.times))
            .filter(|(_, time)| within(**time))
            .map(|(value, _)| *value)
            .collect();
        let entity = entity(&mut case, &node);
        case.series.push(Series { entity, measure, baseline, suspect });
    }
    let symptom = entity(&mut case, &seen.node);
    let measure = match seen.metric.as_str() {
        "latency" => Some(Measure::Latency),
        "availability" => Some(Measure::Failures),
        _ => None,
    };
    case.symptom = Some(Symptom { entity: symptom, measure });
    Ok((case, symptom))
}

/// Reads a table with its four lines of header: node, metric, statistic, and the name of the index.
fn table(path: &Path) -> Result<Table, Error> {
    let (nodes, rows) = data::table(path)?;
    let [metrics, statistics, _, rows @ ..] = rows.as_slice() else {
        return Err(Error::Content {
            path: path.to_owned(),
            message: "fewer than four lines of header".to_owned(),
        });
    };
    let number = |cell: Option<&str>| cell.and_then(|cell| cell.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let mut columns = Vec::new();
    for (at, node) in nodes.iter().enumerate().skip(1) {
        let measure = match (&metrics[at], &statistics[at]) {
            ("latency", "Average") => Measure::Latency,
            ("requests", "Sum") => Measure::Requests,
            ("availability", "Average") => Measure::Failures,
            _ => continue,
        };
        let value = |row: &csv::StringRecord| match (measure, number(row.get(at))) {
            (Measure::Failures, percent) => (100.0 - percent) / 100.0,
            (_, value) => value,
        };
        columns.push((node.clone(), measure, rows.iter().map(value).collect()));
    }
    Ok(Table { times: rows.iter().map(|row| number(row.get(0))).collect(), columns })
}

/// A CSV field.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
