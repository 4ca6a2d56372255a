//! Names of images: what they are made of (`grammar`), how they are written (`reference`), which of
//! them an image gets (`names`), and the labels by which blobs say where they are from (`sources`).

pub(crate) mod grammar;
mod names;
mod reference;
pub mod sources;

pub(crate) use names::owners_of_names;
pub use names::{AssignedNames, NameClaim, Names, Shadowed};
pub use reference::{Reference, ReferenceError, Rule, is_full_name};
