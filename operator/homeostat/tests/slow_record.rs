//! A disk that takes long for the audit record: decisions never wait for it, what waits for it is bounded and told, and what
//! found no room is on record as soon as the disk goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "how long this test waits for the record's thread at most")]

#[path = "../../cluster/tests/support/mod.rs"]
mod support;

use homeostat::audit::{Audit, Standing};
use homeostat::record::FileRecorder;
use homeostat_audit::disk::{Disk, FileSystem, Handle};
use homeostat_audit::store;
use homeostat_cluster::anchors::Anchors;
use homeostat_knowledge::records::Release;
use homeostat_knowledge::{Clock, Name, Uid};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support::Server;
use support::clock::Hand;
use support::logs::Logs;

/// What the disk does with a write now, and how many wait for it.
#[derive(Debug, Default)]
struct Door {
    shut: bool,
    waiting: usize,
}

/// The file system, whose writes last as long as the door is shut.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<(Mutex<Door>, Condvar)>);

impl Slow {
    fn shut(&self, shut: bool) {
        self.0.0.lock().unwrap().shut = shut;
        self.0.1.notify_all();
    }

    /// Waits until a write waits; half a minute at most.
    fn held(&self) -> bool {
        let door = self.0.0.lock().unwrap();
        let limit = Duration::from_secs(30);
        let (door, _) = self.0.1.wait_timeout_while(door, limit, |door| door.waiting == 0).unwrap();
        door.waiting > 0
    }

    fn pass(&self) {
        let mut door = self.0.0.lock().unwrap();
        door.waiting += 1;
        self.0.1.notify_all();
        let mut door = self.0.1.wait_while(door, |door| door.shut).unwrap();
        door.waiting -= 1;
    }
}

#[derive(Debug)]
struct Open(Slow, Box<dyn Handle>);

impl Handle for Open {
    fn write_at(&mut self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.pass();
        self.1.write_at(place, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.1.set_len(bytes)
    }
}

impl Disk for Slow {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        FileSystem.make_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(Open(self.clone(), FileSystem.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        Ok(Box::new(Open(self.clone(), FileSystem.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }
}

/// How often it was told that the record is slow.
fn told_slow(logs: &Logs) -> usize {
    logs.text().matches("audit record is slow").count()
}

fn release(number: usize) -> Release {
    Release {
        object: Name::from(format!("Node {number}")),
        uid: Uid::new("u"),
        by: Name::from("order-1"),
        audit_id: None,
    }
}

/// Everything that the record holds, line by line.
fn recorded(folder: &Path) -> Vec<String> {
    let chains = store::chains(folder).unwrap();
    chains.values().flat_map(|files| store::lines(files).map(Result::unwrap).collect::<Vec<_>>()).collect()
}

/// Waits until the record's thread has written all that it has; half a minute at most.
fn written(standing: &Standing) {
    let began = Instant::now();
    while standing.waiting() > 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "{standing:?}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn while_the_disk_is_slow_decisions_go_on_and_what_waits_is_bounded_and_told() {
    const QUEUE: u64 = 1_024;
    const MANY: u64 = 5_000;
    let logs = Logs::default();
    let taken = logs.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || taken.clone()).finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let (disk, clock, standing) = (Slow::default(), Arc::new(Hand::default()), Arc::new(Standing::default()));
    let folder = std::env::temp_dir().join(format!("homeostat-slow-record-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let audit = Audit::start_on(
        Arc::new(disk.clone()),
        folder.clone(),
        "test",
        Arc::new(FileRecorder::off()),
        Anchors::new(Server::new().client(), "homeostat-system"),
        Arc::clone(&clock) as Arc<dyn Clock>,
        Arc::clone(&standing),
    )
    .await;
    audit.let_go(&release(0));
    written(&standing);
    assert_eq!(recorded(&folder).iter().filter(|line| line.contains("HoldSeenGone")).count(), 1);

    // One write lasts. Whoever decides meanwhile is not held up: nothing opens the door before the last of them is through.
    disk.shut(true);
    audit.let_go(&release(1));
    assert!(disk.held(), "the thread writes");
    for number in 0..MANY {
        audit.let_go(&release(usize::try_from(number).unwrap()));
    }
    assert_eq!(
        (standing.waiting(), standing.lost()),
        (QUEUE + 1, MANY - QUEUE),
        "a bound, and what is beyond it"
    );
    assert_eq!(told_slow(&logs), 0, "a moment is no news");
    for second in 0..10 {
        clock.forward(1);
        audit.let_go(&release(2));
        assert_eq!(told_slow(&logs), usize::from(second >= 4), "told once, after five seconds");
    }
    let lost = standing.lost();
    assert_eq!(lost, MANY - QUEUE + 10);

    // The disk goes on: everything that waited is there, and how many are not.
    disk.shut(false);
    written(&standing);
    audit.let_go(&release(3));
    written(&standing);
    let lines = recorded(&folder);
    let kept = lines.iter().filter(|line| line.contains("HoldSeenGone")).count() as u64;
    assert_eq!(kept, 1 + 1 + QUEUE + 1);
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("RecordsLost")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("\"count\":{lost}")), "{told:?}");
    assert_eq!((standing.waiting(), standing.lost()), (0, lost));
    audit.close();
    std::fs::remove_dir_all(&folder).unwrap();
}
