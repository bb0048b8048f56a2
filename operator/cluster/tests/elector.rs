//! Elections with a scripted Lease and a paused clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

use homeostat_cluster::elector::lease::LeaseApi;
use homeostat_cluster::elector::machine::LeaseRecord;
use homeostat_cluster::{ClusterError, Elector, Leadership, Timing};
use homeostat_knowledge::{Clock, Name, SignedDuration, Timestamp};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A wall clock with an error.
struct Skewed(SignedDuration, Instant);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.1.elapsed()).unwrap();
        Timestamp::from_second(1_800_000_000).unwrap() + self.0 + passed
    }
}

#[derive(Default)]
struct Shared {
    lease: Option<(LeaseRecord, u64)>,
    writes: u64,
}

/// One Lease that several electors see, each through its own connection.
#[derive(Clone)]
struct Connection {
    shared: Arc<Mutex<Shared>>,
    /// What happens to requests on this connection.
    weather: Arc<Mutex<Weather>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Weather {
    Fine,
    Errors,
    Silence,
    Slow(Duration),
}

impl Connection {
    fn new(shared: &Arc<Mutex<Shared>>) -> Self {
        Self { shared: Arc::clone(shared), weather: Arc::new(Mutex::new(Weather::Fine)) }
    }

    fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    async fn pass(&self) -> Result<(), ClusterError> {
        let weather = *self.weather.lock().unwrap();
        match weather {
            Weather::Fine => Ok(()),
            Weather::Slow(by) => {
                tokio::time::sleep(by).await;
                Ok(())
            }
            Weather::Errors => Err(ClusterError::Transient {
                verb: "get",
                object: Name::from("Lease"),
                message: "connection refused".into(),
                unsent: true,
            }),
            Weather::Silence => std::future::pending().await,
        }
    }

    fn write(&self, record: &LeaseRecord, expected: Option<&str>) -> Result<String, ClusterError> {
        let mut shared = self.shared.lock().unwrap();
        let version = shared.lease.as_ref().map(|(_, version)| version.to_string());
        if version.as_deref() != expected {
            let object = Name::from("Lease");
            return Err(ClusterError::Conflict { verb: "update", object, message: "other version".into() });
        }
        shared.writes += 1;
        let next = shared.writes;
        shared.lease = Some((record.clone(), next));
        Ok(next.to_string())
    }
}

impl LeaseApi for Connection {
    async fn get(&self) -> Result<Option<(LeaseRecord, String)>, ClusterError> {
        self.pass().await?;
        let shared = self.shared.lock().unwrap();
        Ok(shared.lease.as_ref().map(|(record, version)| (record.clone(), version.to_string())))
    }

    async fn create(&self, record: &LeaseRecord) -> Result<String, ClusterError> {
        self.pass().await?;
        self.write(record, None)
    }

    async fn update(&self, record: &LeaseRecord, version: &str) -> Result<String, ClusterError> {
        self.pass().await?;
        self.write(record, Some(version))
    }
}

struct Replica {
    connection: Connection,
    leadership: Leadership,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn replica(shared: &Arc<Mutex<Shared>>, name: &str, skew: SignedDuration) -> Replica {
    let connection = Connection::new(shared);
    let clock = Arc::new(Skewed(skew, Instant::now()));
    let (elector, leadership) = Elector::new(connection.clone(), name, Timing::default(), clock).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(elector.run(stop.clone()));
    Replica { connection, leadership, stop, task }
}

/// Waits until the replica leads; gives how long that took.
async fn until_leads(replica: &Replica, limit: Duration) -> Duration {
    let began = Instant::now();
    while !replica.leadership.leads() {
        assert!(began.elapsed() < limit, "does not lead after {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

const NONE: SignedDuration = SignedDuration::ZERO;

#[tokio::test(start_paused = true)]
async fn the_first_one_leads_and_renews() {
    let shared = Arc::default();
    let first = replica(&shared, "a", NONE);
    until_leads(&first, Duration::from_millis(100)).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(first.leadership.leads());
    let writes = shared.lock().unwrap().writes;
    assert!((250..=301).contains(&writes), "one renewal per retry period: {writes}");
    assert_eq!(first.leadership.term().unwrap().number, 0);
}

#[tokio::test(start_paused = true)]
async fn since_when_it_leads_stays_over_renewals_and_moves_when_leading_was_lost() {
    let shared = Arc::default();
    let mut first = replica(&shared, "a", NONE);
    until_leads(&first, Duration::from_millis(100)).await;
    let since = |replica: &Replica| replica.leadership.term().unwrap().since.unwrap();
    let begun = since(&first);
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(since(&first), begun, "renewals are no news");
    first.connection.set(Weather::Errors);
    assert!(!first.leadership.changed().await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.connection.set(Weather::Fine);
    assert!(first.leadership.changed().await);
    let passed = since(&first).duration_since(begun);
    assert!(passed > SignedDuration::from_mins(10), "{passed}");
}

#[tokio::test(start_paused = true)]
async fn leadership_is_dropped_at_the_renew_deadline() {
    for weather in [Weather::Errors, Weather::Silence] {
        let shared = Arc::default();
        let mut first = replica(&shared, "a", NONE);
        until_leads(&first, Duration::from_millis(100)).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        first.connection.set(weather);
        let began = Instant::now();
        assert!(!first.leadership.changed().await, "it ends");
        let after = began.elapsed();
        // Counted from the last renewal that succeeded, up to one retry period ago.
        assert!((Duration::from_secs(7)..=Duration::from_secs(10)).contains(&after), "{after:?}");
        assert_eq!(first.leadership.term(), None);
        first.connection.set(Weather::Fine);
        assert!(first.leadership.changed().await, "and comes back with the API server");
    }
}

#[tokio::test(start_paused = true)]
async fn two_never_lead_at_once_whatever_their_clocks_say() {
    let day = SignedDuration::from_hours(24);
    for skew in [NONE, day, -day, SignedDuration::from_secs(20), SignedDuration::from_secs(-20)] {
        let shared = Arc::default();
        let replicas = [replica(&shared, "a", NONE), replica(&shared, "b", skew)];
        let mut changes = 0;
        let mut leader = None;
        for step in 0..60_000_u64 {
            // Now and then the leader is cut off, or its answers are slow.
            let hit = &replicas[usize::try_from(step / 4_000).unwrap() % 2].connection;
            match step % 4_000 {
                0 => hit.set(Weather::Silence),
                1_300 => hit.set(Weather::Errors),
                2_000 => hit.set(Weather::Slow(Duration::from_secs(4))),
                3_000 => hit.set(Weather::Fine),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            let leading: Vec<usize> = (0..2).filter(|number| replicas[*number].leadership.leads()).collect();
            assert!(leading.len() < 2, "both lead at step {step} with skew {skew}");
            if leading.first().is_some_and(|now| leader != Some(*now)) {
                leader = leading.first().copied();
                changes += 1;
            }
        }
        assert!(changes >= 4, "leadership moved: {changes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_waits_for_the_lease_and_not_longer() {
    let shared = Arc::default();
    let first = replica(&shared, "a", NONE);
    until_leads(&first, Duration::from_millis(100)).await;
    let second = replica(&shared, "b", NONE);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!second.leadership.leads());
    // Killed: no release.
    first.task.abort();
    let took = until_leads(&second, Duration::from_secs(20)).await;
    assert!((Duration::from_secs(12)..=Duration::from_secs(18)).contains(&took), "{took:?}");
    assert_eq!(second.leadership.term().unwrap().number, 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_lets_another_lead_at_its_next_attempt() {
    let shared = Arc::default();
    let first = replica(&shared, "a", NONE);
    until_leads(&first, Duration::from_millis(100)).await;
    let second = replica(&shared, "b", NONE);
    tokio::time::sleep(Duration::from_secs(5)).await;
    first.stop.cancel();
    first.task.await.unwrap();
    assert!(!first.leadership.leads(), "it stops leading before it tells");
    assert_eq!(shared.lock().unwrap().lease.as_ref().unwrap().0.holder, "");
    let took = until_leads(&second, Duration::from_secs(5)).await;
    assert!(took <= Duration::from_millis(2_500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_slept_past_its_deadline_knows_it() {
    let shared = Arc::default();
    let first = replica(&shared, "a", NONE);
    until_leads(&first, Duration::from_millis(100)).await;
    // The elector's task does not run while the process is stopped; the clock goes on.
    first.task.abort();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(!first.leadership.leads(), "although nobody told it");
}
