//! Certificates: two authorities, the servers, one client per component, the service account key.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::error::ClusterError;
use super::layout::{DOMAIN, KUBERNETES_SERVICE_IP, Layout, NODE_IP};

/// A component's name for the API server and the groups that give it its rights.
#[derive(Debug, Clone, Copy)]
pub struct ClientIdentity {
    /// File name of certificate, key and kubeconfig.
    pub file: &'static str,
    /// User, or nothing for the node, whose name depends on the cluster's.
    pub user: Option<&'static str>,
    /// Group.
    pub group: Option<&'static str>,
}

/// Everything that talks to the API server with a certificate.
pub const CLIENTS: &[ClientIdentity] = &[
    ClientIdentity { file: "admin", user: Some("homeostat-e2e-admin"), group: Some("system:masters") },
    ClientIdentity { file: "controller-manager", user: Some("system:kube-controller-manager"), group: None },
    ClientIdentity { file: "scheduler", user: Some("system:kube-scheduler"), group: None },
    ClientIdentity { file: "proxy", user: Some("system:kube-proxy"), group: None },
    ClientIdentity { file: "coredns", user: Some("system:coredns"), group: None },
    ClientIdentity { file: "metrics-server", user: Some("system:metrics-server"), group: None },
    ClientIdentity { file: "kubelet", user: None, group: Some("system:nodes") },
    ClientIdentity { file: "apiserver-kubelet", user: Some("kube-apiserver"), group: Some("system:masters") },
];

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Makes every certificate of the cluster in [`Layout::pki`].
pub fn create(layout: &Layout) -> Result<(), ClusterError> {
    let dir = layout.pki();
    let authority = Authority::new(&dir, "ca")?;
    let front = Authority::new(&dir, "front-proxy-ca")?;

    let service = format!("kubernetes.default.svc.{DOMAIN}");
    let api_names = [
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        NODE_IP.to_string(),
        KUBERNETES_SERVICE_IP.to_string(),
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        service,
    ];
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    authority.sign(&dir, "apiserver", "kube-apiserver", None, &api_names, server.clone())?;
    let node_names = [layout.node_name(), NODE_IP.to_string(), "127.0.0.1".to_owned()];
    authority.sign(&dir, "kubelet-server", &layout.node_name(), None, &node_names, server)?;
    let node_user = format!("system:node:{}", layout.node_name());
    for identity in CLIENTS {
        let user = identity.user.unwrap_or(&node_user);
        authority.sign(&dir, identity.file, user, identity.group, &[], client.clone())?;
    }
    front.sign(&dir, "front-proxy-client", "front-proxy-client", None, &[], client)?;

    let key = KeyPair::generate().map_err(failed("service accounts"))?;
    store(&dir.join("service-account.key"), &key.serialize_pem())?;
    store(&dir.join("service-account.pub"), &key.public_key_pem())
}

impl Authority {
    fn new(dir: &Path, name: &'static str) -> Result<Self, ClusterError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("homeostat-e2e {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed(name))?;
        let certificate = params.self_signed(&key).map_err(failed(name))?;
        store(&dir.join(format!("{name}.crt")), &certificate.pem())?;
        store(&dir.join(format!("{name}.key")), &key.serialize_pem())?;
        Ok(Self { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    fn sign(
        &self,
        dir: &Path,
        file: &str,
        user: &str,
        group: Option<&str>,
        names: &[String],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(), ClusterError> {
        let mut params = CertificateParams::new(names).map_err(failed(user))?;
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed(user))?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed(user))?;
        store(&dir.join(format!("{file}.crt")), &format!("{}{}", certificate.pem(), self.pem))?;
        store(&dir.join(format!("{file}.key")), &key.serialize_pem())
    }
}

fn failed(subject: &str) -> impl FnOnce(rcgen::Error) -> ClusterError {
    let subject = subject.to_owned();
    move |source| ClusterError::Certificate { subject, source }
}

fn store(path: &Path, text: &str) -> Result<(), ClusterError> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).map_err(ClusterError::file("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(ClusterError::file("protect", path))
}
