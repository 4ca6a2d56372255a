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
