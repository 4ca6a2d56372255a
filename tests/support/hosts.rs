//! containerd's own configuration of registries: `certs.d/REGISTRY/hosts.toml`, read at each pull.

use std::path::Path;

/// The directory of it, below a containerd's own.
pub const HOSTS: &str = "certs.d";

/// Has the containerd of `dir` find a registry (`docker.io`, `127.0.0.1:5000`) as this text says.
pub fn write_hosts(dir: &Path, registry: &str, text: &str) {
    let dir = dir.join(HOSTS).join(registry);
    std::fs::create_dir_all(&dir).expect("a directory for hosts.toml");
    std::fs::write(dir.join("hosts.toml"), text).expect("hosts.toml");
}

/// A text that leads by plain HTTP to these addresses, mirrors first and in turn.
pub fn plain_http(server: &str, mirrors: &[&str]) -> String {
    let mut text = format!("server = \"http://{server}\"\n");
    // 1.x refuses a text without a host.
    for host in mirrors.iter().chain([&server]) {
        text += &format!("[host.\"http://{host}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    }
    text
}
