//! Images are unpacked before READY: a container starts without extracting anything, and what cannot be
//! unpacked is told, and takes nothing with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use stowd::digest::Digest;
use tokio::runtime::Runtime;

use crate::made::{Body, append, recipe};
use crate::support::{
    Generation, Setup, Stowd, assert_clean, fixture, kibibytes, on_each_generation_in_turn,
    on_the_reference_in_turn, run_in_pod,
};

const SOON: Duration = Duration::from_secs(120);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";
const ZSTD: &str = "registry.stowd.test/skopeo-zstd:1.35";

on_each_generation_in_turn!(
    a_container_finds_its_image_unpacked,
    what_is_unpacked_is_what_ctr_unpacks,
    a_snapshot_that_is_gone_is_made_again_at_a_restart,
    a_layer_that_cannot_be_unpacked_fails_its_image_alone,
    images_are_unpacked_after_ready_or_never,
    another_snapshotter_may_be_named,
    a_kill_leaves_no_half_unpacked_layer,
);
on_the_reference_in_turn!(
    a_snapshotter_that_does_not_answer_holds_up_nothing_but_itself,
    an_index_that_lists_another_a_thousand_times_is_read_once,
);

/// The snapshots of a snapshotter: the parent and the kind of each.
pub(crate) fn snapshots(stowd: &Stowd, snapshotter: &str) -> BTreeMap<String, (String, String)> {
    let list = stowd.ctr(&["snapshots", "--snapshotter", snapshotter, "list"]);
    let lines = list.lines().skip(1);
    lines
        .map(|line| {
            // The key of an active one has a blank in it.
            let mut words = line.split_whitespace().rev();
            let kind = words.next().unwrap().to_owned();
            let mut rest = words.rev().collect::<Vec<_>>();
            let parent = match (kind.as_str(), rest.len()) {
                (_, 1) => String::new(),
                ("Committed", _) => rest.pop().unwrap().to_owned(),
                _ => String::new(),
            };
            (rest.join(" "), (parent, kind))
        })
        .collect()
}

/// Those that are committed.
pub(crate) fn committed(stowd: &Stowd, snapshotter: &str) -> BTreeSet<String> {
    let all = snapshots(stowd, snapshotter).into_iter();
    let committed = all.filter(|(_, (_, kind))| kind == "Committed");
    committed.map(|(name, _)| name).collect()
}

/// Those that nothing lies on.
fn tops(stowd: &Stowd) -> Vec<String> {
    let all = snapshots(stowd, "overlayfs");
    let parents = all.values().map(|(parent, _)| parent.clone());
    let parents = parents.collect::<BTreeSet<_>>();
    let tops = all.into_keys().filter(|name| !parents.contains(name));
    tops.collect()
}

pub(crate) fn assert_nothing_half_done(stowd: &Stowd, snapshotter: &str) {
    assert_clean(stowd);
    for (name, (_, kind)) in snapshots(stowd, snapshotter) {
        assert_eq!(kind, "Committed", "{name}");
    }
}

pub(crate) fn assert_ready_says(stowd: &Stowd, words: &str) {
    let ready = stowd.lines(" ready: ");
    let last = ready.last().expect("READY's line");
    assert!(last.contains(words), "{last}");
}

fn a_container_finds_its_image_unpacked(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.sandbox_image("registry.stowd.test/pause:1");
    setup.stow(&fixture("pause.tar").path);
    setup.stow(&fixture("umoci.tar.zst").path);
    setup.stow(&fixture("skopeo-oci-zstd.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 3 unpacked");
    // Two of them have the same layers, in other compressions.
    assert_eq!(stowd.lines(" unpacked ").len(), 2, "{}", stowd.log());
    assert_nothing_half_done(&stowd, "overlayfs");
    let before = snapshots(&stowd, "overlayfs");
    let runtime = Runtime::new().unwrap();
    let logs = tempfile::tempdir().unwrap();
    for (number, image) in [UMOCI, ZSTD].into_iter().enumerate() {
        let dir = logs.path().join(number.to_string());
        std::fs::create_dir(&dir).unwrap();
        let address = stowd.address();
        let run = run_in_pod(&address, &dir, image, &["/bin/sh", "-c", "exit 7"]);
        let ran = runtime.block_on(run);
        assert_eq!(ran.exit_code, 7, "{image}: {}", ran.log);
    }
    let after = committed(&stowd, "overlayfs");
    assert_eq!(after, before.into_keys().collect(), "a container made some");
    // CRI looks for itself at each start of containerd.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 3 unpacked");
    let log = stowd.log();
    assert!(!log.contains("is not unpacked"), "{log}");
    assert_eq!(stowd.lines(" unpacked ").len(), 2, "unpacked again");
}

/// The files of a root file system, with all that a tar keeps of them but the times of directories.
pub(crate) fn tree(stowd: &Stowd, image: &str, target: &Path) -> String {
    std::fs::create_dir(target).unwrap();
    let path = target.to_str().unwrap();
    stowd.ctr(&["images", "mount", image, path]);
    // A directory that no layer lists is as old as its snapshot.
    let script = "cd \"$1\" && find . -mindepth 1 -type d -printf '%p %y %m %U:%G\\n' \
                  -o -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort && \
                  find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let listed = crate::support::shell(script, &[target]);
    stowd.ctr(&["images", "unmount", "--rm", path]);
    String::from_utf8(listed).unwrap()
}

fn what_is_unpacked_is_what_ctr_unpacks(generation: &Generation) {
    let files = ["umoci.tar", "skopeo-oci-zstd.tar.gz", "buildah-docker.tar"];
    let mut found = Vec::new();
    for unpack in ["before-ready", "never"] {
        let mut setup = Setup::new(generation);
        setup
            .images
            .push_str(&format!("parallel = 4\nunpack = \"{unpack}\"\n"));
        for file in files {
            setup.stow(&fixture(file).path);
        }
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        let names = stowd.store().images().into_keys();
        let names = names.filter(|name| !name.contains('@')).collect::<Vec<_>>();
        let is_unpacked = unpack == "before-ready";
        assert_eq!(snapshots(&stowd, "overlayfs").is_empty(), !is_unpacked);
        // ctr unpacks what it mounts.
        let trees = tempfile::tempdir().unwrap();
        let trees = names.iter().enumerate().map(|(number, name)| {
            let target = trees.path().join(number.to_string());
            tree(&stowd, name, &target)
        });
        let trees = trees.collect::<Vec<_>>();
        let made = snapshots(&stowd, "overlayfs");
        // Of two blobs of one layer, the one that was applied first has its label.
        let blobs = stowd.store().blobs().into_values();
        let labels = blobs
            .flat_map(|blob| blob.labels)
            .filter(|(label, _)| label.contains("snapshot") || label.contains("uncompressed"));
        let labels = labels.collect::<BTreeSet<_>>();
        found.push((names, made, labels, trees));
    }
    let (own, ctrs) = (&found[0], &found[1]);
    assert!(own.0.len() >= files.len());
    assert_eq!(own.0, ctrs.0, "names");
    assert_eq!(own.1, ctrs.1, "snapshots");
    assert_eq!(own.2, ctrs.2, "labels of blobs");
    assert_eq!(own.3, ctrs.3, "files");
}

fn a_snapshot_that_is_gone_is_made_again_at_a_restart(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    setup.stow(&fixture("buildah-oci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let all = committed(&stowd, "overlayfs");
    let top = tops(&stowd).pop().unwrap();
    stowd.ctr(&["snapshots", "rm", &top]);
    assert!(!committed(&stowd, "overlayfs").contains(&top));
    for orderly in [true, false] {
        match orderly {
            true => assert_eq!(stowd.stop(), Some(0)),
            false => stowd.kill(),
        }
        stowd.restart();
        stowd.wait_ready(SOON);
        assert_eq!(committed(&stowd, "overlayfs"), all);
    }
    let skipped = stowd.lines(" skipped /").len();
    assert_eq!(skipped, 4, "no archive is read for a snapshot");
    assert_nothing_half_done(&stowd, "overlayfs");
}

fn a_layer_that_cannot_be_unpacked_fails_its_image_alone(generation: &Generation) {
    let setup = Setup::new(generation);
    let outside = setup.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    setup.stow(&fixture("umoci.tar").path);
    let write = |file: &str, bytes: Vec<u8>| {
        std::fs::write(setup.images().join(file), bytes).unwrap();
    };
    let mut no_tar = recipe(1, "stowd.test/no-tar:1");
    no_tar.layer = |tar| tar.fill(b'x');
    write("a.tar", no_tar.oci().tar());
    let mut other = recipe(2, "stowd.test/other:1");
    other.config = |config| {
        let wrong = format!("sha256:{}", "0".repeat(64));
        config["rootfs"]["diff_ids"] = serde_json::json!([wrong]);
    };
    write("b.tar", other.oci().tar());
    let mut cut = recipe(3, "stowd.test/cut:1");
    cut.layer = |tar| tar.truncate(20_000);
    write("c.tar", cut.oci().tar());
    let mut few = recipe(4, "stowd.test/few:1");
    few.config = |config| config["rootfs"]["diff_ids"] = serde_json::json!([]);
    write("d.tar", few.oci().tar());
    // What containerd makes harmless.
    let mut hostile = recipe(5, "stowd.test/hostile:1");
    hostile.layer = |tar| *tar = hostile_layer();
    write("e.tar", hostile.oci().tar());
    // containerd's words have the name in them.
    let mut named = recipe(6, "stowd.test/named:1");
    named.layer = |tar| {
        let mut builder = tar::Builder::new(Vec::new());
        let name = format!("no space left on device/{}", "x".repeat(300));
        append(&mut builder, &name, b"");
        *tar = builder.into_inner().unwrap();
    };
    write("f.tar", named.oci().tar());
    let mut annotated = recipe(7, "stowd.test/annotated:1");
    annotated.manifest = |manifest| {
        manifest["layers"][0]["annotations"] =
            serde_json::json!({ "containerd.io/snapshot/stowd": "x".repeat(5000) });
    };
    write("g.tar", annotated.oci().tar());

    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    for file in [
        "a.tar",
        "b.tar",
        "c.tar",
        "d.tar",
        "e.tar",
        "f.tar",
        "g.tar",
        "umoci.tar",
    ] {
        let outcomes = stowd.outcomes(file);
        assert!(
            outcomes.len() == 1 && outcomes[0].contains(" imported /"),
            "{file}: {outcomes:?}"
        );
    }
    let failed = stowd.lines(" not unpacked ");
    println!("{}", failed.join("\n"));
    for (image, words) in [
        ("no-tar", "cannot be unpacked with overlayfs: "),
        ("other", "and the image's configuration says sha256:0000"),
        ("cut", "cannot be unpacked with overlayfs: "),
        ("few", "its manifest has 1 layers, its configuration 0"),
        ("named", "cannot be unpacked with overlayfs: "),
        (
            "annotated",
            "with overlayfs: info.Labels: label key and value",
        ),
    ] {
        let name = format!(" not unpacked stowd.test/{image}:1: ");
        let told = failed.iter().filter(|line| line.contains(&name));
        let told = told.collect::<Vec<_>>();
        assert!(told.iter().all(|line| line.contains(words)), "{told:?}");
        assert!(!told.is_empty(), "{image}");
    }
    assert!(stowd.lines(" unpacked registry.stowd.test/umoci").len() == 1);
    assert!(!Path::new("/stowd-evil").exists() && !Path::new("/tmp/stowd-evil").exists());
    let images = stowd.store().images();
    for image in ["no-tar", "other", "cut", "few", "named", "annotated"] {
        let record = &images[&format!("stowd.test/{image}:1")];
        assert!(record.labels.contains_key("io.cri-containerd.pinned"));
    }
    assert_nothing_half_done(&stowd, "overlayfs");
    let last = stowd.notify.statuses().pop().unwrap();
    assert!(last.contains(" not unpacked"), "{last}");
}

/// Members that would land outside, whiteouts of the root and of what is above it, a device.
fn hostile_layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for path in ["/stowd-evil", "../../../../../../../../stowd-evil"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, &b"evil"[..]).unwrap();
    }
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "out", "/tmp").unwrap();
    append(&mut tar, "out/stowd-evil", b"evil");
    append(&mut tar, "etc/kept", b"kept");
    tar.into_inner().unwrap()
}

fn images_are_unpacked_after_ready_or_never(generation: &Generation) {
    for unpack in ["after-ready", "never"] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("unpack = \"{unpack}\"\n"));
        setup.stow(&fixture("umoci.tar").path);
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        if unpack == "after-ready" {
            stowd.wait_until(SOON, "it is unpacked", |stowd| {
                !stowd.lines(" unpacked ").is_empty()
            });
            let log = stowd.log();
            assert!(log.find(" ready: ") < log.find(" unpacked registry"));
            assert!(!committed(&stowd, "overlayfs").is_empty());
        } else {
            let ready = stowd.lines(" ready: ");
            assert!(!ready[0].contains("unpacked"), "{ready:?}");
            assert!(snapshots(&stowd, "overlayfs").is_empty());
        }
    }
}

fn another_snapshotter_may_be_named(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.images.push_str("snapshotter = \"native\"\n");
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 1 unpacked");
    assert!(!committed(&stowd, "native").is_empty());
    assert!(snapshots(&stowd, "overlayfs").is_empty());
    assert_nothing_half_done(&stowd, "native");

    let mut setup = Setup::new(generation);
    setup.images.push_str("snapshotter = \"stargz\"\n");
    setup.stow(&fixture("umoci.tar").path);
    setup.stow(&fixture("buildah-oci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, "2 entries, 0 unpacked, 2 not unpacked");
    let told = stowd.lines(" not unpacked ");
    assert_eq!(told.len(), 1, "it is told for the store: {told:?}");
    let words = "snapshotter stargz: containerd has none of this name; those that work: ";
    assert!(told[0].contains(words), "{told:?}");
    assert_eq!(stowd.lines(" imported /").len(), 2);
}

/// A runtime of its own makes its containers with a snapshotter of another process, which is gone.
fn a_snapshotter_that_does_not_answer_holds_up_nothing_but_itself(generation: &Generation) {
    let setup = Setup::new(generation);
    let file = setup.dir().join("containerd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let gone = setup.dir().join("gone.sock");
    let plugin = format!(
        "[proxy_plugins.gone]\ntype = \"snapshot\"\naddress = \"{}\"\n\
         [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.other]\n\
         runtime_type = \"io.containerd.runc.v2\"\nsnapshotter = \"gone\"\n",
        gone.display()
    );
    std::fs::write(&file, format!("{text}\n{plugin}")).unwrap();
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 1 not unpacked");
    let told = stowd.lines(" not unpacked ");
    let words = ": snapshotter gone: it does not answer: ";
    assert!(told[0].contains(words), "{told:?}");
    assert!(!committed(&stowd, "overlayfs").is_empty());
    let silent = stowd.lines(" containerd does not answer");
    assert_eq!(silent, Vec::<String>::new());
}

fn an_index_that_lists_another_a_thousand_times_is_read_once(generation: &Generation) {
    const NAME: &str = "stowd.test/often:1";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let mut made = recipe(11, NAME).oci();
    let list = made.members.iter().find(|(path, _)| path == "index.json");
    let Some((_, Body::File(bytes))) = list else {
        panic!("index.json")
    };
    let mut list = serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let mut named = list["manifests"][0].clone();
    named["annotations"] = serde_json::json!({});
    named["platform"] = serde_json::json!({
        "os": "linux", "architecture": crate::support::architecture(),
    });
    // Each reading of it takes a MiB.
    let inner = serde_json::json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [named],
        "annotations": { "padding": "x".repeat(1 << 20) },
    });
    let mut add = |body: serde_json::Value| {
        let body = body.to_string().into_bytes();
        let digest = Digest::of(&body);
        made.add(&format!("blobs/sha256/{}", digest.hex()), &body);
        serde_json::json!({ "mediaType": INDEX, "digest": digest, "size": body.len() })
    };
    let inner = add(inner);
    let outer = serde_json::json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": vec![inner; 1000],
    });
    let mut outer = add(outer);
    outer["annotations"] = serde_json::json!({ "io.containerd.image.name": NAME });
    list["manifests"] = serde_json::json!([outer]);
    let made = made.with("index.json", Body::File(list.to_string().into_bytes()));
    let setup = Setup::new(generation);
    std::fs::write(setup.images().join("often.tar"), made.tar()).unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, "1 image from 1 entry, 1 unpacked");
    let peak = kibibytes(stowd.pid(), "VmHWM:") >> 10;
    assert!(peak < 200, "{peak} MiB");
}

fn a_kill_leaves_no_half_unpacked_layer(generation: &Generation) {
    let setup = Setup::new(generation);
    setup.stow(&fixture("large.tar").path);
    let mut stowd = setup.start();
    let began = Instant::now();
    let mut kills = 0;
    while kills < 3 && stowd.notify.ready_at().is_none() {
        assert!(began.elapsed() < SOON, "no layer is being unpacked");
        if !stowd.lines(" imported /").is_empty() || kills > 0 {
            let active = snapshots(&stowd, "overlayfs");
            if active.values().any(|(_, kind)| kind == "Active") {
                stowd.kill();
                stowd.restart();
                kills += 1;
                stowd.wait_until(SOON, "containerd serves", |stowd| {
                    stowd.log().matches(" skipped /").count() >= kills
                        || stowd.notify.ready_at().is_some()
                });
            }
        }
    }
    stowd.wait_ready(SOON);
    println!("{} kills, containerd {}", kills, generation.name);
    assert_ready_says(&stowd, ", 4 unpacked");
    assert_nothing_half_done(&stowd, "overlayfs");
}
