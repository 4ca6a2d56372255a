//! What must stay pinned, and what must not.

use super::holds;
use crate::op::Op::*;

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

/// No record tells of what the retry has brought, and the failure before it was not one of the surroundings,
/// which would hold all pins.
#[test]
fn what_was_lacking_stays_pinned_when_the_store_interrupts_the_retry_that_brought_it() {
    holds(&[
        Write(0, 7),
        Restart,
        Wait,
        Write(1, 3),
        DeliverAll,
        Pass(25),
        DeliverAll,
        Step(0),
        Step(0),
        Step(0),
        // The archive that lacked a blob is tried again, and has pinned the image by now.
        Step(0),
        Step(0),
        Step(0),
        Delete(1),
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

/// After some attempts it holds no pins but those of which its record tells.
#[test]
fn what_the_first_attempt_has_brought_stays_pinned_when_later_ones_bring_less() {
    holds(&[
        Write(0, 2),
        Restart,
        DeliverAll,
        Step(0),
        Step(0),
        Step(0),
        Step(0),
        StoreFull(true),
        Live(255),
        Live(255),
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

/// The question for the pins was under way.
#[test]
fn a_reload_that_turns_unpinning_off_counts_for_a_check_that_has_begun() {
    holds(&[
        Write(0, 0),
        Write(1, 4),
        Restart,
        Wait,
        Delete(1),
        DeliverAll,
        Pass(25),
        Configure(4),
        Reload,
        Steps(0),
    ]);
}

/// The store was away under its import, and the next reading has found it broken, which it is not.
#[test]
fn what_an_interrupted_import_has_pinned_stays_while_its_file_is_read_once_more() {
    holds(&[
        Write(4, 1),
        Write(1, 1),
        Write(0, 3),
        Pass(112),
        DeliverAll,
        Steps(80),
        RemoveOwn,
        Misread(0),
        StoreDown(true),
        Steps(57),
    ]);
}

#[test]
fn a_pin_that_could_not_be_taken_off_is_taken_off_a_while_later() {
    holds(&[
        Write(0, 0),
        Restart,
        Live(10),
        KeepPin(0),
        Delete(0),
        Live(10),
        Wait,
    ]);
}

/// A loss of power brings back the record of a file that was removed, and another one has its place.
#[test]
fn what_a_record_that_is_back_holds_stays_while_its_file_is_out_of_sight() {
    holds(&[
        Write(238, 64),
        Restart,
        Deliver,
        Steps(100),
        Save,
        Rename(77, 3),
        Write(133, 233),
        RootAway(90),
        Deliver,
        Restart,
        KillAndLose(58),
    ]);
}

/// An archive in the place of a baked one is removed while it is imported: it was seen to go.
#[test]
fn what_is_removed_while_another_archive_replaces_what_was_baked_is_forgotten() {
    holds(&[
        Write(199, 226),
        Fine,
        Wait,
        Bake,
        Write(3, 45),
        Deliver,
        List,
        Pass(40),
        DeliverAll,
        Steps(49),
        RemoveOwn,
        Wait,
    ]);
}
