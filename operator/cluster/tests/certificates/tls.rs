//! The scripted API server on a port, behind a certificate that can be replaced, and who signs such certificates.

use crate::support::Server;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Config;
use kube::client::Body;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io::Error as IoError;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Who signs the certificate of an API server.
pub struct Authority {
    /// As it stands in a file.
    pub pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        Self { pem: own.pem(), der: own.der().to_vec(), issuer: Issuer::new(params, key) }
    }

    /// What shows a new certificate that is good until this year begins. Without sessions of an earlier one: each
    /// connection is checked anew.
    pub fn sign(&self, until: i32) -> TlsAcceptor {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            );
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// What is shown now, and the end of the connections that saw it.
type Shown = Arc<Mutex<(TlsAcceptor, CancellationToken)>>;

/// The port.
pub struct Front {
    address: SocketAddr,
    shown: Shown,
    connections: Arc<AtomicUsize>,
}

impl Front {
    pub async fn start(server: &Server, first: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown: Shown = Arc::new(Mutex::new((first, CancellationToken::new())));
        let connections = Arc::new(AtomicUsize::new(0));
        let (server, now, count) = (server.clone(), Arc::clone(&shown), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, replaced) = now.lock().unwrap().clone();
                let server = server.clone();
                tokio::spawn(async move {
                    let serve = async move {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let service = service_fn(move |request| answer(server.clone(), request));
                        // However it ends: the client comes again.
                        let _over =
                            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                    };
                    tokio::select! {
                        biased;
                        () = replaced.cancelled() => {}
                        () = serve => {}
                    }
                });
            }
        });
        Self { address, shown, connections }
    }

    /// Shows another certificate from now on; every connection ends, as when the API server begins anew with it.
    pub fn show(&self, next: TlsAcceptor) {
        let mut shown = self.shown.lock().unwrap();
        let (_, before) = std::mem::replace(&mut *shown, (next, CancellationToken::new()));
        before.cancel();
    }

    /// Connections that were tried so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What the client library finds in a pod: whom to trust, and the file where it stands.
    pub fn config(&self, authority: &Authority, file: &Path) -> Config {
        let mut config = Config::new(format!("https://{}", self.address).parse().unwrap());
        config.root_cert = Some(vec![authority.der.clone()]);
        config.root_cert_file = Some(file.to_owned());
        config
    }
}

async fn answer(
    server: Server,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, IoError>>, IoError> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(IoError::other)?.to_bytes();
    server.handle(Request::from_parts(head, Body::from(bytes))).await
}
