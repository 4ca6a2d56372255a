//! What was unpacked and is gone, or could not be unpacked for now, is unpacked later.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use stowd::digest::Digest;

use crate::made::{Body, recipe};
use crate::support::{
    Answer, Daemon, FakeRegistry, Generation, Registry, Setup, SmallDisk, Stowd, architecture,
    fixture, foreign_architecture, on_each_generation_in_turn, on_the_reference_in_turn,
};
use crate::unpack::{assert_nothing_half_done, assert_ready_says, committed, snapshots};

const SOON: Duration = Duration::from_secs(120);

on_each_generation_in_turn!(
    the_snapshotter_of_cri_that_runs_counts,
    a_lease_that_is_ended_meanwhile_is_begun_anew,
);
on_the_reference_in_turn!(
    a_layer_that_cri_has_thrown_away_is_pulled_again,
    the_snapshots_of_another_platform_are_not_the_hosts,
    what_fills_the_disk_is_unpacked_when_there_is_room,
    an_image_is_unpacked_while_another_one_is_still_to_come,
);

/// Removes all snapshots, those on top first.
fn remove_snapshots(stowd: &Stowd) {
    loop {
        let all = snapshots(stowd, "overlayfs");
        let is_parent = |name: &String| all.values().any(|(parent, _)| parent == name);
        let Some(top) = all.keys().find(|name| !is_parent(name)) else {
            return;
        };
        // containerd may be collecting them, too.
        let ctr = Command::new(stowd.setup().generation().ctr())
            .arg("--address")
            .arg(stowd.address())
            .args(["--namespace", "k8s.io", "snapshots", "rm", top])
            .output();
        drop(ctr.unwrap());
    }
}

fn a_layer_that_cri_has_thrown_away_is_pulled_again(generation: &Generation) {
    const NAME: &str = "registry.stowd.test/core/umoci:1.35";
    let registry = Registry::start();
    registry.push(
        "umoci.tar",
        "registry.stowd.test/umoci:1.35",
        "core/umoci:1.35",
    );
    let setup = Setup::new(generation);
    setup.registry("registry.stowd.test", registry.address(), &[]);
    let file = setup.dir().join("containerd.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let images = "[plugins.'io.containerd.cri.v1.images']\n";
    let discarding = format!("{images}  discard_unpacked_layers = true\n");
    assert!(config.contains(images));
    std::fs::write(&file, config.replace(images, &discarding)).unwrap();
    setup.list("a.txt", NAME);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 1 unpacked");
    let made = committed(&stowd, "overlayfs");
    // CRI leaves it to the next collection.
    let lose_layers = |stowd: &Stowd| {
        let store = stowd.store();
        let manifest = store.document(&store.images()[NAME].target);
        let blobs = store.blobs();
        for layer in manifest["layers"].as_array().unwrap() {
            let digest = layer["digest"].as_str().unwrap();
            if blobs.contains_key(digest) {
                stowd.ctr(&["content", "rm", digest]);
            }
        }
    };
    lose_layers(&stowd);
    // What was there at the look after the pull is forgotten.
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 1 unpacked");
    remove_snapshots(&stowd);
    lose_layers(&stowd);
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, "1 image from 1 entry, 1 unpacked");
    assert_eq!(committed(&stowd, "overlayfs"), made);
    assert_nothing_half_done(&stowd, "overlayfs");
}

/// The file of the configuration is another one than that with which containerd was started.
fn the_snapshotter_of_cri_that_runs_counts(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let file = daemon.dir().join("config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let other = match generation.is_2() {
        true => config.replace(
            "[plugins.'io.containerd.cri.v1.images']\n",
            "[plugins.'io.containerd.cri.v1.images']\n  snapshotter = \"native\"\n",
        ),
        false => format!(
            "{config}\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = \"native\"\n"
        ),
    };
    assert_ne!(other, config);
    std::fs::write(&file, other).unwrap();
    let mut setup = Setup::new(generation);
    setup.attach(&daemon.address());
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 1 unpacked");
    let made_by = |snapshotter: &str| {
        let list = [
            "--namespace",
            "k8s.io",
            "snapshots",
            "--snapshotter",
            snapshotter,
            "list",
        ];
        daemon.ctr(&list).lines().count() - 1
    };
    assert_eq!((made_by("overlayfs") > 0, made_by("native")), (true, 0));

    // A containerd that is started anew is asked anew.
    daemon.restart();
    stowd.wait_until(SOON, "it is unpacked again", |stowd| {
        stowd.lines(" unpacked registry").len() == 2
    });
    let list = [
        "--namespace",
        "k8s.io",
        "snapshots",
        "--snapshotter",
        "native",
        "list",
    ];
    assert!(daemon.ctr(&list).lines().count() > 1);
}

fn a_lease_that_is_ended_meanwhile_is_begun_anew(generation: &Generation) {
    let mut setup = Setup::new(generation);
    setup.images.push_str("parallel = 1\n");
    setup.stow(&fixture("large.tar").path);
    let mut stowd = setup.start();
    let began = Instant::now();
    let mut is_ended = false;
    while !is_ended {
        assert!(began.elapsed() < SOON, "nothing is being unpacked");
        if stowd.lines(" imported /").is_empty() {
            continue;
        }
        let active = snapshots(&stowd, "overlayfs");
        if active.values().any(|(_, kind)| kind == "Active") {
            for lease in stowd.store().leases() {
                stowd.ctr(&["leases", "delete", "--sync", &lease]);
                is_ended = true;
            }
        }
    }
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 4 unpacked");
    assert_eq!(stowd.lines(" not unpacked "), Vec::<String>::new());
    assert_nothing_half_done(&stowd, "overlayfs");
}

fn the_snapshots_of_another_platform_are_not_the_hosts(generation: &Generation) {
    const NAME: &str = "stowd.test/both:1";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let of = |seed, platform: &'static str| {
        let mut of = recipe(seed, NAME);
        of.config = match platform == architecture() {
            true => |_| (),
            false => |config| config["architecture"] = json!(foreign_architecture()),
        };
        of.oci()
    };
    let (own, other) = (of(1, architecture()), of(2, foreign_architecture()));
    let mut made = own.and(other, "index.json");
    let list = made.members.iter().find(|(path, _)| path == "index.json");
    let Some((_, Body::File(bytes))) = list else {
        panic!("index.json")
    };
    let mut list = serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let platforms = [architecture(), foreign_architecture()];
    for (manifest, platform) in list["manifests"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .zip(platforms)
    {
        manifest["annotations"] = json!({});
        manifest["platform"] = json!({ "os": "linux", "architecture": platform });
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": list["manifests"],
    });
    let index = index.to_string().into_bytes();
    let digest = Digest::of(&index);
    made.add(&format!("blobs/sha256/{}", digest.hex()), &index);
    list["manifests"] = json!([{
        "mediaType": INDEX, "digest": digest, "size": index.len(),
        "annotations": { "io.containerd.image.name": NAME },
    }]);
    let made = made.with("index.json", Body::File(list.to_string().into_bytes()));
    let mut setup = Setup::new(generation);
    setup.images.push_str("platforms = [\"all\"]\n");
    std::fs::write(setup.images().join("both.tar"), made.tar()).unwrap();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let hosts = committed(&stowd, "overlayfs");
    remove_snapshots(&stowd);
    let target = stowd.setup().dir().join("mounted");
    std::fs::create_dir(&target).unwrap();
    let target = target.to_str().unwrap();
    let platform = format!("linux/{}", foreign_architecture());
    stowd.ctr(&["images", "mount", "--platform", &platform, NAME, target]);
    stowd.ctr(&["images", "unmount", "--rm", target]);
    let others = committed(&stowd, "overlayfs");
    assert!(!others.is_empty() && others.is_disjoint(&hosts));
    assert_eq!(stowd.stop(), Some(0));
    stowd.restart();
    stowd.wait_ready(SOON);
    assert_ready_says(&stowd, ", 1 unpacked");
    assert!(hosts.is_subset(&committed(&stowd, "overlayfs")));
}

/// A bomb: it decompresses to more than the disk has.
fn what_fills_the_disk_is_unpacked_when_there_is_room(generation: &Generation) {
    let mut bomb = recipe(1, "stowd.test/bomb:1");
    bomb.gzip = true;
    bomb.manifest = |manifest| {
        manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    };
    bomb.layer = |tar| {
        let mut builder = tar::Builder::new(Vec::new());
        crate::made::append(&mut builder, "zeros", &vec![0; 60 << 20]);
        *tar = builder.into_inner().unwrap();
    };
    let mut setup = Setup::new(generation);
    // One after the other: when the disk is full, the other image would have no room either.
    setup.images.push_str("parallel = 1\n");
    let disk = SmallDisk::at(setup.dir().join("root"), 40);
    std::fs::write(setup.images().join("z-bomb.tar"), bomb.oci().tar()).unwrap();
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    assert_ready_says(
        &stowd,
        "2 images from 2 entries, 1 unpacked, 1 not unpacked",
    );
    let told = stowd.lines(" not unpacked stowd.test/bomb:1: ");
    assert!(told[0].contains("no space left"), "{told:?}");
    assert_nothing_half_done(&stowd, "overlayfs");
    disk.grow(200);
    let grown = Instant::now();
    stowd.wait_until(SOON, "it is unpacked", |stowd| {
        !stowd.lines(" unpacked stowd.test/bomb:1").is_empty()
    });
    println!("{:?} after there was room", grown.elapsed());
    assert_nothing_half_done(&stowd, "overlayfs");
}

fn an_image_is_unpacked_while_another_one_is_still_to_come(generation: &Generation) {
    let fake = FakeRegistry::start(Answer::Held);
    let setup = Setup::new(generation);
    setup.registry("held.stowd.test", &fake.address(), &[]);
    setup.stow(&fixture("umoci.tar").path);
    setup.list("z.txt", "held.stowd.test/never:1");
    let mut stowd = setup.start();
    stowd.wait_until(SOON, "it is unpacked", |stowd| {
        !stowd
            .lines(" unpacked registry.stowd.test/umoci")
            .is_empty()
    });
    assert_eq!(stowd.outcomes("z.txt"), Vec::<String>::new());
    assert_eq!(stowd.notify.ready_at(), None);
}
