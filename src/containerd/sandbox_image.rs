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

    async fn told_sandbox_image(&self) -> Result<String, ConfigUnknown> {
        let config = self.told_cri_config().await?;
        let name = config
            .sandbox_image
            .as_ref()
            .ok_or(ConfigUnknown::NotDumped)?;
        Ok(Reference::parse(name)?.canonical().to_string())
    }
}
