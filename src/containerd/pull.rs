//! Pulling through CRI's `PullImage`, on containerd's own socket: the mirrors, the rewrites and the
//! certificates of containerd's registry configuration apply, as they do for the kubelet.

use k8s_cri::v1::{AuthConfig, ImageSpec, PullImageRequest};

use super::client::{CRI_NAMESPACE, Containerd};
use super::failure::CallFailure;
use super::lease::Lease;
use crate::credentials::Login;
use crate::digest::Digest;
use crate::image_store::PullError;

impl Containerd {
    /// Returns when the image is there, however long that takes. If the future is dropped, the call is
    /// cancelled and containerd ends the pull.
    pub(super) async fn pull_image(
        &self,
        name: &str,
        login: Option<&Login>,
    ) -> Result<(), PullError> {
        if !self.is_of_cri() {
            return Err(PullError::Failed(format!(
                "CRI pulls into the namespace {CRI_NAMESPACE}, and containerd.namespace is {}: \
                 set it to {CRI_NAMESPACE}, or bring the image as an archive",
                self.namespace()
            )));
        }
        let request = PullImageRequest {
            image: Some(ImageSpec {
                image: name.to_owned(),
                ..Default::default()
            }),
            auth: login.map(|login| auth(name, login)),
            sandbox_config: None,
        };
        let failure = match self.cri_images().pull_image(request).await {
            Ok(_) => return Ok(()),
            Err(status) => CallFailure::of("PullImage", &status),
        };
        // containerd passes on what a registry said under whatever code fits that, `Unavailable` too,
        // and a status that is too long for it to send breaks the call off. So it is asked.
        match self.probe_cri().await {
            Err(away) if away.is_away() => Err(PullError::Store(away.into())),
            _ => Err(told(failure.cause)),
        }
    }
}

impl Containerd {
    /// Has CRI pull a blob as if it were an image, for want of a call that fetches a blob. containerd looks
    /// for a digest among a repository's manifests and then among its blobs (`Resolve` of
    /// `core/remotes/docker`), stores and names what it gets, and fails only when it finds no image in it.
    /// The name is removed.
    pub(super) async fn pull_as_image(
        &self,
        lease: &Lease,
        name: &str,
        digest: &Digest,
        login: Option<&Login>,
    ) -> Result<(), PullError> {
        let pulled = self.pull_image(name, login).await;
        if let Err(PullError::Store(_)) = pulled {
            return pulled;
        }
        // Before its name goes, which is all that keeps it.
        let is_there = self.has_content(lease, digest).await?;
        self.remove_image(name).await?;
        match pulled {
            _ if is_there => Ok(()),
            Ok(()) => Err(PullError::Failed(format!(
                "CRI has pulled {name}, and containerd has no such blob"
            ))),
            failed => failed,
        }
    }
}

/// What containerd's client and its Transfer service say of a pull that has not come to its first byte.
const UNRESOLVED: [&str; 2] = ["failed to resolve reference ", "failed to resolve image: "];

fn told(cause: String) -> PullError {
    match UNRESOLVED.iter().any(|words| cause.contains(words)) {
        true => PullError::Unresolved(cause),
        false => PullError::Failed(cause),
    }
}

/// With the server's address, or containerd would send the login to the registry's mirrors too
/// (`ParseAuth` in its CRI plugin). It compares hosts, and pulls from Docker Hub at another one than
/// its images are named by.
fn auth(name: &str, login: &Login) -> AuthConfig {
    let host = match name.split_once('/') {
        Some(("docker.io", _)) | None => "registry-1.docker.io",
        Some((host, _)) => host,
    };
    let server = AuthConfig {
        server_address: format!("https://{host}"),
        ..Default::default()
    };
    match login.clone() {
        Login::Password { username, password } => AuthConfig {
            username,
            password,
            ..server
        },
        Login::IdentityToken(identity_token) => AuthConfig {
            identity_token,
            ..server
        },
        Login::RegistryToken(registry_token) => AuthConfig {
            registry_token,
            ..server
        },
    }
}
