//! How many pulls are made at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::naming::Reference;

/// The permits of all lists together. Clones share them.
///
/// One registry gets all but one of them: one that does not answer keeps the lists of another waiting
/// for a permit, not for its own timeout. One name is pulled once at a time: who waited for it finds
/// it there.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    parallel: usize,
    all: Arc<Semaphore>,
    registries: Keyed,
    names: Keyed,
}

/// A pull may be made, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _held: [Option<OwnedSemaphorePermit>; 3],
}

impl Permits {
    pub(super) fn new(parallel: usize) -> Self {
        Self {
            parallel,
            all: Arc::new(Semaphore::new(parallel)),
            registries: Keyed::default(),
            names: Keyed::default(),
        }
    }

    /// Waits until this image may be pulled.
    pub(super) async fn take(&self, reference: &Reference) -> Permit {
        let name = self.names.of(&reference.to_string(), 1);
        let most = self.parallel.saturating_sub(1).max(1);
        let registry = self.registries.of(reference.domain(), most);
        // In this order: who waits for a name or a registry holds no permit of others.
        let mut held = [None, None, None];
        for (permit, semaphore) in held.iter_mut().zip([name, registry, Arc::clone(&self.all)]) {
            // An error is a semaphore that was closed, and nobody closes one.
            *permit = semaphore.acquire_owned().await.ok();
        }
        Permit { _held: held }
    }
}

/// A semaphore for each key that somebody holds or waits for.
#[derive(Debug, Clone, Default)]
struct Keyed(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

impl Keyed {
    fn of(&self, key: &str, permits: usize) -> Arc<Semaphore> {
        let mut semaphores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody has any more: a permit has its semaphore.
        semaphores.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        let new = || Arc::new(Semaphore::new(permits));
        Arc::clone(semaphores.entry(key.to_owned()).or_insert_with(new))
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
        assert!(permits.names.0.lock().unwrap().len() <= 1, "no key is kept");
    }
}
