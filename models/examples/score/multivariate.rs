//! Suites `smd` and `asd`: machines with many dimensions, one row after the other.
//!
//! The train part is read first as history. Labels are not read: only columns named `m0`, `m1`, ... are.

use std::path::Path;

use homeostat_models::detect::{MultivariateConfig, MultivariateDetector};

use crate::data::{Error, create, files, line, stem, table};

/// Reads every `<machine>_test.csv.gz` after its `<machine>_train.csv.gz`, writes `<machine>.csv`.
pub fn run(data: &Path, dump: &Path) -> Result<usize, Error> {
    let tests = files(data, "_test.csv.gz")?;
    for test in &tests {
        let machine = stem(test).trim_end_matches("_test").to_owned();
        let history = rows(&test.with_file_name(format!("{machine}_train.csv.gz")))?;
        let rows = rows(test)?;
        let dims = history.first().or(rows.first()).map_or(0, Vec::len);
        let content = |message: String| Error::Content { path: test.clone(), message };
        let mut detector = MultivariateDetector::new(dims, MultivariateConfig::default())
            .map_err(|error| content(error.to_string()))?;
        for row in &history {
            detector.observe(row);
        }

        let path = dump.join(format!("{machine}.csv"));
        let mut out = create(&path)?;
        let header: String = (0..dims).map(|dim| format!(",d{dim}")).collect();
        line(&mut out, &path, format_args!("row,score,alarm{header}"))?;
        for (index, row) in rows.iter().enumerate() {
            let verdict = detector.observe(row);
            let parts: String = verdict.contributions.iter().map(|part| format!(",{part:.4}")).collect();
            line(
                &mut out,
                &path,
                format_args!("{index},{:.6},{}{parts}", verdict.score, u8::from(verdict.alarm)),
            )?;
        }
    }
    Ok(tests.len())
}

/// The dimensions of every row; a cell that is no number is a missing value.
fn rows(path: &Path) -> Result<Vec<Vec<f64>>, Error> {
    let (header, records) = table(path)?;
    let dimension =
        |name: &String| name.strip_prefix('m').is_some_and(|number| number.parse::<u32>().is_ok());
    let columns: Vec<usize> = (0..header.len()).filter(|&column| dimension(&header[column])).collect();
    let cell = |record: &csv::StringRecord, column: usize| {
        record.get(column).and_then(|text| text.trim().parse().ok()).unwrap_or(f64::NAN)
    };
    Ok(records.iter().map(|record| columns.iter().map(|&column| cell(record, column)).collect()).collect())
}
