//! Images are unpacked: what the store does for it, and what must hold.

use std::collections::BTreeSet;

use stowd::digest::Digest;
use stowd::ledger::{FailureClass, ImportedImage};
use stowd::plan::{Effect, Event, UnpackEnd};
use stowd::unpack::UnpackWhen;

use crate::compared::Compared;
use crate::invariants::Violation;
use crate::node::Node;
use crate::store::Store;

/// Work on snapshots that is under way.
#[derive(Debug)]
pub(crate) enum SnapshotWork {
    /// What was unpacked when the store looked; it may be old when the answer arrives.
    List(Option<(BTreeSet<Digest>, u64)>),
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
    pub(crate) fn step(&mut self, store: &mut Store, compared: &mut Compared) -> Option<Event> {
        match self {
            Self::List(_) if store.is_down => Some(Event::UnpackedListed(Err("down".to_owned()))),
            Self::List(listed) => match listed.take() {
                Some((listed, losses)) => {
                    for image in &listed {
                        compared.unpacked(image, losses);
                    }
                    Some(Event::UnpackedListed(Ok(listed)))
                }
                None => {
                    let snapshots = &store.now.snapshots;
                    let unpacked = snapshots.intersection(&store.now.blobs).cloned();
                    *listed = Some((unpacked.collect(), store.losses));
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
                    compared.not_unpacked(target);
                    UnpackEnd::Failed(FailureClass::Environment, "a mount fails".to_owned())
                } else {
                    let made = usize::from(store.now.snapshots.insert(target.clone()));
                    compared.unpacked(target, store.losses);
                    UnpackEnd::Unpacked { made }
                };
                Some(Event::UnpackEnded(target.clone(), end))
            }
        }
    }
}

/// The images that a standing record of these entries has brought, and that are not unpacked although the
/// store has them.
fn not_unpacked(
    node: &Node,
    is_meant: impl Fn(&std::path::Path) -> bool,
) -> impl Iterator<Item = &ImportedImage> {
    let ledger = node.process.plan.ledger();
    let records = ledger.iter();
    let records = records.filter(move |(path, _)| ledger.stands(path) && is_meant(path));
    let images = records.flat_map(|(_, record)| &record.outcome.imported().images);
    let now = &node.store.now;
    images
        .filter(|image| now.blobs.contains(&image.digest) && !now.snapshots.contains(&image.digest))
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
    let compared = &node.oracle.compared;
    let mut images = not_unpacked(node, |path| start.contains(&path.to_owned()));
    match images.find(|image| compared.is_to_be_unpacked(&image.digest, &node.store)) {
        Some(image) if is_waited_for => Err(Violation::new(format!(
            "1: READY, and {} is not unpacked",
            told(image)
        ))),
        _ => Ok(()),
    }
}

/// 3: When nothing is left to do, what is done is unpacked.
pub(crate) fn at_rest(node: &Node) -> Result<(), Violation> {
    let is_wanted = node.oracle.config.unpack != UnpackWhen::Never;
    match not_unpacked(node, |path| node.directory.seen(path).is_some()).next() {
        Some(image) if is_wanted => Err(Violation::new(format!(
            "3: {} is not unpacked",
            told(image)
        ))),
        _ => Ok(()),
    }
}
