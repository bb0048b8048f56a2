//! When the token that requests to the API server carry ends.
//!
//! The kubelet writes a service account's token anew when a fifth of its time is left, and the client reads the file again
//! each minute. Where either stops, everything is refused from one moment on: that is told before. Of the token only its end
//! is looked at; the token itself is neither kept nor told.

use homeostat_knowledge::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

/// Time between two looks at the file.
const EVERY: Duration = Duration::from_mins(1);
/// Bytes of the file that are read; a service account's token has about 1,200.
const MOST_BYTES: u64 = 16_384;

/// When the token ends, as far as it is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Arc<Mutex<Option<Timestamp>>>);

impl Credentials {
    /// Time until the token ends, negative afterwards; `None` without a token from a file, and where it does not say.
    pub fn left(&self, now: Timestamp) -> Option<SignedDuration> {
        let ends = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.map(|ends| ends.duration_since(now))
    }

    /// Looks at the file again and again, until `stop`.
    pub async fn follow(self, file: Option<PathBuf>, stop: CancellationToken) {
        let Some(file) = file else { return stop.cancelled().await };
        loop {
            self.look(&file).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// A file that cannot be read changes nothing: the client goes on with the token that it read last.
    async fn look(&self, file: &Path) {
        let Ok(ends) = read(file).await else { return };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }
}

/// When the token in this file ends, if it says.
async fn read(file: &Path) -> std::io::Result<Option<Timestamp>> {
    let mut token = String::new();
    let opened = tokio::fs::File::open(file).await?;
    opened.take(MOST_BYTES).read_to_string(&mut token).await?;
    Ok(expiry(&token))
}

/// The end of a JSON Web Token by its own word (`exp`: RFC 7519, section 4.1.4). Whether the token is good is for the API
/// server to say.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = token.trim().split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&decoded(claims)?).ok()?;
    Timestamp::from_second(claims.exp as i64).ok()
}

/// The bytes of a part of a token: base64url without padding (RFC 4648, section 5).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ";

    /// A token whose claims are these, encoded.
    fn token(claims: &str) -> String {
        format!("{HEAD}.{claims}.c2lnbmF0dXJl")
    }

    /// `{"aud":["https://kubernetes.default.svc"],"exp":1800000600,"iat":1799996993,"sub":"system:serviceaccount:…"}`
    const HOURLY: &str = "eyJhdWQiOlsiaHR0cHM6Ly9rdWJlcm5ldGVzLmRlZmF1bHQuc3ZjIl0sImV4cCI6MTgwMDAwMDYwMCwiaWF0Ij\
                          oxNzk5OTk2OTkzLCJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6aG9tZW9zdGF0LXN5c3RlbTpob21lb3N0YXQifQ";
    /// `{"exp":1800000600.5,"sub":"¿ÿ?>~~"}`
    const ODD: &str = "eyJleHAiOjE4MDAwMDA2MDAuNSwic3ViIjoiwr_Dvz8-fn4ifQ";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_says_when_it_ends_and_what_is_no_such_token_says_nothing() {
        for claims in [HOURLY, ODD] {
            assert_eq!(expiry(&token(claims)), Some(at(1_800_000_600)), "{claims}");
        }
        assert_eq!(expiry(&(token(HOURLY) + "\n")), Some(at(1_800_000_600)), "a last line");
        for other in [
            // Without `exp`, with one that is no number, and with one that is no time.
            token("eyJzdWIiOiJ4In0"),
            token("eyJleHAiOiJzb29uIn0"),
            token("eyJleHAiOjFlKzMwMH0"),
            token("not base64"),
            token(""),
            "opaque".to_owned(),
            String::new(),
        ] {
            assert_eq!(expiry(&other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn the_file_is_read_again_and_while_it_cannot_be_the_last_answer_counts() {
        let folder = std::env::temp_dir().join(format!("homeostat-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("token");
        let known = Credentials::default();
        let shown = known.clone();
        let now = at(1_800_000_000);
        known.look(&file).await;
        assert_eq!(shown.left(now), None, "there is none yet");
        std::fs::write(&file, token(HOURLY)).unwrap();
        known.look(&file).await;
        assert_eq!(shown.left(now), Some(SignedDuration::from_mins(10)));
        assert_eq!(shown.left(at(1_800_000_660)), Some(SignedDuration::from_mins(-1)), "it is over");
        assert!(!format!("{shown:?}").contains(HOURLY), "the token itself is nowhere");
        std::fs::remove_file(&file).unwrap();
        known.look(&file).await;
        assert_eq!(shown.left(now), Some(SignedDuration::from_mins(10)), "it is still what requests carry");
        std::fs::write(&file, "opaque").unwrap();
        known.look(&file).await;
        assert_eq!(shown.left(now), None, "another one that does not say");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn without_a_file_there_is_nothing_to_follow_and_no_end_before_the_process_stops() {
        let stop = CancellationToken::new();
        let known = Credentials::default();
        let follows = tokio::spawn(known.clone().follow(None, stop.clone()));
        tokio::task::yield_now().await;
        assert!(!follows.is_finished(), "a part that ends ends the process");
        assert_eq!(known.left(at(1_800_000_000)), None);
        stop.cancel();
        follows.await.unwrap();
    }
}
