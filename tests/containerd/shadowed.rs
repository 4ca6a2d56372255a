//! Two archives that give one name to different images.

use std::time::Duration;

use crate::made::recipe;
use crate::support::{Generation, Setup, Stowd, on_the_reference_in_turn};

const SOON: Duration = Duration::from_secs(120);
const NAME: &str = "registry.stowd.test/shadowed:1";

/// The warnings since the last start, which are as many.
fn warnings(stowd: &mut Stowd, count: usize) -> Vec<String> {
    let lines = |stowd: &Stowd| {
        let log = stowd.log();
        let (_, last) = log.rsplit_once(" containerd started").unwrap();
        let lines = last.lines().filter(|line| line.contains(" WARN shadowed "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    stowd.wait_until(SOON, "warnings", |stowd| lines(stowd).len() >= count);
    let lines = lines(stowd);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

fn it_is_a_warning_with_both_digests_and_files_at_each_start(generation: &Generation) {
    let setup = Setup::new(generation);
    let archive = |seed| recipe(seed, NAME).oci().tar();
    let dir = setup.images();
    std::fs::write(dir.join("a-9.tar"), archive(941)).unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let target = |stowd: &Stowd| stowd.store().images()[NAME].target.to_string();
    let earlier = target(&stowd);
    assert_eq!(warnings(&mut stowd, 0), [""; 0]);

    // It begins while stowd runs.
    std::fs::write(dir.join("a-10.tar"), archive(942)).unwrap();
    let begun = warnings(&mut stowd, 1);
    let later = target(&stowd);
    assert_ne!(earlier, later);
    for part in [
        format!("{NAME} of {}/a-9.tar ({earlier})", dir.display()),
        format!("in {}/a-10.tar it is {later}", dir.display()),
    ] {
        assert!(begun[0].contains(&part), "{part}: {begun:?}");
    }

    // Nothing is imported at the next start.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    let again = warnings(&mut stowd, 1);
    let text = |line: &str| line.split_once(" WARN ").unwrap().1.to_owned();
    assert_eq!(text(&again[0]), text(&begun[0]));
    assert_eq!(stowd.lines(" skipped /").len(), 2);
}

on_the_reference_in_turn!(it_is_a_warning_with_both_digests_and_files_at_each_start);
