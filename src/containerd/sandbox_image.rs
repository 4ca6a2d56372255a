//! The sandbox ("pause") image: CRI makes every pod with it.

use super::client::Containerd;
use super::config_dump::ConfigUnknown;
use crate::happened::StoreEvent;
use crate::naming::Reference;
use crate::reporter::report;

impl Containerd {
    /// The normalised name; `None` where the namespace is not CRI's, and where the name cannot be had,
    /// which is reported.
    pub(super) async fn sandbox_image_of_cri(&self) -> Option<String> {
        if !self.is_of_cri() {
            return None;
        }
        match self.told_sandbox_image().await {
            Ok(name) => Some(name),
            Err(cause) => {
                report(StoreEvent::SandboxImageUnknown(cause.to_string()));
                None
            }
        }
    }

    /// What was found is asked for no more as long as the same containerd runs: a program may have to run
    /// for it.
    async fn told_sandbox_image(&self) -> Result<String, ConfigUnknown> {
        let _guard = self.locks.lock("sandbox image").await;
        let server = self.server().await?;
        if let Some(found) = self.sandbox_images.of(&server) {
            return Ok(found);
        }
        let name = match self.cri_status().await?.sandbox_image {
            Some(name) => name,
            None => {
                let dumped = self.dumped_config(&server).await?;
                dumped.sandbox_image.ok_or(ConfigUnknown::NotDumped)?
            }
        };
        let name = Reference::parse(&name)?.canonical().to_string();
        self.sandbox_images.set_of(server, name.clone());
        Ok(name)
    }
}
