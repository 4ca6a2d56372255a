//! The generations of containerd that stowd works with, as `containerd-generations` and `go-programs` have
//! brought them.
//!
//! Every test runs on the reference. The contract, which is what `on_each_generation` and
//! `on_each_generation_in_turn` name, runs on all of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::hosts::HOSTS;

/// The long-term release, which every test runs on.
const REFERENCE: &str = "2.3";

/// A directory with another containerd that takes the place of the reference.
const OTHER: &str = "STOWD_TEST_CONTAINERD";

/// One generation of containerd: its binaries, and how its configuration is written.
#[derive(Debug, Clone)]
pub struct Generation {
    /// As `1.6`.
    pub name: String,
    /// Where its containerd, its ctr and its shim are.
    pub bin: PathBuf,
}

/// The one of this name: 1.6, 1.7, 2.1, 2.3 or 2.4. Panics when it is not there.
pub fn generation(name: &str) -> Generation {
    let (place, bin) = match name {
        "1.6" => ("bookworm", "usr/bin"),
        "1.7" => ("trixie", "usr/bin"),
        "2.1" => ("forky", "usr/bin"),
        built => (built, "bin"),
    };
    let dir = all().join(place);
    assert!(
        dir.join("complete").exists(),
        "containerd {name} is not in {}: run tests/run, or tests/support/containerd-generations and \
         tests/support/go-programs",
        dir.display()
    );
    Generation {
        name: name.to_owned(),
        bin: dir.join(bin),
    }
}

/// The one that every test runs on: 2.3, or what `STOWD_TEST_CONTAINERD` says.
pub fn reference() -> Generation {
    match std::env::var_os(OTHER) {
        None => generation(REFERENCE),
        Some(bin) => Generation::in_directory(PathBuf::from(bin)),
    }
}

/// The runc that all run containers with.
pub fn runc() -> PathBuf {
    all().join("bookworm/usr/sbin/runc")
}

fn all() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/containerd")
}

impl Generation {
    /// Any one, by what it says of its version, such as `containerd REPOSITORY v2.2.9 REVISION`.
    fn in_directory(bin: PathBuf) -> Self {
        let asked = Command::new(bin.join("containerd"))
            .arg("--version")
            .output();
        let asked = asked.unwrap_or_else(|error| panic!("{OTHER}: {}: {error}", bin.display()));
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        let version = said.split_whitespace().nth(2).unwrap_or_default();
        let numbers = version.trim_start_matches('v').split('.').take(2);
        let name = numbers.collect::<Vec<_>>().join(".");
        assert!(name.contains('.'), "{OTHER}: {}: {said}", bin.display());
        Self { name, bin }
    }

    /// The daemon's binary.
    pub fn containerd(&self) -> PathBuf {
        self.bin.join("containerd")
    }

    /// The binary of its debugging client.
    pub fn ctr(&self) -> PathBuf {
        self.bin.join("ctr")
    }

    /// A PATH on which the daemon finds its own shims, and a runc that runs here.
    pub fn path(&self) -> OsString {
        let runc = runc().parent().expect("a directory").to_owned();
        let own = [self.bin.clone(), runc];
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let all = own.into_iter().chain(std::env::split_paths(&inherited));
        std::env::join_paths(all).expect("PATH was joined once already")
    }

    /// A configuration that keeps the daemon inside `dir` (which gets `opt` and `cni` below it, and
    /// may get registries, see `write_hosts`), with `sandbox_image` for its pods. Root, state and address are told on the command line, as stowd
    /// does, or by whoever puts lines before it.
    pub fn config(&self, dir: &Path, sandbox_image: &str) -> String {
        let dir = dir.display();
        // Without CAP_SYS_RESOURCE runc cannot lower oom_score_adj, and dies of it.
        match self.is_2() {
            true => format!(
                r#"
[plugins.'io.containerd.internal.v1.opt']
  path = "{dir}/opt"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images']
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{sandbox_image}"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{dir}/{HOSTS}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dir = "{dir}/cni/bin"
    conf_dir = "{dir}/cni/conf"
"#
            ),
            false => format!(
                r#"
[plugins.'io.containerd.internal.v1.opt']
  path = "{dir}/opt"
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = "{sandbox_image}"
  restrict_oom_score_adj = true
  [plugins.'io.containerd.grpc.v1.cri'.cni]
    bin_dir = "{dir}/cni/bin"
    conf_dir = "{dir}/cni/conf"
  [plugins.'io.containerd.grpc.v1.cri'.registry]
    config_path = "{dir}/{HOSTS}"
"#
            ),
        }
    }

    /// The number that heads a configuration file of this generation.
    pub fn config_version(&self) -> u32 {
        if self.is_2() { 3 } else { 2 }
    }

    /// Whether it is of the second major version, which has CRI in several plugins.
    pub fn is_2(&self) -> bool {
        self.name.starts_with("2.")
    }

    /// The words of its ctr that import an archive through the content API, without unpacking.
    pub fn import_words(&self) -> &'static [&'static str] {
        match self.name.as_str() {
            // It has no other way yet.
            "1.6" => &["images", "import", "--no-unpack"],
            _ => &["images", "import", "--no-unpack", "--local"],
        }
    }
}

/// Makes a test of each `async fn NAME(Generation)`, on the reference: `NAME::on_the_reference`.
macro_rules! on_the_reference {
    ($($name:ident),+ $(,)?) => { $($crate::support::tests_of! { the_reference async $name })+ };
}
pub(crate) use on_the_reference;

/// The contract: the same on each generation, `NAME::on_1_6` and so on.
macro_rules! on_each_generation {
    ($($name:ident),+ $(,)?) => { $($crate::support::tests_of! { each async $name })+ };
}
pub(crate) use on_each_generation;

/// As `on_the_reference`, of each `fn NAME(&Generation)`, which may block.
macro_rules! on_the_reference_in_turn {
    ($($name:ident),+ $(,)?) => { $($crate::support::tests_of! { the_reference fn $name })+ };
}
pub(crate) use on_the_reference_in_turn;

/// As `on_each_generation`, of each `fn NAME(&Generation)`, which may block.
macro_rules! on_each_generation_in_turn {
    ($($name:ident),+ $(,)?) => { $($crate::support::tests_of! { each fn $name })+ };
}
pub(crate) use on_each_generation_in_turn;

macro_rules! tests_of {
    (the_reference $kind:tt $name:ident) => {
        $crate::support::tests_of! { $kind $name: on_the_reference reference(); }
    };
    (each $kind:tt $name:ident) => {
        $crate::support::tests_of! {
            $kind $name:
            on_the_reference reference();
            on_1_6 generation("1.6");
            on_1_7 generation("1.7");
            on_2_1 generation("2.1");
            on_2_4 generation("2.4");
        }
    };
    (async $name:ident: $($test:ident $of:ident($($which:literal)?);)+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$name($crate::support::$of($($which)?)).await;
                }
            )+
        }
    };
    (fn $name:ident: $($test:ident $of:ident($($which:literal)?);)+) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    super::$name(&$crate::support::$of($($which)?));
                }
            )+
        }
    };
}
pub(crate) use tests_of;
