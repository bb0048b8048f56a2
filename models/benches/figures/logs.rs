//! Speed of the template miner on one core.
//!
//! With `HOMEOSTAT_DATA`, Loghub lines are mined in ten passes by one miner per system and Train Ticket lines in one pass
//! by one miner; else generated lines. Reading and unpacking are not counted. The peer drain3 (Python) runs on the
//! same Loghub lines when `python3` can import it.

use super::{Row, python, rate, rate_once};
use flate2::read::GzDecoder;
use homeostat_models::logs::{Miner, MinerConfig};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;

const PASSES: usize = 10;
/// Lines of the hostile streams.
const SHAPES: u64 = 10_000_000;
const LONG_LINES: u64 = 200;
/// Floor and goal.
const LINES: (f64, f64) = (250_000.0, 500_000.0);
const MEGABYTES: (f64, f64) = (35.0, 70.0);
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

pub fn rows() -> Vec<Row> {
    let data = std::env::var("HOMEOSTAT_DATA").unwrap_or_default();
    let data = Path::new(&data);
    let mut logs: Vec<Vec<u8>> =
        files(&data.join("loghub2k"), ".log.gz").iter().map(|path| unpack(path)).collect();
    let name = if logs.is_empty() { "generated lines" } else { "Loghub" };
    if logs.is_empty() {
        let mut log = Vec::new();
        for at in 0..20_000 {
            writeln!(log, "2026-01-02 10:00:00 INFO a.B: item {at} took {at} ms").unwrap();
        }
        logs.push(log);
    }
    let mut rows = report(name, &logs, PASSES);
    rows[0].peer =
        python::peer("drain3", DRAIN3, &logs.concat()).map(|value| ("drain3 (Python)".to_owned(), value));
    let ticket: Vec<u8> =
        files(&data.join("nezha"), "logs.csv.gz").iter().flat_map(|path| ticket(path)).collect();
    if ticket.is_empty() {
        println!("logs, Train Ticket: skipped, no nezha/*/logs.csv.gz below HOMEOSTAT_DATA");
    } else {
        rows.extend(report("Train Ticket", &[ticket], 1));
    }
    rows.extend(hostile());
    rows
}

/// What an attacker or a broken program may write: the state stays within what the setting says, and nothing stops.
fn hostile() -> Vec<Row> {
    let config = MinerConfig::default();
    let mut miner = Miner::new(config).unwrap();
    let (mut largest, mut line) = (0, Vec::new());
    let shapes = rate_once(|| {
        for turn in 0..SHAPES {
            line.clear();
            // Letters only, so that nothing is masked; 1 to 16 words.
            for word in 0..=turn % 16 {
                line.extend((0..6).map(|place| b'a' + ((turn * (word + 7)) >> (3 * place)) as u8 % 26));
                line.push(b' ');
            }
            black_box(miner.push(&line));
            if turn % 100_000 == 0 {
                largest = largest.max(miner.bytes());
            }
        }
        SHAPES
    });
    // Text and table of words of each cluster, remembered shapes, and as much again for capacities.
    let cluster = 3 * config.max_line_bytes + 24 * config.max_words + 256;
    let bound = 2 * (config.max_clusters * cluster + config.remembered_shapes * 24) + 65_536;
    let mut miner = Miner::new(config).unwrap();
    let megabytes = rate(|| {
        for turn in 0..LONG_LINES {
            let line = vec![b'a' + turn as u8 % 26; 1 << 20];
            black_box(miner.push(&line));
        }
        LONG_LINES
    });
    vec![
        Row::new("logs, ten million distinct shapes: largest state", largest as f64 / 1e6, "MB")
            .at_most(bound as f64 / 1e6, bound as f64 / 1e6),
        Row::new("logs, ten million distinct shapes", shapes, "lines/s/core"),
        Row::new("logs, lines of 1 MB", megabytes, "lines/s/core"),
    ]
}

/// Lines and megabytes a second, the reading left out.
fn report(name: &str, logs: &[Vec<u8>], passes: usize) -> Vec<Row> {
    let logs: Vec<Vec<&[u8]>> = logs.iter().map(|log| log.split(|&byte| byte == b'\n').collect()).collect();
    let bytes: usize = logs.iter().map(|lines| lines.iter().map(|line| line.len() + 1).sum::<usize>()).sum();
    let count: usize = logs.iter().map(Vec::len).sum();
    let lines = rate(|| {
        for lines in &logs {
            let mut miner = Miner::new(MinerConfig::default()).unwrap();
            for line in std::iter::repeat_n(lines, passes).flatten() {
                black_box(miner.push(line));
            }
        }
        (count * passes) as u64
    });
    let megabytes = lines * bytes as f64 / count as f64 / 1e6;
    vec![
        Row::new(format!("logs, {name}: templates"), lines, "lines/s/core").marks(LINES.0, LINES.1),
        Row::new(format!("logs, {name}: text"), megabytes, "MB/s/core").marks(MEGABYTES.0, MEGABYTES.1),
    ]
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
