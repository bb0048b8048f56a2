//! Series of load, scaled so that the highest value is the capacity of twenty replicas.

use flate2::read::GzDecoder;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Replicas that carry the highest load of a series.
pub const PEAK: f64 = 20.0;
/// Longest step, in seconds; coarser series are held.
const STEP: usize = 15;

/// A series of load.
#[derive(Clone, Debug)]
pub struct Series {
    /// File name without its ending.
    pub name: String,
    /// Seconds of a step; a divisor of 15.
    pub step: usize,
    /// Load in replicas' worth.
    pub loads: Vec<f64>,
    /// Seconds since 1970 of the first step.
    pub start: i64,
}

/// Why there is nothing to run on.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No folder was named.
    #[error(
        "no series of load: name a folder with DATA=folder (make scale-compare DATA=folder) or HOMEOSTAT_DATA, which may also \
         be its parent; it holds files *.csv.gz with the columns timestamp (seconds) and value, or TIMESTAMP of each request"
    )]
    NotNamed,
    /// The folder cannot be read.
    #[error("folder {0} cannot be read; name one that holds *.csv.gz with DATA=folder")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The folder has no series.
    #[error("folder {0} holds no *.csv.gz; name one that does with DATA=folder")]
    Empty(PathBuf),
    /// A file cannot be used.
    #[error(
        "{0}: {1}; expected are the columns timestamp (seconds, at one step of at least 15 s, or 15 s) and value"
    )]
    File(PathBuf, String),
}

/// The folder to read: the argument, `HOMEOSTAT_DATA/workload`, or `HOMEOSTAT_DATA`.
pub fn folder(named: Option<PathBuf>) -> Result<PathBuf, DataError> {
    let variable = || {
        let data = PathBuf::from(std::env::var_os("HOMEOSTAT_DATA").filter(|data| !data.is_empty())?);
        Some(data)
    };
    let folder =
        named.filter(|path| !path.as_os_str().is_empty()).or_else(variable).ok_or(DataError::NotNamed)?;
    let inside = folder.join("workload");
    Ok(if inside.is_dir() { inside } else { folder })
}

/// Reads every series of a folder, by name.
pub fn read(folder: &Path) -> Result<Vec<Series>, DataError> {
    let failed = |error| DataError::Folder(folder.to_owned(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.to_string_lossy().ends_with(".csv.gz") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(DataError::Empty(folder.to_owned()));
    }
    files.iter().map(|path| series(path)).collect()
}

fn series(path: &Path) -> Result<Series, DataError> {
    let bad = |what: String| DataError::File(path.to_owned(), what);
    let file = File::open(path).map_err(|error| bad(error.to_string()))?;
    let mut reader = csv::Reader::from_reader(GzDecoder::new(file));
    let requests = reader.headers().map_err(|error| bad(error.to_string()))?.get(0) == Some("TIMESTAMP");
    let mut times = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| bad(error.to_string()))?;
        let field = |column: usize| row.get(column).unwrap_or_default();
        if requests {
            let time: jiff::civil::DateTime = field(0)
                .replacen(' ', "T", 1)
                .parse()
                .map_err(|error| bad(format!("{}: {error}", field(0))))?;
            let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| bad(error.to_string()))?;
            times.push(zoned.timestamp().as_millisecond() as f64 / 1_000.0);
        } else {
            let number =
                |text: &str| text.parse::<f64>().map_err(|_| bad(format!("`{text}` is not a number")));
            times.push(number(field(0))?);
            values.push(number(field(1))?);
        }
    }
    let first = times.first().copied().ok_or_else(|| bad("no row".to_owned()))?;
    let (step, mut loads) =
        if requests { (1, per_second(&times)) } else { held(&times, values).map_err(bad)? };
    let peak = loads.iter().copied().fold(0.0, f64::max);
    if peak.is_nan() || peak <= 0.0 {
        return Err(bad("no load above 0".to_owned()));
    }
    for load in &mut loads {
        *load *= PEAK / peak;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().replace(".csv.gz", "")).unwrap_or_default();
    Ok(Series { name, step, loads, start: first as i64 })
}

/// Requests in each whole second.
fn per_second(times: &[f64]) -> Vec<f64> {
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    let last = times.iter().copied().fold(first, f64::max);
    let mut counts = vec![0.0; (last - first) as usize];
    for time in times {
        if let Some(count) = counts.get_mut((time - first) as usize) {
            *count += 1.0;
        }
    }
    counts
}

/// Values held in steps of 15 s. A gap keeps the last value.
fn held(times: &[f64], values: Vec<f64>) -> Result<(usize, Vec<f64>), String> {
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let step = steps.get(steps.len() / 2).map_or(0, |step| *step as usize);
    if step < STEP || !step.is_multiple_of(STEP) {
        return Err(format!("steps of {step} s are no multiple of {STEP} s"));
    }
    let mut loads = Vec::new();
    for (place, value) in values.into_iter().enumerate() {
        let length = times.get(place + 1).map_or(step as f64, |next| next - times[place]);
        let count = (length / STEP as f64).round().clamp(1.0, 5_760.0) as usize;
        loads.extend(std::iter::repeat_n(value.max(0.0), count));
    }
    Ok((STEP, loads))
}
