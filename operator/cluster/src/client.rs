//! The one place where a client is made, and the limit on every call.

use crate::error::{ClusterError, chain};
use crate::requests::{Counted, RequestCounts};
use homeostat_knowledge::Name;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tower::util::MapResponseLayer;

/// Server-side apply, patches and Events carry this name.
pub const FIELD_MANAGER: &str = "homeostat";

/// How requests name the program.
const USER_AGENT: &str = concat!("homeostat/", env!("CARGO_PKG_VERSION"));

/// Longest time that one call may take. Longer than a slow admission chain, shorter than evidence stays fresh.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// How to reach the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Kubeconfig file; `None` means the service account inside a cluster, else the usual places.
    pub kubeconfig: Option<PathBuf>,
    /// Context within the kubeconfig; `None` means its current one.
    pub context: Option<String>,
}

/// A client for the API server.
///
/// The client's own retries are switched off: it would send an eviction again and again while a
/// `PodDisruptionBudget` refuses it (429), where we must tell and stop. Who may repeat what is decided
/// per call, from [`ClusterError::category`].
pub async fn connect(options: &ConnectOptions) -> Result<Client, ClusterError> {
    Ok(connect_counting(options, &Arc::default()).await?.0)
}

/// As [`connect`]; each request is counted. With the client comes the file that the token of its requests is read from, if
/// there is one.
///
/// # Errors
/// As for [`connect`].
pub async fn connect_counting(
    options: &ConnectOptions,
    counts: &Arc<RequestCounts>,
) -> Result<(Client, Option<PathBuf>), ClusterError> {
    let invalid = |message: String| ClusterError::NoCluster { message };
    let kube_options = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = match (&options.kubeconfig, &options.context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path)
                .map_err(|why| invalid(format!("{}: {}", path.display(), chain(&why))))?;
            Config::from_custom_kubeconfig(file, &kube_options).await.map_err(|why| invalid(chain(&why)))?
        }
        (None, Some(_)) => {
            Config::from_kubeconfig(&kube_options).await.map_err(|why| invalid(chain(&why)))?
        }
        (None, None) => Config::infer().await.map_err(|why| invalid(chain(&why)))?,
    };
    client_of(config, counts)
}

/// The client for this configuration, with everything that [`connect_counting`] says of it.
///
/// Whose certificates are trusted is a file in a pod, as the token is (`Config::root_cert_file`). The client library reads
/// it again each minute, when the next connection is made, and goes on with what it read last while it cannot: where
/// another authority signs the certificate of the API server, no restart is needed.
///
/// # Errors
/// As for [`connect`].
pub fn client_of(
    mut config: Config,
    counts: &Arc<RequestCounts>,
) -> Result<(Client, Option<PathBuf>), ClusterError> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(3));
    // So that the audit log of the API server tells our requests from others of the same account.
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    let token = token_file(&config);
    let builder = ClientBuilder::try_from(config)
        .map_err(|why| ClusterError::NoCluster { message: chain(&why) })?
        .with_layer(&MapResponseLayer::new(crate::audit_id::note));
    Ok((builder.with_layer(&Counted(Arc::clone(counts))).build(), token))
}

/// The file of the token, where none that is given itself takes its place.
fn token_file(config: &Config) -> Option<PathBuf> {
    let auth = &config.auth_info;
    auth.token_file.as_ref().filter(|_| auth.token.is_none()).map(PathBuf::from)
}

/// Runs one call within [`CALL_LIMIT`] and sorts its error.
pub(crate) async fn call<T>(
    verb: &'static str,
    object: &Name,
    work: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL_LIMIT, work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ClusterError::from_kube(verb, object, &error)),
        Err(_) => Err(ClusterError::timeout(verb, object, CALL_LIMIT)),
    }
}

/// [`call`] for what is read before an effect: whatever goes wrong, nothing was changed.
pub(crate) async fn look<T>(
    object: &Name,
    work: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    call("read", object, work).await.map_err(ClusterError::before_the_effect)
}

/// `Kind namespace/name` for messages.
pub(crate) fn label(kind: &str, key: &homeostat_knowledge::ObjectKey) -> Name {
    Name::from(format!("{kind} {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_a_file_only_where_none_is_given_itself() {
        let mut config = Config::new(http::Uri::from_static("https://api.example"));
        assert_eq!(token_file(&config), None, "a certificate, or nothing");
        config.auth_info.token_file = Some("/run/token".to_owned());
        assert_eq!(token_file(&config), Some(PathBuf::from("/run/token")));
        config.auth_info.token = Some("abc".to_owned().into());
        assert_eq!(token_file(&config), None);
    }
}
