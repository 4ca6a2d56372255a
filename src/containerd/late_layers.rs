//! Layers whose unpacking did not end in time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest::Digest;

/// Those that were late once, and have not been unpacked since. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct LateLayers(Arc<Mutex<BTreeSet<Digest>>>);

impl LateLayers {
    /// A layer was late. Returns whether it is for the second time; after that it counts from the beginning.
    pub(super) fn is_again(&self, layer: &Digest) -> bool {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !late.insert(layer.clone()) && late.remove(layer)
    }

    /// A layer was unpacked.
    pub(super) fn forget(&self, layer: &Digest) {
        let mut late = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        late.remove(layer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_for_the_second_time_is_told() {
        let late = LateLayers::default();
        let [one, two] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        let told = [&one, &two, &one, &one].map(|layer| late.is_again(layer));
        assert_eq!(told, [false, false, true, false]);
        late.forget(&two);
        assert!(!late.is_again(&two));
    }
}
