//! Lists of images, pulled from registries.

mod archives;
mod credentials;
mod edited;
mod extra;
mod faults;
mod harness;
mod killed;
mod many;
mod mirrors;
mod names;
mod once;
mod pins;
mod ready;
mod repair;
mod syntax;
mod throttled;
