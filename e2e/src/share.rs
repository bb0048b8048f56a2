//! The harness's share of the processor. The test cluster is worth sixteen processes of the machine's ([`crate::cluster`]), so
//! what takes all of the cluster's time would take that of the callers too, and nobody would be left to notice.

use std::fs;
use std::path::Path;

/// Where the kernel says how much the processes of one session are worth together, where it groups them (`sched(7)`,
/// autogroup). Without it each process of the harness counts by itself, and is heard.
const GROUP: &str = "/proc/self/autogroup";
/// About sixteen times the usual weight, as the cluster has.
const NICE: i32 = -13;

/// The harness is worth as much as the cluster; when dropped, as much as before. For the catalogue alone: the demo is measured as
/// it was, with the cluster before the harness.
#[derive(Debug)]
#[must_use = "the share ends with it"]
pub struct Share {
    before: Option<i32>,
}

impl Share {
    /// From now on. Where it is not allowed, or there are no such groups, nothing changes.
    pub fn as_the_cluster() -> Self {
        let before = fs::read_to_string(GROUP).ok().and_then(|text| nice(&text));
        let set = |before: &i32| *before > NICE && write(NICE);
        Self { before: before.filter(set) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            write(before);
        }
    }
}

fn write(nice: i32) -> bool {
    fs::write(Path::new(GROUP), nice.to_string()).is_ok()
}

/// As the kernel writes it: `/autogroup-12 nice 0`.
fn nice(text: &str) -> Option<i32> {
    text.trim().rsplit_once(" nice ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_read_as_the_kernel_writes_it() {
        assert_eq!(nice("/autogroup-266 nice 0\n"), Some(0));
        assert_eq!(nice("/autogroup-7 nice -13\n"), Some(-13));
        assert_eq!(nice(""), None);
    }
}
