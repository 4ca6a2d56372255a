//! The systemd tier.
