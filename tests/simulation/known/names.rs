//! Who has a name, and what is done again for it.

use super::holds;
use crate::op::Op::*;

/// The earlier one took it when the later one had it, and another file that had come was imported then: the
/// owner took it back when READY had been told.
#[test]
fn a_name_that_archives_of_the_start_share_is_that_of_the_last_one_at_ready() {
    holds(&[
        Write(82, 88),
        Write(3, 65),
        Fine,
        Pass(88),
        Write(64, 114),
        Wait,
    ]);
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

/// Not one that it brings for the first time: it has brought it before, and the store was replaced.
#[test]
fn what_the_store_has_lost_is_news_when_it_is_back() {
    holds(&[
        Configure(8),
        Restart,
        Write(0, 7),
        Write(1, 3),
        Wait,
        ReplaceStore(0),
    ]);
}

/// With images.unpin-removed off no check of the pins finds that it is missing.
#[test]
fn the_name_of_a_removed_entry_goes_to_the_other_one_that_brings_it() {
    holds(&[
        Configure(4),
        Restart,
        Write(0, 5),
        Write(1, 4),
        Wait,
        Delete(1),
        Wait,
    ]);
}

/// Its images are those of its record, and the store has not had them since it was replaced.
#[test]
fn what_the_store_has_lost_is_news_also_when_its_file_has_changed() {
    holds(&[
        Write(34, 77),
        Wait,
        Write(89, 15),
        ReplaceStore(118),
        Write(83, 117),
    ]);
}

/// With images.unpin-removed off no check of the pins finds that it was taken, and the file that the job
/// was for is another one by then, which does not bring it.
#[test]
fn a_name_that_a_job_without_a_record_has_taken_goes_back() {
    holds(&[
        Configure(4),
        Restart,
        Write(1, 4),
        Wait,
        Write(0, 7),
        DeliverAll,
        Pass(25),
        DeliverAll,
        Step(0),
        Step(0),
        Write(0, 0),
        Step(0),
        Step(0),
        Wait,
    ]);
}

/// Each brings the name that a client deletes as soon as it is there.
#[test]
fn archives_that_lack_a_blob_do_not_wake_each_other_for_a_name_that_cannot_be_had() {
    holds(&[
        Write(0, 7),
        Write(1, 7),
        Write(3, 7),
        Restart,
        Live(10),
        Deletes(1),
        List,
        Wait,
    ]);
}

/// The list that brings it again has changed by then, and no question to the store has found it missing.
#[test]
fn what_the_store_has_lost_is_news_when_a_changed_list_brings_it_again() {
    holds(&[
        Write(4, 136),
        Live(145),
        Write(70, 63),
        ReplaceStore(171),
        Grow(200, 251),
        Wait,
    ]);
}

/// The last entry that brings it has left it to that instance, and so has the one that was imported after.
#[test]
fn a_name_that_another_instance_keeps_is_taken_by_no_entry() {
    holds(&[
        Write(1, 5),
        Restart,
        Live(10),
        Delete(1),
        Live(10),
        LoseImage(1),
        ForeignPin(1),
        Write(5, 4),
        Live(10),
        Write(1, 5),
        Wait,
    ]);
}

/// Nothing is unpinned, so that the pins do not have the store asked.
#[test]
fn what_a_store_that_was_replaced_has_not_is_brought_back_when_it_answers_again() {
    holds(&[
        Configure(4),
        Listen,
        Write(0, 4),
        Restart,
        Live(10),
        ReplaceStore(0),
        Wait,
    ]);
}

/// The store is asked when that was deleted, and the entry has no record then.
#[test]
fn what_is_deleted_while_a_job_runs_is_brought_back_when_it_has_ended() {
    holds(&[
        Configure(4),
        Listen,
        Write(0, 4),
        Restart,
        DeliverAll,
        Step(0),
        Step(0),
        Step(0),
        Step(0),
        LoseImage(0),
        Hear,
        Pass(20),
        Step(1),
        Step(1),
        Wait,
    ]);
}

/// It lacked a pin only, and the store was replaced while the list was looked at.
#[test]
fn what_a_replaced_store_has_lost_is_news_also_when_less_was_lacking_before() {
    holds(&[
        Write(2, 2),
        Listen,
        Restart,
        Deliver,
        Write(3, 5),
        Steps(239),
        Write(1, 7),
        Deliver,
        Pass(187),
        LosePin(182),
        Step(47),
        Step(3),
        ReplaceStore(37),
        Step(215),
    ]);
}

/// It was removed while its job ran, and a list was pulled beside that.
#[test]
fn a_name_that_the_job_of_a_removed_entry_has_taken_from_a_pull_goes_back() {
    holds(&[
        Write(0, 4),
        Write(5, 7),
        Write(3, 7),
        Fine,
        KillAfter(3),
        RemoveOwn,
        Deliver,
        Write(2, 1),
        SubAway(2),
        DeliverAll,
        Steps(87),
        Delete(0),
        Step(40),
        DeliverAll,
        Step(197),
        Wait,
    ]);
}

/// An operator has pinned it.
#[test]
fn of_a_name_that_two_instances_bring_and_another_client_has_pinned_nothing_is_asked() {
    holds(&[
        Write(72, 106),
        Fine,
        Restart,
        Deliver,
        Steps(204),
        ForeignPin(134),
        Write(94, 156),
        Switch,
        Write(112, 82),
    ]);
}

/// A later archive lets a name go while an earlier one that has left it to that one is in work.
#[test]
fn a_name_that_was_left_and_let_go_while_an_archive_was_in_work_is_that_archives() {
    holds(&[
        Listen,
        Write(176, 236),
        Live(4),
        StoreDown(true),
        Configure(165),
        Reload,
        Write(197, 193),
        Write(70, 115),
        SubAway(14),
        ForeignPin(87),
        Write(37, 104),
        RemoveOwn,
        Wait,
    ]);
}
