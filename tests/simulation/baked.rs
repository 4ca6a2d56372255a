//! The baked set: what a run with `--keep` has loaded stays pinned, whatever becomes of its files.

use crate::invariants::Violation;
use crate::node::Node;

/// The names of images without extra registries, which other settings may take away.
const OWN: &str = "r.example/";

/// Pins are to be taken off: none of an entry of the set that has no file.
pub(crate) fn unpins(node: &Node, names: &[String]) -> Result<(), Violation> {
    let set = node.baked_set();
    let without_file = set
        .iter()
        .filter(|(path, _)| !node.directory.files.contains_key(*path));
    for (path, record) in without_file {
        let mut baked = record.images().flat_map(|image| &image.names);
        if let Some(name) = baked.find(|name| name.starts_with(OWN) && names.contains(name)) {
            let path = path.display();
            return Err(Violation::new(format!(
                "2: {name} of {path} is to be unpinned, which is baked"
            )));
        }
    }
    Ok(())
}

/// What is baked and has no file has a record, an outcome, and its pins where its images are there.
pub(crate) fn at_rest(node: &Node) -> Result<(), Violation> {
    let set = node.baked_set();
    let ledger = node.process.plan.ledger();
    for (path, record) in set.iter() {
        let is_there = node.directory.files.contains_key(path);
        if is_there || record.images().next().is_none() {
            continue;
        }
        let shown = path.display();
        let problem = |what: &str| Err(Violation::new(format!("2: {shown} is baked, and {what}")));
        if !ledger.has_outcome(path) {
            return problem("has no outcome");
        }
        for image in record.images() {
            let named = image.names.iter().filter_map(|name| {
                let there = node.store.now.images.get(name)?;
                (there.digest == image.digest).then_some((name, there))
            });
            let is_foreign = |name: &String| node.store.now.foreign.contains(name);
            let mut own = named.filter(|(name, _)| !is_foreign(name));
            if own.any(|(_, there)| !there.pinned) && !node.store.has_deleted {
                return problem("an image of it is not pinned");
            }
        }
    }
    Ok(())
}
