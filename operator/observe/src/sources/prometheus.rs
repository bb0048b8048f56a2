//! Prometheus queries for the signals that workloads name.
//!
//! [`Source::run`] waits and asks, [`parse`] and `samples` are pure. A server that does not answer is a source
//! that is down: nothing may be concluded from what is missing then.
//!
//! Queries are sent as people wrote them. What keeps the query of a Workload inside its tenant is the server, when it is told
//! whose the query is ([`TenantHeader`]).

use super::mounted::bearer;
use super::names::{bounded, cut};
use super::tenant_header::TenantHeader;
use super::{Counters, Fate, Outlet, Source, SourceError, SourceName, Tally, health};
use futures::StreamExt;
use homeostat_knowledge::observation::{Sample, SourceState};
use homeostat_knowledge::policy::{PLATFORM_TENANT, PrometheusPolicy, SignalPolicy};
use homeostat_knowledge::{
    Clock, Entity, Name, Observation, Signal, SignedDuration, Snapshot, SnapshotSource, TenantName,
    Timestamp, WorkloadKey,
};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use prometheus_http_query::response::{Data, PromqlResult};
use prometheus_http_query::{Client, Error};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Rounds without a single answer after which the source says that it is down.
pub const DOWN_AFTER: u32 = 2;
/// Questions without a single answer, for each that is asked at one time, after which the rest of a round is left out.
const IN_VAIN: usize = 2;
/// What was answered waits so long for more that is handed on with it.
const TOGETHER: SignedDuration = SignedDuration::from_secs(1);
/// A server's clock that is further off is not believed: what it answers is of now.
const CLOCK_OFF: SignedDuration = SignedDuration::from_secs(10);
/// Asked when no workload names a signal, so that the source's health is known all the same.
const PROBE: &str = "vector(1)";

/// Bounds of the queries, and whose they are said to be. `Default` is what ships.
#[derive(Clone, Debug)]
pub struct PrometheusOptions {
    /// Queries at one time.
    pub concurrency: usize,
    /// Largest answer in bytes.
    pub max_answer_bytes: usize,
    /// Series taken from one answer.
    pub series: usize,
    /// How often the policy is looked at while no server is configured.
    pub idle: Duration,
    /// Header that carries the tenant of each query; `None` sends none, for a server that has one tenant.
    pub tenant_header: Option<TenantHeader>,
    /// Folder of the Secrets that may hold the server's token.
    pub secrets: PathBuf,
}

impl Default for PrometheusOptions {
    fn default() -> Self {
        Self {
            concurrency: 8,
            max_answer_bytes: 1024 * 1024,
            series: 20,
            idle: Duration::from_secs(5),
            tenant_header: None,
            secrets: PathBuf::from("/etc/homeostat/prometheus"),
        }
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The server answered that it cannot evaluate the expression.
    #[error("query is refused: {0}; correct the signal's promql")]
    Refused(String),
    /// Took longer than `ControlPlane.spec.sources.prometheus` allows.
    #[error("query timed out; raise its timeout or make the expression cheaper")]
    TimedOut,
    /// No usable answer.
    #[error("{0}")]
    Failed(String),
}

impl QueryError {
    fn fate(&self) -> Fate {
        match self {
            Self::Refused(_) => Fate::BadQuery,
            Self::TimedOut => Fate::TimedOut,
            Self::Failed(_) => Fate::QueryFailed,
        }
    }
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Labels without the metric's name: `route=/orders,zone=a`.
    pub series: Name,
    /// As answered; may be no finite number.
    pub value: f64,
    /// When it was evaluated, by the server's clock.
    pub at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<PromqlResult>,
    #[serde(rename = "errorType", default)]
    error_type: String,
    #[serde(default)]
    error: String,
}

/// Reads the answer to an instant query.
///
/// # Errors
/// [`QueryError`] when there is none in it. HTTP status codes repeat what the body says and are not needed.
pub fn parse(body: &[u8]) -> Result<Vec<Point>, QueryError> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| QueryError::Failed("answer is not that of a Prometheus query API".to_owned()))?;
    if answer.status != "success" {
        let message = cut(&answer.error, 256).to_owned();
        return Err(match answer.error_type.as_str() {
            "bad_data" | "execution" => QueryError::Refused(message),
            "timeout" => QueryError::TimedOut,
            _ => QueryError::Failed(message),
        });
    }
    match answer.data.map(|result| result.into_inner().0) {
        None => Err(QueryError::Failed("answer holds no data".to_owned())),
        Some(Data::Matrix(_)) => {
            Err(QueryError::Refused("expression gives a range, not one value".to_owned()))
        }
        Some(Data::Scalar(sample)) => {
            Ok(vec![Point { series: Name::from(""), value: sample.value(), at: at(sample.timestamp()) }])
        }
        Some(Data::Vector(vector)) => Ok(vector
            .iter()
            .map(|series| Point {
                series: series_name(series.metric()),
                value: series.sample().value(),
                at: at(series.sample().timestamp()),
            })
            .collect()),
    }
}

fn at(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_nanosecond((seconds * 1e9) as i128).ok().filter(|_| seconds.is_finite())
}

fn series_name(labels: &HashMap<String, String>) -> Name {
    let mut labels: Vec<(&String, &String)> = labels.iter().filter(|(key, _)| *key != "__name__").collect();
    labels.sort_unstable();
    let parts: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    Name::from(bounded(parts.join(",")))
}

/// A query that a workload asks for.
#[derive(Clone, Debug)]
struct Question {
    workload: WorkloadKey,
    tenant: Option<TenantName>,
    signal: SignalPolicy,
}

/// Of each tenant in turn: one with many slow queries does not keep those of others waiting for all of its own.
fn questions(snapshot: &Snapshot) -> Vec<Question> {
    let mut by_tenant: BTreeMap<Option<TenantName>, Vec<Question>> = BTreeMap::new();
    for policy in snapshot.workloads.values() {
        let tenant = snapshot.tenant_of_namespace(&policy.key.namespace).map(|tenant| tenant.name.clone());
        let of_tenant = by_tenant.entry(tenant.clone()).or_default();
        of_tenant.extend(policy.signals.iter().filter(|signal| signal.queried()).map(|signal| Question {
            workload: policy.key.clone(),
            tenant: tenant.clone(),
            signal: signal.clone(),
        }));
    }
    let turns = by_tenant.into_values().flat_map(|questions| (0_usize..).zip(questions));
    let mut turns: Vec<(usize, Question)> = turns.collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, question)| question).collect()
}

fn hand_on(batch: Vec<Observation>, out: &Outlet, tally: &mut Tally) {
    let items = batch.len() as u64;
    if items > 0 {
        tally.add(if out.send_own(batch).is_ok() { Fate::Accepted } else { Fate::QueueFull }, items);
    }
}

/// The observations of one answer. What is not finite is counted, and handed on as that: no value is not a value. It takes no
/// number's place.
fn samples(
    question: &Question,
    points: Vec<Point>,
    most: usize,
    now: Timestamp,
    tally: &mut Tally,
) -> Vec<Observation> {
    if points.is_empty() {
        tally.add(Fate::NoData, 1);
    }
    let mut observations = Vec::new();
    let (mut numbers, mut others) = (0, 0);
    for point in points {
        let finite = point.value.is_finite();
        tally.add(Fate::NonFinite, u64::from(!finite));
        let taken = if finite { &mut numbers } else { &mut others };
        if *taken >= most {
            tally.add(Fate::OverLimit, 1);
            continue;
        }
        *taken += 1;
        observations.push(Observation {
            tenant: question.tenant.clone(),
            entity: Entity::Workload { key: question.workload.clone() },
            event_time: point.at.filter(|at| now.duration_since(*at).abs() <= CLOCK_OFF).unwrap_or(now),
            arrival_time: now,
            signal: Signal::Sample(Sample {
                metric: Name::clone(&question.signal.name),
                series: point.series,
                value: point.value,
                counter: false,
                asked_by: Some(question.workload.clone()),
            }),
        });
    }
    observations
}

/// Asks Prometheus.
pub struct PrometheusSource {
    options: PrometheusOptions,
    snapshots: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

/// The server as configured now, with its client.
struct Server {
    policy: PrometheusPolicy,
    client: Client,
    /// As read at the beginning of this round.
    token: Option<HeaderValue>,
    failures: u32,
}

impl Server {
    fn connect(policy: PrometheusPolicy) -> Result<Self, QueryError> {
        let failed = |error: &dyn std::fmt::Display| {
            QueryError::Failed(without_login(&format!(
                "Prometheus at {} cannot be asked: {error}",
                policy.url
            )))
        };
        let timeout = duration(policy.timeout);
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("homeostat")
            .build()
            .map_err(|error| failed(&error))?;
        let client = Client::from(client, &policy.url).map_err(|error| failed(&error))?;
        Ok(Self { policy, client, token: None, failures: 0 })
    }

    async fn ask(
        &self,
        promql: &str,
        header: Option<(HeaderName, HeaderValue)>,
        most_bytes: usize,
    ) -> Result<Vec<Point>, QueryError> {
        let timeout = i64::try_from(self.policy.timeout.as_millis()).unwrap_or(i64::MAX);
        let mut query = self.client.query(promql).timeout(timeout);
        if let Some((name, value)) = header {
            query = query.header(name, value);
        }
        if let Some(token) = &self.token {
            query = query.header(AUTHORIZATION, token.clone());
        }
        let mut response = query.get_raw().await.map_err(|error| match &error {
            Error::Client(client) => self.failure(client.inner(), &error),
            _ => self.failure(None, &error),
        })?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(Some(&error), &error))? {
            if body.len() + chunk.len() > most_bytes {
                return Err(QueryError::Refused(format!("answer is above {most_bytes} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status();
        parse(&body).map_err(|error| match error {
            QueryError::Failed(_) if !status.is_success() => self.failed(&format!("answered {status}")),
            error => error,
        })
    }

    fn failure(&self, cause: Option<&reqwest::Error>, error: &dyn std::fmt::Display) -> QueryError {
        match cause {
            Some(cause) if cause.is_timeout() => QueryError::TimedOut,
            Some(cause) if cause.is_connect() => {
                self.failed(&format!("cannot be reached: {}", innermost(cause)))
            }
            _ => self.failed(&format!("failed: {error}")),
        }
    }

    fn failed(&self, what: &str) -> QueryError {
        QueryError::Failed(without_login(&format!("Prometheus at {} {what}", self.policy.url)))
    }

    /// Takes in how a round went; the state from now on, `None` when it is too early to say another one.
    fn judge(&mut self, answered: bool, last_failure: Option<&QueryError>) -> Option<SourceState> {
        if answered {
            self.failures = 0;
            return Some(SourceState::Healthy);
        }
        self.failures = self.failures.saturating_add(1);
        let reason = last_failure.map_or_else(|| "no answer".to_owned(), QueryError::to_string);
        (self.failures >= DOWN_AFTER).then(|| SourceState::Down(Name::from(reason)))
    }
}

/// What went wrong at last: what is around it says that a request failed.
fn innermost(error: &reqwest::Error) -> &dyn std::error::Error {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .last()
        .unwrap_or(error)
}

/// The text with no name and password in any address: it stands in conditions and pages (RFC 3986, section 3.2.1).
fn without_login(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        let authority = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
        let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
        shown.push_str("://");
        shown.push_str(&rest[host..]);
    }
    shown
}

fn duration(signed: homeostat_knowledge::SignedDuration) -> Duration {
    // Resources are validated; the floor keeps a mistake from becoming a busy loop.
    Duration::try_from(signed).unwrap_or_default().max(Duration::from_millis(10))
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = tokio::time::interval(period);
    // After a long round the next one waits its full time: no burst on a server that is slow already.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

impl PrometheusSource {
    /// A source that asks what the newest snapshot says.
    pub fn new(
        options: PrometheusOptions,
        snapshots: Arc<dyn SnapshotSource>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { options, snapshots, clock, counters }
    }

    /// The questions with the headers that they are asked with. Where the server must be told whose a question is, one that is
    /// no tenant's is not asked at all: without the header it might see everybody's.
    fn asked(
        &self,
        snapshot: &Snapshot,
        tally: &mut Tally,
    ) -> Vec<(Question, Option<(HeaderName, HeaderValue)>)> {
        let Some(header) = &self.options.tenant_header else {
            return questions(snapshot).into_iter().map(|question| (question, None)).collect();
        };
        let mut asked = Vec::new();
        for question in questions(snapshot) {
            let tenant = question.tenant.as_ref();
            if let Some(header) = tenant.and_then(|tenant| header.of(&tenant.0)) {
                asked.push((question, Some(header)));
            } else {
                tally.add(Fate::BadQuery, 1);
                tracing::debug!(workload = %question.workload, signal = %question.signal.name,
                    "Signal is not queried: its namespace is no Tenant's");
            }
        }
        asked
    }

    /// Asks everything once and delivers the answers.
    async fn round(&self, server: &mut Server, snapshot: &Snapshot, out: &Outlet) -> Option<SourceState> {
        if let Some(from) = &server.policy.token {
            match bearer(&self.options.secrets, from).await {
                Ok(token) => server.token = Some(token),
                Err(error) => return server.judge(false, Some(&error)),
            }
        }
        let (mut tally, mut batch) = (Tally::default(), Vec::new());
        let questions = self.asked(snapshot, &mut tally);
        if questions.is_empty() {
            self.counters.merge(SourceName::Prometheus, &tally);
            let header = self.options.tenant_header.as_ref().and_then(|header| header.of(PLATFORM_TENANT));
            let answer = server.ask(PROBE, header, self.options.max_answer_bytes).await;
            return server.judge(answer.is_ok(), answer.as_ref().err());
        }
        let (mut answered, mut last_failure) = (false, None);
        let (mut left, mut handed_on) = (questions.len(), self.clock.now());
        {
            let asked = &*server;
            let concurrency = self.options.concurrency.max(1);
            let enough = left.saturating_sub(concurrency.saturating_mul(IN_VAIN));
            let mut answers = futures::stream::iter(questions)
                .map(|(question, header)| async move {
                    let most = self.options.max_answer_bytes;
                    let answer = asked.ask(&question.signal.promql, header, most).await;
                    (question, answer)
                })
                .buffer_unordered(concurrency);
            while let Some((question, answer)) = answers.next().await {
                left -= 1;
                let now = self.clock.now();
                match answer {
                    Ok(points) => {
                        answered = true;
                        batch.extend(samples(&question, points, self.options.series, now, &mut tally));
                    }
                    Err(error) => {
                        // A server that understands and refuses is alive.
                        answered |= matches!(error, QueryError::Refused(_));
                        tally.add(error.fate(), 1);
                        tracing::debug!(workload = %question.workload, signal = %question.signal.name, %error,
                            "Signal could not be queried");
                        last_failure = Some(error);
                    }
                }
                // The last answers of a long round must not make the first ones old.
                if now.duration_since(handed_on) >= TOGETHER {
                    handed_on = now;
                    hand_on(std::mem::take(&mut batch), out, &mut tally);
                }
                // A server that hangs is told of soon, not after every query has timed out.
                if !answered && left <= enough {
                    break;
                }
            }
        }
        if let Some(error) = last_failure.as_ref().filter(|_| !answered) {
            tally.add(error.fate(), left as u64);
        }
        hand_on(batch, out, &mut tally);
        self.counters.merge(SourceName::Prometheus, &tally);
        server.judge(answered, last_failure.as_ref())
    }

    fn report(&self, state: &SourceState) -> Observation {
        let report = self.counters.report(SourceName::Prometheus, state.clone());
        health(SourceName::Prometheus, report, self.clock.now())
    }
}

impl Source for PrometheusSource {
    fn name(&self) -> SourceName {
        SourceName::Prometheus
    }

    async fn run(self, out: Outlet, stop: CancellationToken) -> Result<(), SourceError> {
        let mut server: Option<Server> = None;
        let mut told: Option<SourceState> = None;
        let mut period = self.options.idle;
        let mut tick = ticker(period);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let snapshot = self.snapshots.current();
            let wanted = snapshot.control.prometheus.as_ref();
            let state = match wanted {
                None => {
                    server = None;
                    Some(SourceState::Off)
                }
                Some(policy) => {
                    let connected = match server.take().filter(|server| server.policy == *policy) {
                        Some(server) => Ok(server),
                        None => Server::connect(policy.clone()),
                    };
                    match connected {
                        Ok(mut connected) => {
                            let state = tokio::select! {
                                state = self.round(&mut connected, &snapshot, &out) => state,
                                () = stop.cancelled() => return Ok(()),
                            };
                            server = Some(connected);
                            state
                        }
                        Err(error) => Some(SourceState::Down(Name::from(error.to_string()))),
                    }
                }
            };
            let wanted = wanted.map_or(self.options.idle, |policy| duration(policy.interval));
            if wanted != period {
                period = wanted;
                tick = ticker(period);
                tick.reset();
            }
            // When the queue is full, the next round tells it.
            if let Some(state) = state
                && told.as_ref() != Some(&state)
                && out.send_own(vec![self.report(&state)]).is_ok()
            {
                tracing::info!(source = "prometheus", ?state, "Source changed its state");
                told = Some(state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_pods_send_themselves_is_not_asked() {
        use homeostat_knowledge::observation::{Change, ObjectChange};
        use homeostat_knowledge::policy::{Across, Measures, MetricPolicy};
        use homeostat_knowledge::records::ControllerKey;
        use homeostat_knowledge::{ControllerKind, ObjectKey, Uid, WorkloadPolicy};
        let signal = |name: &str, metric: Option<MetricPolicy>| SignalPolicy {
            name: Name::from(name),
            promql: Name::from("up"),
            metric,
            external: None,
            unit: Name::from(""),
            bad_above: true,
            threshold: None,
            minimum_effect: None,
            measures: Measures::Other,
        };
        let key = ObjectKey::new("shop", "order");
        let target = ControllerKey { kind: ControllerKind::Deployment, object: key.clone() };
        let mut order = WorkloadPolicy::new(key, Uid::new("u"), target);
        let sent = MetricPolicy { name: Name::from("active"), across: Across::Sum, from: None };
        order.signals = vec![signal("busy", Some(sent)), signal("up", None)];
        let change = ObjectChange::Workload(Change::Applied(Arc::new(order)));
        let asked = questions(&Snapshot::default().apply(&change, Timestamp::UNIX_EPOCH));
        let names: Vec<&str> = asked.iter().map(|question| &*question.signal.name).collect();
        assert_eq!(names, ["up"]);
    }

    #[test]
    fn answers_are_read_with_labels_and_odd_values() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","zone":"b","job":"order"},"value":[1700000000.5,"2.5"]},
            {"metric":{},"value":[1700000000,"NaN"]},
            {"metric":{"job":"cart"},"value":[1700000000,"+Inf"]}]}}"#;
        let points = parse(body).expect("a valid answer");
        assert_eq!(&*points[0].series, "job=order,zone=b");
        assert_eq!(points[0].value.to_bits(), 2.5_f64.to_bits());
        assert_eq!(points[0].at.map(Timestamp::as_millisecond), Some(1_700_000_000_500));
        assert!(points[1].value.is_nan() && points[2].value.is_infinite());
    }

    #[test]
    fn no_address_is_shown_with_its_login() {
        for (text, shown) in [
            ("no address", "no address"),
            ("at http://prometheus:9090/a@b: no", "at http://prometheus:9090/a@b: no"),
            ("at https://ana:p@ss@prometheus/x (http://ana:p@b)", "at https://prometheus/x (http://b)"),
        ] {
            assert_eq!(without_login(text), shown);
        }
    }

    #[test]
    fn errors_separate_a_bad_expression_from_a_bad_server() {
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#;
        assert_eq!(parse(bad), Err(QueryError::Refused("parse error: unexpected end".to_owned())));
        let slow = br#"{"status":"error","errorType":"timeout","error":"query timed out"}"#;
        assert_eq!(parse(slow), Err(QueryError::TimedOut));
        assert!(matches!(parse(b"<html>502</html>"), Err(QueryError::Failed(_))));
        let range = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert!(matches!(parse(range), Err(QueryError::Refused(_))));
    }
}
