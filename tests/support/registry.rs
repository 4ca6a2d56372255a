//! A real registry: Debian's docker-registry, on loopback, with a log of who asked it for what.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::eventually::eventually_in_turn;
use super::fixtures::fixture;

/// The user whom a registry knows that asks for a password.
pub const USER: &str = "stowd";

/// Their password.
pub const PASSWORD: &str = "correct-horse-battery";

/// base64 of both with a colon between, as credentials are kept and sent.
pub const AUTH: &str = "c3Rvd2Q6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";

/// The line that `htpasswd -B` writes for the two, at the lowest cost: each request pays for it.
const HTPASSWD: &str = "stowd:$2b$04$CJRlQU3FVTFgE20CrJMmben05adAePOf86JWB1GUalNIyVuYZhwmG\n";

/// How long it may take to listen.
const SOON: Duration = Duration::from_secs(30);

/// A running registry with its own storage. Dropped, it is killed by its pid, and what it
/// was asked for is printed if the test failed.
pub struct Registry {
    dir: tempfile::TempDir,
    address: String,
    asks: bool,
    child: Child,
}

/// What a registry was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `HEAD`.
    pub method: String,
    /// `/v2/core/umoci/manifests/1.35`, with the query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
}

impl Registry {
    /// An empty one that serves everybody, on a free port.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0", false)
    }

    /// An empty one that serves only [`USER`] with [`PASSWORD`].
    pub fn start_with_password() -> Self {
        Self::start_at("127.0.0.1:0", true)
    }

    /// An empty one that serves everybody at this address, which must be free.
    pub fn start_on(address: &str) -> Self {
        Self::start_at(address, false)
    }

    fn start_at(address: &str, asks: bool) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("stowd-registry-")
            .tempdir_in("/var/tmp")
            .expect("a directory in /var/tmp");
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("htpasswd");
        let child = spawn(dir.path(), address, asks);
        let mut registry = Self {
            dir,
            address: address.to_owned(),
            asks,
            child,
        };
        registry.address = registry.wait();
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Pushes an image of a fixture, an OCI layout that is not compressed, to `name` (`core/umoci:1`),
    /// byte for byte: the digest of its manifest or index.
    pub fn push(&self, file: &str, image: &str, name: &str) -> String {
        let archive = fixture(file).path;
        let digest = self.dir.path().join("digest");
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "--quiet", "--all"])
            .args(["--preserve-digests", "--dest-tls-verify=false"])
            .arg("--digestfile")
            .arg(&digest)
            .arg(format!("oci-archive:{}:{image}", archive.display()))
            .arg(format!("docker://{}/{name}", self.address))
            // It unpacks the archive there.
            .env("TMPDIR", self.dir.path())
            .stdin(Stdio::null());
        if self.asks {
            skopeo.args(["--dest-creds", &format!("{USER}:{PASSWORD}")]);
        }
        let output = skopeo.output().expect("skopeo runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skopeo: {file}: {complaint}");
        std::fs::read_to_string(digest).expect("the digest")
    }

    /// Gives an image that it has another tag, without being asked over the wire: for many of them.
    pub fn tag(&self, repository: &str, from: &str, to: &str) {
        let tags = self.tags(repository);
        let link = std::fs::read_to_string(tags.join(from).join("current/link"));
        let digest = link.expect("the tag was pushed");
        let hex = digest.trim_start_matches("sha256:");
        for dir in ["current".to_owned(), format!("index/sha256/{hex}")] {
            let dir = tags.join(to).join(dir);
            std::fs::create_dir_all(&dir).expect("a directory");
            std::fs::write(dir.join("link"), &digest).expect("a link");
        }
    }

    fn tags(&self, repository: &str) -> PathBuf {
        let repositories = self.dir.path().join("data/docker/registry/v2/repositories");
        repositories.join(repository).join("_manifests/tags")
    }

    /// What it was asked for so far, by all but those who fill it.
    pub fn asked(&self) -> Vec<Asked> {
        let log = self.log();
        let lines = log.lines().filter(|line| !line.contains("\"skopeo/"));
        lines.filter_map(asked).collect()
    }

    /// How often it was asked for a manifest of a repository (`core/umoci`): 0 where nothing was pulled.
    pub fn manifests_asked(&self, repository: &str) -> usize {
        let path = format!("/v2/{repository}/manifests/");
        let asked = self.asked();
        asked.iter().filter(|a| a.path.starts_with(&path)).count()
    }

    /// How often it was asked for any manifest.
    pub fn all_manifests_asked(&self) -> usize {
        let asked = self.asked();
        let manifests = asked.iter().filter(|a| a.path.contains("/manifests/"));
        manifests.count()
    }

    /// Kills it and waits for its end: its port refuses from now on.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same address, with what it has.
    pub fn restart(&mut self) {
        self.kill();
        let _ = std::fs::rename(self.log_file(), self.dir.path().join("log.old"));
        self.child = spawn(self.dir.path(), &self.address, self.asks);
        self.wait();
    }

    /// All that it has logged since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Waits until it listens: where.
    fn wait(&mut self) -> String {
        let log = self.log_file();
        let child = &mut self.child;
        eventually_in_turn(SOON, "docker-registry listens", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some((_, rest)) = text.split_once("msg=\"listening on ") {
                let (address, _) = rest.split_once('"').ok_or("half a line")?;
                return Ok(address.to_owned());
            }
            if let Ok(Some(status)) = child.try_wait() {
                panic!("docker-registry has ended with {status}: {text}");
            }
            Err(text)
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- asked of the registry at {} ---", self.address);
            for Asked {
                method,
                path,
                status,
            } in self.asked()
            {
                eprintln!("{method} {path}: {status}");
            }
            eprintln!("--- end ---");
        }
    }
}

fn spawn(dir: &Path, address: &str, asks: bool) -> Child {
    let d = dir.display();
    let auth = format!("auth:\n  htpasswd:\n    realm: stowd\n    path: {d}/htpasswd\n");
    let auth = if asks { auth } else { String::new() };
    let config = format!(
        "version: 0.1\nlog:\n  accesslog:\n    disabled: false\n\
         storage:\n  filesystem:\n    rootdirectory: {d}/data\n\
         http:\n  addr: {address}\n  secret: stowd\n{auth}"
    );
    std::fs::write(dir.join("config.yml"), config).expect("config.yml");
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log file");
    Command::new("docker-registry")
        .arg("serve")
        .arg(dir.join("config.yml"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("docker-registry runs: apt-get install docker-registry")
}

/// A line of the access log: `127.0.0.1 - - [time] "GET /v2/ HTTP/1.1" 200 2 "" "agent"`.
fn asked(line: &str) -> Option<Asked> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut words = request.split(' ');
    Some(Asked {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        status: rest.split(' ').next()?.parse().ok()?,
    })
}
