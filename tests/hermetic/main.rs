//! The hermetic tier.

mod supervisor;
