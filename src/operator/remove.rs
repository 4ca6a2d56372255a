//! Takes the operator's pins off images, and deletes their names where that is asked.

use crate::containerd::Containerd;
use crate::image_store::{Image, ImageStore as _, StoreError};
use crate::naming::{Reference, ReferenceError};
use crate::pin::{OWNER_LABEL, PinOwner};

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
    #[error("'stowd import' has not pinned it")]
    NotPinned,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Unpins the image of this name, and its name by digest where no other tag of the repository needs it.
/// With `deletes` these names are deleted from the store. Returns which names those are.
pub async fn remove(
    store: &Containerd,
    name: &str,
    deletes: bool,
) -> Result<Vec<String>, NotRemoved> {
    let name = Reference::parse(name)?.canonical();
    let images = store.images().await?;
    let names = names_to_remove(&name, &images, store.owner())?;
    for name in &names {
        store.unpin(name).await?;
        if deletes {
            store.remove_image(name).await?;
        }
    }
    Ok(names)
}

/// The name, and the one by digest that came with it.
fn names_to_remove(
    name: &Reference,
    images: &[Image],
    owner: &PinOwner,
) -> Result<Vec<String>, NotRemoved> {
    let is_own = |image: &&Image| owner.owns(image.labels.get(OWNER_LABEL));
    let text = name.to_string();
    let image = images.iter().find(|image| image.name == text);
    let image = image.ok_or(NotRemoved::NotThere)?;
    if !is_own(&image) {
        let label = |key: &str| image.labels.get(key);
        return Err(match owner.another(label) {
            Some(other) => NotRemoved::OfInstance(other.to_owned()),
            None => NotRemoved::NotPinned,
        });
    }
    let by_digest = name.by_digest(&image.target.digest).to_string();
    let repository = name.repository() + ":";
    let needs_it = |other: &Image| {
        other.target.digest == image.target.digest
            && other.name != text
            && other.name.starts_with(&repository)
    };
    let has_other_tag = images.iter().filter(is_own).any(needs_it);
    let by_digest = images
        .iter()
        .filter(is_own)
        .find(|other| other.name == by_digest && other.name != text && !has_other_tag);
    let names = [Some(image), by_digest].into_iter().flatten();
    Ok(names.map(|image| image.name.clone()).collect())
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
        let names = names_to_remove(&name, &images, &PinOwner::of_instance(OPERATOR));
        let names = names.map_err(|error| error.to_string())?;
        let short = Digest::of(b"1").as_str().to_owned();
        Ok(names
            .iter()
            .map(|name| name.replace(&short, "DIGEST"))
            .collect())
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
    fn what_others_have_pinned_is_left() {
        let refused = |images: &[_]| removed("app:1", images).unwrap_err();
        assert!(refused(&[]).contains("no image of this name"));
        let of = |owner| ("docker.io/library/app:1", "1", owner);
        assert!(refused(&[of("edge")]).contains("the instance edge has pinned it"));
        assert!(refused(&[of("")]).contains("'stowd import' has not pinned it"));
    }
}
