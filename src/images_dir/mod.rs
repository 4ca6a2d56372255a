//! Notices entries in the images directory.
//!
//! `scan` lists what is there. Following what changes afterwards belongs here too.

pub mod scan;

pub use scan::{Scan, scan};
