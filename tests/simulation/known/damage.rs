//! Blobs whose bytes go wrong: what is found is brought back.

use super::holds;
use crate::op::Op::*;

#[test]
fn what_was_found_damaged_is_brought_back_before_ready_when_the_process_was_killed() {
    holds(&[
        Write(85, 4),
        Restart,
        Deliver,
        Steps(25),
        PowerCut(182),
        DeliverAll,
        Steps(94),
        Save,
        Kill,
    ]);
}

/// Its images are those that it had: all that tells is that they were written anew.
#[test]
fn a_blob_that_another_version_of_an_entry_brings_again_is_news() {
    holds(&[
        Write(0, 3),
        Restart,
        Live(10),
        LoseBlob(0),
        Write(1, 7),
        Live(10),
        Write(0, 3),
        Live(10),
    ]);
}
