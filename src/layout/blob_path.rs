//! Where an OCI layout has its blobs: `blobs/sha256/<hex>` (OCI image spec, "Image Layout").

use crate::digest::Digest;

/// The directory of a layout that has its blobs.
pub(crate) const BLOBS: &str = "blobs";

/// The path of a blob in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/sha256/{}", digest.hex())
}

/// The digest that the path of a member claims: its last parts are those of a blob's path.
pub(crate) fn claimed_digest(path: &str) -> Option<Digest> {
    let mut parts = path.rsplit('/');
    let hex = parts.next()?;
    if (parts.next(), parts.next()) != (Some("sha256"), Some(BLOBS)) {
        return None;
    }
    Digest::parse(&format!("sha256:{hex}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_claims_its_digest() {
        let digest = Digest::of(b"blob");
        let hex = digest.hex();
        let claimed = |path: String| claimed_digest(&path);
        assert_eq!(claimed(blob_path(&digest)).as_ref(), Some(&digest));
        assert_eq!(
            claimed(format!("dir/blobs/sha256/{hex}")),
            Some(digest.clone())
        );
        assert_eq!(claimed(format!("sha256/{hex}")), None);
        assert_eq!(claimed(format!("xblobs/sha256/{hex}")), None);
        assert_eq!(claimed(format!("blobs/sha512/{hex}")), None);
        assert_eq!(claimed(format!("blobs/sha256/{hex}.tar")), None);
        assert_eq!(claimed(hex.to_owned()), None);
    }
}
