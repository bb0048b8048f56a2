//! Reads addresses and sends messages. The only file here that does I/O.

use super::address::{self, Answer, Trouble};
use super::forms;
use super::lanes::{Errand, LaneKey, Lanes, News, Outcome, Tally};
use super::standing::{Looked, standings};
use super::told::Message;
use futures::stream::{FuturesUnordered, StreamExt};
use homeostat_cluster::status::RouteStandings;
use homeostat_cluster::validate::Route;
use homeostat_cluster::{Catalogue, Leadership};
use homeostat_knowledge::policy::SecretKey;
use homeostat_knowledge::{Clock, TenantName, Timestamp};
use homeostat_observe::sources::mounted;
use reqwest::Url;
use reqwest::header::RETRY_AFTER;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

/// Messages that may wait to be taken up.
const QUEUE: usize = 256;
/// A receiver has this long for one try.
const LIMIT: Duration = Duration::from_secs(5);
/// Tries that are under way when the process stops have this long.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked whether the addresses of all routes can be used.
const LOOK: Duration = Duration::from_secs(30);
/// Routes that are looked at.
const MOST_LOOKED: usize = 1_024;

/// Takes messages without waiting. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Messages {
    sender: mpsc::Sender<Arc<Message>>,
    tally: Arc<Tally>,
}

/// Where [`Messages`] are taken up.
#[derive(Debug)]
pub struct Inbox {
    receiver: mpsc::Receiver<Arc<Message>>,
    tally: Arc<Tally>,
}

/// Both sides.
pub fn messages() -> (Messages, Inbox) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let tally = Arc::<Tally>::default();
    (Messages { sender, tally: Arc::clone(&tally) }, Inbox { receiver, tally })
}

impl Messages {
    /// Has a message sent soon; one that finds no room is counted.
    pub fn tell(&self, message: Message) {
        if self.sender.try_send(Arc::new(message)).is_err() {
            self.tally.add(Outcome::Dropped);
        }
    }

    /// Messages since the start, by what became of them.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.tally.rows().map(|(outcome, count)| (outcome.name(), count)).collect()
    }
}

/// Where people of tenants are told.
pub trait Routes {
    /// Those of this tenant.
    fn of(&self, tenant: &TenantName) -> impl Future<Output = Vec<Route>> + Send;
    /// Those of every tenant.
    fn all(&self) -> impl Future<Output = Vec<(TenantName, Route)>> + Send;
}

impl Routes for Catalogue {
    async fn of(&self, tenant: &TenantName) -> Vec<Route> {
        self.routes(tenant).await
    }

    async fn all(&self) -> Vec<(TenantName, Route)> {
        self.all_routes().await
    }
}

/// Sends until `shutdown`. What comes in while this replica does not lead is left to the one that does. `routes` are asked
/// for each message, and each address is read anew for each try: what people change counts at once. How the routes stand
/// goes to `standing`, which says nothing of them while this replica does not lead.
pub async fn run(
    mut inbox: Inbox,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    leadership: Leadership,
    routes: impl Routes,
    standing: watch::Sender<RouteStandings>,
    shutdown: CancellationToken,
) {
    let client = client();
    let mut lanes = Lanes::new(Arc::clone(&inbox.tally));
    let mut under_way = FuturesUnordered::new();
    let mut looked = Vec::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        for errand in lanes.take(clock.now()) {
            under_way.push(carry(client.as_ref(), &folder, errand, clock.as_ref()));
        }
        let next = lanes.next().map(|due| pause(due, clock.now()));
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some((lane, answer)) = under_way.next() => {
                settle(&mut lanes, &lane, answer, clock.now());
                show(&standing, standings(&looked, &lanes));
            }
            Some(message) = inbox.receiver.recv() => {
                if leadership.leads() {
                    let routes = routes.of(&message.tenant).await;
                    lanes.accept(&message, &routes, clock.now());
                }
            }
            _ = looks.tick() => {
                if leadership.leads() {
                    looked = look(client.as_ref(), &folder, routes.all().await).await;
                } else {
                    looked.clear();
                    lanes.forget_last();
                }
                show(&standing, standings(&looked, &lanes));
            }
            () = tokio::time::sleep(next.unwrap_or(GRACE)), if next.is_some() => {}
        }
    }
    let rest = async {
        while let Some((lane, answer)) = under_way.next().await {
            settle(&mut lanes, &lane, answer, clock.now());
        }
    };
    let _late = tokio::time::timeout(GRACE, rest).await;
    let waiting = lanes.waiting();
    if waiting > 0 {
        tracing::warn!(waiting, "Messages were not sent before the process stopped");
    }
}

fn pause(due: Timestamp, now: Timestamp) -> Duration {
    let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
    // All tries under way: room comes with the first that ends. A floor, so that nothing spins.
    wait.clamp(Duration::from_millis(50), Duration::from_mins(1))
}

fn settle(lanes: &mut Lanes, lane: &LaneKey, answer: Answer, now: Timestamp) {
    let LaneKey { tenant, route } = lane;
    match lanes.done(lane, answer, now) {
        Some(News::Trouble(why)) => {
            tracing::warn!(%tenant, %route, %why, "People are not told by this route of the Tenant");
        }
        Some(News::Works) => tracing::info!(%tenant, %route, "People are told by this route again"),
        None => {}
    }
}

/// Whoever shows it is woken only by news.
fn show(standing: &watch::Sender<RouteStandings>, new: RouteStandings) {
    standing.send_if_modified(|old| {
        let news = *old != new;
        *old = new;
        news
    });
}

/// Which routes have an address that can be used. Nothing is sent.
async fn look(
    client: Option<&reqwest::Client>,
    folder: &Path,
    routes: Vec<(TenantName, Route)>,
) -> Vec<Looked> {
    let mut all = Vec::with_capacity(routes.len().min(MOST_LOOKED));
    for (tenant, route) in routes.into_iter().take(MOST_LOOKED) {
        let trouble = ready(client, folder, &route).await.err();
        all.push(Looked { tenant, route, trouble });
    }
    all
}

/// What a message is sent with, and where to.
async fn ready<'a>(
    client: Option<&'a reqwest::Client>,
    folder: &Path,
    route: &Route,
) -> Result<(&'a reqwest::Client, Url), Trouble> {
    let client = client.ok_or(Trouble::NoClient)?;
    let key = SecretKey { secret: route.secret.clone(), key: route.key.clone() };
    let text = mounted::text(folder, &key).await.map_err(|_| Trouble::NoKey)?;
    Ok((client, address::usable(&text).ok_or(Trouble::Address)?))
}

/// No redirects, no connections kept: an address may change with each try.
pub(super) fn client() -> Option<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .timeout(LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .http1_only()
        .user_agent("homeostat");
    builder.build().ok()
}

/// One try.
pub(super) async fn carry(
    client: Option<&reqwest::Client>,
    folder: &Path,
    errand: Errand,
    clock: &dyn Clock,
) -> (LaneKey, Answer) {
    let answer = attempt(client, folder, &errand, clock).await.unwrap_or_else(Answer::Unusable);
    (errand.lane, answer)
}

async fn attempt(
    client: Option<&reqwest::Client>,
    folder: &Path,
    errand: &Errand,
    clock: &dyn Clock,
) -> Result<Answer, Trouble> {
    let (client, url) = ready(client, folder, &errand.route).await?;
    let request = client
        .post(url)
        .header("Idempotency-Key", &errand.message.key)
        .json(&forms::body(&errand.route, &errand.message));
    // What the client's own parts would log names the receiver. The body of the answer is never read.
    match request.send().with_subscriber(Dispatch::none()).await {
        Ok(response) => {
            let wait = response.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok());
            Ok(address::judge(response.status().as_u16(), wait, clock.now()))
        }
        // The error itself is dropped: it would name the address.
        Err(error) => {
            let trouble = if error.is_timeout() { Trouble::Silent } else { Trouble::Unreachable };
            Ok(Answer::Later { trouble, wait: None })
        }
    }
}
