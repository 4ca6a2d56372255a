//! Image records: names that point to manifests and indexes.

use std::collections::{BTreeMap, HashMap};

use containerd_client::services::v1 as api;
use containerd_client::services::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, ListImagesRequest, UpdateImageRequest,
};
use containerd_client::types;
use prost_types::FieldMask;

use super::client::{Containerd, answered};
use super::failure::FailureKind;
use super::lease::Lease;
use super::name_parts::NamePart;
use crate::digest::Digest;
use crate::image_store::{Descriptor, Image, Labels, StoreError};
use crate::pin::{OWNER_LABEL, PinOwner, RUNTIME_PIN};

/// How often a name may come or go between a look and a write before that is an error.
const RACES: usize = 20;

impl Containerd {
    /// Creates the image, or changes the existing record in place: never is the name missing. The pin of
    /// another owner stays as it is, and the target of a name that another instance has pinned.
    pub(super) async fn create_or_update_image(
        &self,
        lease: &Lease,
        image: &Image,
    ) -> Result<(), StoreError> {
        let deadline = self.deadlines().change;
        let mut records = self.image_records(Some(lease));
        // Most are new. One that is there is found by that it cannot be created, which costs no write.
        let mut existing = None;
        for _ in 0..=RACES {
            let raced = match existing {
                None => {
                    let request = CreateImageRequest {
                        image: Some(to_record(image, &image.labels)),
                        ..Default::default()
                    };
                    let created = answered("Images.Create", deadline, records.create(request));
                    match created.await {
                        Ok(_) => return Ok(()),
                        Err(failure) if failure.kind == FailureKind::AlreadyExists => failure,
                        Err(failure) => return Err(failure.into()),
                    }
                }
                Some(existing) => {
                    let Some(change) = change(&existing, image, self.pin_owner()) else {
                        return Ok(());
                    };
                    let updated = answered("Images.Update", deadline, records.update(change));
                    match updated.await {
                        Ok(_) => return Ok(()),
                        Err(failure) if failure.kind == FailureKind::NotFound => failure,
                        Err(failure) => return Err(failure.into()),
                    }
                }
            };
            tracing::debug!(image = image.name, cause = raced.cause, "raced");
            existing = self.get_image(&image.name).await?;
        }
        Err(StoreError::Refused {
            call: "Images.Update",
            cause: format!("another client keeps creating and deleting {}", image.name),
        })
    }

    /// Whether the record is there, and nothing in it is to be changed.
    pub(super) async fn is_recorded(&self, image: &Image) -> Result<bool, StoreError> {
        let existing = self.get_image(&image.name).await?;
        Ok(existing.is_some_and(|existing| change(&existing, image, self.pin_owner()).is_none()))
    }

    /// Takes both labels of a pin off at once, if it is the owner's.
    pub(super) async fn unpin_image(&self, name: &str) -> Result<(), StoreError> {
        self.relabel(name, |existing| unpinned(existing, self.pin_owner()))
            .await
    }

    /// Puts the owner's name on a pin that it takes over.
    pub(super) async fn take_over_pin(&self, name: &str) -> Result<(), StoreError> {
        self.relabel(name, |existing| taken_over(existing, self.pin_owner()))
            .await
    }

    /// Has containerd publish that the record was changed, which it is not: each update is an event.
    pub(super) async fn announce_image(&self, name: &str) -> Result<(), StoreError> {
        let as_it_is = |existing: api::Image| {
            let (pin, _) = RUNTIME_PIN;
            let labels = existing.labels.clone();
            Some(with_labels(existing, &[pin], labels))
        };
        self.relabel(name, as_it_is).await
    }

    /// Makes the change of a record that is there, if one is to be made.
    async fn relabel(
        &self,
        name: &str,
        change: impl FnOnce(api::Image) -> Option<UpdateImageRequest>,
    ) -> Result<(), StoreError> {
        let Some(change) = self.get_image(name).await?.and_then(change) else {
            return Ok(());
        };
        let mut records = self.image_records(None);
        let updated = answered(
            "Images.Update",
            self.deadlines().change,
            records.update(change),
        );
        match updated.await {
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Removes the record, unless it is pinned. Returns whether there is none now.
    pub(crate) async fn remove_image(&self, name: &str) -> Result<bool, StoreError> {
        let existing = self.get_image(name).await?;
        let (pin, _) = RUNTIME_PIN;
        match existing {
            None => return Ok(true),
            Some(existing) if existing.labels.contains_key(pin) => return Ok(false),
            Some(_) => {}
        }
        let request = DeleteImageRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        let mut records = self.image_records(None);
        let deleted = records.delete(request);
        match answered("Images.Delete", self.deadlines().change, deleted).await {
            Err(failure) if failure.kind != FailureKind::NotFound => Err(failure.into()),
            _ => Ok(true),
        }
    }

    async fn get_image(&self, name: &str) -> Result<Option<api::Image>, StoreError> {
        let request = GetImageRequest {
            name: name.to_owned(),
        };
        let mut records = self.image_records(None);
        match answered("Images.Get", self.deadlines().answer, records.get(request)).await {
            Ok(answer) => Ok(answer.image),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Whether the name points to something else by now. A name that is gone does not.
    pub(super) async fn was_moved(&self, image: &Image) -> Result<bool, StoreError> {
        let record = self.get_image(&image.name).await?;
        let target = record.and_then(|record| record.target);
        Ok(target.is_some_and(|target| target.digest != image.target.digest.as_str()))
    }

    pub(super) async fn image_named(&self, name: &str) -> Result<Option<Image>, StoreError> {
        Ok(self.get_image(name).await?.and_then(from_record))
    }

    /// All images; in parts, where they are too many for one answer.
    pub(super) async fn list_images(&self) -> Result<Vec<Image>, StoreError> {
        let mut images = Vec::new();
        let mut parts = vec![NamePart::default()];
        while let Some(part) = parts.pop() {
            let mut records = self.image_records(None);
            let listed = records.list(ListImagesRequest {
                filters: part.filters(),
            });
            let listed = answered("Images.List", self.deadlines().answer, listed).await;
            match listed {
                Ok(listed) => images.extend(listed.images.into_iter().filter_map(from_record)),
                Err(failure) => match part.cut().filter(|_| failure.kind == FailureKind::TooLong) {
                    Some(halves) => parts.extend(halves),
                    None => return Err(failure.into()),
                },
            }
        }
        Ok(images)
    }
}

/// What must change in a record for it to be `wanted`; `None`: nothing.
fn change(existing: &api::Image, wanted: &Image, owner: &PinOwner) -> Option<UpdateImageRequest> {
    let labels = labels_to_set(&existing.labels, &wanted.labels, owner);
    let mut paths: Vec<String> = labels.keys().map(|key| format!("labels.{key}")).collect();
    let target = existing.target.as_ref();
    let is_other =
        target.is_none_or(|target| to_descriptor(target).as_ref() != Some(&wanted.target));
    if is_other && owner.another(|key| existing.labels.get(key)).is_none() {
        paths.push("target".to_owned());
    }
    (!paths.is_empty()).then(|| UpdateImageRequest {
        image: Some(to_record(wanted, &labels)),
        update_mask: Some(FieldMask { paths }),
        ..Default::default()
    })
}

/// The update that takes the owner's pin off; `None`: there is none. A label that is named by the mask
/// and missing from the record is deleted (containerd, `metadata/images.go`).
fn unpinned(existing: api::Image, owner: &PinOwner) -> Option<UpdateImageRequest> {
    let is_own = owner.owns(existing.labels.get(OWNER_LABEL));
    let keys = owner.pins().map(|(key, _)| key);
    is_own.then(|| with_labels(existing, &keys, HashMap::new()))
}

/// The update that puts the owner's name on a pin that it takes over; `None`: it is not to be.
fn taken_over(existing: api::Image, owner: &PinOwner) -> Option<UpdateImageRequest> {
    let is_taken_over = owner.takes_over(existing.labels.get(OWNER_LABEL));
    is_taken_over.then(|| with_labels(existing, &[OWNER_LABEL], owner.labels()))
}

/// The update that gives these labels the values that they have in `labels`, or none.
fn with_labels(
    existing: api::Image,
    keys: &[&str],
    labels: HashMap<String, String>,
) -> UpdateImageRequest {
    let paths = keys.iter().map(|key| format!("labels.{key}"));
    UpdateImageRequest {
        update_mask: Some(FieldMask {
            paths: paths.collect(),
        }),
        image: Some(api::Image { labels, ..existing }),
        ..Default::default()
    }
}

/// The wanted labels that the record lacks, without that of the owner where the pin is another's.
fn labels_to_set(existing: &HashMap<String, String>, wanted: &Labels, owner: &PinOwner) -> Labels {
    let (pinned, value) = RUNTIME_PIN;
    let is_pinned = existing.get(pinned).is_some_and(|had| had == value);
    let of_owner = existing.get(OWNER_LABEL);
    let is_foreign = (is_pinned || of_owner.is_some()) && !owner.owns(of_owner);
    wanted
        .iter()
        .filter(|&(key, value)| existing.get(key) != Some(value))
        .filter(|(key, _)| !(is_foreign && *key == OWNER_LABEL))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn to_record(image: &Image, labels: &BTreeMap<String, String>) -> api::Image {
    let labels = labels.clone().into_iter().collect();
    api::Image {
        name: image.name.clone(),
        labels,
        target: Some(types::Descriptor {
            media_type: image.target.media_type.clone(),
            digest: image.target.digest.as_str().to_owned(),
            size: i64::try_from(image.target.size).unwrap_or(i64::MAX),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// `None` for a target that is no SHA-256: stowd makes none, and asks for none.
fn from_record(record: api::Image) -> Option<Image> {
    Some(Image {
        target: to_descriptor(record.target.as_ref()?)?,
        name: record.name,
        labels: record.labels.into_iter().collect(),
    })
}

fn to_descriptor(target: &types::Descriptor) -> Option<Descriptor> {
    Some(Descriptor {
        media_type: target.media_type.clone(),
        digest: Digest::parse(&target.digest).ok()?,
        size: u64::try_from(target.size).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::{BEFORE_INSTANCES, DEFAULT_PIN};

    fn labels<M: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> M {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn wanted() -> Image {
        Image {
            name: "docker.io/library/a:1".to_owned(),
            target: Descriptor {
                media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                digest: Digest::of(b"a"),
                size: 1,
            },
            labels: labels(&[RUNTIME_PIN, DEFAULT_PIN, ("x", "new")]),
        }
    }

    fn paths(existing: &[(&str, &str)]) -> Vec<String> {
        let image = wanted();
        let record = to_record(&image, &labels(existing));
        let change = change(&record, &image, &PinOwner::default());
        change.map_or(Vec::new(), |change| change.update_mask.unwrap().paths)
    }

    #[test]
    fn only_what_differs_is_written() {
        let pin = format!("labels.{}", RUNTIME_PIN.0);
        let own = format!("labels.{}", DEFAULT_PIN.0);
        assert_eq!(paths(&[("y", "theirs")]), [pin.as_str(), &own, "labels.x"]);
        let same = [RUNTIME_PIN, DEFAULT_PIN, ("x", "new")];
        assert_eq!(paths(&same), Vec::<String>::new());

        let image = wanted();
        let mut record = to_record(&image, &image.labels);
        record.target.as_mut().unwrap().digest = Digest::of(b"b").to_string();
        let change = change(&record, &image, &PinOwner::default()).unwrap();
        assert_eq!(change.update_mask.unwrap().paths, ["target"]);
    }

    #[test]
    fn a_pin_that_stowd_did_not_set_stays() {
        assert_eq!(paths(&[RUNTIME_PIN]), ["labels.x"]);
        // The pin was removed and stowd's label was not: it is pinned again.
        let pin = format!("labels.{}", RUNTIME_PIN.0);
        assert_eq!(paths(&[DEFAULT_PIN, ("x", "new")]), [pin.as_str()]);
    }

    #[test]
    fn the_pin_of_another_instance_stays() {
        let theirs = (OWNER_LABEL, "edge");
        assert_eq!(paths(&[RUNTIME_PIN, theirs]), ["labels.x"]);
        // Their pin is off, and the image is to be kept all the same.
        let pin = format!("labels.{}", RUNTIME_PIN.0);
        assert_eq!(paths(&[theirs, ("x", "new")]), [pin.as_str()]);
        let of = |pins: &[(&str, &str)]| to_record(&wanted(), &labels(pins));
        let owner = PinOwner::default();
        assert_eq!(unpinned(of(&[RUNTIME_PIN, theirs]), &owner), None);
        assert_eq!(taken_over(of(&[RUNTIME_PIN, theirs]), &owner), None);
    }

    #[test]
    fn a_name_that_another_instance_has_pinned_stays_where_it_points_to() {
        let theirs = (OWNER_LABEL, "edge");
        let old = (OWNER_LABEL, BEFORE_INSTANCES);
        let moved = |pins: &[(&str, &str)], owner: &str| {
            let mut record = to_record(&wanted(), &labels(pins));
            record.target.as_mut().unwrap().digest = Digest::of(b"b").to_string();
            let change = change(&record, &wanted(), &PinOwner::of_instance(owner));
            let paths = change.map_or(Vec::new(), |change| change.update_mask.unwrap().paths);
            paths.contains(&"target".to_owned())
        };
        assert!(!moved(&[RUNTIME_PIN, theirs], "default"));
        assert!(moved(&[RUNTIME_PIN, theirs], "edge"));
        // Not pinned, or by a client that is no stowd, or by one from before there were instances.
        assert!(moved(&[theirs], "default"));
        assert!(moved(&[RUNTIME_PIN], "default"));
        assert!(moved(&[RUNTIME_PIN, old], "edge"));
    }

    #[test]
    fn the_default_instance_takes_over_the_pins_from_before_there_were_instances() {
        let old = (OWNER_LABEL, BEFORE_INSTANCES);
        let record = to_record(&wanted(), &labels(&[RUNTIME_PIN, old]));
        let change = taken_over(record.clone(), &PinOwner::default()).unwrap();
        let owner = format!("labels.{OWNER_LABEL}");
        assert_eq!(change.update_mask.unwrap().paths, [owner.as_str()]);
        let written = change.image.unwrap().labels;
        assert_eq!(written[OWNER_LABEL], DEFAULT_PIN.1);
        assert_eq!(paths(&[RUNTIME_PIN, old, ("x", "new")]), [owner.as_str()]);
        assert!(unpinned(record.clone(), &PinOwner::default()).is_some());

        let edge = PinOwner::of_instance("edge");
        assert_eq!(taken_over(record.clone(), &edge), None);
        assert_eq!(unpinned(record, &edge), None);
    }
}
