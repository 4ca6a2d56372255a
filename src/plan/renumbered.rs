//! File systems that go by another number than the ledger says.

use std::collections::BTreeMap;

use crate::source_event::{DirectoryId, Listing, above};

use super::life::Life;
use super::state::Plan;

impl Plan {
    /// An older stowd knew some file systems by the number of their device, which says little: another one may
    /// have it now. The file of an entry that is what it was tells that this one is the same. What was seen in
    /// it is looked for there; without such a file it is out of sight.
    pub(super) fn know_file_systems(&mut self, listing: &Listing) {
        let renumbered = self.renumbered(listing);
        if renumbered.is_empty() {
            return;
        }
        let rename = |seen_in: &mut Vec<DirectoryId>| {
            for seen in seen_in {
                let known = renumbered.get(&seen.file_system);
                seen.file_system = *known.unwrap_or(&seen.file_system);
            }
        };
        let known = self.ledger.iter().map(|(path, record)| {
            let mut seen_in = record.seen_in.clone();
            rename(&mut seen_in);
            (path.to_owned(), seen_in)
        });
        for (path, seen_in) in known.collect::<Vec<_>>() {
            self.ledger.seen_in(&path, seen_in);
        }
        for path in self.entries.out_of_sight().clone() {
            if let Some(mut life) = self.entries.remove(&path) {
                if let Life::OutOfSight { seen_in, .. } = &mut life {
                    rename(seen_in);
                }
                self.entries.set(path, life);
            }
        }
    }

    fn renumbered(&self, listing: &Listing) -> BTreeMap<u64, u64> {
        let renumbered = listing.entries.iter().filter_map(|listed| {
            let entry = &listed.entry;
            let record = self.ledger.get(&entry.path)?;
            // With another number the file is behind a link, and tells nothing.
            let was = record.seen_in.last()?;
            if was.file_system != entry.identity.device {
                return None;
            }
            let now = above(&listing.directories, &entry.path, &self.rules.root);
            let is_whole = now.len() == record.seen_in.len();
            let now = now.last()?;
            let is_same = record.identity == Some(entry.identity) && was.inode == now.inode;
            // All others have 64 bits.
            let is_device = u32::try_from(now.file_system).is_ok();
            let is_renumbered = is_whole && is_same && !is_device;
            is_renumbered.then_some((was.file_system, now.file_system))
        });
        renumbered.collect()
    }
}
