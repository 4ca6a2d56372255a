//! CRI's image service, asked without stowd's own code.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::{
    ImageSpec, ImageStatusRequest, ListImagesRequest, PullImageRequest, RemoveImageRequest,
};
use tonic::transport::{Channel, Endpoint};

use super::eventually::eventually;

/// Waits until CRI has heard of an image that was put behind its back, as `ctr` does it.
pub async fn wait_for_cri(address: &Path, image: &str) {
    let images = ImageServiceClient::new(channel(address).await);
    eventually(Duration::from_secs(20), "CRI hears of the image", || {
        let mut images = images.clone();
        async move {
            knows(&mut images, image)
                .await
                .then_some(())
                .ok_or(image.to_owned())
        }
    })
    .await;
}

/// Has CRI pull an image: what it says of it, or why not.
pub async fn pull(address: &Path, image: &str) -> Result<String, String> {
    let mut images = ImageServiceClient::new(channel(address).await);
    let request = PullImageRequest {
        image: Some(spec(image)),
        ..Default::default()
    };
    let pulled = images.pull_image(request).await;
    let pulled = pulled.map_err(|status| status.message().to_owned())?;
    Ok(pulled.into_inner().image_ref)
}

/// Removes an image with all its names, as `crictl rmi` does.
pub async fn remove_image(address: &Path, image: &str) {
    let mut images = ImageServiceClient::new(channel(address).await);
    let request = RemoveImageRequest {
        image: Some(spec(image)),
    };
    images.remove_image(request).await.expect("RemoveImage");
}

/// Removes all images, as `crictl rmi --prune` does where no container has one.
pub async fn prune_images(address: &Path) {
    let mut images = ImageServiceClient::new(channel(address).await);
    let listed = images.list_images(ListImagesRequest::default()).await;
    for image in listed.expect("ListImages").into_inner().images {
        remove_image(address, &image.id).await;
    }
}

/// Whether CRI has an image and would keep the kubelet from collecting it.
pub async fn is_kept(address: &Path, image: &str) -> bool {
    let mut images = ImageServiceClient::new(channel(address).await);
    let asked = ImageStatusRequest {
        image: Some(spec(image)),
        verbose: false,
    };
    let known = images.image_status(asked).await.expect("ImageStatus");
    known.into_inner().image.is_some_and(|image| image.pinned)
}

pub(super) async fn knows(images: &mut ImageServiceClient<Channel>, image: &str) -> bool {
    let asked = ImageStatusRequest {
        image: Some(spec(image)),
        verbose: false,
    };
    let known = images.image_status(asked).await.expect("ImageStatus");
    known.into_inner().image.is_some()
}

pub(super) fn spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    }
}

pub(super) async fn channel(address: &Path) -> Channel {
    let path: PathBuf = address.to_owned();
    Endpoint::from_static("http://containerd")
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                let stream = tokio::net::UnixStream::connect(path).await?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
            }
        }))
        .await
        .expect("containerd's socket")
}
