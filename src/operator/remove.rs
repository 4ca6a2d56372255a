//! Takes the operator's pins off images, and deletes their names where that is asked.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::blocking::blocking;
use crate::config::Config;
use crate::containerd::Containerd;
use crate::image_store::{Image, ImageStore as _, StoreError};
use crate::ledger::Ledger;
use crate::ledger_file::{BakedFile, LedgerFile, NotBaked};
use crate::naming::{Names, Reference, ReferenceError};
use crate::pin::{OWNER_LABEL, PinOwner, RUNTIME_PIN};

/// Why a name was not removed.
#[derive(Debug, thiserror::Error)]
pub enum NotRemoved {
    #[error(transparent)]
    Name(#[from] ReferenceError),
    #[error("containerd has no image of this name")]
    NotThere,
    #[error(
        "the instance {0} has pinned it: remove its archive, or its line of a list, from the images \
         directory of that instance"
    )]
    OfInstance(String),
    #[error("another client has pinned it, and not 'stowd import'")]
    OfAnother,
    #[error("{0} was pinned again meanwhile, and is not deleted")]
    PinnedAgain(String),
    #[error(transparent)]
    Baked(#[from] NotBaked),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What has become of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Unpinned(String),
    Deleted(String),
    /// It was of the baked set, and is not any more.
    Released(String),
    /// An entry of the instance brings it: it is the instance's pin now.
    LeftToInstance(String),
}

/// Unpins the image of this name, under the names that the extra registries have given it, too, and its names
/// by digest where no other tag of their repository needs them. What is of the baked set, and has no file, is
/// taken out of the set. With `deletes` these names are deleted from
/// the store. What an entry of the instance brings becomes the instance's, and stays. A name without a pin
/// is unpinned already.
pub async fn remove(
    store: &Containerd,
    config: &Config,
    name: &str,
    deletes: bool,
) -> Result<Vec<Removed>, NotRemoved> {
    let name = Reference::parse(name)?.canonical();
    let brought = Brought::now(config).await;
    let text = name.to_string();
    let (images, registries) = (store.images().await?, &config.images.extra_registries);
    let instance = PinOwner::of_instance(&config.instance);
    let owner = match brought.is_baked(&text) {
        true => &instance,
        false => store.owner(),
    };
    let images = match to_remove(&name, &images, owner, registries) {
        // What is gone from containerd is of the baked set all the same.
        Err(NotRemoved::NotThere) if brought.is_baked(&text) => Vec::new(),
        found => found?,
    };
    let mut removed = Vec::new();
    if brought.is_baked(&text) {
        // Before the pins go: a daemon puts back what is of the set.
        let names = images.iter().map(|image| image.name.clone());
        let names = names.chain([text]).collect::<BTreeSet<_>>();
        let file = BakedFile::new(&config.state_dir);
        let told = names.clone();
        blocking(move || file.release(&told)).await?;
        removed.push(Removed::Released(name.to_string()));
    }
    let store = store.clone().with_owner(owner.clone());
    for image in images {
        let name = image.name.clone();
        store.unpin(&name).await?;
        removed.push(if brought.by_file(&name) {
            pin_for_instance(&store, config, image).await?;
            Removed::LeftToInstance(name)
        } else if !deletes {
            Removed::Unpinned(name)
        } else if store.remove_image(&name).await? {
            Removed::Deleted(name)
        } else {
            return Err(NotRemoved::PinnedAgain(name));
        });
    }
    Ok(removed)
}

/// What the instance has brought.
struct Brought {
    ledger: Ledger,
    /// Entries of the baked set whose files are gone.
    without_file: HashSet<PathBuf>,
}

impl Brought {
    async fn now(config: &Config) -> Self {
        let mut file = LedgerFile::new(&config.state_dir, &config.images.dir);
        blocking(move || {
            let ledger = file.look().ledger;
            let baked = ledger.iter().map(|(path, _)| path.to_owned());
            let baked = baked.filter(|path| ledger.is_baked(path) && !path.exists());
            Self {
                without_file: baked.collect(),
                ledger,
            }
        })
        .await
    }

    /// Whether an entry that may have a file brings this name.
    fn by_file(&self, name: &str) -> bool {
        self.entries_with(name)
            .any(|path| !self.without_file.contains(path))
    }

    /// Whether the name is of the baked set, and no entry that may have a file brings it.
    fn is_baked(&self, name: &str) -> bool {
        self.ledger.has_baked_name(name) && !self.by_file(name)
    }

    fn entries_with(&self, name: &str) -> impl Iterator<Item = &Path> {
        let with = self.ledger.iter().filter(move |(_, record)| {
            let mut images = record.outcome.imported().images.iter();
            images.any(|image| image.names.iter().any(|own| own == name))
        });
        with.map(|(path, _)| path)
    }
}

async fn pin_for_instance(
    store: &Containerd,
    config: &Config,
    image: &Image,
) -> Result<(), StoreError> {
    let instance = PinOwner::of_instance(&config.instance);
    let image = Image {
        labels: instance.labels(),
        ..image.clone()
    };
    let store = store.clone().with_owner(instance);
    let lease = store.begin_lease("pinning for the instance").await?;
    let pinned = store.put_image(&lease, &image).await;
    store.release(lease).await?;
    pinned
}

/// The name, and those that came with it.
fn to_remove<'i>(
    name: &Reference,
    images: &'i [Image],
    owner: &PinOwner,
    extra_registries: &[String],
) -> Result<Vec<&'i Image>, NotRemoved> {
    let text = name.to_string();
    let image = images.iter().find(|image| image.name == text);
    let image = image.ok_or(NotRemoved::NotThere)?;
    if !is_free(image, owner) {
        let label = |key: &str| image.labels.get(key);
        return Err(match owner.another(label) {
            Some(other) => NotRemoved::OfInstance(other.to_owned()),
            None => NotRemoved::OfAnother,
        });
    }
    let digest = &image.target.digest;
    let own = |wanted: &str| {
        let is_it = |other: &&Image| other.name == wanted && other.target.digest == *digest;
        let found = images.iter().find(is_it);
        found.filter(|other| owner.owns(other.labels.get(OWNER_LABEL)))
    };
    let mut found = vec![image];
    for repository in Names::repositories(name, extra_registries) {
        let tagged = name.tag().map(|tag| format!("{repository}:{tag}"));
        found.extend(tagged.as_deref().and_then(own));
        let tags = format!("{repository}:");
        let needs_it = |other: &Image| {
            let is_tag = other.name.starts_with(&tags) && Some(&other.name) != tagged.as_ref();
            is_tag && own(&other.name).is_some()
        };
        let by_digest = own(&format!("{repository}@{digest}"));
        found.extend(by_digest.filter(|_| !images.iter().any(needs_it)));
    }
    let mut seen = HashSet::new();
    found.retain(|image| seen.insert(&image.name));
    Ok(found)
}

/// Whether its pin is the operator's, or it has none.
fn is_free(image: &Image, owner: &PinOwner) -> bool {
    let (pin, _) = RUNTIME_PIN;
    owner.owns(image.labels.get(OWNER_LABEL)) || !image.labels.contains_key(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::image_store::{Descriptor, Labels};
    use crate::pin::OPERATOR;

    fn image(name: &str, content: &str, labels: Labels) -> Image {
        Image {
            name: name.replace("DIGEST", Digest::of(content.as_bytes()).as_str()),
            target: Descriptor {
                media_type: String::new(),
                digest: Digest::of(content.as_bytes()),
                size: 1,
            },
            labels,
        }
    }

    fn removed(name: &str, images: &[(&str, &str, &str)]) -> Result<Vec<String>, String> {
        let images = images.iter().map(|(name, content, owner)| {
            let labels = match *owner {
                "" => Labels::new(),
                owner => PinOwner::of_instance(owner).labels(),
            };
            image(name, content, labels)
        });
        let images = images.collect::<Vec<_>>();
        let name = Reference::parse(name).unwrap().canonical();
        let mirror = ["mirror.example".to_owned()];
        let found = to_remove(&name, &images, &PinOwner::of_instance(OPERATOR), &mirror);
        let names = found
            .map_err(|error| error.to_string())?
            .into_iter()
            .map(|image| &image.name);
        let short = Digest::of(b"1").as_str().to_owned();
        Ok(names.map(|name| name.replace(&short, "DIGEST")).collect())
    }

    const APP: (&str, &str, &str) = ("docker.io/library/app:1", "1", "import");
    const APP_BY_DIGEST: (&str, &str, &str) = ("docker.io/library/app@DIGEST", "1", "import");

    #[test]
    fn the_name_by_digest_goes_with_the_last_tag() {
        let both = Ok(vec![APP.0.to_owned(), APP_BY_DIGEST.0.to_owned()]);
        assert_eq!(removed("app:1", &[APP, APP_BY_DIGEST]), both);
        let alone = Ok(vec![APP.0.to_owned()]);
        let other_tag = ("docker.io/library/app:2", "1", "import");
        assert_eq!(removed("app:1", &[APP, APP_BY_DIGEST, other_tag]), alone);
        let others_by_digest = ("docker.io/library/app@DIGEST", "1", "default");
        assert_eq!(removed("app:1", &[APP, others_by_digest]), alone);
        // Another image of the repository, and the same image in another repository.
        for other in [
            ("docker.io/library/app:2", "2", "import"),
            ("docker.io/library/apple:1", "1", "import"),
        ] {
            assert_eq!(removed("app:1", &[APP, APP_BY_DIGEST, other]), both);
        }
    }

    #[test]
    fn the_names_of_extra_registries_go_with_it() {
        let mirrored = [
            "mirror.example/library/app:1",
            "mirror.example/library/app@DIGEST",
        ];
        let [tag, by_digest] = mirrored.map(|name| (name, "1", "import"));
        let all = [APP.0, APP_BY_DIGEST.0, mirrored[0], mirrored[1]];
        let all = Ok(all.map(str::to_owned).to_vec());
        assert_eq!(removed("app:1", &[tag, by_digest, APP, APP_BY_DIGEST]), all);
        let others = (mirrored[0], "1", "default");
        let alone = Ok(vec![APP.0.to_owned()]);
        assert_eq!(removed("app:1", &[APP, others]), alone);
    }

    #[test]
    fn what_others_have_pinned_is_left() {
        let refused = |images: &[_]| removed("app:1", images).unwrap_err();
        assert!(refused(&[]).contains("no image of this name"));
        let of = |owner| ("docker.io/library/app:1", "1", owner);
        assert!(refused(&[of("edge")]).contains("the instance edge has pinned it"));
        assert_eq!(removed("app:1", &[of("")]), Ok(vec![APP.0.to_owned()]));
    }
}
