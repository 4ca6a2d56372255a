//! A lease: the value that calls are made under.

use tonic::metadata::{Ascii, MetadataValue};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(super) id: String,
    pub(super) purpose: String,
}

impl Lease {
    /// The name that containerd lists it under.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    pub(super) fn header(&self) -> MetadataValue<Ascii> {
        // An id that a header cannot carry was not made here; with an empty one containerd says
        // that it has no such lease.
        self.id
            .parse()
            .unwrap_or_else(|_| MetadataValue::from_static(""))
    }
}
