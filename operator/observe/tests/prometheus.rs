//! Prometheus queries against a scripted server.
#![allow(clippy::expect_used, clippy::panic, reason = "a test's helper may end the test")]

mod common;

use common::{FixedClock, Snapshots, with_signals, workload};
use homeostat_knowledge::observation::{Change, ObjectChange, SourceState};
use homeostat_knowledge::policy::{PrometheusPolicy, SecretKey, SignalPolicy};
use homeostat_knowledge::{Clock, Entity, Name, ObjectKey, Signal, SignedDuration, Snapshot};
use homeostat_observe::{
    Counters, Fate, Inlet, PrometheusOptions, PrometheusSource, Source, SourceName, TenantHeader, queue,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// An answer that can be changed.
#[derive(Clone)]
struct Says(Arc<Mutex<ResponseTemplate>>);

impl Respond for Says {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        self.0.lock().expect("nothing panics under this lock").clone()
    }
}

struct Asking {
    server: MockServer,
    says: Option<Says>,
    snapshots: Snapshots,
    counters: Arc<Counters>,
    out: Inlet,
    _stop: DropGuard,
}

fn signal(name: &str) -> SignalPolicy {
    SignalPolicy {
        name: Name::from(name),
        promql: Name::from(name),
        metric: None,
        external: None,
        unit: Name::from("1"),
        bad_above: true,
        threshold: None,
        minimum_effect: None,
        measures: homeostat_knowledge::policy::Measures::default(),
    }
}

fn snapshot(url: Option<String>, signals: &[&str]) -> Snapshot {
    let policy = url.map(|url| PrometheusPolicy {
        url: Name::from(url),
        interval: SignedDuration::from_millis(20),
        timeout: SignedDuration::from_millis(200),
        token: None,
    });
    with_signals(None, signals.iter().map(|name| signal(name)).collect(), policy)
}

fn vector(value: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(serde_json::json!({
        "status": "success",
        "data": { "resultType": "vector", "result": [
            { "metric": { "__name__": "depth", "queue": "mail" }, "value": [1_767_225_599.5, value] },
        ] },
    }))
}

impl Asking {
    async fn start(signals: &[&str]) -> Self {
        Self::of(|url| snapshot(Some(url), signals), None).await
    }

    async fn of(world: impl FnOnce(String) -> Snapshot, tenant_header: Option<TenantHeader>) -> Self {
        Self::with(world, PrometheusOptions { tenant_header, ..PrometheusOptions::default() }).await
    }

    async fn with(world: impl FnOnce(String) -> Snapshot, options: PrometheusOptions) -> Self {
        let server = MockServer::start().await;
        let snapshots = Snapshots::new(world(server.uri()));
        let counters = Arc::new(Counters::default());
        let options = PrometheusOptions { idle: Duration::from_millis(20), ..options };
        let source = PrometheusSource::new(
            options,
            Arc::new(snapshots.clone()),
            Arc::new(FixedClock),
            Arc::clone(&counters),
        );
        let (sender, out) = queue(64);
        let stop = CancellationToken::new();
        tokio::spawn(source.run(sender, stop.clone()));
        Self { server, says: None, snapshots, counters, out, _stop: stop.drop_guard() }
    }

    /// What the server answers from now on; there is no moment without an answer in between.
    async fn answer(&mut self, promql: &str, answer: ResponseTemplate) {
        if let Some(says) = &self.says {
            *says.0.lock().expect("nothing panics under this lock") = answer;
            return;
        }
        let says = Says(Arc::new(Mutex::new(answer)));
        self.says = Some(says.clone());
        self.add(promql, says).await;
    }

    async fn add(&self, promql: &str, answer: impl Respond + 'static) {
        Mock::given(method("GET"))
            .and(path("/api/v1/query"))
            .and(query_param("query", promql))
            .respond_with(answer)
            .mount(&self.server)
            .await;
    }

    /// The next state that the source tells; samples on the way are dropped.
    async fn state(&mut self) -> SourceState {
        loop {
            for observation in self.out.recv().await.expect("a running source") {
                if let Signal::Source(report) = observation.signal {
                    assert_eq!(observation.entity, Entity::Source { name: Name::from("prometheus") });
                    return report.state;
                }
            }
        }
    }

    async fn until_counted(&mut self, fate: Fate) {
        while self.counters.get(SourceName::Prometheus, fate) == 0 {
            tokio::task::yield_now().await;
            while self.out.try_recv().is_some() {}
        }
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens in time")
}

#[tokio::test]
async fn a_signal_becomes_a_sample_of_its_workload() {
    let mut asking = Asking::start(&["depth"]).await;
    asking.answer("depth", vector("42.5")).await;
    let observation = within(async {
        loop {
            let batch = asking.out.recv().await.expect("a running source");
            if let Some(found) = batch.into_iter().find(|item| matches!(item.signal, Signal::Sample(_))) {
                return found;
            }
        }
    })
    .await;
    let workload = ObjectKey::new("shop", "order");
    let Signal::Sample(sample) = observation.signal else { panic!("not a sample") };
    assert_eq!((&*sample.metric, &*sample.series), ("depth", "queue=mail"));
    assert!((sample.value - 42.5).abs() < 1e-12 && !sample.counter);
    assert_eq!(sample.asked_by, Some(workload.clone()));
    assert_eq!(observation.entity, Entity::Workload { key: workload });
    assert_eq!(observation.tenant.as_ref().map(|tenant| &*tenant.0), Some("food"));
    assert_eq!(observation.event_time.as_millisecond(), common::NOW * 1000 - 500);
    assert!(asking.counters.get(SourceName::Prometheus, Fate::Accepted) > 0);
}

#[tokio::test]
async fn no_value_is_not_a_value() {
    let mut asking = Asking::start(&["depth", "empty", "typo"]).await;
    asking.add("depth", vector("NaN")).await;
    let empty = serde_json::json!({"status": "success", "data": {"resultType": "vector", "result": []}});
    asking.add("empty", ResponseTemplate::new(200).set_body_json(empty)).await;
    let refused = serde_json::json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
    asking.add("typo", ResponseTemplate::new(400).set_body_json(refused)).await;
    within(async {
        for fate in [Fate::NonFinite, Fate::NoData, Fate::BadQuery] {
            asking.until_counted(fate).await;
        }
    })
    .await;
    let told = within(async {
        loop {
            let batch = asking.out.recv().await.expect("a running source");
            if let Some(found) = batch.into_iter().find(sampled) {
                return found;
            }
        }
    })
    .await;
    let Signal::Sample(sample) = told.signal else { panic!("not a sample") };
    assert_eq!((&*sample.metric, &*sample.series), ("depth", "queue=mail"));
    assert!(sample.value.is_nan(), "told for what it is, and the two without an answer are silent");
}

#[tokio::test]
async fn a_failing_server_is_down_and_recovers_by_itself() {
    let mut asking = Asking::start(&["depth"]).await;
    asking.answer("depth", vector("1")).await;
    // The first rounds may have met the server before it had an answer.
    within(async { while asking.state().await != SourceState::Healthy {} }).await;

    asking.answer("depth", ResponseTemplate::new(500)).await;
    let SourceState::Down(reason) = within(asking.state()).await else { panic!("not down") };
    assert!(reason.contains("500"), "{reason}");
    asking.answer("depth", vector("1")).await;
    assert_eq!(within(asking.state()).await, SourceState::Healthy);

    asking.answer("depth", vector("1").set_delay(Duration::from_secs(5))).await;
    let SourceState::Down(reason) = within(asking.state()).await else { panic!("not down") };
    assert!(reason.contains("timed out"), "{reason}");
    assert!(asking.counters.get(SourceName::Prometheus, Fate::TimedOut) >= 2);
    asking.answer("depth", vector("1")).await;
    assert_eq!(within(asking.state()).await, SourceState::Healthy);
}

#[tokio::test]
async fn without_signals_the_server_is_still_looked_after_and_without_a_server_the_source_is_off() {
    let mut asking = Asking::start(&[]).await;
    asking.answer("vector(1)", vector("1")).await;
    within(async { while asking.state().await != SourceState::Healthy {} }).await;
    asking.snapshots.set(snapshot(None, &[]));
    assert_eq!(within(asking.state()).await, SourceState::Off);
    // Nothing listens on port 1.
    asking.snapshots.set(snapshot(Some("http://ana:hunter2@127.0.0.1:1".to_owned()), &[]));
    let SourceState::Down(reason) = within(asking.state()).await else { panic!("not down") };
    assert_eq!(
        &*reason, "Prometheus at http://127.0.0.1:1 cannot be reached: Connection refused (os error 111)",
        "and who asks is nobody's business"
    );
    asking.snapshots.set(snapshot(Some("not a url".to_owned()), &[]));
    let SourceState::Down(reason) = within(asking.state()).await else { panic!("not down") };
    assert!(reason.contains("not a url"), "{reason}");
}

/// A server that closes each connection after these bytes of an answer.
async fn cuts_off(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The request first: a connection that is closed with bytes unread is reset, answer and all.
            let mut request = [0; 2_048];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

/// A server whose certificate is its own work.
fn untrusted() -> String {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("its versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .expect("the key of the certificate");
    let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), Ok(mut tls)) = (stream, rustls::ServerConnection::new(config.clone()))
            else {
                continue;
            };
            // Until the client goes, which is what it should do.
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
        }
    });
    format!("https://{address}")
}

#[tokio::test]
async fn half_an_answer_a_name_that_does_not_resolve_and_wrong_tls_are_told_and_give_no_value() {
    const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n\
        {\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1,\"42\"]}";
    // Whole by HTTP, and half of what was to be said.
    const SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 45\r\nConnection: close\r\n\r\n\
        {\"status\":\"success\",\"data\":{\"resultType\":\"vec";
    let mut asking = Asking::start(&["depth"]).await;
    asking.answer("depth", vector("1")).await;
    let good = asking.server.uri();
    for (wrong, says) in [
        (cuts_off(HALF).await, "Prometheus at"),
        (cuts_off(SHORT).await, ""),
        (cuts_off("").await, "Prometheus at"),
        ("http://prometheus.invalid:9090".to_owned(), ""),
        (good.replacen("http", "https", 1), "cannot be reached"),
        (untrusted(), "certificate"),
    ] {
        within(async { while asking.state().await != SourceState::Healthy {} }).await;
        asking.snapshots.set(snapshot(Some(wrong.clone()), &["depth"]));
        let SourceState::Down(reason) = within(asking.state()).await else { panic!("{wrong} is not down") };
        assert!(!reason.is_empty() && reason.contains(says), "{wrong}: {reason}");
        // Whatever came before it was told is of the good server; from here on nothing comes.
        while asking.out.try_recv().is_some() {}
        let accepted = asking.counters.get(SourceName::Prometheus, Fate::Accepted);
        let failed = || {
            let of = |fate| asking.counters.get(SourceName::Prometheus, fate);
            of(Fate::QueryFailed) + of(Fate::TimedOut)
        };
        let before = failed();
        within(async {
            while failed() < before + 3 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(asking.counters.get(SourceName::Prometheus, Fate::Accepted), accepted, "{wrong}");
        let told = std::iter::from_fn(|| asking.out.try_recv()).flatten().count();
        assert_eq!(told, 0, "{wrong}: told once, not with each try");
        asking.snapshots.set(snapshot(Some(good.clone()), &["depth"]));
    }
}

/// The workloads of two tenants, and one whose namespace is no Tenant's, each with a query of its own.
fn of_two_tenants(url: String) -> Snapshot {
    let others = [("elsewhere", "rival", "width"), ("lost", "orphan", "everything")];
    others.into_iter().fold(snapshot(Some(url), &["depth"]), |snapshot, (namespace, name, query)| {
        let change = Change::Applied(Arc::new(workload(namespace, name, vec![signal(query)])));
        snapshot.apply(&ObjectChange::Workload(change), FixedClock.now())
    })
}

impl Asking {
    /// What the server was asked, and whose it was told that each query is.
    async fn heard(&self) -> Vec<(String, Vec<String>)> {
        let requests = self.server.received_requests().await.expect("requests are kept");
        let heard = requests.iter().map(|request| {
            let query = request.url.query_pairs().find(|(key, _)| key == "query").expect("a query");
            let values = request.headers.get_all("x-scope-orgid").iter();
            let values = values.map(|value| value.to_str().expect("text").to_owned()).collect();
            (query.1.into_owned(), values)
        });
        heard.collect()
    }

    /// What the server was asked, once it was asked all of this.
    async fn until_asked(&mut self, queries: &[&str]) -> Vec<(String, Vec<String>)> {
        loop {
            while self.out.try_recv().is_some() {}
            let heard = self.heard().await;
            if queries.iter().all(|query| heard.iter().any(|(asked, _)| asked == query)) {
                return heard;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn with_a_tenant_header_each_query_tells_whose_it_is_and_what_is_nobodys_is_not_asked() {
    let named = "X-Scope-OrgID".parse().expect("a header");
    let mut asking = Asking::of(of_two_tenants, Some(named)).await;
    Mock::given(method("GET")).respond_with(vector("1")).mount(&asking.server).await;
    within(asking.until_counted(Fate::BadQuery)).await;
    within(asking.until_asked(&["depth", "width"])).await;
    // And another round, after which all of the first one is known.
    asking.server.reset().await;
    let heard = within(asking.until_asked(&["depth", "width"])).await;
    for (query, tenants) in heard {
        let owner = match query.as_str() {
            "depth" => "food",
            "width" => "other",
            query => panic!("{query} is no tenant's and was asked"),
        };
        assert_eq!(tenants, [owner], "{query}");
    }
    // Homeostat's own question is the platform's.
    asking.snapshots.set(snapshot(Some(asking.server.uri()), &[]));
    let heard = within(asking.until_asked(&["vector(1)"])).await;
    let own = heard.iter().find(|(query, _)| query == "vector(1)").expect("asked");
    assert_eq!(own.1, ["platform"]);
}

/// A tenant with so many queries that they take several turns, and another with one.
fn of_one_with_many(url: String) -> Snapshot {
    let many = (0..100).map(|turn| signal(&format!("slow-{turn}"))).collect();
    let change = Change::Applied(Arc::new(workload("elsewhere", "rival", many)));
    snapshot(Some(url), &["depth"]).apply(&ObjectChange::Workload(change), FixedClock.now())
}

#[tokio::test]
async fn the_many_slow_queries_of_one_tenant_do_not_keep_that_of_another_waiting() {
    let mut asking = Asking::of(of_one_with_many, None).await;
    let slow = vector("1").set_delay(Duration::from_millis(50));
    Mock::given(method("GET")).respond_with(slow).mount(&asking.server).await;
    let heard = within(asking.until_asked(&["depth"])).await;
    let before = heard.iter().position(|(query, _)| query == "depth").expect("asked");
    assert!(before < 8, "{before} queries of the other tenant came first");
}

#[tokio::test]
async fn a_server_that_hangs_is_told_long_before_every_query_has_timed_out() {
    let mut asking = Asking::of(of_one_with_many, None).await;
    let never = vector("1").set_delay(Duration::from_mins(1));
    Mock::given(method("GET")).respond_with(never).mount(&asking.server).await;
    let SourceState::Down(reason) = within(asking.state()).await else { panic!("not down") };
    assert!(reason.contains("timed out"), "{reason}");
    let asked = asking.heard().await.len();
    assert!(asked < 100, "{asked} were asked, and a round has 101");
    assert!(asking.counters.get(SourceName::Prometheus, Fate::TimedOut) >= 200, "all of them are counted");
}

#[tokio::test]
async fn without_a_tenant_header_none_is_sent() {
    let mut asking = Asking::of(of_two_tenants, None).await;
    let heard = within(asking.until_asked(&["depth", "width", "everything"])).await;
    assert!(heard.iter().all(|(_, tenants)| tenants.is_empty()), "{heard:?}");
}

#[tokio::test]
async fn each_query_carries_the_token_of_its_secret_and_one_that_is_missing_is_told() {
    let secrets = std::env::temp_dir().join(format!("homeostat-prometheus-{}", std::process::id()));
    std::fs::create_dir_all(secrets.join("thanos")).expect("a folder");
    let world = |url: String| {
        let mut snapshot = snapshot(Some(url), &["depth"]);
        let policy = Arc::make_mut(&mut snapshot.control).prometheus.as_mut().expect("a policy");
        policy.token = Some(SecretKey { secret: Name::from("thanos"), key: Name::from("token") });
        snapshot
    };
    let options = PrometheusOptions { secrets: secrets.clone(), ..PrometheusOptions::default() };
    let mut asking = Asking::with(world, options).await;
    let SourceState::Down(why) = within(asking.state()).await else { panic!("there is no token yet") };
    assert!(why.contains("key token of Secret thanos"), "{why}");
    assert!(
        asking.server.received_requests().await.unwrap_or_default().is_empty(),
        "nothing is asked without it"
    );
    for token in ["first-one", "second-one"] {
        std::fs::write(secrets.join("thanos/token"), token).expect("a file");
        asking.server.reset().await;
        Mock::given(method("GET"))
            .and(header("authorization", format!("Bearer {token}")))
            .respond_with(vector("3"))
            .mount(&asking.server)
            .await;
        within(async {
            loop {
                if within(asking.out.recv()).await.expect("a running source").iter().any(sampled) {
                    break;
                }
            }
        })
        .await;
    }
    std::fs::remove_dir_all(&secrets).expect("removed");
}

fn sampled(observation: &homeostat_knowledge::Observation) -> bool {
    matches!(observation.signal, Signal::Sample(_))
}
