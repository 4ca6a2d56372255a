//! Files that change under stowd's hands.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::support::{Setup, Stowd, assert_clean, fixture, names, pinned_tags, reference};

const SOON: Duration = Duration::from_secs(120);

#[test]
fn a_file_that_is_replaced_or_removed_while_it_is_imported() {
    let generation = &reference();
    for replaced in [true, false] {
        let setup = Setup::new(generation);
        setup.stow_as(&fixture("large.tar.bz2").path, "a.tar");
        let mut stowd = setup.start();
        stowd.wait_until(SOON, "the import is under way", Stowd::is_importing);
        let path = stowd.setup().images().join("a.tar");
        if replaced {
            let aside = stowd.setup().dir().join("aside");
            fs::copy(fixture("umoci.tar").path, &aside).unwrap();
            fs::rename(aside, &path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        stowd.wait_ready(SOON);
        let wanted = if replaced {
            names(&["umoci.tar"])
        } else {
            BTreeSet::new()
        };
        stowd.wait_until(
            SOON,
            "just what the directory asks for is pinned",
            |stowd| pinned_tags(stowd) == wanted,
        );
        assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
        // READY does not wait for the import of a file that is gone.
        stowd.wait_until(SOON, "the import has ended", |stowd| !stowd.is_importing());
        assert_clean(&stowd);
    }
}

#[test]
fn a_file_that_is_removed_while_it_waits_is_forgotten() {
    let generation = &reference();
    let mut setup = Setup::new(generation);
    setup.images = "settle = \"100ms\"\nparallel = 1\n".to_owned();
    setup.stow_as(&fixture("large.tar.bz2").path, "a.tar");
    setup.stow_as(&fixture("umoci.tar").path, "b.tar");
    setup.stow_as(&fixture("skopeo-oci.tar").path, "c.tar");
    let mut stowd = setup.start();
    stowd.wait_until(SOON, "the first is under way", Stowd::is_importing);
    fs::remove_file(stowd.setup().images().join("b.tar")).unwrap();
    stowd.wait_ready(SOON);
    assert_eq!(pinned_tags(&stowd), names(&["large.tar", "skopeo-oci.tar"]));
    assert_eq!(stowd.lines(" failed /"), Vec::<String>::new());
    let last = stowd.notify.statuses().pop().unwrap();
    assert!(last.contains(" from 2 entries"), "{last}");
}
