//! The baked set: its file is read and changed, and names of its images are put back.

use tracing::debug;

use crate::blocking::blocking;
use crate::happened::DaemonEvent;
use crate::image_store::{Image, ImageStore, StoreError};
use crate::ledger_file::{BakedFile, NotBaked};
use crate::plan::Event;
use crate::reporter::report;

use super::Settings;
use super::work::Jobs;

impl<S: ImageStore> Jobs<S> {
    pub(super) fn read_baked(&mut self, settings: &Settings) {
        let file = BakedFile::new(&settings.state_dir);
        self.spawn(async move {
            let (baked, warning) = blocking(move || file.read()).await;
            if let Some(warning) = &warning {
                debug!(%warning, "baked set not read");
            }
            Event::Baked(warning.is_none().then(|| Box::new(baked)))
        });
    }

    pub(super) fn change_baked(
        &mut self,
        settings: &Settings,
        change: impl FnOnce(&BakedFile) -> Result<(), NotBaked> + Send + 'static,
    ) {
        let file = BakedFile::new(&settings.state_dir);
        self.spawn(async move {
            if let Err(error) = blocking(move || change(&file)).await {
                report(DaemonEvent::BakedSetNotChanged(error.to_string()));
            }
            Event::Tick
        });
    }

    pub(super) fn put_names(&mut self, images: Vec<Image>) {
        let store = self.store().clone();
        self.spawn(async move {
            if let Err(error) = put(&store, &images).await {
                debug!(%error, "names of the baked set not put back");
            }
            Event::Tick
        });
    }
}

async fn put<S: ImageStore>(store: &S, images: &[Image]) -> Result<(), StoreError> {
    let lease = store.begin_lease("names of the baked set").await?;
    let mut put = Ok(());
    for image in images {
        put = put.and(store.put_image(&lease, image).await);
    }
    store.release(lease).await?;
    put
}
