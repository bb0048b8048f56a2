//! `homeostat audit export` and `homeostat audit verify`.

use super::known;
use crate::args::{ExportArgs, VerifyArgs};
use homeostat_audit::{Anchor, Check, Line, Report, StoreError, store};
use homeostat_cluster::ClusterError;
use homeostat_cluster::anchors::Anchors;
use homeostat_cluster::client::{ConnectOptions, connect};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

/// Why the record could not be exported or checked.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Its files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that was named.
    #[error("{path} cannot be read")]
    File {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody reads what is printed.
    #[error("the record cannot be printed")]
    Out(#[source] std::io::Error),
    /// Anchors that are none.
    #[error("{path} holds no anchors; give what `kubectl get configmap homeostat-audit -o json` prints")]
    Anchors {
        /// As given.
        path: PathBuf,
    },
    /// The API server.
    #[error("the anchors cannot be read; --anchors takes them from a file instead")]
    Cluster(#[from] ClusterError),
    /// The record is not as it was written, or not there.
    #[error("the record is not whole:\n{0}")]
    Broken(String),
}

/// Writes every chain of a folder as JSON lines, one chain after the other.
///
/// # Errors
/// When the folder or a file cannot be read, or nobody reads what is written.
pub fn export(args: &ExportArgs, out: &mut impl Write) -> Result<(), AuditError> {
    for files in store::chains(&args.dir)?.values() {
        for line in store::lines(files) {
            out.write_all(line?.as_bytes()).map_err(AuditError::Out)?;
        }
    }
    Ok(())
}

/// Checks a record against its anchors and says what was found.
///
/// # Errors
/// When something was changed, cannot be read, or is not there: a record that was taken away is not whole.
pub async fn check(args: &VerifyArgs) -> Result<String, AuditError> {
    let texts = if let Some(path) = &args.anchors {
        let source = |source| AuditError::File { path: path.clone(), source };
        let text = std::fs::read_to_string(path).map_err(source)?;
        anchors_in(&text).ok_or_else(|| AuditError::Anchors { path: path.clone() })?
    } else {
        let client = connect(&ConnectOptions::default()).await?;
        Anchors::new(client, &args.namespace).read().await?
    };
    let files: Vec<PathBuf> = match &args.file {
        Some(path) => vec![path.clone()],
        None => store::chains(&args.dir)?.into_values().flatten().collect(),
    };
    let (text, whole) = judge(store::lines(&files), &known(&texts), args.all_chains)?;
    if whole { Ok(text) } else { Err(AuditError::Broken(text)) }
}

/// The data of a `ConfigMap`, or just the data.
fn anchors_in(text: &str) -> Option<BTreeMap<String, String>> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let data = value.get("data").cloned().unwrap_or(value);
    serde_json::from_value(data).ok()
}

/// The words for what was found, and whether everything is as it was written. One line is held at a time. With `all_chains` a
/// record is not whole either without every chain that was anchored.
///
/// # Errors
/// What a line could not be read for.
pub fn judge(
    lines: impl Iterator<Item = Result<String, StoreError>>,
    anchors: &BTreeMap<String, Anchor>,
    all_chains: bool,
) -> Result<(String, bool), StoreError> {
    let mut reports = Vec::new();
    let mut check: Option<Check> = None;
    let finish = |check: Check| {
        let anchor = check.chain().and_then(|chain| anchors.get(chain));
        check.finish(anchor)
    };
    for line in lines {
        let line = line?;
        let line = line.trim_end_matches('\n');
        // A checkpoint of another chain begins another one.
        let begins = match serde_json::from_str::<Line>(line) {
            Ok(Line::Checkpoint(checkpoint)) => Some(checkpoint.chain),
            _ => None,
        };
        let known = check.as_ref().and_then(Check::chain);
        if begins.is_some() && begins.as_deref() != known {
            reports.extend(check.take().map(finish));
        }
        check.get_or_insert_default().line(line, |chain| anchors.get(chain).cloned());
    }
    reports.extend(check.take().map(finish));
    let there = !reports.is_empty() && last_is_here(&reports, anchors);
    let complete = !all_chains || missing(&reports, anchors).next().is_none();
    let whole = there && complete && reports.iter().all(Report::clean);
    Ok((words(&reports, anchors), whole))
}

/// Anchors whose chains are not in the record.
fn missing<'a>(
    reports: &'a [Report],
    anchors: &'a BTreeMap<String, Anchor>,
) -> impl Iterator<Item = &'a Anchor> {
    anchors.values().filter(|anchor| reports.iter().all(|report| report.chain != anchor.chain))
}

/// The chain that was anchored last, by the anchor's instant.
fn anchored_last(anchors: &BTreeMap<String, Anchor>) -> Option<&Anchor> {
    anchors.values().max_by_key(|anchor| anchor.at)
}

/// Older chains go with their pods; without the newest one there is nothing that could be checked.
fn last_is_here(reports: &[Report], anchors: &BTreeMap<String, Anchor>) -> bool {
    anchored_last(anchors).is_none_or(|last| reports.iter().any(|report| report.chain == last.chain))
}

fn words(reports: &[Report], anchors: &BTreeMap<String, Anchor>) -> String {
    let mut out = String::new();
    let count = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |n| n.to_string());
    for report in reports {
        let _ = writeln!(
            out,
            "chain {}: {} entries ({} to {}), names erased in {}; anchored up to {}: {}",
            report.chain,
            report.entries,
            count(report.first),
            count(report.last),
            report.erased,
            count(report.anchored),
            if report.clean() { "whole" } else { "CHANGED" }
        );
        out.extend(report.flaws.iter().map(|flaw| format!("  {flaw}\n")));
        if report.flawed > report.flaws.len() as u64 {
            let _ = writeln!(out, "  and {} more", report.flawed - report.flaws.len() as u64);
        }
        if !anchors.contains_key(&report.chain) {
            out += "  no anchor: a cut end or a chain written anew would not be seen\n";
        }
    }
    for anchor in missing(reports, anchors) {
        let _ = writeln!(out, "chain {}: anchored up to {}, not in this record", anchor.chain, anchor.seq);
    }
    let gone = missing(reports, anchors).count();
    if gone > 0 {
        let _ = writeln!(
            out,
            "WARNING: {gone} of {} anchored chains are not in this record: they went with their pods, are elsewhere, or were \
             taken away; --all-chains fails then",
            anchors.len()
        );
    }
    if reports.is_empty() {
        out += "there is no record here: give the folder, or the export, of the pod that leads\n";
    }
    if let Some(last) = anchored_last(anchors).filter(|_| !last_is_here(reports, anchors)) {
        let _ = writeln!(
            out,
            "the chain {} was anchored last, at {}, and is MISSING: it is in another pod, went with its own, or was \
             taken away",
            last.chain, last.at
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_audit::{Chain, Salt};
    use homeostat_knowledge::Timestamp;
    use serde_json::json;

    fn judged(text: &str, anchors: &BTreeMap<String, Anchor>) -> (String, bool) {
        judge(text.lines().map(|line| Ok(format!("{line}\n"))), anchors, false).expect("readable")
    }

    fn by_chain<const N: usize>(anchors: [Anchor; N]) -> BTreeMap<String, Anchor> {
        anchors.into_iter().map(|anchor| (anchor.chain.clone(), anchor)).collect()
    }

    fn record(name: &str) -> (String, Anchor) {
        let mut chain = Chain::begin(name);
        let mut text = Line::Checkpoint(chain.end().clone()).to_json() + "\n";
        for number in 0..3 {
            let facts = json!({ "what": "ActionSent", "action": number });
            let entry = chain.append(facts, None, Timestamp::UNIX_EPOCH, || Salt([number; 16]));
            text += &(Line::Entry(entry).to_json() + "\n");
        }
        (text, chain.anchor(0, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn each_chain_is_judged_by_its_own_anchor() {
        let ((one, anchor), (two, _)) = (record("homeostat-a-1"), record("homeostat-b-2"));
        let (_gone, told) = record("homeostat-c-3");
        let older = Anchor { at: Timestamp::MIN, ..told };
        let anchors = by_chain([anchor, older]);
        let (text, whole) = judged(&(one.clone() + &two), &anchors);
        assert!(whole, "{text}");
        assert!(
            text.contains(
                "chain homeostat-a-1: 3 entries (1 to 3), names erased in 0; anchored up to 3: whole"
            )
        );
        assert!(text.contains("chain homeostat-b-2") && text.contains("no anchor"), "{text}");
        assert!(text.contains("chain homeostat-c-3: anchored up to 3, not in this record"), "{text}");
        let (text, whole) = judged(&one.replace("\"action\":1", "\"action\":9"), &anchors);
        assert!(!whole && text.contains("CHANGED") && text.contains("entry 2 was changed"), "{text}");
    }

    #[test]
    fn a_record_without_the_chain_that_was_anchored_last_is_not_called_whole() {
        let ((one, anchor), (two, told)) = (record("homeostat-a-1"), record("homeostat-b-2"));
        let later = Timestamp::from_second(60).expect("an instant");
        let anchors = by_chain([anchor, Anchor { at: later, ..told }]);
        let (text, whole) = judged(&one, &anchors);
        assert!(!whole, "{text}");
        assert!(text.contains("chain homeostat-a-1") && text.contains(": whole"), "{text}");
        let said = "the chain homeostat-b-2 was anchored last, at 1970-01-01T00:01:00Z, and is MISSING";
        assert!(text.contains(said), "{text}");
        let (text, whole) = judged(&two, &anchors);
        assert!(whole, "an older one that is missing is only named: {text}");
        assert!(text.contains("chain homeostat-a-1: anchored up to 3, not in this record"), "{text}");
        assert!(!text.contains("MISSING"), "{text}");
        assert!(!judged("", &anchors).1, "all of it was taken away");
    }

    #[test]
    fn a_dropped_older_chain_is_counted_and_fails_only_where_all_are_asked_for() {
        let ((one, anchor), (two, told)) = (record("homeostat-a-1"), record("homeostat-b-2"));
        let later = Timestamp::from_second(60).expect("an instant");
        let anchors = by_chain([anchor, Anchor { at: later, ..told }]);
        let of = |text: &str, all_chains: bool| {
            judge(text.lines().map(|line| Ok(line.to_owned())), &anchors, all_chains).expect("readable")
        };
        let warning = "WARNING: 1 of 2 anchored chains are not in this record";
        let (text, whole) = of(&two, false);
        assert!(whole && text.contains(warning) && text.contains("--all-chains"), "{text}");
        let (text, whole) = of(&two, true);
        assert!(!whole && text.contains(warning), "{text}");
        let (text, whole) = of(&(one + &two), true);
        assert!(whole && !text.contains("WARNING"), "{text}");
    }

    #[test]
    fn anchors_are_read_as_kubectl_prints_them() {
        let (_, anchor) = record("homeostat-a-1");
        let data = json!({ "homeostat-a-1": serde_json::to_string(&anchor).expect("JSON") });
        for text in [json!({ "kind": "ConfigMap", "data": data }).to_string(), data.to_string()] {
            let texts = anchors_in(&text).expect("anchors");
            assert_eq!(known(&texts).get("homeostat-a-1"), Some(&anchor));
        }
        assert_eq!(anchors_in("no json"), None);
        let foreign =
            BTreeMap::from([("homeostat-x-1".to_owned(), serde_json::to_string(&anchor).expect("JSON"))]);
        assert!(known(&foreign).is_empty(), "an anchor stands under its own name");
    }

    #[test]
    fn what_is_no_record_is_not_called_whole() {
        let (text, whole) = judged("{}\n", &BTreeMap::new());
        assert!(!whole, "{text}");
        let (text, whole) = judged("", &BTreeMap::new());
        assert!(!whole && text.contains("there is no record here"), "{text}");
    }
}
