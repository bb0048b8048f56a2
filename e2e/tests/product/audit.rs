//! What the API server wrote down of changes; Homeostat's own view does not count here.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

/// The audit log from some moment on.
pub struct Audit {
    file: PathBuf,
    from: u64,
}

/// An eviction that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Who asked for it.
    pub by: String,
    /// Name of the pod.
    pub pod: String,
    /// UID that the pod had to have.
    pub uid: String,
}

impl Audit {
    /// Changes that come after this call.
    pub fn from_now(file: PathBuf) -> Self {
        let from = std::fs::metadata(&file).unwrap().len();
        Self { file, from }
    }

    /// Changes that succeeded, in the order in which they ended.
    fn changes(&self) -> Vec<Value> {
        let mut file = std::fs::File::open(&self.file).unwrap();
        file.seek(SeekFrom::Start(self.from)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The last line may be half written.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300)).collect()
    }

    /// Evictions that were carried out, without dry runs.
    pub fn evictions(&self) -> Vec<Eviction> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut found = Vec::new();
        for line in self.changes() {
            let eviction = line["objectRef"]["subresource"] == "eviction" && line["verb"] == "create";
            let tried = line["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun"));
            if eviction && !tried {
                found.push(Eviction {
                    by: text(&line["user"]["username"]),
                    pod: text(&line["objectRef"]["name"]),
                    uid: text(&line["requestObject"]["deleteOptions"]["preconditions"]["uid"]),
                });
            }
        }
        found
    }

    /// What a user changed, as `verb resource/name`.
    pub fn changes_by(&self, user: &str) -> Vec<String> {
        let of = |line: &Value| {
            let object = &line["objectRef"];
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}/{}", word(&line["verb"]), word(&object["resource"]), word(&object["name"]))
        };
        self.changes().iter().filter(|line| line["user"]["username"] == user).map(of).collect()
    }

    /// Who wrote the Lease, without repetitions in a row.
    pub fn leaders(&self) -> Vec<String> {
        let mut users: Vec<String> = Vec::new();
        for line in self.changes() {
            let object = &line["objectRef"];
            let ours = object["resource"] == "leases"
                && object["namespace"] == "kube-system"
                && object["name"] == "homeostat";
            if ours && let Some(user) = line["user"]["username"].as_str() {
                users.push(user.to_owned());
            }
        }
        users.dedup();
        users
    }
}
