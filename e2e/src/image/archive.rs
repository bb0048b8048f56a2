//! The tar files of an image: the layer inside, and the archive around it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder,
    MediaType, Os, RootFsBuilder, Sha256Digest,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::{Content, ImageError, ImageSpec};

/// The layer's tar file. Times and owners are fixed, so that the same files give the same bytes.
pub(super) fn layer(files: &BTreeMap<String, (Content, u32)>) -> Result<Vec<u8>, ImageError> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut folders = BTreeSet::from(["tmp/".to_owned()]);
    for path in files.keys() {
        let mut at = String::new();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        for part in &parts[..parts.len() - 1] {
            at.push_str(part);
            at.push('/');
            folders.insert(at.clone());
        }
    }
    let failed = || ImageError::file("write the layer of", Path::new("the image"));
    for folder in folders {
        let mode = if folder == "tmp/" { 0o1777 } else { 0o755 };
        tar.append_data(&mut header(EntryType::Directory, mode, 0), &folder, &[][..]).map_err(failed())?;
    }
    for (path, (content, mode)) in files {
        let bytes = match content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Path(from) => fs::read(from).map_err(ImageError::file("read", from))?,
        };
        let mut header = header(EntryType::Regular, *mode, bytes.len());
        tar.append_data(&mut header, path.trim_start_matches('/'), &bytes[..]).map_err(failed())?;
    }
    tar.into_inner().map_err(failed())
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

/// Writes the archive, in the OCI layout with Docker's manifest beside it; returns the manifest's digest.
pub(super) fn write(
    spec: &ImageSpec,
    layer: &[u8],
    target: impl Write,
    path: &Path,
) -> Result<String, ImageError> {
    let described = |source| ImageError::Description { reference: spec.reference.clone(), source };
    let layer_digest = hex(layer);
    let env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let config = ConfigBuilder::default()
        .user(spec.user.clone())
        .entrypoint(spec.entrypoint.clone())
        .env(env)
        .labels(spec.labels.clone().into_iter().collect::<std::collections::HashMap<_, _>>())
        .working_dir("/")
        .build()
        .map_err(described)?;
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(vec![format!("sha256:{layer_digest}")])
        .build()
        .map_err(described)?;
    let configuration = ImageConfigurationBuilder::default()
        .architecture(Arch::default())
        .os(Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .history(Vec::new())
        .build()
        .map_err(described)?;
    let config_bytes = stable(&configuration);
    let config_digest = hex(&config_bytes);
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, config_bytes.len(), &config_digest).map_err(described)?)
        .layers(vec![descriptor(MediaType::ImageLayer, layer.len(), &layer_digest).map_err(described)?])
        .build()
        .map_err(described)?;
    let manifest_bytes = stable(&manifest);
    let manifest_digest = hex(&manifest_bytes);
    let mut entry =
        descriptor(MediaType::ImageManifest, manifest_bytes.len(), &manifest_digest).map_err(described)?;
    let tag = spec.reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    entry.set_annotations(Some(std::collections::HashMap::from([
        ("io.containerd.image.name".to_owned(), spec.reference.clone()),
        ("org.opencontainers.image.ref.name".to_owned(), tag.to_owned()),
    ])));
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![entry])
        .build()
        .map_err(described)?;
    let docker = json!([{
        "Config": blob(&config_digest),
        "RepoTags": [spec.reference],
        "Layers": [blob(&layer_digest)],
    }]);

    let mut tar = tar::Builder::new(target);
    let mut put = |name: &str, bytes: &[u8]| {
        tar.append_data(&mut header(EntryType::Regular, 0o644, bytes.len()), name, bytes)
            .map_err(ImageError::file("write", path))
    };
    put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    put("index.json", &stable(&index))?;
    put("manifest.json", &stable(&docker))?;
    put(&blob(&config_digest), &config_bytes)?;
    put(&blob(&manifest_digest), &manifest_bytes)?;
    put(&blob(&layer_digest), layer)?;
    let mut target = tar.into_inner().map_err(ImageError::file("write", path))?;
    target.flush().map_err(ImageError::file("write", path))?;
    Ok(format!("sha256:{manifest_digest}"))
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn descriptor(kind: MediaType, size: usize, digest: &str) -> Result<Descriptor, oci_spec::OciSpecError> {
    let digest: Sha256Digest = digest.parse()?;
    Ok(Descriptor::new(kind, size as u64, digest))
}

/// JSON with sorted keys: hash maps inside would otherwise change the digest from run to run.
fn stable<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    value.sort_all_objects();
    value.to_string().into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
