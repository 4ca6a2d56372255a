//! `user:password` in base64, as `auth` has it and as it is sent (RFC 7617).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Go's decoder, which Docker and the kubelet use, ignores trailing bits; and `=` at the end is easily
/// lost.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a user and a password are sent as.
pub(super) fn encoded(username: &str, password: &str) -> String {
    BASE64.encode(format!("{username}:{password}"))
}
