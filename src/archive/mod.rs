//! Reads image archives.

pub mod catalogue;
pub mod limits;
