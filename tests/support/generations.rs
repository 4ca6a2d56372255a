//! The generations of containerd that stowd works with, as `containerd-generations` fetched them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::hosts::HOSTS;

/// One generation of containerd: its binaries, and how its configuration is written.
#[derive(Debug, Clone)]
pub struct Generation {
    /// `1.6`, `1.7` or `2.x`.
    pub name: &'static str,
    /// The Debian suite that it comes from.
    pub suite: &'static str,
    bin: PathBuf,
    runc: PathBuf,
}

/// All three, oldest first. Panics when they were not fetched.
pub fn generations() -> Vec<Generation> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/containerd");
    [("1.6", "bookworm"), ("1.7", "trixie"), ("2.x", "forky")]
        .map(|(name, suite)| {
            assert!(
                all.join(suite).join("complete").exists(),
                "containerd {name} is not in {}: run tests/run, or tests/support/containerd-generations",
                all.join(suite).display()
            );
            Generation {
                name,
                suite,
                bin: all.join(suite).join("usr/bin"),
                runc: all.join("bookworm/usr/sbin"),
            }
        })
        .to_vec()
}

impl Generation {
    /// The daemon's binary.
    pub fn containerd(&self) -> PathBuf {
        self.bin.join("containerd")
    }

    /// The binary of its debugging client.
    pub fn ctr(&self) -> PathBuf {
        self.bin.join("ctr")
    }

    /// The runc that all three run containers with.
    pub fn runc(&self) -> PathBuf {
        self.runc.join("runc")
    }

    /// A PATH on which the daemon finds its own shims, and a runc that runs here.
    pub fn path(&self) -> OsString {
        let own = [self.bin.clone(), self.runc.clone()];
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
        match self.name {
            "2.x" => format!(
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
            _ => format!(
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
        if self.name == "2.x" { 3 } else { 2 }
    }
}

/// The one of this name.
pub fn generation(name: &str) -> Generation {
    let found = generations().into_iter().find(|one| one.name == name);
    found.expect("1.6, 1.7 or 2.x")
}

/// Makes a test of each `async fn NAME(Generation)`, for each generation: `NAME::on_1_6` and so on.
macro_rules! on_each_generation {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[tokio::test(flavor = "multi_thread")]
                async fn on_1_6() {
                    super::$name($crate::support::generation("1.6")).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_1_7() {
                    super::$name($crate::support::generation("1.7")).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_2() {
                    super::$name($crate::support::generation("2.x")).await;
                }
            }
        )+
    };
}
pub(crate) use on_each_generation;

/// The same of each `fn NAME(Generation)`, which may block.
macro_rules! on_each_generation_in_turn {
    ($($name:ident),+ $(,)?) => {
        $(
            mod $name {
                #[test]
                fn on_1_6() {
                    super::$name(&$crate::support::generation("1.6"));
                }

                #[test]
                fn on_1_7() {
                    super::$name(&$crate::support::generation("1.7"));
                }

                #[test]
                fn on_2() {
                    super::$name(&$crate::support::generation("2.x"));
                }
            }
        )+
    };
}
pub(crate) use on_each_generation_in_turn;
