//! Speed of the template miner on one core: `name value unit` lines.
//!
//! `HOMEOSTAT_DATA=... cargo bench -p homeostat-models --bench logs`
//!
//! Loghub lines are mined in ten passes by one miner per system, Train Ticket lines in one pass by one miner; reading
//! and unpacking are not counted. Seconds are those of the processor, where Linux tells them, so that a busy machine
//! does not spoil the figure. Each figure is the median of three runs. Without the data, generated lines are used.
//! The peer drain3 (Python) is run on the same Loghub lines when `python3` can import it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use flate2::read::GzDecoder;
use homeostat_models::logs::{Miner, MinerConfig};

const PASSES: usize = 10;
const DRAIN3: &str = "
import sys, time
from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig
config = TemplateMinerConfig()
config.masking_instructions = [MaskingInstruction(*p) for p in [
    (r'((?<=[^A-Za-z0-9])|^)(\\d{1,3}(\\.\\d{1,3}){3}(:\\d+)?)((?=[^A-Za-z0-9])|$)', 'IP'),
    (r'((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)', 'HEX'),
    (r'((?<=[^A-Za-z0-9])|^)([\\-\\+]?\\d+)((?=[^A-Za-z0-9])|$)', 'NUM')]]
miner = TemplateMiner(config=config)
lines = sys.stdin.buffer.read().decode('utf-8', 'replace').split('\\n')
start = time.process_time()
for line in lines: miner.add_log_message(line)
print(len(lines) / (time.process_time() - start))
";

fn main() {
    let data = std::env::var("HOMEOSTAT_DATA").unwrap_or_default();
    let data = Path::new(&data);
    let mut logs: Vec<Vec<u8>> =
        files(&data.join("loghub2k"), ".log.gz").iter().map(|path| unpack(path)).collect();
    let name = if logs.is_empty() { "logs/generated" } else { "logs/loghub" };
    if logs.is_empty() {
        let mut log = Vec::new();
        for at in 0..20_000 {
            writeln!(log, "2026-01-02 10:00:00 INFO a.B: item {at} took {at} ms").unwrap();
        }
        logs.push(log);
    }
    report(name, &logs, PASSES);

    let ticket: Vec<u8> =
        files(&data.join("nezha"), "logs.csv.gz").iter().flat_map(|path| ticket(path)).collect();
    if ticket.is_empty() {
        println!("logs/train-ticket skipped: no nezha/*/logs.csv.gz below HOMEOSTAT_DATA");
    } else {
        report("logs/train-ticket", &[ticket], 1);
    }
    drain3(&logs.concat());
}

fn report(name: &str, logs: &[Vec<u8>], passes: usize) {
    let mut seconds: Vec<f64> = (0..3).map(|_| logs.iter().map(|log| run(log, passes)).sum()).collect();
    seconds.sort_by(f64::total_cmp);
    let lines: usize = logs.iter().map(|log| log.split(|&byte| byte == b'\n').count()).sum();
    let bytes: usize = logs.iter().map(Vec::len).sum();
    println!("{name}/lines {:.0} lines/s", (lines * passes) as f64 / seconds[1]);
    println!("{name}/bytes {:.1} MB/s", (bytes * passes) as f64 / 1e6 / seconds[1]);
}

/// Seconds for some passes over one log by one miner.
fn run(log: &[u8], passes: usize) -> f64 {
    let lines: Vec<&[u8]> = log.split(|&byte| byte == b'\n').collect();
    let mut miner = Miner::new(MinerConfig::default()).unwrap();
    let (start, wall) = (processor(), Instant::now());
    for _ in 0..passes {
        for line in &lines {
            black_box(miner.push(line));
        }
    }
    match (start, processor()) {
        (Some(start), Some(end)) => end - start,
        _ => wall.elapsed().as_secs_f64(),
    }
}

/// Seconds that this thread ran on a processor.
fn processor() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

fn drain3(log: &[u8]) {
    let child = Command::new("python3")
        .args(["-c", DRAIN3])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return println!("logs/drain3 skipped: no python3") };
    // A peer that cannot be imported closes the pipe early.
    child.stdin.take().unwrap().write_all(log).ok();
    let text = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).trim().to_owned();
    match text.parse::<f64>() {
        Ok(rate) => println!("logs/drain3/lines {rate:.0} lines/s"),
        Err(_) => println!("logs/drain3 skipped: python3 cannot import drain3"),
    }
}

fn files(folder: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn unpack(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    text
}

/// The `Log` column, one record a line.
fn ticket(path: &Path) -> Vec<u8> {
    let text = unpack(path);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_slice());
    let column = reader.headers().unwrap().iter().position(|name| name == "Log").unwrap();
    let mut lines = Vec::new();
    for record in reader.byte_records().flatten() {
        lines.extend(
            record
                .get(column)
                .unwrap_or_default()
                .iter()
                .map(|&byte| if byte == b'\n' { b' ' } else { byte }),
        );
        lines.push(b'\n');
    }
    lines
}
