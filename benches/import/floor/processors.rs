//! All processors at work.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Hands out the items in their order, to a thread a processor.
pub(crate) fn on_all<T: Sync>(items: &[T], take: impl Fn(usize, &T) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else {
                return;
            };
            take(number, item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}
