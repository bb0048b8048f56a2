//! What the `smd` and `asd` suites write: causal, blind to labels, and the same every time.
//!
//! On generated machines always; on the real ones too when `HOMEOSTAT_DATA` names their folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../examples/score/data.rs"]
mod data;
#[path = "../examples/score/multivariate.rs"]
mod multivariate;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("multivariate_suite").join(name);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

fn pack(path: &Path, text: &str) {
    let mut out = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap();
}

fn unpack(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// Two machines of four dimensions with a fault in the test part.
fn generated(folder: &Path) {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64) / ((1_u64 << 53) as f64)
    };
    for machine in ["alpha-1", "beta"] {
        for (part, rows) in [("train", 2_500), ("test", 600)] {
            let label = if part == "test" { ",label" } else { "" };
            let mut text = format!("m0,m1,m2,m3{label}\n");
            for row in 0..rows {
                let sick = part == "test" && (300..320).contains(&row);
                let jump = if sick { 5.0 } else { 0.0 };
                write!(text, "{:.4},{:.4},{:.4},0.5", noise(), noise() + jump, 3.0 * noise()).unwrap();
                text.push_str(if label.is_empty() {
                    "\n"
                } else if sick {
                    ",1\n"
                } else {
                    ",0\n"
                });
            }
            pack(&folder.join(format!("{machine}_{part}.csv.gz")), &text);
        }
        fs::write(folder.join(format!("{machine}_causes.txt")), "300-320:2\n").unwrap();
    }
}

/// Copies a suite's folder; `keep` rewrites the text of each test file; cause files stay behind.
fn copy(from: &Path, to: &Path, keep: impl Fn(&str) -> String) {
    for path in data::files(from, ".csv.gz").unwrap() {
        let target = to.join(path.file_name().unwrap());
        if data::stem(&path).ends_with("_test") {
            pack(&target, &keep(&unpack(&path)));
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn dumps(data: &Path, name: &str) -> Vec<(String, String)> {
    let dump = folder(name);
    multivariate::run(data, &dump).unwrap();
    data::files(&dump, ".csv")
        .unwrap()
        .iter()
        .map(|path| (data::stem(path), fs::read_to_string(path).unwrap()))
        .collect()
}

fn without_labels(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0)).collect()
}

fn first_half(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[..lines.len() / 2].iter().map(|line| format!("{line}\n")).collect()
}

fn check(source: &Path, name: &str) {
    let whole = dumps(source, &format!("{name}-whole"));
    assert!(!whole.is_empty());
    assert!(whole == dumps(source, &format!("{name}-again")), "two runs differ");

    let blind = folder(&format!("{name}-blind"));
    copy(source, &blind, without_labels);
    assert!(whole == dumps(&blind, &format!("{name}-blind-dump")), "labels or causes change the dump");

    let cut = folder(&format!("{name}-cut"));
    copy(source, &cut, first_half);
    for ((machine, all), (_, part)) in whole.iter().zip(dumps(&cut, &format!("{name}-cut-dump"))) {
        assert!(
            part.lines().count() > 100 && all.starts_with(&part),
            "{machine}: later rows change earlier ones"
        );
    }
}

#[test]
fn generated_machines_are_judged_causally_and_blindly_and_the_fault_is_found() {
    let source = folder("generated");
    generated(&source);
    check(&source, "generated");
    for (machine, text) in dumps(&source, "generated-found") {
        let header = text.lines().next().unwrap();
        assert_eq!(header, "row,score,alarm,d0,d1,d2,d3");
        let row: Vec<&str> = text.lines().nth(301).unwrap().split(',').collect();
        assert_eq!(row[..1], ["300"]);
        assert_eq!(row[2], "1", "{machine}: no alarm at the fault");
        let parts: Vec<f64> = row[3..].iter().map(|cell| cell.parse().unwrap()).collect();
        assert!(parts[1] > 10.0 * (parts[0] + parts[2] + parts[3]), "{machine}: {parts:?}");
    }
}

#[test]
fn real_machines_are_judged_causally_and_blindly() {
    let Some(data) = std::env::var_os("HOMEOSTAT_DATA") else { return };
    for suite in ["asd", "smd"] {
        // One machine of each suite is enough, and quick.
        let source = folder(&format!("{suite}-one"));
        let all = Path::new(&data).join(suite);
        let test = data::files(&all, "_test.csv.gz").unwrap().remove(0);
        let name = test.file_name().unwrap().to_string_lossy().into_owned();
        for part in [name.clone(), name.replace("_test", "_train")] {
            fs::copy(all.join(&part), source.join(&part)).unwrap();
        }
        check(&source, suite);
    }
}
