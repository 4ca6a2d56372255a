//! What the tiers with a real containerd share: the three generations of it, a private daemon, and
//! a pod that runs a container.
//!
//! A tier takes it in with `#[path = "../support/mod.rs"] mod support;`.

// Each tier uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod daemon;
mod eventually;
mod fixtures;
mod generations;
mod notify_socket;
mod pause;
mod pod;
mod stowd;
mod sweep;

pub use daemon::{Daemon, Options};
pub use eventually::eventually;
pub use fixtures::{Fixture, fixture, fixtures};
pub(crate) use generations::on_each_generation;
pub use generations::{Generation, generation, generations};
pub use pause::{PAUSE_IMAGE, import_pause, write_static_image};
pub use pod::{Ran, run_in_pod};
pub use stowd::{Setup, Stowd, children, ctr};
pub use sweep::sweep;
