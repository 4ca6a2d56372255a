//! The containerd of the configuration, which serves already.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::containerd::{Containerd, NotServing};
use crate::image_store::StoreError;
use crate::pin::PinOwner;

/// How long it may take to answer. It serves already, or it is not there.
const ANSWER: Duration = Duration::from_secs(10);

/// Why the containerd of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    #[error(
        "no containerd at {}: start it (systemctl start stowd, or containerd), or set \
         containerd.address to the socket that it serves",
        .0.display()
    )]
    NotThere(PathBuf),
    #[error("{}: only root may ask containerd: sudo stowd ...", .0.display())]
    NotAllowed(PathBuf),
    #[error("{}: {error}", address.display())]
    NotServing {
        /// The socket.
        address: PathBuf,
        error: NotServing,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Connects to it, for the pins of this owner. Blobs are written directly where the configuration allows it
/// and that is safe.
pub async fn connect(config: &Config, owner: PinOwner) -> Result<Containerd, NotConnected> {
    let address = config.containerd.address.clone();
    match UnixStream::connect(&address) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(NotConnected::NotAllowed(address));
        }
        Err(_) => return Err(NotConnected::NotThere(address)),
        Ok(_) => {}
    }
    let store = Containerd::of_config(config)?.with_owner(owner);
    let serving = store.wait_serving(ANSWER, |_, _| {});
    let serving = serving.await;
    serving.map_err(|error| NotConnected::NotServing { address, error })?;
    match config.images.direct {
        true => store.enable_direct_writes().await,
        false => store.see_content_store().await,
    }
    Ok(store)
}
