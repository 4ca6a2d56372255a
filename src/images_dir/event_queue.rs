//! Holds events until they are asked for: the newest of each path, and never more than fit.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::source_event::{Ignored, Listing, SourceEnded, SourceEvent, Unreadable};

/// As many paths as are held. When more of them change, the directory is better listed again.
const PATHS: usize = 4096;

/// From the thread that follows the directory to the async side.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    held: Mutex<Held>,
    news: Notify,
}

/// They leave in this order.
#[derive(Debug, Default)]
struct Held {
    degradation: VecDeque<SourceEvent>,
    /// Removals that were seen before the listing, which cannot tell them from what is out of sight
    /// when their directory is another one.
    removed: BTreeSet<PathBuf>,
    listing: Option<Listing>,
    paths: VecDeque<PathBuf>,
    newest: HashMap<PathBuf, SourceEvent>,
    ended: Option<SourceEnded>,
}

impl EventQueue {
    /// Adds an event. Says whether it fits; if not, the events of all paths are dropped, and a
    /// listing must follow.
    #[must_use]
    pub(super) fn push(&self, event: SourceEvent) -> bool {
        let fits = self.held().push(event);
        self.news.notify_one();
        fits
    }

    /// Nothing comes any more.
    pub(super) fn end(&self, why: String) {
        self.held().ended = Some(SourceEnded(why));
        self.news.notify_one();
    }

    /// Takes the next event, as soon as there is one; an error when there is none and none comes any
    /// more. Nothing is lost when the future is dropped.
    pub(super) async fn next(&self) -> Result<SourceEvent, SourceEnded> {
        loop {
            {
                let mut held = self.held();
                if let Some(event) = held.next() {
                    return Ok(event);
                }
                if let Some(ended) = &held.ended {
                    return Err(ended.clone());
                }
            }
            self.news.notified().await;
        }
    }

    // Nothing panics half way through while it is locked.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn push(&mut self, event: SourceEvent) -> bool {
        let event = match event {
            SourceEvent::Listed(listing) => {
                self.list(listing);
                return true;
            }
            other => other,
        };
        let Some(path) = path(&event).map(Path::to_owned) else {
            self.degradation.push_back(event);
            return true;
        };
        if self.newest.insert(path.clone(), event).is_none() {
            self.paths.push_back(path);
        }
        let fits = self.paths.len() <= PATHS;
        if !fits {
            self.forget_paths();
        }
        fits
    }

    fn list(&mut self, listing: Listing) {
        let events = std::mem::take(&mut self.newest).into_values();
        self.removed.extend(events.filter_map(|event| match event {
            SourceEvent::Removed(path) => Some(path),
            _ => None,
        }));
        for listed in &listing.entries {
            self.removed.remove(&listed.entry.path);
        }
        if self.removed.len() > PATHS {
            self.removed.clear();
        }
        self.forget_paths();
        self.listing = Some(listing);
    }

    fn forget_paths(&mut self) {
        self.paths.clear();
        self.newest.clear();
    }

    fn next(&mut self) -> Option<SourceEvent> {
        if let Some(event) = self.degradation.pop_front() {
            return Some(event);
        }
        if let Some(path) = self.removed.pop_first() {
            return Some(SourceEvent::Removed(path));
        }
        if let Some(listing) = self.listing.take() {
            return Some(SourceEvent::Listed(listing));
        }
        self.newest.remove(&self.paths.pop_front()?)
    }
}

/// The path that an event is about.
fn path(event: &SourceEvent) -> Option<&Path> {
    match event {
        SourceEvent::Settling(entry)
        | SourceEvent::Settled(entry)
        | SourceEvent::StillWritten(entry) => Some(&entry.path),
        SourceEvent::Removed(path)
        | SourceEvent::Ignored(Ignored { path, .. })
        | SourceEvent::Unreadable(Unreadable { path, .. }) => Some(path),
        SourceEvent::Listed(_) | SourceEvent::Degraded(_) | SourceEvent::Restored => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Identity, Kind};
    use crate::source_event::Listed;

    fn removed(name: &str) -> SourceEvent {
        SourceEvent::Removed(name.into())
    }

    fn ignored(name: &str) -> SourceEvent {
        SourceEvent::Ignored(PathBuf::from(name).into())
    }

    fn listing(name: &str) -> SourceEvent {
        SourceEvent::Listed(Listing {
            ignored: vec![PathBuf::from(name).into()],
            ..Listing::default()
        })
    }

    async fn all(queue: &EventQueue) -> Vec<SourceEvent> {
        queue.end("no thread".to_owned());
        let mut seen = Vec::new();
        loop {
            match queue.next().await {
                Ok(event) => seen.push(event),
                Err(SourceEnded(why)) => {
                    assert_eq!(why, "no thread");
                    return seen;
                }
            }
        }
    }

    #[tokio::test]
    async fn of_a_path_the_newest_event_is_held_and_paths_take_turns() {
        let queue = EventQueue::default();
        for event in [removed("b"), removed("a"), ignored("b")] {
            assert!(queue.push(event));
        }
        assert_eq!(all(&queue).await, [ignored("b"), removed("a")]);
    }

    #[tokio::test]
    async fn a_listing_replaces_what_was_held_and_what_is_newer_follows_it() {
        let queue = EventQueue::default();
        let polled = |why: &str| SourceEvent::Degraded(why.to_owned());
        for event in [
            polled("limit"),
            listing("older"),
            ignored("a"),
            listing("newer"),
            removed("b"),
            SourceEvent::Restored,
        ] {
            assert!(queue.push(event));
        }
        let expected = [
            polled("limit"),
            SourceEvent::Restored,
            listing("newer"),
            removed("b"),
        ];
        assert_eq!(all(&queue).await, expected);
    }

    #[tokio::test]
    async fn a_removal_that_was_seen_is_told_before_the_listing_that_follows_it() {
        let queue = EventQueue::default();
        let entry = Entry {
            path: "back".into(),
            kind: Kind::Archive,
            identity: Identity {
                device: 1,
                inode: 1,
                size: 1,
                mtime: 0,
                ctime: 0,
            },
        };
        let listing = SourceEvent::Listed(Listing {
            entries: vec![Listed { entry, whole: true }],
            ..Listing::default()
        });
        for event in [
            removed("gone"),
            removed("back"),
            listing.clone(),
            removed("later"),
        ] {
            assert!(queue.push(event));
        }
        let expected = [removed("gone"), listing, removed("later")];
        assert_eq!(all(&queue).await, expected);
    }

    #[tokio::test]
    async fn more_paths_than_fit_are_dropped_and_said_to_be() {
        let queue = EventQueue::default();
        assert!(queue.push(listing("all")));
        for number in 0..PATHS {
            assert!(queue.push(removed(&number.to_string())));
        }
        assert!(queue.push(ignored("0")), "it is held already");
        assert!(!queue.push(removed("one too many")));
        assert!(queue.push(removed("later")));
        assert_eq!(all(&queue).await, [listing("all"), removed("later")]);
    }
}
