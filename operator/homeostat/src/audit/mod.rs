//! The audit record, wired: decisions come in by a bounded queue, a thread of its own writes them, and the newest
//! digest is told outside each minute when it changed. Nothing waits for it.

pub mod command;
mod keeper;
pub mod reconcile;

use homeostat_audit::disk::{Disk, FileSystem};
use homeostat_audit::{Anchor, Decision};
use homeostat_cluster::anchors::Anchors;
use homeostat_execute::{GuardInput, Recorder};
use homeostat_knowledge::records::Release;
use homeostat_knowledge::{ActionRecord, Clock, Incident, Name, Restraint, SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Decisions that may wait for the thread; more are counted as lost.
const QUEUE: usize = 1_024;
/// At most so long for the last writes of the program.
const CLOSING: Duration = Duration::from_secs(2);
/// A write that takes so long is told.
const SLOW: SignedDuration = SignedDuration::from_secs(5);

/// How the record stands, for those who hand it decisions and for metrics.
#[derive(Debug, Default)]
pub struct Standing {
    /// In the queue of the thread.
    queued: AtomicU64,
    /// Taken by the thread, and not on the disk yet.
    unwritten: AtomicU64,
    /// Found no room in the queue, since the start.
    missed: AtomicU64,
    /// Taken by the thread and found no room to wait for the disk, since the start.
    beyond: AtomicU64,
    /// Since when the thread waits for the disk.
    waits: Mutex<Option<Timestamp>>,
    /// That it waits for long was said.
    said: AtomicBool,
}

impl Standing {
    /// Decisions that are not on the disk yet.
    pub fn waiting(&self) -> u64 {
        // In this order: one that is taken in between counts twice, never not at all.
        self.queued.load(Ordering::SeqCst) + self.unwritten.load(Ordering::SeqCst)
    }

    /// Decisions that found no room to wait, since the start.
    pub fn lost(&self) -> u64 {
        self.missed.load(Ordering::Relaxed) + self.beyond.load(Ordering::Relaxed)
    }

    /// The thread begins to wait for the disk, or has what it waited for.
    fn waits(&self, since: Option<Timestamp>) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = since;
        if since.is_none() && self.said.swap(false, Ordering::Relaxed) {
            tracing::info!("The disk of the audit record has taken what it was slow with");
        }
    }

    /// Says once that the disk is slow: the thread itself cannot, it waits.
    fn watch(&self, now: Timestamp) {
        let since = *self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waited) = since.map(|since| now.duration_since(since)).filter(|waited| *waited >= SLOW)
        else {
            return;
        };
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                seconds = waited.as_secs(),
                waiting = self.waiting(),
                lost = self.lost(),
                "The disk of the audit record is slow: decisions wait for it and healing goes on; check the volume"
            );
        }
    }
}

/// What the thread is told.
enum Message {
    /// Record this.
    Decision(Box<Decision>),
    /// The anchor was told outside.
    Told(Box<Anchor>),
    /// Write what is open and end.
    Close,
}

/// Takes decisions. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    who: Arc<str>,
    inner: Arc<dyn Recorder>,
    /// The thread's queue, and the clock by which it is looked after; `None` when nothing is kept.
    sender: Option<(SyncSender<Message>, Arc<dyn Clock>)>,
    standing: Arc<Standing>,
    ended: Arc<Mutex<Option<std::sync::mpsc::Receiver<()>>>>,
}

impl Audit {
    /// Keeps nothing but what `inner` keeps.
    pub fn off(inner: Arc<dyn Recorder>) -> Self {
        Self { who: Arc::from(""), inner, sender: None, standing: Arc::default(), ended: Arc::default() }
    }

    /// Records into `folder` as `who`, and tells the head to `anchors` and how it stands to `standing`.
    pub async fn start(
        folder: PathBuf,
        who: &str,
        inner: Arc<dyn Recorder>,
        anchors: Anchors,
        clock: Arc<dyn Clock>,
        standing: Arc<Standing>,
    ) -> Self {
        Self::start_on(Arc::new(FileSystem), folder, who, inner, anchors, clock, standing).await
    }

    /// As [`Audit::start`], on this disk.
    pub async fn start_on(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        who: &str,
        inner: Arc<dyn Recorder>,
        anchors: Anchors,
        clock: Arc<dyn Clock>,
        standing: Arc<Standing>,
    ) -> Self {
        let told = match anchors.read().await {
            Ok(texts) => Some(known(&texts)),
            Err(error) => {
                tracing::warn!(%error, "The anchors of the audit record could not be read; a new chain begins, and those that are there are left as they are, unchecked");
                None
            }
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let (heads, to_tell) = mpsc::channel(1);
        let (ending, ended) = sync_channel(1);
        let keeper = keeper::Keeper {
            disk,
            folder,
            who: who.to_owned(),
            told,
            clock: Arc::clone(&clock),
            standing: Arc::clone(&standing),
            heads,
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        if let Err(error) = thread.spawn(move || {
            keeper.run(&receiver);
            // Whoever waits has given up when nobody takes it.
            let _ = ending.try_send(());
        }) {
            tracing::error!(%error, "The audit record has no thread; nothing is recorded");
        }
        tokio::spawn(tell(anchors, to_tell, sender.clone()));
        Self {
            who: Arc::from(who),
            inner,
            sender: Some((sender, clock)),
            standing,
            ended: Arc::new(Mutex::new(Some(ended))),
        }
    }

    /// Records what was made of an incident.
    pub fn planned(&self, incident: &Incident, text: &str) {
        if self.sender.is_some() {
            self.push(Decision::of_plan(incident, &self.who, text));
        }
    }

    /// Records that something is not held any more.
    pub fn let_go(&self, release: &Release) {
        if self.sender.is_some() {
            self.push(Decision::of_mark_gone(release, &self.who));
        }
    }

    fn push(&self, decision: Decision) {
        let Some((sender, clock)) = &self.sender else { return };
        let standing = &self.standing;
        // Counted first: the thread may take it before the next line.
        standing.queued.fetch_add(1, Ordering::SeqCst);
        if sender.try_send(Message::Decision(Box::new(decision))).is_err() {
            standing.queued.fetch_sub(1, Ordering::SeqCst);
            standing.missed.fetch_add(1, Ordering::Relaxed);
        }
        standing.watch(clock.now());
    }

    /// Writes what is open, within two seconds.
    pub fn close(&self) {
        let Some((sender, _)) = &self.sender else { return };
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if sender.try_send(Message::Close).is_ok()
            && let Some(ended) = ended
            && ended.recv_timeout(CLOSING).is_err()
        {
            tracing::warn!("The audit record could not be closed in time; its last decisions may be missing");
        }
    }
}

impl Recorder for Audit {
    fn record(&self, input: &GuardInput) {
        self.inner.record(input);
    }

    fn decided(&self, record: &ActionRecord) {
        self.inner.decided(record);
        if self.sender.is_some() {
            self.push(Decision::of_action(record, &self.who));
        }
    }

    fn acknowledged(&self, record: &ActionRecord, audit_id: &Name) {
        self.inner.acknowledged(record, audit_id);
        if self.sender.is_some() {
            self.push(Decision::of_effect(record, &self.who, audit_id));
        }
    }

    fn released(&self, release: &Release) {
        self.inner.released(release);
        if self.sender.is_some() {
            self.push(Decision::of_release(release, &self.who));
        }
    }

    fn restrained(&self, restraint: &Restraint) {
        self.inner.restrained(restraint);
        if self.sender.is_some() {
            self.push(Decision::of_restraint(restraint, &self.who));
        }
    }
}

/// Anchors by chain. One that cannot be read is left out, and said.
pub fn known(texts: &BTreeMap<String, String>) -> BTreeMap<String, Anchor> {
    let read = |(chain, text): (&String, &String)| match serde_json::from_str::<Anchor>(text) {
        Ok(anchor) if anchor.chain == *chain => Some((chain.clone(), anchor)),
        _ => {
            tracing::error!(chain, "An anchor of the audit record is none of ours");
            None
        }
    };
    texts.iter().filter_map(read).collect()
}

/// Tells each head outside: into the `ConfigMap`, and as a line of the log, which others may keep.
async fn tell(anchors: Anchors, mut heads: mpsc::Receiver<Anchor>, back: SyncSender<Message>) {
    while let Some(anchor) = heads.recv().await {
        let Ok(text) = serde_json::to_string(&anchor) else { continue };
        tracing::info!(chain = %anchor.chain, seq = anchor.seq, digest = %anchor.digest, pruned = anchor.pruned, "Audit anchor");
        match anchors.tell(&anchor.chain, &text).await {
            // A full queue: it is told again in a minute.
            Ok(()) => drop(back.try_send(Message::Told(Box::new(anchor)))),
            Err(error) => {
                tracing::warn!(%error, "The audit record could not be anchored; tried again in a minute");
            }
        }
    }
}
