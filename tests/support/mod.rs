//! What the tiers with a real containerd share: the generations of it, a private daemon, a pod
//! that runs a container, and registries real and false.
//!
//! A tier takes it in with `#[path = "../support/mod.rs"] mod support;`.

// Each tier uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)]

mod clean;
mod cri;
mod daemon;
mod eventually;
mod fake_registry;
mod fixtures;
mod generations;
mod hosts;
mod markdown;
mod notify_socket;
mod pause;
mod pod;
mod process;
mod registry;
mod small_disk;
mod store;
mod stowd;
mod sweep;
mod unpacked;

pub use clean::{assert_clean, blobs_dir, file_names, names, pinned_tags};
pub use cri::{is_kept, prune_images, pull, remove_image, wait_for_cri};
pub use daemon::{Daemon, Options};
pub use eventually::{eventually, eventually_in_turn};
pub use fake_registry::{Answer, FakeRegistry, Refusing, Request};
pub use fixtures::{Fixture, fixture, fixtures};
pub use generations::{Generation, generation, reference, runc};
pub(crate) use generations::{
    on_each_generation, on_each_generation_in_turn, on_the_reference, on_the_reference_in_turn,
    tests_of,
};
pub use hosts::{plain_http, write_hosts};
pub use markdown::blocks;
pub use notify_socket::{Datagram, NotifySocket};
pub use pause::{PAUSE_IMAGE, import_pause, write_static_image, write_static_image_in};
pub use pod::{Ran, run_in_pod};
pub use process::{is_running, is_stopped, kibibytes, stays_asleep, wake_ups};
pub use registry::{AUTH, Asked, PASSWORD, Registry, USER};
pub use small_disk::SmallDisk;
pub use store::{Blob, Child, OF_AN_INSTANCE, Record, Store, children as children_of};
pub use stowd::{Setup, Stowd, children, ctr, half_written};
pub use sweep::sweep;
pub use unpacked::{COMPRESSIONS, Is, Unpacked, UnpackedImage, compressed, compression_of, shell};

/// This machine's architecture, as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Another one.
pub fn foreign_architecture() -> &'static str {
    if architecture() == "arm64" {
        "amd64"
    } else {
        "arm64"
    }
}
