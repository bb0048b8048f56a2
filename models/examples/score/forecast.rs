//! Suite `forecast`: workload series as 5-minute means, one-hour forecasts over their last two days.

use std::path::Path;

use homeostat_models::backtest;
use homeostat_models::forecast::{Calendar, ForecastConfig, Forecaster, History};

use crate::data::{self, Error};

const STEP: i64 = 300;
const DAY: usize = 288;

/// Writes `origin,step,p10,p50,p90` for every series but the request logs, whose rows are no measurements.
pub fn run(folder: &Path, dump: &Path) -> Result<usize, Error> {
    let forecaster = Forecaster::new(ForecastConfig::default()).unwrap();
    let mut files = 0;
    for path in data::files(folder, ".csv.gz")? {
        let name = data::stem(&path);
        if name.starts_with("azure") {
            continue;
        }
        let (start, values) = means(&path)?;
        let content = |message: String| Error::Content { path: path.clone(), message };
        let history =
            History::new(start, STEP as u32, &values).map_err(|error| content(error.to_string()))?;
        let from =
            values.len().checked_sub(2 * DAY).ok_or_else(|| content("shorter than two days".to_owned()))?;
        let to = dump.join(format!("{name}.csv"));
        let mut out = data::create(&to)?;
        data::line(&mut out, &to, format_args!("origin,step,p10,p50,p90"))?;
        let mut written = Ok(());
        backtest::run(
            &forecaster,
            &history,
            &Calendar::default(),
            history.start() + from as i64,
            |origin, said| {
                let origin = origin - history.start();
                for step in 0..said.p50.len() {
                    let (p10, p50, p90) = (said.p10[step], said.p50[step], said.p90[step]);
                    if written.is_ok() {
                        written =
                            data::line(&mut out, &to, format_args!("{origin},{step},{p10},{p50},{p90}"));
                    }
                }
            },
        )
        .map_err(|error| content(error.to_string()))?;
        written?;
        files += 1;
    }
    Ok(files)
}

/// Start in seconds, and means of 5 minutes. Steps without a row stay missing: filling them would need later rows.
pub fn means(path: &Path) -> Result<(i64, Vec<f64>), Error> {
    let (_, rows) = data::table(path)?;
    let mut sums: Vec<(f64, u32)> = Vec::new();
    let mut first = None;
    for row in &rows {
        let field = |place: usize| row.get(place).and_then(|text| text.parse::<f64>().ok());
        let (Some(time), Some(value)) = (field(0), field(1)) else { continue };
        let step = (time as i64).div_euclid(STEP);
        let place = usize::try_from(step - *first.get_or_insert(step)).map_err(|_| Error::Content {
            path: path.to_owned(),
            message: "timestamps run backwards".to_owned(),
        })?;
        if place >= sums.len() {
            sums.resize(place + 1, (0.0, 0));
        }
        sums[place].0 += value;
        sums[place].1 += 1;
    }
    let mean = |(sum, count): &(f64, u32)| if *count > 0 { sum / f64::from(*count) } else { f64::NAN };
    Ok((first.unwrap_or(0) * STEP, sums.iter().map(mean).collect()))
}
