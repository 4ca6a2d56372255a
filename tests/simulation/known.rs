//! Histories that failed once, as short as they could be made. Each is named after the rule that was
//! not kept.

use crate::directory::PATHS;
use crate::history::Op::{self, *};
use crate::history::live;

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

/// Each took the names of the others back, for ever.
#[test]
fn archives_that_share_names_in_a_circle_come_to_rest() {
    holds(&[Write(108, 203), Write(252, 135), Write(232, 124)]);
}

/// Nothing tells what the bad line would have named, so what the list held stays; but not under a tag
/// that is another image by now.
#[test]
fn a_list_with_a_bad_line_whose_tag_moved_on_comes_to_rest() {
    holds(&[
        Write(225, 186),
        Restart,
        Write(233, 218),
        Deliver,
        Write(210, 113),
    ]);
}

/// Each attempt of one brought the same images again, which is no reason to try the other.
#[test]
fn archives_that_lack_a_blob_do_not_wake_each_other_for_ever() {
    holds(&[Write(120, 167), Write(129, 39)]);
}

/// What an attempt that was given up has pinned is in no record until the next attempt has ended.
#[test]
fn a_retry_that_the_store_interrupts_keeps_what_it_has_pinned() {
    holds(&[
        Write(196, 67),
        Write(206, 16),
        Write(225, 167),
        StoreFull(true),
        Pass(9280),
        DeliverAll,
        Steps(141),
        Reload,
        Step(208),
        StoreFull(false),
        Steps(25),
        StoreDown(true),
        Pass(53),
        Step(10),
    ]);
}

/// The look has named images, and no record tells of them.
#[test]
fn a_list_whose_mount_goes_away_at_the_look_keeps_what_was_pinned() {
    holds(&[
        Write(23, 188),
        Write(167, 172),
        Restart,
        DeliverAll,
        Steps(105),
        RegistryDown(true),
        Write(112, 28),
        Steps(114),
        Restart,
        Delete(72),
        Deliver,
        Step(60),
        Step(119),
        Step(4),
        SubAway(85),
        Steps(98),
        Grow(105, 53),
    ]);
}

/// A removed file is not out of sight, though the listing after it cannot tell the one from the other.
#[test]
fn a_file_that_is_removed_before_its_file_system_goes_away_is_forgotten() {
    holds(&[
        Write(140, 209),
        Restart,
        DeliverAll,
        Steps(94),
        Delete(91),
        RootAway(76),
    ]);
}

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

/// Its directory went away and came back meanwhile, so its life was not that of one that is done.
#[test]
fn an_old_answer_of_the_store_brings_nothing_back_that_was_imported_since() {
    holds(&[
        Write(251, 224),
        Write(28, 87),
        Write(218, 114),
        Pass(3200),
        List,
        DeliverAll,
        Write(227, 93),
        Step(116),
        Step(105),
        Step(215),
        DeliverAll,
        RootAway(107),
        Deliver,
        Step(112),
        RootAway(58),
        Steps(192),
    ]);
}

/// The name by digest stays with the image that is kept, through a newer version that fails, too.
#[test]
fn a_list_whose_image_is_not_found_again_keeps_its_name_by_digest() {
    holds(&[
        Write(6, 17),
        Restart,
        Deliver,
        Pass(28),
        Steps(54),
        LoseImage(46),
        RegistryDown(true),
        Steps(184),
        Write(62, 144),
    ]);
}

/// The job had pinned something, and the pins were due to be checked when it met a store that was away.
#[test]
fn pins_are_not_checked_before_a_retry_that_the_store_interrupted_has_ended() {
    holds(&[
        StoreFull(true),
        Write(0, 2),
        Restart,
        DeliverAll,
        Steps(0),
        StoreFull(false),
        Pass(30),
        Steps(0),
        Pass(40),
        Step(0),
        Step(0),
        List,
        DeliverAll,
        Step(1),
        Step(1),
        Pass(25),
        StoreDown(true),
        Step(0),
        StoreDown(false),
        Step(0),
        Step(0),
        Step(0),
    ]);
}

/// It failed twice: a job has read the second version, and none the third.
#[test]
fn a_file_that_is_still_written_goes_on_holding_what_each_version_brought() {
    holds(&[
        Write(64, 26),
        Write(47, 168),
        Restart,
        Deliver,
        Steps(68),
        Write(47, 175),
        Steps(92),
        Delete(253),
        Pass(39),
        DeliverAll,
        Steps(98),
        Grow(47, 216),
        Wait,
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

/// The last whole version was replaced while its job ran.
#[test]
fn of_versions_that_failed_one_after_the_other_the_last_whole_one_is_held() {
    holds(&[
        Write(34, 85),
        Write(37, 115),
        Write(217, 76),
        Restart,
        DeliverAll,
        Steps(148),
        Write(154, 87),
        Pass(118),
        DeliverAll,
        Steps(6),
        Write(147, 38),
    ]);
}
