//! `stowd run --once`: the exit status tells whether every line was pulled.

use crate::support::{Answer, FakeRegistry, Generation, children, on_the_reference_in_turn};

use super::harness::{BUILDAH, SOON, UMOCI, count, setup, stocked};

on_the_reference_in_turn!(the_exit_status_tells_of_every_line);

fn the_exit_status_tells_of_every_line(generation: &Generation) {
    let registry = stocked();
    let silent = FakeRegistry::start(Answer::Silence);
    let bad = "registry.stowd.test/nobody:1";
    let dead = "dead.stowd.test/x:1";
    let soon = "ready-timeout = \"3s\"";
    for (second, lists, status) in [
        (BUILDAH, "", 0),
        (bad, "", 1),
        ("Not A Name", "", 1),
        (dead, soon, 1),
    ] {
        let mut setup = setup(generation, registry.address(), lists);
        setup.registry("dead.stowd.test", &silent.address(), &[]);
        setup.arguments = vec!["run".to_owned(), "--once".to_owned()];
        setup.list("core.txt", format!("{UMOCI}\n{second}\n"));
        let mut stowd = setup.start();
        let ended = stowd.wait(SOON);
        assert_eq!(ended.code(), Some(status), "{second}: {}", stowd.log());
        let imported = count(&stowd, "imported", "core.txt: ");
        assert_eq!(imported == 1, status == 0, "{second}");
        assert!(children(stowd.pid()).is_empty());
    }
}
