//! The SQLite file of one service.
//!
//! Opened after the service listens; requests that come earlier wait for it. One connection
//! writes and one reads, so that reads go on while a write waits for a lock (two pods share the
//! file during a surge). A write is answered after its commit: with the write-ahead log it then
//! survives the death of the process; only a crash of the machine can lose the last moments.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::SetOnce;

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_millis(300);
/// How long a request waits for the connection, or for the file to be opened at start.
const WAIT: Duration = Duration::from_millis(500);
/// How long a readiness probe waits; its own limit is 1 s.
const PROBED: Duration = Duration::from_millis(800);
/// Pages in the log before it is copied into the file (16 MiB). Each copy waits for the disk while
/// writes queue behind it, so it is done every few seconds rather than every second.
const CHECKPOINT_PAGES: u32 = 4000;
/// How often old rows are deleted, and how many at once: 250 a second, above the growth of a
/// busy service and far below what would hold up its writes.
const PRUNE_EVERY: Duration = Duration::from_secs(2);
const PRUNE_ROWS: i64 = 500;

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not open yet, or another process holds the lock.
    #[error("the store is busy or not open yet; try again")]
    Unavailable,
    /// SQLite refused.
    #[error("the store failed: {0}")]
    Failed(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Unavailable,
            // 5 is SQLITE_BUSY, 6 SQLITE_LOCKED; the extended codes carry them in the low byte.
            sqlx::Error::Database(inner)
                if inner
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .is_some_and(|code| matches!(code & 0xff, 5 | 6)) =>
            {
                Self::Unavailable
            }
            _ => Self::Failed(error),
        }
    }
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}: {source}; the folder must exist and be writable by this user")]
pub struct OpenError {
    path: PathBuf,
    source: sqlx::Error,
}

/// What a service keeps.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Statements that create what is missing.
    pub create: &'static str,
    /// Statement that deletes rows beyond `?1`, at most `?2` of them.
    pub prune: &'static str,
}

struct Pools {
    writer: SqlitePool,
    reader: SqlitePool,
}

/// The store of one service, open or about to be.
#[derive(Default)]
pub struct Store {
    pools: SetOnce<Pools>,
}

impl Store {
    /// Opens the file and creates what is missing.
    pub async fn open(&self, path: PathBuf, schema: Schema) -> Result<(), OpenError> {
        let pools = open(&path, schema).await.map_err(|source| OpenError { path, source })?;
        // Opened once per process; a second call would change nothing.
        let _ = self.pools.set(pools);
        Ok(())
    }

    /// The connection that writes.
    pub async fn writer(&self) -> Result<&SqlitePool, StoreError> {
        Ok(&self.pools().await?.writer)
    }

    /// The connection that reads.
    pub async fn reader(&self) -> Result<&SqlitePool, StoreError> {
        Ok(&self.pools().await?.reader)
    }

    /// Whether the file answers. At start it waits for the file to be opened: a probe that is told "not yet" comes
    /// again only after its period.
    pub async fn answers(&self) -> bool {
        let asked =
            async { sqlx::query("SELECT 1").execute(self.reader().await?).await.map_err(StoreError::from) };
        matches!(tokio::time::timeout(PROBED, asked).await, Ok(Ok(_)))
    }

    /// Deletes the oldest rows beyond `keep`, a few at a time, forever.
    pub async fn prune(&self, schema: Schema, keep: i64) {
        loop {
            tokio::time::sleep(PRUNE_EVERY).await;
            let Ok(writer) = self.writer().await else { continue };
            let pruned = sqlx::query(schema.prune).bind(keep).bind(PRUNE_ROWS).execute(writer).await;
            if let Err(error) = pruned {
                tracing::warn!(error = %error, "old rows were not deleted; tried again soon");
            }
        }
    }

    /// Closes the file, bounded in time.
    pub async fn close(&self) {
        if let Some(pools) = self.pools.get() {
            let _ = tokio::time::timeout(WAIT, async {
                pools.reader.close().await;
                pools.writer.close().await;
            })
            .await;
        }
    }

    async fn pools(&self) -> Result<&Pools, StoreError> {
        if let Some(pools) = self.pools.get() {
            return Ok(pools);
        }
        tokio::time::timeout(WAIT, self.pools.wait()).await.map_err(|_| StoreError::Unavailable)
    }
}

async fn open(path: &PathBuf, schema: Schema) -> Result<Pools, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY)
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .disable_statement_logging();
    let pool = || {
        SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .acquire_timeout(WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    let writer = pool().connect_with(options.clone()).await?;
    sqlx::raw_sql(schema.create).execute(&writer).await?;
    let reader = pool().connect_with(options).await?;
    Ok(Pools { writer, reader })
}

/// The row of a write with RETURNING that was run to its end. SQLite commits at the end, so a
/// caller that stopped at the row (`fetch_one`) could answer before the commit.
pub fn returned<T>(mut rows: Vec<T>) -> Result<T, StoreError> {
    rows.pop().ok_or(StoreError::Failed(sqlx::Error::RowNotFound))
}

/// Microseconds since 1970, for rows.
pub fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as i64
}
