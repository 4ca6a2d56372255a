//! Whether the runtime sees an image: CRI's `ImageStatus`, on containerd's own socket.

use std::time::Duration;

use k8s_cri::v1::{ImageSpec, ImageStatusRequest, StatusRequest, VersionRequest};
use tokio::time::Instant;

use super::client::{Containerd, answered};
use super::failure::Failure;
use crate::image_store::StoreError;

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl Containerd {
    /// CRI learns of images through events, a little after they were put.
    pub(super) async fn wait_for_runtime(&self, name: &str) -> Result<(), StoreError> {
        if !self.is_of_cri() {
            return Ok(());
        }
        let patience = self.deadlines().runtime;
        let began = Instant::now();
        while !self.has_cri_image(name).await? {
            if began.elapsed() >= patience {
                return Err(StoreError::Refused {
                    call: "ImageStatus",
                    cause: format!(
                        "CRI does not show the image {name} {} s after it was put; containerd's \
                         log says what it found wrong with it",
                        patience.as_secs()
                    ),
                });
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    async fn has_cri_image(&self, name: &str) -> Result<bool, Failure> {
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: name.to_owned(),
                ..Default::default()
            }),
            verbose: false,
        };
        let mut images = self.cri_images();
        let status = images.image_status(request);
        let status = answered("ImageStatus", self.deadlines().answer, status).await?;
        Ok(status.image.is_some())
    }

    /// Whether both services of CRI answer and its runtime is ready. Its network may not be: that
    /// is another program's task, and needs no image of stowd's.
    pub(super) async fn probe_cri(&self) -> Result<(), Failure> {
        let patience = self.deadlines().answer;
        let mut runtime = self.cri_runtime();
        let version = runtime.version(VersionRequest::default());
        answered("CRI Version", patience, version).await?;
        let mut runtime = self.cri_runtime();
        let status = runtime.status(StatusRequest { verbose: false });
        answered("CRI Status", patience, status).await?;
        self.has_cri_image("stowd.invalid/none:none").await?;
        Ok(())
    }
}
