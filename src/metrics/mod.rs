//! The metrics: what a daemon says of itself, and what has happened to it, as Prometheus reads it.
//!
//! ```text
//!   happened -> Counters (counts, histograms; lost things until they are back) --+
//!                                                                               +-> exposition: /metrics
//!   phase, OnBoard: what status.json says too -> Vitals -------------------------+
//!                                                   +-> readiness: /readyz
//! ```
//!
//! No label tells a name, a path or a text of another program: the number of series is that of
//! `docs/metrics.md`, whatever lies in the images directory.

mod counters;
mod exposition;
mod lost_things;
mod series;
mod vitals;

pub use counters::Counters;
pub use exposition::{EXPOSITION_TYPE, exposition};
pub use vitals::Vitals;
