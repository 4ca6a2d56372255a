//! The hermetic tier.
