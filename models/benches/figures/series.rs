//! Bytes a point and speed of the compact history, beside Gorilla's own code.

use super::{Row, random, rate};
use homeostat_models::series::{History, HistoryConfig};
use std::io::Read;
use std::path::Path;

type Series = Vec<(i64, f64)>;

/// Bits that Gorilla (VLDB 2015, sections 4.1.1 and 4.1.2) takes for a series, as if in one block.
fn gorilla_bytes(points: &[(i64, f64)]) -> f64 {
    let (mut bits, mut at, mut delta, mut raw) = (128_u64, points[0].0, 0_i64, points[0].1.to_bits());
    let (mut leading, mut length) = (0_u32, 0_u32);
    for &(now, value) in &points[1..] {
        let step = now - at;
        bits += match step - delta {
            0 => 1,
            -63..=64 => 9,
            -255..=256 => 12,
            -2_047..=2_048 => 16,
            _ => 36,
        };
        (at, delta) = (now, step);
        let changed = value.to_bits() ^ raw;
        raw = value.to_bits();
        if changed == 0 {
            bits += 1;
            continue;
        }
        let (first, last) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if length > 0 && first >= leading && last >= 64 - leading - length {
            bits += 2 + u64::from(length);
        } else {
            (leading, length) = (first, 64 - first - last);
            bits += 13 + u64::from(length);
        }
    }
    bits as f64 / 8.0
}

fn filled(points: &[(i64, f64)]) -> History {
    let mut history = History::new(HistoryConfig { block_bytes: 512, blocks: 65_536 }).unwrap();
    for &(at, value) in points {
        history.append(at, Some(value)).unwrap();
    }
    assert_eq!(history.len(), points.len() as u64, "nothing was dropped");
    history
}

fn size(name: &str, points: &[(i64, f64)]) -> Row {
    let count = points.len() as f64;
    Row::new(format!("history, {name}"), filled(points).packed_bytes() as f64 / count, "bytes/point")
        .beside("Gorilla", gorilla_bytes(points) / count)
}

/// A gauge in percent with two places every ten seconds, as exporters give it.
fn gauge(count: usize) -> Series {
    let mut random = random(1);
    let mut level = 40.0;
    (0..count as i64)
        .map(|turn| {
            level += (random() - 0.5) + 0.01 * (40.0 - level);
            (turn * 10_000, (level * 100.0_f64).round() / 100.0)
        })
        .collect()
}

/// Requests counted since the start, scraped with some milliseconds of jitter.
fn counter(count: usize) -> Series {
    let mut random = random(2);
    let mut total = 0.0_f64;
    (0..count as i64)
        .map(|turn| {
            total += (random() * 200.0).floor();
            (turn * 15_000 + (random() * 8.0) as i64, total)
        })
        .collect()
}

/// Ratios with every digit a double has.
fn ratio(count: usize) -> Series {
    let mut random = random(3);
    (0..count as i64).map(|turn| (turn * 10_000, 0.01 + 0.005 * random() / (1.0 + random()))).collect()
}

/// `timestamp,value` of the files of a folder, if it is there.
fn files(folder: &Path) -> Vec<Series> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".csv.gz"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let mut text = String::new();
            flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
                .read_to_string(&mut text)
                .unwrap();
            text.lines()
                .skip(1)
                .filter_map(|line| {
                    let mut fields = line.split(',');
                    Some((fields.next()?.parse::<i64>().ok()? * 1_000, fields.next()?.parse().ok()?))
                })
                .collect()
        })
        .collect()
}

pub fn rows() -> Vec<Row> {
    const POINTS: usize = 1_000_000;
    let gauge = gauge(POINTS);
    let history = filled(&gauge);
    let ring = HistoryConfig::default();
    let mut rows = vec![
        size("gauge with two places", &gauge),
        size("counter, jitter of 8 ms", &counter(POINTS)),
        size("ratio with all digits", &ratio(POINTS)),
        Row::new(
            "history, append",
            rate(|| {
                let mut history = History::new(ring).unwrap();
                for &(at, value) in &gauge {
                    history.append(at, Some(value)).unwrap();
                }
                history.len() + history.dropped()
            }),
            "points/s/core",
        ),
        Row::new("history, iterate", rate(|| history.iter().count() as u64), "points/s/core"),
        Row::new(
            "history, all of it in the shipped setting",
            {
                let mut history = History::new(ring).unwrap();
                for &(at, value) in &gauge {
                    history.append(at, Some(value)).unwrap();
                }
                history.bytes() as f64 / 1_000.0
            },
            "KB",
        ),
    ];
    if let Some(data) = std::env::var_os("HOMEOSTAT_DATA") {
        let (mut ours, mut theirs, mut count) = (0.0, 0.0, 0.0);
        for series in files(&Path::new(&data).join("kpi_aiops2018")) {
            ours += filled(&series).packed_bytes() as f64;
            theirs += gorilla_bytes(&series);
            count += series.len() as f64;
        }
        if count > 0.0 {
            rows.push(
                Row::new("history, KPI 2018", ours / count, "bytes/point").beside("Gorilla", theirs / count),
            );
        }
    }
    rows
}
