//! A pod that runs one container, through CRI and with no registry in reach.

use std::path::Path;
use std::time::{Duration, SystemTime};

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatusRequest,
    CreateContainerRequest, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
};

use super::cri::{channel, knows, spec};
use super::eventually::eventually;

/// How a container ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit status.
    pub exit_code: i32,
    /// What it wrote, in CRI's log format.
    pub log: String,
    /// From the question for the pod to its exit, as CRI tells that.
    pub took: Duration,
}

/// Runs `command` in a container of `image`, in a pod with the host's network, waits for its end
/// and removes the pod. `image` must be in the store: nothing is pulled. `dir` takes the log.
pub async fn run_in_pod(address: &Path, dir: &Path, image: &str, command: &[&str]) -> Ran {
    let channel = channel(address).await;
    let mut images = ImageServiceClient::new(channel.clone());
    let mut runtime = RuntimeServiceClient::new(channel);

    let spec = spec(image);
    assert!(knows(&mut images, image).await, "CRI has no image {image}");

    let logs = dir.join("pod-logs");
    std::fs::create_dir_all(&logs).expect("a directory for the log");
    let pod = PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: "one".to_owned(),
            uid: "one".to_owned(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        log_directory: logs.to_string_lossy().into_owned(),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                // The host's network needs no CNI.
                namespace_options: Some(NamespaceOption {
                    network: NamespaceMode::Node.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let began = SystemTime::now();
    let sandbox = runtime
        .run_pod_sandbox(RunPodSandboxRequest {
            config: Some(pod.clone()),
            runtime_handler: String::new(),
        })
        .await
        .expect("RunPodSandbox")
        .into_inner()
        .pod_sandbox_id;

    let container = runtime
        .create_container(CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(ContainerConfig {
                metadata: Some(ContainerMetadata {
                    name: "one".to_owned(),
                    attempt: 0,
                }),
                image: Some(spec),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                log_path: "one.log".to_owned(),
                ..Default::default()
            }),
            sandbox_config: Some(pod),
        })
        .await
        .expect("CreateContainer")
        .into_inner()
        .container_id;
    runtime
        .start_container(StartContainerRequest {
            container_id: container.clone(),
        })
        .await
        .expect("StartContainer");

    let (exit_code, finished) = eventually(Duration::from_secs(60), "the container ends", || {
        let mut runtime = runtime.clone();
        let container_id = container.clone();
        async move {
            let request = ContainerStatusRequest {
                container_id,
                verbose: false,
            };
            let status = runtime
                .container_status(request)
                .await
                .expect("ContainerStatus")
                .into_inner()
                .status
                .expect("a status");
            if status.state == ContainerState::ContainerExited as i32 {
                Ok((status.exit_code, status.finished_at))
            } else {
                Err(format!("{status:?}"))
            }
        }
    })
    .await;
    runtime
        .stop_pod_sandbox(StopPodSandboxRequest {
            pod_sandbox_id: sandbox.clone(),
        })
        .await
        .expect("StopPodSandbox");
    runtime
        .remove_pod_sandbox(RemovePodSandboxRequest {
            pod_sandbox_id: sandbox,
        })
        .await
        .expect("RemovePodSandbox");
    // CRI may write the last of it after the exit: when the pod is gone all of it is there.
    let log = std::fs::read_to_string(logs.join("one.log")).expect("the container's log");
    let finished = u64::try_from(finished).expect("a time after 1970");
    let finished = SystemTime::UNIX_EPOCH + Duration::from_nanos(finished);
    Ran {
        exit_code,
        log,
        took: finished.duration_since(began).unwrap_or_default(),
    }
}
