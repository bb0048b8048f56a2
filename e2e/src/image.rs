//! Container images without Docker: one layer, a configuration and an index, in one tar file that
//! `ctr images import`, `docker load` and `kind load image-archive` accept.

mod archive;
mod elf;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

pub use elf::libraries;

/// The user that images run as unless they say otherwise.
pub const NON_ROOT: &str = "65532:65532";

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The attempted operation.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A path inside the image is not absolute or leaves it.
    #[error("`{0}` is not a path inside an image: it must start with / and have no ..")]
    Path(String),
    /// The libraries of a program are not known.
    #[error("cannot find the libraries of {}: {reason}", path.display())]
    Libraries {
        /// The program.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The image's description is not valid.
    #[error("the description of image {reference} is not valid: {source}")]
    Description {
        /// The image.
        reference: String,
        /// The cause.
        source: oci_spec::OciSpecError,
    },
}

impl ImageError {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}

/// Where a file's content comes from.
#[derive(Debug, Clone)]
pub enum Content {
    /// A file of this machine. Programs bring the shared libraries that they need.
    Path(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// One file of an image.
#[derive(Debug, Clone)]
pub struct ImageFile {
    /// Its absolute path inside the image.
    pub path: String,
    /// Its content.
    pub content: Content,
    /// Its permission bits.
    pub mode: u32,
}

/// What an image consists of.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// Its name with a tag.
    pub reference: String,
    /// Its files.
    pub files: Vec<ImageFile>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Numeric user and group.
    pub user: String,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Whether certificates of public authorities, a user table, name resolution and `/tmp` are added.
    pub base: bool,
}

impl ImageSpec {
    /// An image that runs one program of this machine as a user without rights, with what programs
    /// usually expect around them.
    pub fn program(reference: &str, program: &Path) -> Result<Self, ImageError> {
        let name = program.file_name().ok_or_else(|| ImageError::Path(program.display().to_string()))?;
        let path = format!("/{}", name.to_string_lossy());
        Ok(Self {
            reference: reference.to_owned(),
            files: vec![ImageFile {
                path: path.clone(),
                content: Content::Path(program.to_owned()),
                mode: 0o755,
            }],
            entrypoint: vec![path],
            user: NON_ROOT.to_owned(),
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            base: true,
        })
    }

    /// With one more file.
    #[must_use]
    pub fn with_file(mut self, path: &str, content: Content, mode: u32) -> Self {
        self.files.push(ImageFile { path: path.to_owned(), content, mode });
        self
    }
}

/// Writes the image to the tar file `target` and returns the digest of its manifest, `sha256:…`.
/// The same files give the same digest.
pub fn build(spec: &ImageSpec, target: &Path) -> Result<String, ImageError> {
    let layer = archive::layer(&complete(spec)?)?;
    let partial = target.with_extension("partial");
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(ImageError::file("create", parent))?;
    }
    let file = File::create(&partial).map_err(ImageError::file("create", &partial))?;
    let digest = archive::write(spec, &layer, BufWriter::new(file), &partial)?;
    fs::rename(&partial, target).map_err(ImageError::file("create", target))?;
    Ok(digest)
}

/// The files with the shared libraries of programs and, if wanted, the usual surroundings.
fn complete(spec: &ImageSpec) -> Result<BTreeMap<String, (Content, u32)>, ImageError> {
    let mut all = BTreeMap::new();
    if spec.base {
        let text = |text: &str| (Content::Bytes(text.as_bytes().to_vec()), 0o644);
        let users = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
        all.insert("/etc/passwd".to_owned(), text(users));
        all.insert("/etc/group".to_owned(), text("root:x:0:\nnonroot:x:65532:\n"));
        all.insert("/etc/nsswitch.conf".to_owned(), text("hosts: files dns\n"));
        let certificates = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
        if certificates.is_file() {
            all.insert(certificates.display().to_string(), (Content::Path(certificates), 0o644));
        }
    }
    for file in &spec.files {
        if let Content::Path(path) = &file.content {
            for library in libraries(path)? {
                let name = library.display().to_string();
                all.entry(name).or_insert((Content::Path(library), 0o755));
            }
        }
        all.insert(file.path.clone(), (file.content.clone(), file.mode));
    }
    match all.keys().find(|path| !path.starts_with('/') || path.split('/').any(|part| part == "..")) {
        Some(bad) => Err(ImageError::Path(bad.clone())),
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Read;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("homeostat-image-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn entries(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(File::open(path).unwrap());
        let mut all = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            all.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        all
    }

    #[test]
    fn the_same_files_give_the_same_image() {
        let dir = folder("same");
        let spec = ImageSpec::program("example.test/one:v1", &std::env::current_exe().unwrap()).unwrap();
        let first = build(&spec, &dir.join("a.tar")).unwrap();
        let second = build(&spec, &dir.join("b.tar")).unwrap();
        assert_eq!(first, second);
        assert!(first.starts_with("sha256:"));
        let other = spec.with_file("/etc/more", Content::Bytes(b"x".to_vec()), 0o644);
        assert_ne!(build(&other, &dir.join("c.tar")).unwrap(), first);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn an_image_of_a_dynamic_program_has_its_loader_and_runs_as_nobody_special() {
        let dir = folder("dynamic");
        let spec = ImageSpec::program("example.test/one:v1", Path::new("/bin/sh")).unwrap();
        build(&spec, &dir.join("a.tar")).unwrap();
        let outer = entries(&dir.join("a.tar"));
        let manifest: serde_json::Value = serde_json::from_slice(&outer["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example.test/one:v1");
        let config: serde_json::Value =
            serde_json::from_slice(&outer[manifest[0]["Config"].as_str().unwrap()]).unwrap();
        assert_eq!(config["config"]["User"], NON_ROOT);
        assert_eq!(config["config"]["Entrypoint"][0], "/sh");

        let layer = dir.join("layer.tar");
        fs::write(&layer, &outer[manifest[0]["Layers"][0].as_str().unwrap()]).unwrap();
        let names: BTreeSet<String> = entries(&layer).into_keys().collect();
        assert!(names.iter().any(|name| name.contains("ld-linux")), "{names:?}");
        assert!(names.iter().any(|name| name.contains("libc.so")), "{names:?}");
        assert!(names.contains("etc/passwd") && names.contains("tmp/") && names.contains("sh"), "{names:?}");
        fs::remove_dir_all(&dir).unwrap();
    }

    /// Where the second process of the next test builds its image.
    const TARGET: &str = "HOMEOSTAT_IMAGE_TARGET";
    const PLANTED: &str = "cAnArYvAlUe";

    #[test]
    fn secrets_around_the_program_are_in_no_image_of_it() {
        if let Some(target) = std::env::var_os(TARGET) {
            let spec = ImageSpec::program("example.test/one:v1", Path::new("program")).unwrap();
            build(&spec, Path::new(&target)).unwrap();
            return;
        }
        let (dir, out) = (folder("planted"), folder("planted-out"));
        let secrets =
            [".env", "program.key", "id_rsa", ".netrc", ".kube/config", ".docker/config.json", "tmp/token"];
        for name in secrets {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("password={PLANTED}")).unwrap();
        }
        fs::copy("/bin/sh", dir.join("program")).unwrap();
        // The tool as it is run: from the folder of the program, with secrets in its environment and beside the program.
        let itself = ["--exact", "image::tests::secrets_around_the_program_are_in_no_image_of_it"];
        let built = std::process::Command::new(std::env::current_exe().unwrap())
            .args(itself)
            .current_dir(&dir)
            .env(TARGET, out.join("a.tar"))
            .env("HOME", &dir)
            .env("REGISTRY_PASSWORD", PLANTED)
            .env("USER", PLANTED)
            .env("HOSTNAME", PLANTED)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stdout));

        let image = fs::read(out.join("a.tar")).unwrap();
        assert!(
            !image.windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes()),
            "no layer is compressed"
        );
        let outer = entries(&out.join("a.tar"));
        let manifest: serde_json::Value = serde_json::from_slice(&outer["manifest.json"]).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&outer[manifest[0]["Config"].as_str().unwrap()]).unwrap();
        for empty in ["Env", "Labels"] {
            let value = &config["config"][empty];
            let nothing =
                value.is_null() || value == &serde_json::json!([]) || value == &serde_json::json!({});
            assert!(nothing, "{empty}: {value}");
        }
        assert!(config["author"].is_null() && config["created"].is_null(), "{config}");
        // Nothing but what is meant to be inside.
        let layer = out.join("layer.tar");
        fs::write(&layer, &outer[manifest[0]["Layers"][0].as_str().unwrap()]).unwrap();
        let spec = ImageSpec::program("example.test/one:v1", &dir.join("program")).unwrap();
        let meant = complete(&spec).unwrap();
        let meant: BTreeSet<&str> = meant.keys().map(|path| path.trim_start_matches('/')).collect();
        let found = entries(&layer);
        let found: BTreeSet<&str> =
            found.keys().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
        assert_eq!(found, meant);
        let mut tar = tar::Archive::new(File::open(&layer).unwrap());
        for entry in tar.entries().unwrap() {
            let header = entry.unwrap().header().clone();
            let names =
                [header.username(), header.groupname()].map(|name| name.unwrap().unwrap_or_default().len());
            assert_eq!(
                (header.uid().unwrap(), header.mtime().unwrap(), names),
                (0, 0, [0, 0]),
                "of nobody here"
            );
        }
        fs::remove_dir_all(&dir).unwrap();
        fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_path_that_leaves_the_image_is_refused() {
        let mut spec = ImageSpec::program("example.test/one:v1", Path::new("/bin/sh")).unwrap();
        spec = spec.with_file("/etc/../../x", Content::Bytes(Vec::new()), 0o644);
        let dir = folder("bad");
        let error = build(&spec, &dir.join("a.tar")).unwrap_err();
        fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(error, ImageError::Path(path) if path == "/etc/../../x"));
    }
}
