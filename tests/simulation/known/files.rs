//! Files that are not whole, that change and that cannot be read: what is imported, and when READY comes.

use super::holds;
use crate::op::Op::*;

/// The listing replaces the event that the file has settled.
#[test]
fn a_file_that_a_listing_finds_whole_while_the_store_is_asked_is_imported() {
    holds(&[
        Restart,
        Deliver,
        Write(0, 0),
        List,
        Deliver,
        Pass(30),
        List,
        DeliverAll,
        Wait,
    ]);
}

/// The source says once that the file is still written, and the job for an older version is not over.
#[test]
fn a_file_that_is_still_written_when_a_job_ends_holds_nothing() {
    holds(&[
        Write(0, 0),
        Restart,
        DeliverAll,
        Step(0),
        Step(0),
        Grow(0, 1),
        DeliverAll,
        Pass(1300),
        DeliverAll,
        Wait,
    ]);
}

/// So it is with a file that cannot be read any more.
#[test]
fn a_file_that_is_not_readable_when_a_job_ends_holds_nothing() {
    holds(&[
        Write(0, 0),
        Restart,
        DeliverAll,
        Step(0),
        Step(0),
        Grow(0, 1),
        DeliverAll,
        Unreadable(0),
        DeliverAll,
        Wait,
    ]);
}

/// It has failed since it was written for too long, and a failure is tried again; but not this one.
#[test]
fn a_file_that_is_still_written_when_its_file_system_comes_back_is_not_tried() {
    holds(&[
        Write(0, 0),
        Grow(0, 1),
        Restart,
        DeliverAll,
        Pass(1300),
        DeliverAll,
        RootAway(0),
        DeliverAll,
        RootAway(3),
        DeliverAll,
        Steps(0),
        Wait,
    ]);
}

/// Its medium fails between the two readings, which says nothing about the file.
#[test]
fn a_broken_file_is_read_twice_also_when_the_medium_fails_in_between() {
    holds(&[
        Write(0, 6),
        Restart,
        DeliverAll,
        Live(2),
        Pass(30),
        ReadFails(0),
        Step(0),
        ReadFails(0),
        Live(60),
    ]);
}

/// It has failed before, and its next try is due while it is open.
#[test]
fn a_failed_file_that_comes_back_into_sight_open_is_not_tried_before_it_is_whole() {
    holds(&[
        StoreFull(true),
        Write(5, 0),
        Restart,
        Live(2),
        SubAway(0),
        DeliverAll,
        Open(5),
        SubAway(3),
        StoreFull(false),
        Live(10),
    ]);
}

/// The source told so when the file could not be read, and tells it once.
#[test]
fn a_file_that_is_still_written_when_it_can_be_read_again_holds_nothing() {
    holds(&[
        Write(106, 147),
        Grow(232, 98),
        Unreadable(8),
        Reload,
        Pass(2240),
        Unreadable(197),
        RemoveOwn,
        Wait,
    ]);
}

/// Files that come later are not waited for.
#[test]
fn a_file_that_is_written_anew_until_ready_holds_nothing() {
    holds(&[Deliver, WrittenUntilReady(0, 0)]);
}

/// The source has told that the file is still written while its job ran, and tells nothing but that when
/// it is looked at again.
#[test]
fn a_file_that_is_open_for_long_and_changes_under_a_job_holds_nothing() {
    holds(&[
        Write(0, 0),
        Restart,
        DeliverAll,
        Step(0),
        Step(0),
        Open(0),
        Pass(1300),
        DeliverAll,
        Grow(0, 1),
        DeliverAll,
        Wait,
    ]);
}

/// It cannot be read when it is due, and is whole again after that: the store is asked first.
#[test]
fn a_file_that_lacked_space_and_becomes_whole_is_not_tried_before_there_is_space() {
    holds(&[
        Write(162, 11),
        Restart,
        Deliver,
        StoreFull(true),
        Steps(119),
        ReadFails(190),
        Deliver,
        Pass(117),
        Wait,
    ]);
}

/// It is whole as a file, lacks a blob, and was found broken by its first reading.
#[test]
fn of_a_file_that_was_misread_and_lacks_a_blob_what_is_whole_is_imported() {
    holds(&[Write(224, 215), Misread(147)]);
}

/// It is imported at once, and is then tried again as after its second failure.
#[test]
fn a_reading_that_finds_a_misread_file_whole_is_no_failure() {
    holds(&[
        Write(1, 7),
        Write(0, 2),
        Pass(1560),
        StoreFull(true),
        DeliverAll,
        Misread(1),
        Reload,
        DeliverAll,
        Steps(2),
        Pass(107),
        Steps(156),
    ]);
}

/// Its directory was away, and it is closed long after its next try was due.
#[test]
fn a_broken_file_that_becomes_whole_late_is_not_imported_again() {
    holds(&[
        Write(5, 6),
        Restart,
        Deliver,
        Steps(71),
        SubAway(2),
        DeliverAll,
        Jump(43),
        SubAway(4),
        Touch(5),
        Wait,
    ]);
}
