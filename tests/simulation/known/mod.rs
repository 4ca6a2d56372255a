//! Histories that failed once, as short as they could be made. Each is named after the rule that was
//! not kept.

mod damage;
mod files;
mod names;
mod pins;
mod unpacking;

use crate::directory::PATHS;
use crate::history::live;
use crate::op::Op;

fn holds(history: &[Op]) {
    let (lived, _) = live(history, false);
    assert_eq!(lived, Ok(()), "{history:?}");
}

/// The numbers in the histories mean these files.
#[test]
fn histories_are_about_the_paths_that_they_were_about() {
    assert_eq!(PATHS.len(), 7);
    assert_eq!(PATHS[225 % 7], "/i/b.tar");
}
