//! The certificate of the API server, or who signs it, is replaced while Homeostat is connected. Over TLS, in real time.

mod tls;

use crate::support::{Server, Still};
use crate::{Told, action, evict_by, shop};
use homeostat_cluster::client::client_of;
use homeostat_cluster::requests::RequestCounts;
use homeostat_cluster::{ApiActuator, ApiLedger};
use homeostat_execute::ports::{Actuator, Ledger, ReadError};
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::KillSwitch;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::{Authority, Front};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// The years before which certificates are good: one to come, and one that is long over.
const GOOD: i32 = 4_000;
const EXPIRED: i32 = 2_020;

/// The file where a pod finds whose certificates it can trust.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-ca.crt"))
}

/// The shop behind TLS, and Homeostat connected to it as in a pod.
struct Connected {
    server: Server,
    front: Front,
    told: Told,
    hands: ApiActuator,
    ledger: ApiLedger,
    counts: Arc<RequestCounts>,
}

impl Connected {
    async fn to(authority: &Authority, file: &Path) -> Self {
        std::fs::write(file, &authority.pem).unwrap();
        let (server, counts) = (shop(), Arc::<RequestCounts>::default());
        let front = Front::start(&server, authority.sign(GOOD)).await;
        let (client, _) = client_of(front.config(authority, file), &counts).unwrap();
        let mut told = Told::start(&client);
        assert!(told.until(20, Told::known).await, "its certificate is trusted");
        let (hands, ledger) = (ApiActuator::new(client.clone()), ApiLedger::new(client, Arc::new(Still)));
        assert_eq!(hands.kill_switch().await, Ok(KillSwitch::Off));
        Self { server, front, told, hands, ledger, counts }
    }

    /// Requests that failed so far, as the metrics count them.
    fn failed(&self) -> u64 {
        let failed = self.counts.rows().filter(|(_, result, _)| *result == "failed");
        failed.map(|(_, _, count)| count).sum()
    }

    /// Nothing is done with an API server that shows this. It is told and counted, and nobody tries again at once.
    async fn refuses(&mut self, shown: TlsAcceptor) {
        let (tried, failed, since) = (self.front.connections(), self.failed(), Instant::now());
        self.front.show(shown);
        let switch = self.hands.kill_switch().await;
        assert!(matches!(switch, Err(ReadError::Unavailable(_))), "unreadable means stop: {switch:?}");
        assert!(self.ledger.create(&action("order-7f3k2-1")).await.is_err());
        assert!(evict_by(&self.hands).await.is_err());
        let down = |told: &Told| matches!(told.source(), SourceState::Down(_));
        assert!(self.told.until(30, down).await, "it is told");
        let SourceState::Down(why) = self.told.source() else { panic!("{:?}", self.told.source()) };
        assert!(why.contains("certificate"), "{why}");
        assert!(self.failed() >= failed + 3, "{} failures, {failed} of them before", self.failed());
        assert_eq!(self.server.writes(), Vec::<String>::new(), "nothing reached it");
        assert_eq!(self.told.snapshot.pods.size(), 1, "the last picture stays");
        self.is_patient(tried, since);
    }

    /// `tried` connections there were at `since`.
    fn is_patient(&self, tried: usize, since: Instant) {
        let (more, seconds) = (self.front.connections() - tried, since.elapsed().as_secs());
        // In the first moments each watch tries more often than later.
        assert!(more as u64 <= 20 * (seconds + 5), "{more} connections in {seconds} s");
    }

    /// The same process with the same client sees and acts again within so many seconds.
    async fn works_again(&mut self, seconds: u64) {
        let (tried, since) = (self.front.connections(), Instant::now());
        assert!(self.told.until(seconds, |told| told.recoveries == 1).await, "{:?}", self.told.source());
        self.is_patient(tried, since);
        self.server.put("pods", json!({ "metadata": { "name": "order-y", "namespace": "shop" } }));
        assert!(self.told.until(20, |told| told.snapshot.pods.size() == 2).await, "what happens is seen");
        assert_eq!(self.hands.kill_switch().await, Ok(KillSwitch::Off));
        assert!(self.ledger.create(&action("order-7f3k2-1")).await.is_ok(), "and written");
    }
}

/// For a minute, beside the other test that takes one: the client library reads the file again 60 s after the last time, by
/// the clock of the machine.
#[tokio::test]
async fn an_api_server_signed_by_another_authority_is_trusted_once_the_file_says_so_and_not_before() {
    let (before, after, file) = (Authority::new("before"), Authority::new("after"), file("replaced"));
    let mut connected = Connected::to(&before, &file).await;
    connected.refuses(after.sign(GOOD)).await;
    std::fs::write(&file, &after.pem).unwrap();
    connected.works_again(90).await;
    connected.front.show(before.sign(GOOD));
    assert!(connected.hands.kill_switch().await.is_err(), "who signed before is trusted no more");
}

#[tokio::test]
async fn an_expired_certificate_of_the_api_server_stops_everything_until_it_shows_another() {
    let (authority, file) = (Authority::new("same"), file("same"));
    let mut connected = Connected::to(&authority, &file).await;
    connected.refuses(authority.sign(EXPIRED)).await;
    connected.front.show(authority.sign(GOOD));
    connected.works_again(30).await;
}
