//! Asks containerd what it has of what is on board. Nothing is changed.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::Config;
use crate::containerd::Containerd;
use crate::image_store::{ImageStore as _, StoreError};
use crate::needed_blob::NeededBlob;
use crate::status::{OnBoard, SandboxAnswer, StoreAnswer, Unasked};
use crate::unpack::UnpackWhen;

/// How long all answers together may take.
const ANSWERS: Duration = Duration::from_secs(20);

/// What it says. What it does not tell beside its images is a note.
pub(super) async fn ask(
    config: &Config,
    on_board: &OnBoard,
    notes: &mut Vec<String>,
) -> Result<StoreAnswer, Unasked> {
    let address = &config.containerd.address;
    let silent =
        |error: &dyn std::fmt::Display| Unasked::Silent(format!("{}: {error}", address.display()));
    match UnixStream::connect(address) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Unasked::NotAllowed);
        }
        Err(error) => return Err(silent(&error)),
        Ok(_) => {}
    }
    match timeout(ANSWERS, answers(config, on_board, notes)).await {
        Ok(answer) => answer.map_err(|error| silent(&error)),
        Err(_) => Err(silent(&format!("no answer within {ANSWERS:?}"))),
    }
}

async fn answers(
    config: &Config,
    on_board: &OnBoard,
    notes: &mut Vec<String>,
) -> Result<StoreAnswer, StoreError> {
    let store = Containerd::of_config(config)?;
    let images = store.images().await?;
    store.see_content_store().await;
    let faults = store.faults(needed(on_board)).await?;
    let unpacked = match config.images.unpack {
        UnpackWhen::Never => None,
        _ => match store.unpacked().await {
            Ok(unpacked) => Some(unpacked),
            Err(error) => {
                notes.push(format!(
                    "containerd does not tell what is unpacked: {error}"
                ));
                None
            }
        },
    };
    let sandbox = store.sandbox_image().await.map(|name| SandboxAnswer {
        is_there: images.iter().any(|image| image.name == name),
        name,
    });
    Ok(StoreAnswer {
        free: store.free_space().await,
        images,
        faults,
        unpacked,
        sandbox,
    })
}

/// The blobs of all images on board, each once.
fn needed(on_board: &OnBoard) -> Vec<NeededBlob> {
    let images = on_board.entries.iter().flat_map(|entry| &entry.images);
    let blobs = images.flat_map(|image| image.blobs.iter().cloned());
    let mut blobs = blobs.collect::<Vec<_>>();
    blobs.sort();
    blobs.dedup();
    blobs
}
