//! Images that are unpacked.

use super::holds;
use crate::op::Op::*;

/// READY waited for what the entries brought, which the store had, and not for its snapshots.
#[test]
fn images_are_unpacked_before_ready_also_of_a_store_that_has_returned() {
    holds(&[
        Listen,
        Unpack(80),
        StoreDown(true),
        StoreDown(false),
        Write(231, 80),
        Pass(79),
        RootAway(9),
        Deliver,
        Steps(19),
        Reload,
        Wait,
    ]);
}
