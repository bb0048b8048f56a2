//! Suites of single series: the NAB streams and the KPI series of the AIOps challenge 2018.

use std::path::Path;

use homeostat_models::detect::{SeriesConfig, SeriesDetector};

use super::data::{self, Error};

/// NAB: `<category>/<file>.csv.gz`, columns `timestamp,value`, timestamps as text.
pub fn nab(data: &Path, dump: &Path) -> Result<usize, Error> {
    run(data, dump, |path, text| {
        let time: jiff::civil::DateTime = text.replace(' ', "T").parse().map_err(|_| bad(path, text))?;
        Ok(time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| bad(path, text))?.timestamp().as_second())
    })
}

/// KPI: `<series>.csv.gz`, columns `timestamp,value,...`, timestamps in epoch seconds.
pub fn kpi(data: &Path, dump: &Path) -> Result<usize, Error> {
    run(data, dump, |path, text| text.parse::<f64>().map(|at| at as i64).map_err(|_| bad(path, text)))
}

fn bad(path: &Path, text: &str) -> Error {
    Error::Content { path: path.to_owned(), message: format!("`{text}` is not what this column holds") }
}

fn run(
    data: &Path,
    dump: &Path,
    seconds: impl Fn(&Path, &str) -> Result<i64, Error>,
) -> Result<usize, Error> {
    let files = data::files(data, ".csv.gz")?;
    for path in &files {
        let (_, rows) = data::table(path)?;
        let name = path.strip_prefix(data).unwrap_or(path).with_extension("");
        let to = dump.join(name);
        let mut out = data::create(&to)?;
        let mut detector =
            SeriesDetector::new(SeriesConfig::default()).expect("the shipped setting is valid");
        data::line(&mut out, &to, format_args!("timestamp,score,alarm"))?;
        for row in &rows {
            let (time, value) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
            let value: f64 = value.parse().map_err(|_| bad(path, value))?;
            let verdict = detector.observe(seconds(path, time)?, value);
            data::line(&mut out, &to, format_args!("{time},{},{}", verdict.score, u8::from(verdict.alarm)))?;
        }
    }
    Ok(files.len())
}
