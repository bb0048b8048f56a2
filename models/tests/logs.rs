//! What the log suite promises: ids given line by line, nothing read but the log, the same bytes every time.
//!
//! On small generated logs, and on the real ones when `HOMEOSTAT_DATA` names the folder that holds `loghub2k`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../examples/score/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "../examples/score/logs.rs"]
mod suite;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};

/// A folder that is removed with its content.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("homeostat-logs-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn pack(path: &Path, text: &[u8]) {
    let mut out = GzEncoder::new(fs::File::create(path).expect("a file"), Compression::fast());
    out.write_all(text).expect("written");
    out.finish().expect("written");
}

fn unpack(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    data::open(path).expect("a log").read_to_end(&mut text).expect("a log");
    text
}

/// Two small systems, and a truth file that must not matter.
fn generated(folder: &Path) {
    let mut web = Vec::new();
    let mut disk = Vec::new();
    for turn in 0..400 {
        let text = match turn % 5 {
            0 => format!("user u{turn} logged in from 10.0.0.{}", turn % 250),
            1 => format!("request /a/{turn} took {turn} ms"),
            2 => "cache is full".to_owned(),
            3 => format!("worker {turn} says \"hello, {turn}\""),
            _ => format!("queue q-{turn} has {turn} entries"),
        };
        writeln!(web, "2026-01-02 10:00:{:02},120 INFO [main] a.b.C{}: {text}", turn % 60, turn % 3)
            .expect("written");
        write!(disk, "Jan  2 10:00:{:02} host kernel[{turn}]: disk sd{} {text}\r\n", turn % 60, turn % 4)
            .expect("written");
    }
    pack(&folder.join("Web.log.gz"), &web);
    pack(&folder.join("Disk.log.gz"), &disk);
    pack(&folder.join("Web.truth.csv.gz"), b"LineId,Content,EventId,EventTemplate\n1,x,E1,x\n");
}

/// Every dump by name.
fn dumps(data: &Path, name: &str) -> BTreeMap<String, String> {
    let folder = Folder::new(name);
    suite::run(data, &folder.0).expect("the suite runs");
    let files = data::files(&folder.0, ".csv").expect("dumps");
    files.iter().map(|path| (data::stem(path), fs::read_to_string(path).expect("a dump"))).collect()
}

/// The cluster of every line, without the texts, which may grow more general later.
fn ids(dump: &str) -> Vec<&str> {
    dump.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect()
}

fn check(data: &Path, name: &str) {
    let whole = dumps(data, &format!("{name}-whole"));
    assert!(!whole.is_empty());
    assert_eq!(whole, dumps(data, &format!("{name}-again")), "a second run writes the same bytes");

    // Half the lines and no truth files.
    let half = Folder::new(&format!("{name}-half"));
    let full = Folder::new(&format!("{name}-blind"));
    for path in data::files(data, ".log.gz").expect("logs") {
        let text = unpack(&path);
        let file = path.file_name().expect("a name");
        pack(&full.0.join(file), &text);
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        pack(&half.0.join(file), &lines[..lines.len() / 2].concat());
    }
    assert_eq!(whole, dumps(&full.0, &format!("{name}-blind-dump")), "labels do not matter");
    for (system, dump) in dumps(&half.0, &format!("{name}-half-dump")) {
        let (all, first) = (ids(&whole[&system]), ids(&dump));
        assert!(first.len() >= all.len() / 2 - 1);
        assert_eq!(all[..first.len()], first[..], "{system}: later lines change no id");
    }
}

#[test]
fn ids_are_causal_blind_and_deterministic() {
    let folder = Folder::new("data");
    generated(&folder.0);
    check(&folder.0, "generated");
    let web = &dumps(&folder.0, "templates")["Web"];
    assert!(web.contains(",\"user <*> logged in from <*>\""), "{web}");
    assert!(web.contains(",\"worker <*> says \"\"hello, <*>\"\"\""), "{web}");
}

#[test]
fn the_same_holds_on_the_public_logs_where_they_are_at_hand() {
    if let Ok(data) = std::env::var("HOMEOSTAT_DATA") {
        check(&Path::new(&data).join("loghub2k"), "public");
    }
}
