//! The layers of one image: each changes what those below have made, and the files and the labels are those
//! that containerd makes. A directory that a layer does not list itself has the owner and the mode of below.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use stowd::digest::Digest;

use crate::made::{Body, append, recipe};
use crate::support::{Generation, Setup, Stowd, on_each_generation_in_turn};
use crate::unpack::{assert_nothing_half_done, assert_ready_says, snapshots, tree};

const SOON: Duration = Duration::from_secs(120);
const NAME: &str = "stowd.test/layers:1";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

on_each_generation_in_turn!(many_layers_are_what_ctr_makes_of_them);

fn entry(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    change: impl FnOnce(&mut tar::Header),
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_mtime(1_700_000_000);
    change(&mut header);
    tar.append_data(&mut header, path, &b""[..]).unwrap();
}

/// Each layer changes what those below have made: whiteouts of files and of directories, opaque ones, files in
/// the place of directories, links, devices, owners and modes.
fn layers() -> Vec<Vec<u8>> {
    use tar::EntryType::{Char, Directory, Fifo, Link, Regular, Symlink};
    let layer = |fill: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut tar = tar::Builder::new(Vec::new());
        fill(&mut tar);
        tar.into_inner().unwrap()
    };
    vec![
        layer(&|tar| {
            entry(tar, "a", Directory, 0o755, |_| ());
            entry(tar, "b", Directory, 0o1777, |header| header.set_uid(7));
            for path in ["a/x", "a/y", "a/deep/er/z", "b/1", "b/2", "c/f", "d"] {
                append(tar, path, path.as_bytes());
            }
            entry(tar, "e", Regular, 0o4755, |header| {
                header.set_uid(1);
                header.set_gid(2);
            });
        }),
        layer(&|tar| {
            append(tar, "a/.wh.x", b"");
            append(tar, "b/.wh..wh..opq", b"");
            append(tar, "b/new", b"new");
            entry(tar, "null", Char, 0o666, |header| {
                header.set_device_major(1).unwrap();
                header.set_device_minor(3).unwrap();
            });
        }),
        layer(&|tar| {
            append(tar, ".wh.c", b"");
            entry(tar, "d", Directory, 0o755, |_| ());
            entry(tar, "d/is", Directory, 0o700, |_| ());
            append(tar, "d/is/now", b"a directory");
            append(tar, "linked", b"to");
            entry(tar, "hard", Link, 0o644, |header| {
                header.set_link_name("linked").unwrap()
            });
            entry(tar, "soft", Symlink, 0o777, |header| {
                header.set_link_name("a/x").unwrap()
            });
        }),
        layer(&|tar| {
            append(tar, "a/.wh.deep", b"");
            append(tar, "a/x", b"again");
            append(tar, "c", b"a file now");
            entry(tar, "pipe", Fifo, 0o600, |_| ());
        }),
        layer(&|tar| {
            append(tar, "a/.wh..wh..opq", b"");
            append(tar, "a/only", b"only");
            append(tar, ".wh.e", b"");
        }),
        layer(&|tar| append(tar, "b/.wh.new", b"")),
        layer(&|tar| append(tar, "last", b"last")),
    ]
}

/// An archive with one image of these layers; the second has annotations.
fn archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let made = recipe(1, NAME).oci();
    let described = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() });
    let mut of_layers = layers
        .iter()
        .map(|layer| described(LAYER, layer))
        .collect::<Vec<_>>();
    of_layers[1]["annotations"] = json!({ "containerd.io/snapshot/stowd": "1", "other": "2" });
    let diff_ids = layers
        .iter()
        .map(|layer| Digest::of(layer))
        .collect::<Vec<_>>();
    let config = json!({
        "architecture": crate::support::architecture(), "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("application/vnd.oci.image.config.v1+json", &config),
        "layers": of_layers,
    });
    let manifest = manifest.to_string().into_bytes();
    let mut named = described("application/vnd.oci.image.manifest.v1+json", &manifest);
    named["annotations"] = json!({ "io.containerd.image.name": NAME });
    let index = json!({ "schemaVersion": 2, "manifests": [named] });
    let mut made = made.with("index.json", Body::File(index.to_string().into_bytes()));
    for blob in layers.iter().chain([&config, &manifest]) {
        made.add(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob);
    }
    made.tar()
}

/// Directories that no layer lists have the time of when they were made.
fn without_times_of_directories(tree: &str) -> String {
    let lines = tree.lines().map(|line| {
        let words = line.split(' ').collect::<Vec<_>>();
        match words[..] {
            [path, "d", mode, owner, size, _, ..] => [path, "d", mode, owner, size].join(" "),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn labels_of_snapshots(stowd: &Stowd) -> BTreeSet<(String, String, String)> {
    let names = snapshots(stowd, "overlayfs").into_keys();
    let labels = names.flat_map(|name| {
        let info = stowd.ctr(&["snapshots", "info", &name]);
        let info = serde_json::from_str::<Value>(&info).unwrap();
        let labels = info["Labels"].as_object().cloned().unwrap_or_default();
        let labels = labels.into_iter();
        labels.map(move |(key, value)| (name.clone(), key, value.as_str().unwrap().to_owned()))
    });
    labels.collect()
}

fn many_layers_are_what_ctr_makes_of_them(generation: &Generation) {
    let layers = layers();
    let archive = archive(&layers);
    let mut found = Vec::new();
    for unpack in ["before-ready", "never"] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("unpack = \"{unpack}\"\n"));
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        std::fs::write(stowd.setup().images().join("layers.tar"), &archive).unwrap();
        let is_unpacked = unpack == "before-ready";
        stowd.wait_until(SOON, "it is there", |stowd| {
            !stowd.lines(" imported /").is_empty()
                && (!is_unpacked || !stowd.lines(" unpacked stowd.test").is_empty())
        });
        assert_eq!(stowd.lines(" not unpacked "), Vec::<String>::new());
        let made = snapshots(&stowd, "overlayfs");
        assert_eq!(made.is_empty(), !is_unpacked);
        let trees = tempfile::tempdir().unwrap();
        let tree = tree(&stowd, NAME, &trees.path().join("tree"));
        let tree = without_times_of_directories(&tree);
        let labels = labels_of_snapshots(&stowd);
        found.push((tree, snapshots(&stowd, "overlayfs"), labels));
        if is_unpacked {
            assert_eq!(stowd.stop(), Some(0));
            stowd.restart();
            stowd.wait_ready(SOON);
            assert_ready_says(&stowd, ", 1 unpacked");
            assert_nothing_half_done(&stowd, "overlayfs");
        }
    }
    let (own, ctrs) = (&found[0], &found[1]);
    assert!(own.0.contains("./a/only ") && !own.0.contains("./a/x "));
    assert!(own.0.contains("./b d 1777 7:0\n"), "{}", own.0);
    assert_eq!(own.0, ctrs.0, "files");
    assert_eq!(own.1, ctrs.1, "snapshots");
    let annotated = own.2.iter().filter(|(_, key, _)| key.ends_with("/stowd"));
    assert_eq!(annotated.count(), 1);
    assert!(!own.2.iter().any(|(_, key, _)| key == "other"));
}
