//! The commands: one file each.

pub mod check;
pub mod doctor;
pub mod inspect;
pub mod run;
