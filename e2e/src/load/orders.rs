//! Proof that no acknowledged order was lost: what users were told against what the store has.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::record::acknowledged;
use crate::truth::request::Request;

/// Orders per page.
pub const PAGE: u32 = 5000;

/// One page of `GET /orders?after=N&limit=N`.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// Where the next page begins; nothing after the last one.
    pub next: Option<i64>,
    /// Ids and states.
    pub orders: Vec<Listed>,
}

/// One order as listed.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// The idempotency key it was placed with.
    pub id: String,
    /// `APPROVED`, `CANCELLED` and so on.
    pub state: String,
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Orders that users were told to stand.
    pub acknowledged: usize,
    /// Those that the store does not have, or has in another state; some of them by name.
    pub lost: usize,
    /// Up to ten of them.
    pub examples: Vec<String>,
}

/// Ids of all orders that were acknowledged, from the file of requests.
pub fn acknowledged_in(path: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        if let Some(request) = Request::parse(&line)
            && request.method == "POST"
            && acknowledged(request.outcome)
        {
            ids.insert(request.id.to_owned());
        }
    }
    Ok(ids)
}

/// Compares them with the approved orders of the store.
pub fn prove(acknowledged: &BTreeSet<String>, approved: &BTreeSet<String>) -> Proof {
    let lost: Vec<&String> = acknowledged.difference(approved).collect();
    Proof {
        acknowledged: acknowledged.len(),
        lost: lost.len(),
        examples: lost.into_iter().take(10).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_orders_are_named() {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let proof = prove(&set(&["a", "b", "c"]), &set(&["b", "d"]));
        assert_eq!((proof.acknowledged, proof.lost), (3, 2));
        assert_eq!(proof.examples, ["a", "c"]);
    }
}
