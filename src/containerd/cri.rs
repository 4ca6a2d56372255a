//! Whether the runtime sees an image: CRI's `ImageStatus`, on containerd's own socket.

use std::time::Duration;

use k8s_cri::v1::{
    Image as CriImage, ImageSpec, ImageStatusRequest, StatusRequest, VersionRequest,
};
use tokio::time::Instant;

use super::client::{Containerd, answered};
use super::cri_status::CriStatus;
use super::failure::CallFailure;
use crate::image_store::{Image, StoreError};
use crate::naming::Reference;

/// Between two looks at what CRI shows, which is twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How long CRI may take to show an image before it is told once more, and four times as long each time.
const FIRST_ANNOUNCEMENT: Duration = Duration::from_millis(100);

impl Containerd {
    /// CRI learns of images through events, a little after they were put. One whose blobs were damaged
    /// when containerd started it has left out, and there is no event when only its blobs come back: a
    /// record that is not shown soon is written once more. If another image got the
    /// name meanwhile, this one is not waited for: CRI will never show it, and the last write of a
    /// name counts.
    pub(super) async fn wait_for_runtime(&self, image: &Image) -> Result<(), StoreError> {
        if !self.is_of_cri() {
            return Ok(());
        }
        let deadline = self.deadlines().runtime;
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut announcement = FIRST_ANNOUNCEMENT;
        while !self.cri_shows(image).await? {
            // Most are shown in a moment: that costs no second question.
            if pause == LONGEST_PAUSE && self.was_moved(image).await? {
                return Ok(());
            }
            if began.elapsed() >= deadline {
                return Err(StoreError::Refused {
                    call: "ImageStatus",
                    cause: format!(
                        "CRI does not show the image {} {} s after it was put; containerd's \
                         log says what it found wrong with it",
                        image.name,
                        deadline.as_secs()
                    ),
                });
            }
            if began.elapsed() >= announcement {
                self.announce(image).await?;
                announcement *= 4;
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        Ok(())
    }

    /// Has CRI look at both names by which it is asked for the image.
    async fn announce(&self, image: &Image) -> Result<(), StoreError> {
        self.announce_image(&image.name).await?;
        if let Ok(name) = Reference::parse(&image.name) {
            let by_digest = format!("{}@{}", name.repository(), image.target.digest);
            self.announce_image(&by_digest).await?;
        }
        Ok(())
    }

    /// Whether the name leads to an image that CRI also knows by the wanted digest: a name that was
    /// moved leads to the old image until CRI has heard of it.
    async fn cri_shows(&self, image: &Image) -> Result<bool, CallFailure> {
        let shown = self.cri_image(&image.name).await?;
        let digest = image.target.digest.as_str();
        let is_it = |name: &String| name.rsplit_once('@').is_some_and(|(_, had)| had == digest);
        Ok(shown.is_some_and(|shown| shown.repo_digests.iter().any(is_it)))
    }

    /// Whether CRI has an image of this name; in a namespace that is not CRI's, whether there is one.
    pub(super) async fn is_seen_by_runtime(&self, name: &str) -> Result<bool, StoreError> {
        if self.is_of_cri() {
            Ok(self.cri_image(name).await?.is_some())
        } else {
            Ok(self.image_named(name).await?.is_some())
        }
    }

    /// What CRI has under a name, which it normalises as Docker does.
    async fn cri_image(&self, name: &str) -> Result<Option<CriImage>, CallFailure> {
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
        Ok(status.image)
    }

    /// What CRI that runs says of its configuration.
    pub(super) async fn cri_status(&self) -> Result<CriStatus, CallFailure> {
        let mut runtime = self.cri_runtime();
        let status = runtime.status(StatusRequest { verbose: true });
        let status = answered("CRI Status", self.deadlines().answer, status).await?;
        let config = status.info.get("config");
        let told = config.and_then(|json| CriStatus::of_config(json));
        Ok(told.unwrap_or_default())
    }

    /// Whether both services of CRI answer and its runtime is ready. Its network may not be: that
    /// is another program's task, and needs no image of stowd's.
    pub(super) async fn probe_cri(&self) -> Result<(), CallFailure> {
        let deadline = self.deadlines().answer;
        let mut runtime = self.cri_runtime();
        let version = runtime.version(VersionRequest::default());
        answered("CRI Version", deadline, version).await?;
        let mut runtime = self.cri_runtime();
        let status = runtime.status(StatusRequest { verbose: false });
        answered("CRI Status", deadline, status).await?;
        self.cri_image("stowd.invalid/none:none").await?;
        Ok(())
    }
}
