//! Registries that have had enough.

use std::time::{Duration, Instant};

use crate::support::{Answer, FakeRegistry, Generation, on_the_reference_in_turn};

use super::harness::{UMOCI, count, eventually, not_pulled, ready, set, setup, stocked, tags};

on_the_reference_in_turn!(a_registry_that_asks_for_patience_gets_it);

fn a_registry_that_asks_for_patience_gets_it(generation: &Generation) {
    let registry = stocked();
    let of = registry.address().to_owned();
    // An answer to HEAD has no words, and containerd tells of no header.
    let fake = FakeRegistry::start_with(move |request| match request.method.as_str() {
        "HEAD" => Answer::Of(of.clone()),
        _ => Answer::TOO_MANY,
    });
    let setup = setup(generation, &fake.address(), "");
    setup.list("core.txt", format!("{UMOCI}\n"));
    let mut stowd = ready(setup);
    let failed_by = Instant::now();
    let first = fake.requests().len();
    let told = not_pulled(&stowd, "core.txt", 1);
    assert_eq!(told.len(), 1, "{}", stowd.log());
    for part in ["429 Too Many Requests", "retry-after: 7s"] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    assert_eq!(count(&stowd, "failed", "core.txt: "), 1);
    fake.answer(Answer::Of(registry.address().to_owned()));
    eventually(&mut stowd, "it is tried again", |_| {
        fake.requests().len() > first
    });
    // What is asked for is counted from the answer, which came before READY.
    let last = fake.requests()[first - 1].at;
    let again = fake.requests()[first].at;
    assert!(last <= failed_by);
    let waited = again - last;
    assert!(waited >= Duration::from_secs(7), "only {waited:?}");
    eventually(&mut stowd, "it is pulled", |stowd| {
        count(stowd, "imported", "core.txt: ") == 1
    });
    assert_eq!(tags(&stowd), set(&[UMOCI]));
}
