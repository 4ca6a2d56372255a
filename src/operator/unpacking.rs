//! Unpacks what was imported, or brought back, by hand.

use crate::image_store::ImageStore;
use crate::ledger::ImportedImage;
use crate::plan::UnpackEnd;
use crate::unpacker;

/// Unpacks an image. Returns whether the host runs it.
///
/// # Errors
/// A line that says why it is not unpacked.
pub(super) async fn unpack<S: ImageStore>(
    store: &S,
    image: &ImportedImage,
) -> Result<bool, String> {
    let name = image.name_to_show();
    match unpacker::unpack(store, name, &image.digest).await {
        UnpackEnd::Unpacked { .. } => Ok(true),
        UnpackEnd::NothingToUnpack => Ok(false),
        UnpackEnd::StoreAway(error) | UnpackEnd::Lacks(_, error) | UnpackEnd::Failed(_, error) => {
            Err(format!("{name}: not unpacked: {error}"))
        }
    }
}
