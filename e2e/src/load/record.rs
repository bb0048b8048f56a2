//! The file of requests, and which recent orders can be read.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::arrivals::{Arrival, Ask};
use super::{LoadError, LoadSummary};
use crate::truth::{At, Outcome, request::Request};

/// Acknowledged orders to choose reads from.
const RECENT: usize = 500;

/// A request ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Path and no query.
    pub path: String,
    /// Idempotency key of an order, or the number of a read.
    pub id: String,
    /// JSON of an order; reads have none.
    pub body: Option<String>,
    /// It asks for something that was acknowledged.
    pub must_exist: bool,
}

/// Writes requests down and remembers acknowledged orders.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: File,
    lines: String,
    recent: VecDeque<String>,
    /// Distinguishes the ids of this run from those of others.
    run: String,
    summary: LoadSummary,
}

impl Recorder {
    /// Appends to the file at `path`.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| LoadError::Record { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            lines: String::new(),
            recent: VecDeque::with_capacity(RECENT),
            run: format!("{:x}", At::now().0),
            summary: LoadSummary::default(),
        })
    }

    /// Turns an arrival into a request. Before the first order is acknowledged, consumers are read.
    pub fn plan(&self, arrival: &Arrival) -> Plan {
        let read = |path: String, must_exist| Plan {
            path,
            id: format!("r{}", arrival.number),
            body: None,
            must_exist,
        };
        match arrival.ask {
            Ask::Order { consumer, cents, quantity } => Plan {
                path: "/orders".to_owned(),
                id: format!("o-{}-{}", self.run, arrival.number),
                body: Some(format!(
                    r#"{{"consumer":"c-{consumer}","amountCents":{cents},"items":[{{"dish":"soup","quantity":{quantity}}}]}}"#
                )),
                must_exist: false,
            },
            Ask::Consumer(number) => read(format!("/consumers/c-{number}"), true),
            Ask::Recent(folder, draw) => {
                let at = draw as usize % self.recent.len().max(1);
                match self.recent.get(at) {
                    Some(id) => read(format!("/{}/{id}", folder.name()), true),
                    None => read(format!("/consumers/c-{}", draw % 1000), true),
                }
            }
        }
    }

    /// Writes one finished request down.
    pub fn add(&mut self, start: At, end: At, outcome: Outcome, plan: &Plan) {
        let method = if plan.body.is_some() { "POST" } else { "GET" };
        Request { start, end, outcome, method, path: &plan.path, id: &plan.id }.write(&mut self.lines);
        self.summary.requests += 1;
        self.summary.failed += u64::from(outcome.failed());
        self.summary.missing += u64::from(plan.must_exist && outcome == Outcome::Status(404));
        if plan.body.is_some() && acknowledged(outcome) {
            self.summary.acknowledged += 1;
            if self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(plan.id.clone());
        }
    }

    /// The next request is sent late.
    pub fn late(&mut self) {
        self.summary.late += 1;
    }

    /// Hands all lines to the operating system.
    pub fn flush(&mut self) -> Result<(), LoadError> {
        let written = self.file.write_all(self.lines.as_bytes());
        written.map_err(|source| LoadError::Record { path: self.path.clone(), source })?;
        self.lines.clear();
        Ok(())
    }

    /// Counts so far.
    pub fn summary(&self) -> LoadSummary {
        self.summary
    }
}

/// The user was told that the order stands.
pub fn acknowledged(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Status(200 | 201))
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::Folder;
    use super::*;
    use std::time::Duration;

    #[test]
    fn acknowledged_orders_are_read_later_and_missing_ones_are_noticed() {
        let path = std::env::temp_dir().join(format!("homeostat-requests-{}", std::process::id()));
        let mut recorder = Recorder::open(&path).unwrap();
        let arrival = |number, ask| Arrival { number, due: Duration::ZERO, ask };
        let read = arrival(0, Ask::Recent(Folder::Tickets, 5));
        assert_eq!(recorder.plan(&read).path, "/consumers/c-5", "nothing was ordered yet");
        let order = recorder.plan(&arrival(1, Ask::Order { consumer: 3, cents: 900, quantity: 2 }));
        assert!(serde_json::from_str::<serde_json::Value>(order.body.as_deref().unwrap()).is_ok());
        recorder.add(At(1), At(2), Outcome::Status(503), &order);
        assert_eq!(recorder.plan(&read).path, "/consumers/c-5", "a failed order may not exist");
        recorder.add(At(3), At(4), Outcome::Status(201), &order);
        let ticket = recorder.plan(&read);
        assert_eq!(ticket.path, format!("/tickets/{}", order.id));
        recorder.add(At(5), At(6), Outcome::Status(404), &ticket);
        recorder.flush().unwrap();
        let summary = recorder.summary();
        assert_eq!((summary.requests, summary.failed, summary.acknowledged, summary.missing), (3, 1, 1, 1));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| Request::parse(line).is_some()).count(), 3);
        std::fs::remove_file(&path).unwrap();
    }
}
