//! Keys of Secrets that are mounted into the pod: one folder per Secret, one file per key. Homeostat may read no Secret of the
//! API server.

use super::prometheus::QueryError;
use homeostat_knowledge::policy::SecretKey;
use http::HeaderValue;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// Bytes of a key.
const MOST_BYTES: u64 = 16_384;

/// Why the text of a key cannot be had. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No such file, or its name is none.
    #[error("is not there")]
    Missing,
    /// More than 16 KiB.
    #[error("is longer than 16 KiB")]
    Long,
    /// Not UTF-8.
    #[error("is no text")]
    NoText,
}

/// The file of a key; `None` for what is no name, which could lead elsewhere. A kubelet's own files begin with two dots.
pub fn file(folder: &Path, secret: &str, key: &str) -> Option<PathBuf> {
    let name = |text: &str| {
        (1..=253).contains(&text.len())
            && text != "."
            && !text.starts_with("..")
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    (name(secret) && name(key)).then(|| folder.join(secret).join(key))
}

/// The text of a key, of at most 16 KiB. It is read anew each time, as keys change.
///
/// # Errors
/// [`Unusable`].
pub async fn text(folder: &Path, from: &SecretKey) -> Result<String, Unusable> {
    let path = file(folder, &from.secret, &from.key).ok_or(Unusable::Missing)?;
    let opened = tokio::fs::File::open(path).await.map_err(|_| Unusable::Missing)?;
    let mut bytes = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut bytes).await.map_err(|_| Unusable::Missing)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Unusable::Long);
    }
    String::from_utf8(bytes).map_err(|_| Unusable::NoText)
}

/// The value of an `Authorization` header with the token of this key (RFC 6750, section 2.1). It is in no error and no log
/// line.
///
/// # Errors
/// [`QueryError::Failed`] that says which key cannot be used, and what to change.
pub async fn bearer(folder: &Path, from: &SecretKey) -> Result<HeaderValue, QueryError> {
    let failed = |why: &str| {
        QueryError::Failed(format!(
            "the token of ControlPlane.spec.sources.prometheus cannot be used: key {} of Secret {} {why}",
            from.key, from.secret
        ))
    };
    let text = text(folder, from).await.map_err(|why| match why {
        Unusable::Missing => failed(
            "is not there; list the Secret in prometheus.secrets of the chart, and see that it has the key",
        ),
        Unusable::Long | Unusable::NoText => failed(&why.to_string()),
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(failed("is empty"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| failed("holds characters that no header may have"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::Name;

    /// A folder of this test's own.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("homeostat-mounted-{name}-{}", std::process::id()));
            std::fs::create_dir_all(folder.join("thanos")).unwrap();
            Self(folder)
        }

        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    fn from(key: &str) -> SecretKey {
        SecretKey { secret: Name::from("thanos"), key: Name::from(key) }
    }

    #[tokio::test]
    async fn a_token_is_read_anew_and_never_shown() {
        let folder = Folder::new("token");
        let write = |text: &str| std::fs::write(folder.path().join("thanos/token"), text).unwrap();
        let error = bearer(folder.path(), &from("token")).await.unwrap_err().to_string();
        assert!(
            error.contains("key token of Secret thanos is not there") && error.contains("prometheus.secrets")
        );
        for token in ["first", "second\n"] {
            write(token);
            let header = bearer(folder.path(), &from("token")).await.unwrap();
            assert_eq!(header.to_str().unwrap(), format!("Bearer {}", token.trim()));
            assert!(!format!("{header:?}").contains(token.trim()));
        }
        for (text, why) in
            [(" \n", "is empty"), ("pass\u{7}word", "characters"), (&*"x".repeat(16_385), "longer")]
        {
            write(text);
            let error = bearer(folder.path(), &from("token")).await.unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("password"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_key_cannot_lead_elsewhere() {
        let folder = Folder::new("elsewhere");
        std::fs::write(folder.path().join("thanos/..data"), "token").unwrap();
        for key in ["..data", "../../etc/passwd", "a/b", ""] {
            assert!(bearer(folder.path(), &from(key)).await.is_err(), "{key}");
        }
    }
}
