//! The suites `petshop` and `nezha` of the score example: they are blind to labels, use nothing from after the moment of
//! the ranking, and neither names nor the order of faults matter. On small made-up folders, and on the real ones below
//! `HOMEOSTAT_DATA`, where that is set.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../examples/score/data.rs"]
mod data;
#[path = "../examples/score/nezha.rs"]
mod nezha;
#[path = "../examples/score/petshop.rs"]
mod petshop;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

type Run = fn(&Path, &Path) -> Result<usize, data::Error>;
/// Files by path: what is written below a folder, or what was found there.
type Files = BTreeMap<String, String>;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("score-cause-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(files: &Files, name: &str) -> PathBuf {
    let root = folder(name);
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.extension().is_some_and(|end| end == "gz") {
            let mut packed = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            packed.finish().unwrap();
        } else {
            fs::write(path, text).unwrap();
        }
    }
    root
}

fn read(root: &Path) -> Files {
    let texts = data::files(root, "").unwrap().into_iter().map(|path| {
        let mut text = String::new();
        data::open(&path).unwrap().read_to_string(&mut text).unwrap();
        (path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text)
    });
    texts.collect()
}

/// What the suite dumps for these files.
fn dump(run: Run, files: &Files, name: &str) -> Files {
    let (from, to) = (write(files, name), folder(&format!("{name}-dump")));
    run(&from, &to).unwrap();
    read(&to)
}

fn change(files: &Files, end: &str, with: impl Fn(&str) -> String) -> Files {
    let one = |(path, text): (&String, &String)| {
        (path.clone(), if path.ends_with(end) { with(text) } else { text.clone() })
    };
    files.iter().map(one).collect()
}

/// Lines after the header that `keep` wants, by their fields.
fn rows(text: &str, header: usize, keep: impl Fn(&[&str]) -> bool) -> String {
    let wanted = |(at, line): &(usize, &str)| *at < header || keep(&line.split(',').collect::<Vec<_>>());
    text.lines().enumerate().filter(wanted).fold(String::new(), |all, (_, line)| all + line + "\n")
}

fn first(dump: &Files, path: &str) -> String {
    dump[path].lines().nth(1).unwrap().to_owned()
}

/// Two faults of three services: at 10:00 the cart is slow, at 10:20 pay writes an error and the visit ends there.
fn nezha_files() -> Files {
    let pod = |service: &str| format!("{service}-5f6585d649-fnmft");
    let day = 1_700_000_000_i64 / 86_400 * 86_400;
    let faults = [day + 36_000, day + 37_200];
    let mut traces =
        String::from("window,TraceID,SpanID,ParentID,PodName,OperationName,StartUnixMicro,DurationMicro\n");
    let mut quiet = traces.clone();
    let mut logs = String::from("window,TimeUnixNano,PodName,TraceID,SpanID,Log\n");
    let mut quiet_logs = logs.clone();
    let mut trace = 0;
    for (begin, slow, failing, calm) in
        [(day, false, false, true), (faults[0], true, false, false), (faults[1], false, true, false)]
    {
        let (spans, lines) = if calm { (&mut quiet, &mut quiet_logs) } else { (&mut traces, &mut logs) };
        // Before the fault, during it, and after what may be seen.
        for offset in [-60, -30, 2, 4, 6, 8, 10, 20, 30, 40, 50, 60, 100, 170, 300, 320] {
            trace += 1;
            let at = (begin + offset) * 1_000_000;
            let jitter = (trace * 7) % 5 * 100;
            let wrong = (0..180).contains(&offset);
            let cart = if slow && wrong { 200_000 } else { 5_000 } + jitter;
            let mut span = |id: &str, parent: &str, service: &str, operation: &str, start: i64, long: i64| {
                writeln!(spans, "w,t{trace},{id},{parent},{},{operation},{start},{long}", pod(service))
                    .unwrap();
            };
            span("a", "root", "front", "/buy", at, cart + 40_000);
            span("b", "a", "front", "GET", at + 100, cart + 1_000);
            span("c", "b", "cart", "/cart", at + 200, cart);
            span("d", "a", "front", "GET", at + cart + 2_000, 12_000);
            span("e", "d", "pay", "/pay", at + cart + 2_500, 11_000);
            let mut line = |service: &str, id: &str, text: &str| {
                let nanos = (at + 3_000) * 1_000;
                writeln!(
                    lines,
                    "w,{nanos},{},t{trace},{id},10:00:00.1 {text} TraceID: t{trace} paid",
                    pod(service)
                )
                .unwrap();
            };
            line("cart", "c", "INFO c.Cart#1");
            line("pay", "e", if failing && wrong { "ERROR p.Pay#9" } else { "INFO p.Pay#2" });
        }
    }
    let mut metrics = String::from("timestamp,pod,CpuUsageRate(%),MemoryUsageRate(%),PodWorkload(Ops)\n");
    for service in ["front", "cart", "pay"] {
        for minute in 0..60 {
            let time = faults[0] - 1_200 + 60 * minute;
            writeln!(metrics, "{time},{},{},40,{}", pod(service), 5 + minute % 3, 10 + minute % 2).unwrap();
        }
    }
    let text = |time: i64| {
        let of_day = time - day;
        format!("2023-11-14 {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
    };
    let faults = format!(
        "day,inject_time_utc,pod,service,type,trace_windows\nd,{},{},cart,network_delay,w\nd,{},{},pay,return,w\n",
        text(faults[0]),
        pod("cart"),
        text(faults[1]),
        pod("pay")
    );
    let of_day = |name: &str, text: String| (format!("2023-11-14/{name}"), text);
    Files::from([
        of_day("faults.csv", faults),
        of_day("metrics.csv.gz", metrics),
        of_day("traces.csv.gz", traces),
        of_day("logs.csv.gz", logs),
        of_day("traces_fault_free.csv.gz", quiet),
        of_day("logs_fault_free.csv.gz", quiet_logs),
        ("root_cause_ts.json".to_owned(), "{}".to_owned()),
    ])
}

/// Three nodes in a chain, of which the last is slow; one issue.
fn petshop_files() -> Files {
    let nodes = ["Shop", "Search", "Table"];
    let header = |name: &str, cell: &dyn Fn(usize, usize) -> String| {
        let cells = (0..3).flat_map(|measure| (0..3).map(move |node| (measure, node)));
        cells.fold(name.to_owned(), |line, (measure, node)| line + "," + &cell(measure, node)) + "\n"
    };
    let head = header("microservice", &|_, node| nodes[node].to_owned())
        + &header("metric", &|measure, _| ["latency", "requests", "availability"][measure].to_owned())
        + &header("statistic", &|measure, _| ["Average", "Sum", "Average"][measure].to_owned())
        + "unix_timestamp,,,,,,,,,\n";
    let row = |time: i64, slow: f64| {
        let cell = move |measure: usize, node: usize| match measure {
            0 => format!("{}", [0.3, 0.2, 0.1][node] + slow + 0.001 * (time / 300 % 3) as f64),
            _ => "100".to_owned(),
        };
        header(&time.to_string(), &cell)
    };
    let usual = (0..40).fold(head.clone(), |all, at| all + &row(300 * at, 0.0));
    let issue = [(100_000, 0.0), (100_300, 0.0), (100_600, 0.2), (100_900, 0.2), (101_300, 0.0)];
    let issue = issue.iter().fold(head, |all, (time, slow)| all + &row(*time, *slow));
    let target = r#"{"target": {"node": "Shop", "metric": "latency", "agg": "Average", "timestamp": 100500}, "root_cause": {"node": "Table", "metric": null}, "metadata": {"reproducibility": {"command": "slow down Table"}}}"#;
    Files::from([
        (
            "low/graph.csv.gz".to_owned(),
            ",Shop,Search,Table\nShop,0.0,1.0,0.0\nSearch,0.0,0.0,1.0\nTable,0.0,0.0,0.0\n".to_owned(),
        ),
        ("low/noissue/metrics.csv.gz".to_owned(), usual),
        ("low/test/issue_0/metrics.csv.gz".to_owned(), issue),
        ("low/test/issue_0/target.json".to_owned(), target.to_owned()),
    ])
}

/// Everything but when the fault was injected, or where it was seen, is gone.
fn without_labels(files: &Files) -> Files {
    let files: Files = files
        .iter()
        .filter(|(path, _)| !path.contains("root_cause"))
        .map(|(a, b)| (a.clone(), b.clone()))
        .collect();
    let files = change(&files, "faults.csv", |text| {
        text.lines().enumerate().fold(String::new(), |all, (at, line)| {
            let fields: Vec<&str> = line.split(',').collect();
            all + &(if at == 0 { line.to_owned() } else { format!("{},{},,,,", fields[0], fields[1]) }) + "\n"
        })
    });
    change(&files, "target.json", |text| {
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        serde_json::json!({ "target": all["target"] }).to_string()
    })
}

#[test]
fn the_faults_of_the_small_folders_are_found() {
    let found = dump(nezha::run, &nezha_files(), "nezha-found");
    assert_eq!(first(&found, "2023-11-14/0.csv"), "1,cart");
    assert_eq!(first(&found, "2023-11-14/1.csv"), "1,pay");
    let found = dump(petshop::run, &petshop_files(), "petshop-found");
    assert_eq!(found["low/test/issue_0.csv"], "rank,node\n1,Table\n2,Search\n");
}

#[test]
fn labels_are_not_read() {
    for (run, files, name) in
        [(nezha::run as Run, nezha_files(), "nezha"), (petshop::run as Run, petshop_files(), "petshop")]
    {
        let blind = without_labels(&files);
        assert_ne!(files, blind);
        assert_eq!(dump(run, &files, &format!("{name}-a")), dump(run, &blind, &format!("{name}-b")));
    }
}

#[test]
fn nothing_from_after_the_ranking_is_read() {
    let files = nezha_files();
    let last = 1_700_000_000 / 86_400 * 86_400 + 37_200 + 180;
    let until =
        |field: usize, unit: i64| move |row: &[&str]| row[field].parse::<i64>().unwrap() <= last * unit;
    let cut = change(&files, "/traces.csv.gz", |text| rows(text, 1, until(6, 1_000_000)));
    let cut = change(&cut, "/logs.csv.gz", |text| rows(text, 1, until(1, 1_000_000_000)));
    let cut = change(&cut, "metrics.csv.gz", |text| rows(text, 1, until(0, 1)));
    assert!(cut["2023-11-14/traces.csv.gz"].len() < files["2023-11-14/traces.csv.gz"].len());
    assert_eq!(dump(nezha::run, &files, "nezha-whole"), dump(nezha::run, &cut, "nezha-cut"));

    let files = petshop_files();
    let cut = change(&files, "issue_0/metrics.csv.gz", |text| {
        rows(text, 4, |row| row[0].parse::<i64>().unwrap() <= 101_100)
    });
    assert_ne!(files, cut);
    assert_eq!(dump(petshop::run, &files, "petshop-whole"), dump(petshop::run, &cut, "petshop-cut"));
}

#[test]
fn new_names_and_another_order_of_faults_give_the_same_ranking() {
    let files = nezha_files();
    let before = dump(nezha::run, &files, "nezha-names");
    let other = |text: &str| text.replace("cart", "zebra").replace("front", "alpha").replace("pay", "middle");
    let renamed: Files = files.iter().map(|(path, text)| (path.clone(), other(text))).collect();
    let expected: Files = before.iter().map(|(path, text)| (path.clone(), other(text))).collect();
    assert_eq!(expected, dump(nezha::run, &renamed, "nezha-renamed"));

    let turned = change(&files, "faults.csv", |text| {
        let lines: Vec<&str> = text.lines().collect();
        [lines[0], lines[2], lines[1]].join("\n") + "\n"
    });
    let after = dump(nezha::run, &turned, "nezha-turned");
    assert_eq!(before["2023-11-14/0.csv"], after["2023-11-14/1.csv"]);
    assert_eq!(before["2023-11-14/1.csv"], after["2023-11-14/0.csv"]);
}

/// A CSV text with every cell of some columns changed, and only the rows that are wanted.
fn cells(
    text: &str,
    columns: &[&str],
    change: impl Fn(&str) -> String,
    keep: impl Fn(&[&str]) -> bool,
) -> String {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let header = reader.headers().unwrap().clone();
    out.write_record(&header).unwrap();
    for row in reader.records().map(Result::unwrap) {
        let row: Vec<&str> = row.iter().collect();
        if keep(&row) {
            let cell = |(name, cell): (&str, &&str)| {
                if columns.contains(&name) { change(cell) } else { (*cell).to_owned() }
            };
            out.write_record(header.iter().zip(&row).map(cell)).unwrap();
        }
    }
    String::from_utf8(out.into_inner().unwrap()).unwrap()
}

/// Other letters, one for one: no two names become the same, and their alphabetical order changes.
fn renamed(name: &str) -> String {
    let turn = |letter: char, first: u8| char::from((letter as u8 - first + 13) % 26 + first);
    name.chars()
        .map(|letter| match letter {
            'a'..='z' => turn(letter, b'a'),
            'A'..='Z' => turn(letter, b'A'),
            _ => letter,
        })
        .collect()
}

/// A dump of ranks with every name changed.
fn renamed_ranks(dump: &str) -> String {
    let mut lines = dump.lines();
    let header = lines.next().unwrap_or_default().to_owned() + "\n";
    lines.fold(header, |all, line| {
        let (rank, name) = line.split_once(',').unwrap();
        all + rank + "," + &renamed(name) + "\n"
    })
}

fn real(name: &str) -> Option<Files> {
    Some(read(&PathBuf::from(std::env::var_os("HOMEOSTAT_DATA")?).join(name)))
}

/// One day of real faults, and the minute without any of the same application.
fn real_day() -> Option<Files> {
    let mut files = real("nezha")?;
    files.retain(|path, _| path.starts_with("2023-01-30/"));
    assert!(files.contains_key("2023-01-30/traces.csv.gz"));
    Some(files)
}

#[test]
fn the_real_folders_are_ranked_blindly() {
    for (run, name) in [(nezha::run as Run, "nezha"), (petshop::run as Run, "petshop")] {
        let Some(files) = real(name) else { return };
        let blind = without_labels(&files);
        assert_ne!(files, blind);
        assert_eq!(
            dump(run, &files, &format!("real-{name}")),
            dump(run, &blind, &format!("real-{name}-blind"))
        );
    }
}

#[test]
fn real_faults_are_ranked_the_same_under_new_names_and_in_another_order() {
    let Some(files) = real_day() else { return };
    let before = dump(nezha::run, &files, "real-names");
    let names = ["PodName", "pod", "Source", "Target"];
    let other = change(&files, ".csv.gz", |text| cells(text, &names, renamed, |_| true));
    let other = change(&other, "faults.csv", |text| {
        let (header, rows) = text.split_once('\n').unwrap();
        rows.lines().rev().fold(header.to_owned(), |all, line| all + "\n" + line)
    });
    let after = dump(nezha::run, &other, "real-names-other");
    let faults = before.len();
    assert!(faults > 5);
    for fault in 0..faults {
        let (first, last) =
            (format!("2023-01-30/{fault}.csv"), format!("2023-01-30/{}.csv", faults - 1 - fault));
        assert_eq!(renamed_ranks(&before[&first]), after[&last], "fault {fault}");
    }

    let Some(files) = real("petshop") else { return };
    let before = dump(petshop::run, &files, "real-nodes");
    let other: Files = files
        .iter()
        .map(|(path, text)| {
            let text = match path.rsplit('/').next().unwrap() {
                "metrics.csv.gz" => {
                    let (header, rows) = text.split_once('\n').unwrap();
                    renamed(header) + "\n" + rows
                }
                "graph.csv.gz" => text.lines().fold(String::new(), |all, line| all + &renamed(line) + "\n"),
                "target.json" => {
                    let mut all: serde_json::Value = serde_json::from_str(text).unwrap();
                    let node = renamed(all["target"]["node"].as_str().unwrap());
                    all["target"]["node"] = node.into();
                    all.to_string()
                }
                _ => text.clone(),
            };
            (path.clone(), text)
        })
        .collect();
    let after = dump(petshop::run, &other, "real-nodes-other");
    let expected: Files = before.iter().map(|(path, text)| (path.clone(), renamed_ranks(text))).collect();
    assert_eq!(expected, after);
}

#[test]
fn real_faults_are_ranked_without_what_came_later() {
    let Some(files) = real_day() else { return };
    let (header, first) = files["2023-01-30/faults.csv"].split_once('\n').unwrap();
    let first = first.lines().next().unwrap();
    let time = first.split(',').nth(1).unwrap().parse::<jiff::civil::DateTime>().unwrap();
    let last = time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second() + 180;
    let one = change(&files, "faults.csv", |_| format!("{header}\n{first}\n"));
    let until = |end: &str, column: usize, unit: i64| {
        let early = move |row: &[&str]| row[column].parse::<i64>().unwrap() <= last * unit;
        (end.to_owned(), early)
    };
    let mut cut = one.clone();
    for (end, early) in [
        until("/traces.csv.gz", 6, 1_000_000),
        until("/logs.csv.gz", 1, 1_000_000_000),
        until("/metrics.csv.gz", 0, 1),
    ] {
        let before = cut.clone();
        cut = change(&cut, &end, |text| cells(text, &[], str::to_owned, &early));
        assert_ne!(before, cut, "{end}: nothing comes later");
    }
    assert_eq!(dump(nezha::run, &one, "real-one"), dump(nezha::run, &cut, "real-one-cut"));

    let Some(files) = real("petshop") else { return };
    let whole = dump(petshop::run, &files, "real-issues");
    let mut cut = files.clone();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with("target.json")) {
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        let last = all["target"]["timestamp"].as_f64().unwrap() + 600.0;
        let metrics = path.replace("target.json", "metrics.csv.gz");
        let early = rows(&files[&metrics], 4, |row| row[0].parse::<f64>().unwrap() <= last);
        cut.insert(metrics, early);
    }
    assert_ne!(files, cut);
    assert_eq!(whole, dump(petshop::run, &cut, "real-issues-cut"));
}
