//! What a workload's log lines tell beside its calls: error lines of a shape never seen before, and bursts.
//!
//! Lines become templates (`homeostat_models::logs`); their text is data and is only shown. It never opens an incident
//! and never chooses an action: anybody who can write a log line could otherwise ask for one.

use crate::redact::hide;
use homeostat_knowledge::{Evidence, Observation, Signal, SignedDuration, Timestamp, WorkloadKey};
use homeostat_models::logs::{LogFindingKind, Miner, MinerConfig, Severity, Watch, WatchConfig};
use std::collections::{BTreeMap, VecDeque};

/// Workloads whose lines are read; of more, the one silent for longest makes room.
const MAX_WORKLOADS: usize = 1_000;
/// Findings that are remembered per workload.
const MAX_NEWS: usize = 16;
/// News this long before the first sign of a fault still belong to it.
const BEFORE: SignedDuration = SignedDuration::from_secs(30);
/// Length of an interval in which lines are counted.
const INTERVAL_SECONDS: i64 = 10;
/// Intervals that are closed one by one after a silence; more were silent too and say nothing new.
const MAX_CLOSED: i64 = 12;
/// Lines of evidence in one finding.
const MAX_EVIDENCE: usize = 2;
/// Letters of a template that people are shown.
const MAX_TEXT: usize = 120;
/// Letters of a template that are looked at: what a secret at the end of the shown ones is told by may come after them.
const MAX_READ: usize = 4 * MAX_TEXT;
/// OpenTelemetry's first severity number of an error.
const ERROR: u8 = 17;

/// One thing that was new.
#[derive(Clone, Debug)]
struct News {
    at: Timestamp,
    template: u64,
    /// Lines lately, and what is usual, in words.
    seen: String,
    usual: String,
}

/// Lines of one workload.
#[derive(Debug)]
struct Stream {
    miner: Miner,
    watch: Watch,
    interval: i64,
    /// Lines so far; what is new among the first ones is no news.
    lines: u64,
    heard: Timestamp,
    news: VecDeque<News>,
}

/// Lines of all workloads.
#[derive(Debug, Default)]
pub struct Logs {
    streams: BTreeMap<WorkloadKey, Stream>,
    /// Streams that made room for others.
    pub evicted: u64,
}

/// A miner that a single workload needs: its programs write few shapes.
fn miner() -> MinerConfig {
    MinerConfig { max_clusters: 256, max_siblings: 64, remembered_shapes: 512, ..MinerConfig::default() }
}

/// Lines before a new shape is news.
const LEARNING: u64 = 50;

impl Logs {
    /// Takes one observation; anything but log lines of a workload is ignored.
    pub fn ingest(&mut self, observation: &Observation) {
        let Signal::Log(record) = &observation.signal else { return };
        let Some(workload) = observation.entity.workload() else { return };
        let at = observation.arrival_time;
        let Some(stream) = self.stream(workload, at) else { return };
        stream.close_until(at);
        let mined = stream.miner.push(record.body.as_bytes());
        stream.watch.observe(&mined);
        stream.lines += 1;
        stream.heard = at;
        let error = record.severity >= ERROR || mined.severity.is_some_and(|level| level >= Severity::Error);
        if mined.new && error && stream.lines > LEARNING {
            let (seen, usual) = ("an error line of a new shape".to_owned(), "never seen before".to_owned());
            stream.tell(News { at, template: mined.id, seen, usual });
        }
    }

    fn stream(&mut self, workload: &WorkloadKey, now: Timestamp) -> Option<&mut Stream> {
        if !self.streams.contains_key(workload) {
            if self.streams.len() >= MAX_WORKLOADS {
                let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.heard)?.0.clone();
                self.streams.remove(&oldest);
                self.evicted += 1;
            }
            let watch = WatchConfig { max_templates: 256, ..WatchConfig::default() };
            let stream = Stream {
                miner: Miner::new(miner()).ok()?,
                watch: Watch::new(watch).ok()?,
                interval: now.as_second().div_euclid(INTERVAL_SECONDS),
                lines: 0,
                heard: now,
                news: VecDeque::new(),
            };
            self.streams.insert(workload.clone(), stream);
        }
        self.streams.get_mut(workload)
    }

    /// Ends intervals that have passed.
    pub fn tick(&mut self, now: Timestamp) {
        for stream in self.streams.values_mut() {
            stream.close_until(now);
        }
    }

    /// Forgets workloads that are gone.
    pub fn retain(&mut self, known: impl Fn(&WorkloadKey) -> bool) {
        self.streams.retain(|workload, _| known(workload));
    }

    /// What the workload's lines tell about a fault that began at `since`, newest first.
    pub fn evidence(&self, workload: &WorkloadKey, since: Timestamp) -> Vec<Evidence> {
        let Some(stream) = self.streams.get(workload) else { return Vec::new() };
        let news = stream.news.iter().rev().filter(|news| news.at >= since - BEFORE);
        news.take(MAX_EVIDENCE)
            .filter_map(|news| {
                let template = stream.miner.template(news.template)?;
                let read: String = template.chars().filter(|c| !c.is_control()).take(MAX_READ).collect();
                let text: String = hide(&read).chars().take(MAX_TEXT).collect();
                Some(Evidence::new("log lines", format!("{}: {text}", news.seen)).usual(news.usual.clone()))
            })
            .collect()
    }
}

impl Stream {
    fn close_until(&mut self, now: Timestamp) {
        let interval = now.as_second().div_euclid(INTERVAL_SECONDS);
        let passed = (interval - self.interval).clamp(0, MAX_CLOSED);
        self.interval = self.interval.max(interval);
        for _ in 0..passed {
            for found in self.watch.close_interval() {
                let severe = found.severity.is_some_and(|level| level >= Severity::Warn);
                let rises = matches!(found.kind, LogFindingKind::Burst | LogFindingKind::RateUp);
                if severe && rises {
                    let seen = format!("{:.0} in {INTERVAL_SECONDS} s", found.lines);
                    let usual = format!("{:.1}", found.usual);
                    self.tell(News { at: now, template: found.template, seen, usual });
                }
            }
        }
    }

    fn tell(&mut self, news: News) {
        if self.news.len() >= MAX_NEWS {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::LogRecord;
    use homeostat_knowledge::{Entity, Name, ObjectKey};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap_or_default()
    }

    fn key() -> WorkloadKey {
        ObjectKey::new("shop", "cart")
    }

    fn line(second: i64, severity: u8, body: &str) -> Observation {
        let record = LogRecord { severity, body: Name::from(body), trace: 0 };
        Observation {
            tenant: None,
            entity: Entity::Workload { key: key() },
            event_time: at(second),
            arrival_time: at(second),
            signal: Signal::Log(record),
        }
    }

    fn calm() -> Logs {
        let mut logs = Logs::default();
        for second in 0..600 {
            logs.ingest(&line(second, 9, &format!("order {second} stored in {} ms", second % 7)));
        }
        logs
    }

    #[test]
    fn an_error_line_of_a_new_shape_is_evidence_and_a_usual_line_is_none() {
        let mut logs = calm();
        assert!(logs.evidence(&key(), at(590)).is_empty());
        logs.ingest(&line(601, 17, "payment of order 77 failed: connection refused"));
        let evidence = logs.evidence(&key(), at(600));
        assert_eq!(evidence.len(), 1);
        let text = evidence[0].to_string();
        assert!(text.contains("payment of order <*> failed") && text.contains("never seen before"), "{text}");
        assert!(logs.evidence(&key(), at(700)).is_empty(), "older than the fault by far");
    }

    #[test]
    fn the_first_lines_of_a_workload_are_no_news() {
        let mut logs = Logs::default();
        logs.ingest(&line(0, 17, "cannot reach the store yet"));
        assert!(logs.evidence(&key(), at(0)).is_empty());
    }

    #[test]
    fn workloads_and_news_are_bounded() {
        let mut logs = calm();
        for number in 0..200 {
            let words = ["alpha", "beta", "gamma", "delta", "epsilon"];
            let body = format!("{} {} gave up", words[number % 5], "x".repeat(1 + number / 5));
            logs.ingest(&line(601, 17, &body));
        }
        assert!(logs.streams[&key()].news.len() <= MAX_NEWS);
        for number in 0..MAX_WORKLOADS + 5 {
            let mut other = line(602, 9, "hello");
            other.entity = Entity::Workload { key: ObjectKey::new("shop", format!("w{number}")) };
            logs.ingest(&other);
        }
        assert_eq!((logs.streams.len(), logs.evicted), (MAX_WORKLOADS, 6));
    }
}
