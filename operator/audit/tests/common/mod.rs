//! What tests of the record on a disk begin with.

use homeostat_audit::store;
use homeostat_audit::{Anchor, Decision, Report, Salt, verify};
use jiff::Timestamp;
use serde_json::json;
use std::path::PathBuf;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub fn salts() -> impl FnMut() -> Salt {
    let mut next = 0_u8;
    move || {
        next = next.wrapping_add(1);
        Salt([next; 16])
    }
}

pub fn decision(number: i64) -> Decision {
    let personal = (number % 2 == 0).then(|| json!({ "approvedBy": "ana" }));
    Decision { key: String::new(), facts: json!({ "what": "ActionSent", "action": number }), personal }
}

/// A folder of this test's own, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("homeostat-audit-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    /// The lines of a chain; none where there is no such chain.
    pub fn lines(&self, chain: &str) -> Vec<String> {
        let files = store::chains(&self.0).unwrap().remove(chain).unwrap_or_default();
        store::lines(&files).map(|line| line.unwrap().trim_end().to_owned()).collect()
    }

    pub fn check(&self, chain: &str, anchor: Option<&Anchor>) -> Report {
        verify(self.lines(chain).iter().map(String::as_str), anchor)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
