//! How many pulls are made at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::concurrency::pulls_of_registry;
use crate::keyed_lock::{KeyGuard, KeyedLock};
use crate::naming::Reference;

/// The permits of all lists together. Clones share them.
///
/// One registry gets all but one of them: one that does not answer keeps the lists of another waiting
/// for a permit, not for its own timeout. One name is pulled once at a time: the second pull of it finds
/// the image there.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    names: KeyedLock,
    registries: KeyedLock,
    all: Arc<Semaphore>,
}

/// A pull may be made, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _held: (KeyGuard, KeyGuard, Option<OwnedSemaphorePermit>),
}

impl Permits {
    pub(super) fn new(parallel: usize) -> Self {
        Self {
            names: KeyedLock::default(),
            registries: KeyedLock::with_holders(pulls_of_registry(parallel)),
            all: Arc::new(Semaphore::new(parallel)),
        }
    }

    /// Waits until this image may be pulled.
    pub(super) async fn take(&self, reference: &Reference) -> Permit {
        // In this order: a pull that waits for a name or a registry holds no permit of others.
        let name = self.names.lock(&reference.to_string()).await;
        let registry = self.registries.lock(reference.domain()).await;
        // An error is a semaphore that was closed, which no code does.
        let one_of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        Permit {
            _held: (name, registry, one_of_all),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_registry_leaves_one_permit_and_a_name_is_pulled_once() {
        let permits = Permits::new(3);
        let take = async |name: &str| {
            let reference = Reference::parse(name).unwrap();
            let soon = Duration::from_millis(20);
            tokio::time::timeout(soon, permits.take(&reference))
                .await
                .ok()
        };
        let first = take("a.example/1:1").await;
        assert!(first.is_some());
        assert!(take("a.example/1:1").await.is_none(), "it is being pulled");
        let second = take("a.example/2:1").await;
        assert!(second.is_some());
        assert!(
            take("a.example/3:1").await.is_none(),
            "the registry has its share"
        );
        let other = take("b.example/1:1").await;
        assert!(other.is_some());
        assert!(take("c.example/1:1").await.is_none(), "that is all");
        drop((first, second, other));
        assert!(take("a.example/3:1").await.is_some());
    }
}
