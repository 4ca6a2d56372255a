//! Names of images: what they are made of (`grammar`), how they are written (`reference`), what an image
//! may be called (`names`, `extra_names`), and who has a name that several claim (`ownership`).

mod extra_names;
pub(crate) mod grammar;
mod names;
mod ownership;
mod reference;

pub use extra_names::{ExtraNames, GivenNames};
pub use names::Names;
pub(crate) use ownership::Owners;
pub use ownership::Shadowed;
pub use reference::{Reference, ReferenceError, Rule, is_full_name};
