//! Many lines, and how many of them are pulled at once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Answer, FakeRegistry, Registry, reference};

use super::harness::{HOST, SOON, UMOCI, count, eventually, push, setup, status, tags};

/// A registry with one image under so many tags, and their names.
fn tagged(tags: usize) -> (Registry, BTreeSet<String>) {
    let registry = Registry::start();
    push(&registry, UMOCI);
    let tags = (0..tags).map(|number| format!("t{number:03}"));
    let names = tags.map(|tag| {
        registry.tag("umoci", "1.35", &tag);
        format!("{HOST}/umoci:{tag}")
    });
    let names = names.collect();
    (registry, names)
}

fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}

#[test]
fn a_thousand_lines_are_each_dealt_with_once() {
    let (registry, names) = tagged(250);
    let setup = setup(&reference(), registry.address(), "");
    // Each four times, in one list.
    let text = format!("{0}{0}{0}{0}", lines(&names));
    assert_eq!(text.lines().count(), 1000);
    setup.list("core.txt", text);
    let mut stowd = setup.start();
    eventually(&mut stowd, "STATUS counts images", |stowd| {
        let told = stowd.notify.statuses();
        let counted = |line: &String| {
            line.starts_with("pulling core.txt, ") && line.ends_with(" of 250 images")
        };
        told.iter().any(counted)
    });
    stowd.wait_ready(Duration::from_secs(300));
    assert_eq!(tags(&stowd), names);
    assert_eq!(count(&stowd, "imported", "core.txt: "), 1);
    let last = status(&stowd);
    assert!(
        last.starts_with("ready: 250 images from 1 entry;"),
        "{last}"
    );
    let asked = registry.manifests_asked("umoci");
    assert!(asked <= 3 * 250, "{asked} requests for 250 images");
    assert!(stowd.peak_memory() < 150, "{} MiB", stowd.peak_memory());
    // That they are all there needs no registry.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_eq!(count(&stowd, "skipped", "core.txt"), 1);
    assert_eq!(registry.manifests_asked("umoci"), asked);
}

#[test]
fn no_more_is_pulled_at_once_than_lists_parallel_says() {
    let (registry, names) = tagged(12);
    let fake = FakeRegistry::start(Answer::Held);
    // All but one of them are for one registry. Two lists: the limit is for both together.
    let setup = setup(&reference(), &fake.address(), "parallel = 4");
    let names = names.into_iter().collect::<Vec<_>>();
    let list = |names: &[String]| {
        names
            .iter()
            .map(|name| format!("{name}\n"))
            .collect::<String>()
    };
    setup.list("a.txt", list(&names[..6]));
    setup.list("b.txt", list(&names[6..]));
    let mut stowd = setup.start();
    eventually(&mut stowd, "three are under way", |_| fake.held() >= 3);
    // The two lists are read, and nothing else is to happen: a fourth pull would be on its way.
    eventually(&mut stowd, "both are in work", |stowd| {
        status(stowd).starts_with("pulling a.txt, 0 of 6 images and 1 list more")
    });
    let before = fake.requests().len();
    assert_eq!(before, 3, "{:?}", fake.requests());
    fake.answer(Answer::Of(registry.address().to_owned()));
    stowd.wait_ready(SOON);
    assert_eq!(tags(&stowd).into_iter().collect::<Vec<_>>(), names);
}
