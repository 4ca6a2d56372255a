//! What is known of the sandbox image, with which the runtime makes every pod.

use crate::happened::Happened;

use super::event::SandboxImage;

/// Whether it is missing. Where the store lacks it and no entry brings it, no pod starts offline.
#[derive(Debug, Default)]
pub(super) struct SandboxCheck {
    /// It is of interest here.
    is_wanted: bool,
    /// The runtime is asked for it.
    is_awaited: bool,
    image: Option<SandboxImage>,
    /// Something has changed since it was judged.
    is_due: bool,
    /// It is missing, which was told.
    is_missing: bool,
}

impl SandboxCheck {
    pub(super) fn begin(&mut self) {
        self.is_wanted = true;
        self.is_awaited = true;
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The runtime has answered.
    pub(super) fn answered(&mut self, image: Option<SandboxImage>) {
        let name = |image: &Option<SandboxImage>| image.as_ref().map(|image| image.name.clone());
        *self = Self {
            is_wanted: self.is_wanted,
            is_awaited: false,
            is_due: true,
            is_missing: self.is_missing && name(&self.image) == name(&image),
            image,
        };
    }

    /// An entry has another outcome.
    pub(super) fn doubt(&mut self) {
        self.is_due = true;
    }

    /// The store has told its images: whether it has one of a name.
    pub(super) fn listed(&mut self, has: impl Fn(&str) -> bool) {
        if let Some(image) = &mut self.image {
            image.is_there = has(&image.name);
            self.is_due = true;
        }
    }

    /// What is to be told: that it begins to be missing, or that this ends. `is_brought`: whether an
    /// entry brings a name.
    pub(super) fn judge(&mut self, is_brought: impl Fn(&str) -> bool) -> Option<Happened> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        let SandboxImage { name, is_there } = self.image.as_ref()?;
        let is_missing = !is_there && !is_brought(name);
        let was_missing = std::mem::replace(&mut self.is_missing, is_missing);
        match (was_missing, is_missing) {
            (false, true) => Some(Happened::SandboxImageMissing(name.clone())),
            (true, false) => Some(Happened::SandboxImageThere(name.clone())),
            _ => None,
        }
    }

    /// Its name, while it is missing.
    pub(super) fn missing(&self) -> Option<&str> {
        let image = self.image.as_ref().filter(|_| self.is_missing);
        image.map(|image| image.name.as_str())
    }
}
