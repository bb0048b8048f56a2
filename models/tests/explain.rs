//! The pages of the `explain` example: one for each suite, self-contained, and a row that is not there is refused.
//!
//! On small made-up files, and on the public ones where `HOMEOSTAT_DATA` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../examples/explain/causes.rs"]
mod causes;
#[path = "../examples/score/data.rs"]
#[allow(dead_code, reason = "shared with the suites that write dumps")]
mod data;
#[path = "../examples/explain/draw.rs"]
mod draw;
#[path = "../examples/explain/forecasts.rs"]
mod forecasts;
#[path = "../examples/explain/judge.rs"]
mod judge;
#[path = "../examples/explain/lines.rs"]
mod lines;
#[path = "../examples/explain/page.rs"]
mod page;
#[path = "../examples/explain/read.rs"]
mod read;
#[path = "../examples/explain/series.rs"]
mod series;
#[path = "../examples/explain/suites.rs"]
#[allow(dead_code, reason = "the program prints how it is used")]
mod suites;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use suites::{SUITES, Told};

/// A folder of this test alone: tests run at the same time.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain").join(test);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.extension().is_some_and(|end| end == "gz") {
        let mut out = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap();
    } else {
        fs::write(path, text).unwrap();
    }
}

fn explain(suite: &str, file: &Path, row: usize) -> Result<Told, data::Error> {
    let suite = SUITES.iter().find(|known| known.name == suite).unwrap();
    (suite.explain)(suite.name, file, row)
}

fn is_self_contained(told: &Told, suite: &str) {
    let Told { reason, page } = told;
    assert!(reason.len() > 20 && page.contains("<svg") && page.ends_with("</html>\n"), "{suite}: {reason}");
    // Texts of the data are escaped, so a tag can only be the page's own.
    for wrong in ["<script", "<link", "<img", "<iframe", "MNaN", "LNaN"] {
        assert!(!page.contains(wrong), "{suite}: {wrong}");
    }
}

/// A number that looks like noise, 0 to 9.
fn noise(turn: usize) -> usize {
    turn * 7_919 % 97 % 10
}

#[test]
fn a_series_is_drawn_with_its_reason_and_a_row_too_far_is_refused() {
    let path = folder("series").join("realTest/a.csv.gz");
    let rows = (0..400).fold("timestamp,value\n".to_owned(), |all, row| {
        let value = if row == 350 { 900 } else { 100 + noise(row) };
        all + &format!("2026-01-0{} {:02}:{:02}:00,{value}\n", 1 + row / 288, row % 288 / 12, row % 12 * 5)
    });
    write(&path, &rows);
    let told = explain("nab", &path, 350).unwrap();
    is_self_contained(&told, "nab");
    assert!(
        told.reason.contains("900.0000 where 10") && told.reason.contains("the alarm is on"),
        "{}",
        told.reason
    );
    let error = explain("nab", &path, 400).err().unwrap().to_string();
    assert!(error.ends_with("there is no row 400, the last one is 399"), "{error}");
}

#[test]
fn lines_forecasts_and_causes_have_their_pages() {
    let folder = folder("others");
    let log = folder.join("Web.log.gz");
    write(
        &log,
        &(0..60).fold(String::new(), |all, line| all + &format!("INFO user u{line} has {line} <b>\n")),
    );
    let told = explain("logs", &log, 40).unwrap();
    is_self_contained(&told, "logs");
    assert!(told.reason.contains("a known template") && told.page.contains("&lt;b&gt;"), "{}", told.reason);

    let workload = folder.join("shop.csv.gz");
    let rows = (0..5 * 288).fold("timestamp,value\n".to_owned(), |all, step| {
        all + &format!("{},{}\n", 300 * step, 50 + (step % 288_i32 - 144).abs() + noise(step as usize) as i32)
    });
    write(&workload, &rows);
    let told = explain("forecast", &workload, 4 * 288 + 100).unwrap();
    is_self_contained(&told, "forecast");
    assert!(told.reason.contains("back-tested steps"), "{}", told.reason);

    let scenario = folder.join("low");
    write(&scenario.join("graph.csv.gz"), ",Shop,Table\nShop,0.0,1.0\nTable,0.0,0.0\n");
    let head = "microservice,Shop,Table,Shop,Table\nmetric,latency,latency,requests,requests\n\
                statistic,Average,Average,Sum,Sum\nunix_timestamp,,,,\n";
    let row = |time: usize, slow: f64| {
        let jitter = noise(time) as f64 / 1_000.0;
        format!("{time},{},{},100,100\n", 0.3 + slow + jitter, 0.1 + slow + jitter)
    };
    let usual = (0..40).fold(head.to_owned(), |all, at| all + &row(300 * at, 0.0));
    write(&scenario.join("noissue/metrics.csv.gz"), &usual);
    write(&scenario.join("test/issue_0/metrics.csv.gz"), &(head.to_owned() + &row(100_600, 0.4)));
    let target = scenario.join("test/issue_0/target.json");
    write(
        &target,
        r#"{"target": {"node": "Shop", "metric": "latency", "timestamp": 100500}, "root_cause": {"node": "Table"}}"#,
    );
    let told = explain("petshop", &target, 0).unwrap();
    is_self_contained(&told, "petshop");
    assert!(
        told.reason.starts_with("Table is candidate 1 of 1") && told.page.contains("<b>Table</b>"),
        "{}",
        told.reason
    );
    assert!(explain("petshop", &target, 1).is_err());
}

#[test]
fn each_suite_explains_a_row_of_its_public_data() {
    let Some(data) = std::env::var_os("HOMEOSTAT_DATA").map(PathBuf::from) else { return };
    let first = |folder: &str, end: &str| data::files(&data.join(folder), end).unwrap().remove(0);
    for (suite, file, row) in [
        ("nab", first("nab", ".csv.gz"), 500),
        ("kpi", first("kpi_aiops2018", ".csv.gz"), 5_000),
        ("smd", first("smd", "_test.csv.gz"), 2_000),
        ("asd", first("asd", "_test.csv.gz"), 2_000),
        ("logs", first("loghub2k", ".log.gz"), 1_000),
        ("petshop", first("petshop", "target.json"), 0),
        ("nezha", first("nezha", "faults.csv"), 0),
        ("forecast", first("workload", "crane_00.csv.gz"), 2_000),
    ] {
        is_self_contained(&explain(suite, &file, row).unwrap(), suite);
    }
    assert_eq!(SUITES.len(), 8, "a new suite has a row here");
}
