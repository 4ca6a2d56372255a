//! Images are unpacked: what the store does for it, and what must hold.

use std::collections::BTreeSet;

use stowd::digest::Digest;
use stowd::ledger::{FailureClass, ImportedImage};
use stowd::plan::{Effect, Event, UnpackEnd};
use stowd::unpack::UnpackWhen;

use crate::invariants::Violation;
use crate::node::Node;
use crate::store::Store;

/// Work on snapshots that is under way.
#[derive(Debug)]
pub(crate) enum SnapshotWork {
    /// What was unpacked when the store looked; it may be old when the answer arrives.
    List(Option<BTreeSet<Digest>>),
    /// An image, and of which store it is unpacked, once that has begun.
    Unpack(Digest, Option<usize>),
}

impl SnapshotWork {
    pub(crate) fn of(effect: Effect) -> Self {
        match effect {
            Effect::Unpack(target, _) => Self::Unpack(target, None),
            _ => Self::List(None),
        }
    }

    /// Goes one step further, and says how it has ended if it has.
    pub(crate) fn step(&mut self, store: &mut Store) -> Option<Event> {
        match self {
            Self::List(_) if store.is_down => Some(Event::UnpackedListed(Err("down".to_owned()))),
            Self::List(listed) => match listed.take() {
                Some(listed) => Some(Event::UnpackedListed(Ok(listed))),
                None => {
                    let snapshots = &store.now.snapshots;
                    let blobs = &store.now.blobs;
                    *listed = Some(snapshots.intersection(blobs).cloned().collect());
                    None
                }
            },
            Self::Unpack(_, begun @ None) if !store.is_down => {
                *begun = Some(store.generation);
                None
            }
            Self::Unpack(target, begun) => {
                let end = if store.is_down || *begun != Some(store.generation) {
                    UnpackEnd::StoreAway("down".to_owned())
                } else if !store.now.blobs.contains(target) {
                    UnpackEnd::NothingToUnpack
                } else if store.unpacking_fails {
                    store.has_failed_to_unpack = true;
                    UnpackEnd::Failed(FailureClass::Environment, "a mount fails".to_owned())
                } else {
                    let made = usize::from(store.now.snapshots.insert(target.clone()));
                    UnpackEnd::Unpacked { made }
                };
                Some(Event::UnpackEnded(target.clone(), end))
            }
        }
    }
}

/// An image that a standing record of these entries has brought, and that is not unpacked although the
/// store has it.
fn not_unpacked(
    node: &Node,
    is_meant: impl Fn(&std::path::Path) -> bool,
) -> Option<&ImportedImage> {
    let ledger = node.process.plan.ledger();
    let records = ledger.iter();
    let records = records.filter(|(path, _)| ledger.stands(path) && is_meant(path));
    let mut images = records.flat_map(|(_, record)| &record.outcome.imported().images);
    let now = &node.store.now;
    images.find(|image| now.blobs.contains(&image.digest) && !now.snapshots.contains(&image.digest))
}

fn told(image: &ImportedImage) -> &str {
    image.names.first().map_or("", String::as_str)
}

/// 1: READY with `before-ready` means that the images of the start are unpacked, but for what the store has
/// lost, or has failed to unpack.
pub(crate) fn at_ready(node: &Node) -> Result<(), Violation> {
    let start = node.oracle.first_listing.iter().flatten();
    let start = start.collect::<BTreeSet<_>>();
    let is_waited_for = node.oracle.config.unpack == UnpackWhen::BeforeReady;
    let may_lack = node.store.snapshots_lost != node.process.snapshots_lost_before
        || node.store.has_failed_to_unpack;
    match not_unpacked(node, |path| start.contains(&path.to_owned())) {
        Some(image) if is_waited_for && !may_lack => Err(Violation::new(format!(
            "1: READY, and {} is not unpacked",
            told(image)
        ))),
        _ => Ok(()),
    }
}

/// 3: When nothing is left to do, what is done is unpacked.
pub(crate) fn at_rest(node: &Node) -> Result<(), Violation> {
    let is_wanted = node.oracle.config.unpack != UnpackWhen::Never;
    match not_unpacked(node, |path| node.directory.seen(path).is_some()) {
        Some(image) if is_wanted => Err(Violation::new(format!(
            "3: {} is not unpacked",
            told(image)
        ))),
        _ => Ok(()),
    }
}
