//! Pins: the labels that keep an image from the kubelet's collection, and whose they are.
//!
//! ```text
//!   io.cri-containerd.pinned=pinned     CRI: the image is kept
//!   io.stowd.pinned=INSTANCE            the stowd instance that has set the pin, and may take it off
//! ```
//!
//! A pin without the second label, or with another instance's, is left to its owner.

/// The label by which CRI knows that the kubelet must not collect an image.
pub const RUNTIME_PIN: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// The label that names the owner of a pin.
pub const OWNER_LABEL: &str = "io.stowd.pinned";

/// The instance that an installation has when nothing else is configured.
pub const DEFAULT_INSTANCE: &str = "default";

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
