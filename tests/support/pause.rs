//! Images that need no registry: one static program in one layer.

use std::path::{Path, PathBuf};

use serde_json::json;
use stowd::digest::Digest;

use super::daemon::Daemon;

/// The image that holds a pod's namespaces in the tests, by the name that the daemons' configuration
/// has.
pub const PAUSE_IMAGE: &str = "stowd.test/pause:1";

/// Puts [`PAUSE_IMAGE`] into the namespace of CRI, with the generation's own `ctr`.
pub fn import_pause(daemon: &Daemon) {
    let file = write_static_image(
        daemon.dir(),
        PAUSE_IMAGE,
        &["/bin/busybox", "sleep", "1000000"],
    );
    let file = file.to_str().expect("a path of letters");
    daemon.ctr(&["--namespace", "k8s.io", "images", "import", file]);
}

/// Writes an OCI archive with one image: Debian's static busybox as `/bin/busybox` and `/bin/sh`,
/// which runs `command`. Its only layer is a plain tar. Answers the archive's path.
pub fn write_static_image(dir: &Path, name: &str, command: &[&str]) -> PathBuf {
    let plain = "application/vnd.oci.image.layer.v1.tar";
    write_static_image_in(dir, name, command, plain, |layer| layer)
}

/// The same, with a layer of this media type, which `pack` may compress.
pub fn write_static_image_in(
    dir: &Path,
    name: &str,
    command: &[&str],
    media_type: &str,
    pack: fn(Vec<u8>) -> Vec<u8>,
) -> PathBuf {
    let busybox =
        std::fs::read("/bin/busybox").expect("/bin/busybox: apt-get install busybox-static");
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    layer
        .append_data(&mut header, "bin/busybox", busybox.as_slice())
        .expect("a layer in memory");
    let mut link = tar::Header::new_ustar();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_mode(0o777);
    link.set_size(0);
    layer
        .append_link(&mut link, "bin/sh", "busybox")
        .expect("a layer in memory");
    let layer = layer.into_inner().expect("a layer in memory");

    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Cmd": command, "Env": ["PATH=/bin"], "Labels": { "name": name } },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
    })
    .to_string()
    .into_bytes();
    let layer = pack(layer);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor(media_type, &layer)],
    })
    .to_string()
    .into_bytes();
    let mut named = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    named["annotations"] = json!({ "io.containerd.image.name": name });
    named["platform"] = json!({ "os": "linux", "architecture": architecture });
    let index = json!({ "schemaVersion": 2, "manifests": [named] })
        .to_string()
        .into_bytes();

    let path = dir.join(format!("{}.tar", Digest::of(&manifest).hex()));
    let file = std::fs::File::create(&path).expect("an archive");
    let mut archive = tar::Builder::new(file);
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    let mut files = vec![
        ("oci-layout".to_owned(), layout),
        ("index.json".to_owned(), index),
    ];
    for blob in [config, manifest, layer] {
        files.push((format!("blobs/sha256/{}", Digest::of(&blob).hex()), blob));
    }
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive
            .append_data(&mut header, name, bytes.as_slice())
            .expect("an entry");
    }
    archive.finish().expect("an archive");
    path
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}
