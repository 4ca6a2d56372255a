//! The commands: one file each.

pub mod check;
pub mod doctor;
pub mod import;
mod input;
pub mod inspect;
mod progress_bar;
pub mod remove;
pub mod run;
pub mod status;
pub mod verify;
