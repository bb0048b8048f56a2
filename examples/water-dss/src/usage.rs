//! What this process used, said in its termination message so that whoever sizes the next run need not ask metrics.

use std::fs;
use std::io::Write;

/// Where the kubelet reads it from.
const MESSAGE: &str = "/dev/termination-log";

/// Highest memory so far, in MiB: of the container where the kernel tells (cgroup 2, then 1), else of this process.
pub fn peak_mebibytes() -> Option<f64> {
    let files = ["/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"];
    let told = files.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<f64>().ok());
    if let Some(bytes) = told.filter(|bytes| *bytes > 0.0) {
        return Some(bytes / f64::from(1 << 20));
    }
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kibibytes| kibibytes / 1_024.0)
}

/// CPU time of this process, in seconds: user and system, by `/proc/self/stat` in hundredths.
pub fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let after = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 =
        [fields.get(11)?, fields.get(12)?].iter().filter_map(|text| text.parse::<f64>().ok()).sum();
    Some(ticks / 100.0)
}

/// Writes it down. A missing file only means that nobody reads it.
pub fn say(seconds: f64) {
    let mut used = serde_json::Map::new();
    if let Some(cpu) = cpu_seconds().filter(|_| seconds > 0.0) {
        used.insert("cpu".to_owned(), format!("{:.0}m", (cpu / seconds * 1_000.0).ceil()).into());
    }
    if let Some(peak) = peak_mebibytes() {
        used.insert("memory".to_owned(), format!("{:.0}Mi", peak.ceil()).into());
    }
    let line = serde_json::json!({ "used": used }).to_string();
    println!("{line}");
    if let Ok(mut file) = fs::OpenOptions::new().write(true).open(MESSAGE) {
        let _unread = file.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        assert!(peak_mebibytes().is_some_and(|peak| peak > 0.5));
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
    }
}
