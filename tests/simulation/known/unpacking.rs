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

/// The document of a whole image of a broken archive is lost when it is unpacked.
#[test]
fn ready_waits_for_what_a_broken_archive_brings_back_and_for_its_snapshots() {
    holds(&[
        Unpack(181),
        Write(147, 15),
        Write(158, 155),
        Restart,
        Deliver,
        Steps(110),
        ForeignPin(153),
        Write(171, 38),
        SubAway(130),
        Step(187),
        LoseBlob(207),
        Close(52),
        Pass(200),
        Step(130),
        Wait,
    ]);
}
