//! Names of images: what they are made of (`grammar`), how they are written (`reference`), and which of
//! them an image gets (`names`).

pub(crate) mod grammar;
mod names;
mod reference;

pub(crate) use names::owners_of_names;
pub use names::{AssignedNames, NameClaim, Names, Shadowed};
pub use reference::{Reference, ReferenceError, Rule, is_full_name};
