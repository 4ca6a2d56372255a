//! Pins: the labels that keep an image from the kubelet's collection, and whose they are.
//!
//! ```text
//!   io.cri-containerd.pinned=pinned     CRI: the image is kept
//!   io.stowd.pinned=INSTANCE            the stowd instance that has set the pin, and may take it off
//! ```
//!
//! A pin without the second label, or with another instance's, is left to its owner. So is a name that
//! another instance has pinned, also where it points to another image: two instances that bring
//! different images under one name do not move it to and fro.

/// The label by which CRI knows that the kubelet must not collect an image.
pub const RUNTIME_PIN: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// The label that names the owner of a pin.
pub const OWNER_LABEL: &str = "io.stowd.pinned";

/// The instance that an installation has when nothing else is configured.
pub const DEFAULT_INSTANCE: &str = "default";

/// The owner of the pins of images that an operator imports by hand. No instance may be called so.
pub const OPERATOR: &str = "import";

/// What [`OWNER_LABEL`] said before there were instances.
pub const BEFORE_INSTANCES: &str = "pinned";

/// The label of the default instance's pins.
pub const DEFAULT_PIN: (&str, &str) = (OWNER_LABEL, DEFAULT_INSTANCE);

/// The owner of the pins that one stowd instance sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinOwner(String);

impl PinOwner {
    /// The owner that is called as the instance is.
    pub fn of_instance(instance: impl Into<String>) -> Self {
        Self(instance.into())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// Both labels of its pins.
    pub fn pins(&self) -> [(&str, &str); 2] {
        [RUNTIME_PIN, (OWNER_LABEL, &self.0)]
    }

    /// Both, as a record has them.
    pub fn labels<M: FromIterator<(String, String)>>(&self) -> M {
        let pins = self.pins().into_iter();
        pins.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Whether a pin with this value of [`OWNER_LABEL`] is its own.
    pub fn owns(&self, label: Option<&String>) -> bool {
        label.is_some_and(|label| *label == self.0) || self.takes_over(label)
    }

    /// The other instance that has pinned the image that has these labels, if one has.
    pub(crate) fn another<'l>(
        &self,
        label: impl Fn(&str) -> Option<&'l String>,
    ) -> Option<&'l str> {
        let (pinned, value) = RUNTIME_PIN;
        let is_pinned = label(pinned).is_some_and(|found| found == value);
        let owner = label(OWNER_LABEL).filter(|owner| is_pinned && *owner != BEFORE_INSTANCES);
        let another = owner.filter(|owner| !self.owns(Some(owner)));
        another.map(String::as_str)
    }

    /// Whether this value of [`OWNER_LABEL`] is to be replaced by its own name: pins from before there
    /// were instances become the default instance's.
    pub fn takes_over(&self, label: Option<&String>) -> bool {
        self.0 == DEFAULT_INSTANCE && label.is_some_and(|label| label == BEFORE_INSTANCES)
    }
}

impl Default for PinOwner {
    fn default() -> Self {
        Self::of_instance(DEFAULT_INSTANCE)
    }
}
