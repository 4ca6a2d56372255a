//! What an archive or a list is wrong about costs no image a blob: not in stowd's namespace, and not in
//! another one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::json;
use stowd::containerd::Containerd;
use stowd::digest::Digest;
use stowd::image_store::{ImageStore, Labels};

use crate::damage::{blobs_of, file, is_whole};
use crate::made::{Body, Made, recipe};
use crate::raw::{Raw, Way, both_ways, bytes, labels, put};
use crate::support::{
    Generation, Registry, Setup, Stowd, blobs_dir, fixture, on_the_reference_in_turn,
};

const SOON: Duration = Duration::from_secs(120);

on_the_reference_in_turn!(
    an_archive_that_is_wrong_about_a_blob_costs_no_image_a_blob,
    a_list_leaves_what_another_namespace_has,
);
both_ways!(
    on_the_reference:
    only_what_the_store_proves_is_discarded,
    what_a_damaged_blob_keeps_stays,
);

async fn what_a_damaged_blob_keeps_stays(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let (blob, layer) = (bytes(32, 300_000), Digest::of(b"a layer"));
    let digest = Digest::of(&blob);
    let keeps = [
        ("containerd.io/gc.ref.content.l.0", layer.as_str()),
        ("containerd.io/gc.ref.snapshot.overlayfs", "sha256:chain"),
    ];
    let lease = store.begin_lease("whole").await.unwrap();
    put(&store, &lease, &blob, labels(&keeps)).await.unwrap();
    let file = blobs_dir(daemon.root()).join(digest.hex());
    fs::remove_file(&file).unwrap();
    fs::write(&file, "x").unwrap();
    let other = store.begin_lease("damaged").await.unwrap();
    store.discard_if_damaged(&other, &digest).await.unwrap();
    assert_eq!(raw.blob_labels(&digest).await, None);
    let held = raw.held_by(other.id()).await;
    for kept in [
        format!("content/{layer}"),
        "snapshots/overlayfs/sha256:chain".to_owned(),
    ] {
        assert!(held.contains(&kept), "{kept}: {held:?}");
    }
}

async fn only_what_the_store_proves_is_discarded(generation: Generation, way: Way) {
    let (daemon, store) = way.serve(&generation).await;
    let raw = Raw::connect(&daemon).await;
    let lease = store.begin_lease("damage").await.unwrap();
    let blob = bytes(31, 300_000);
    let digest = Digest::of(&blob);
    let file = blobs_dir(daemon.root()).join(digest.hex());

    // Another namespace's, without a record in this one.
    let elsewhere = Containerd::connect(daemon.address(), "elsewhere").unwrap();
    let other = elsewhere.begin_lease("other").await.unwrap();
    put(&elsewhere, &other, &blob, Labels::new()).await.unwrap();
    store.discard_if_damaged(&lease, &digest).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), blob);

    // With one.
    put(&store, &lease, &blob, Labels::new()).await.unwrap();
    store.discard_if_damaged(&lease, &digest).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), blob);
    assert_eq!(raw.blob_labels(&digest).await, Some(Labels::new()));

    let mut wrong = blob.clone();
    wrong[7] ^= 1;
    for damaged in [wrong, blob[..1000].to_vec()] {
        fs::remove_file(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        store.discard_if_damaged(&lease, &digest).await.unwrap();
        assert_eq!(raw.blob_labels(&digest).await, None);
        // Of what it does not see the other namespace's record keeps the file.
        let _ = fs::remove_file(&file);
        fs::write(&file, &blob).unwrap();
        put(&store, &lease, &blob, Labels::new()).await.unwrap();
    }
}

/// Brings an archive into another namespace as well.
fn import_elsewhere(stowd: &Stowd, archive: &str) {
    let words = stowd.setup().generation().import_words();
    let import = [&["--namespace", "elsewhere"], words, &[archive]].concat();
    stowd.ctr(&import);
}

fn inodes(stowd: &Stowd, digests: &[String]) -> Vec<u64> {
    let inode = |digest: &String| fs::metadata(file(stowd, digest)).unwrap().ino();
    digests.iter().map(inode).collect()
}

fn assert_elsewhere(stowd: &Stowd, digests: &[String]) {
    let list = stowd.ctr(&["--namespace", "elsewhere", "content", "list", "--quiet"]);
    for digest in digests {
        assert!(list.contains(digest.as_str()), "{digest}: {list}");
    }
}

/// An archive of the same blobs as `good`, the layer cut in half: `is_told` says whether its manifest
/// tells of the shorter one.
fn with_cut_layer(good: &Made, name: &'static str, is_told: bool) -> Made {
    let found = good.members.iter().find(|(path, _)| *path == good.layer);
    let Some((_, Body::File(layer))) = found else {
        panic!("{}", good.layer)
    };
    let half = layer[..layer.len() / 2].to_vec();
    let mut liar = recipe(71, name);
    liar.size = LYING_SIZE;
    if is_told {
        liar.manifest = |manifest| {
            let size = manifest["layers"][0]["size"].as_u64().unwrap();
            manifest["layers"][0]["size"] = json!(size / 2);
        };
    }
    let liar = liar.oci();
    assert_eq!(liar.layer, good.layer);
    let layer = liar.layer.clone();
    liar.with(&layer, Body::File(half))
}

/// A blob that is written directly, where that is done.
const LYING_SIZE: usize = 600_000;

fn an_archive_that_is_wrong_about_a_blob_costs_no_image_a_blob(generation: &Generation) {
    const NAME: &str = "registry.stowd.test/good:1";
    for direct in [true, false] {
        let mut setup = Setup::new(generation);
        setup.images.push_str(&format!("direct = {direct}\n"));
        let good = made_good(NAME);
        let dir = setup.dir().join("made");
        fs::create_dir(&dir).unwrap();
        let path = dir.join("good.tar");
        fs::write(&path, good.tar()).unwrap();
        setup.stow(&path);
        let mut stowd = setup.start();
        stowd.wait_ready(SOON);
        import_elsewhere(&stowd, path.to_str().unwrap());
        let blobs = blobs_of(&stowd, NAME);
        let before = inodes(&stowd, &blobs);
        for (file, name, is_told) in [
            ("cut.tar", "registry.stowd.test/cut:1", false),
            ("cut.tar.gz", "registry.stowd.test/cut-gz:1", false),
            ("told.tar", "registry.stowd.test/told:1", true),
            ("told.tar.gz", "registry.stowd.test/told-gz:1", true),
        ] {
            let bytes = with_cut_layer(&good, name, is_told).tar();
            let bytes = match file.ends_with(".gz") {
                true => gzip(&bytes),
                false => bytes,
            };
            fs::write(dir.join(file), bytes).unwrap();
            stowd.setup().stow(&dir.join(file));
            stowd.wait_until(SOON, "it has ended", |stowd| {
                !stowd.outcomes(file).is_empty()
            });
            let outcomes = stowd.outcomes(file);
            assert!(outcomes[0].contains(" failed /"), "{outcomes:?}");
            for blob in &blobs {
                assert!(is_whole(&stowd, blob), "direct = {direct}: {file}: {blob}");
            }
            assert_eq!(inodes(&stowd, &blobs), before, "direct = {direct}: {file}");
            assert_elsewhere(&stowd, &blobs);
        }
    }
}

fn made_good(name: &'static str) -> Made {
    let mut good = recipe(71, name);
    good.size = LYING_SIZE;
    good.oci()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn a_list_leaves_what_another_namespace_has(generation: &Generation) {
    const NAME: &str = "registry.stowd.test/umoci:1.35";
    let mut registry = Registry::start();
    registry.push("umoci.tar", NAME, "umoci:1.35");
    let setup = Setup::new(generation);
    setup.registry("registry.stowd.test", registry.address(), &[]);
    setup.list("core.txt", NAME);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    import_elsewhere(&stowd, fixture("umoci.tar").path.to_str().unwrap());
    let blobs = blobs_of(&stowd, NAME);
    let before = inodes(&stowd, &blobs);
    let remove = |stowd: &Stowd| {
        for image in stowd.ctr(&["images", "list", "--quiet"]).lines() {
            if image.contains("umoci") {
                stowd.store().remove_image(image);
            }
        }
        stowd.store().collect_garbage();
    };
    remove(&stowd);
    stowd.wait_until(SOON, "the image is back", |stowd| {
        let images = stowd.store().images();
        let image = images.get(NAME);
        image.is_some_and(|image| image.labels.contains_key("io.cri-containerd.pinned"))
    });
    assert_eq!(inodes(&stowd, &blobs), before);
    assert!(is_whole(&stowd, &blobs[0]) && is_whole(&stowd, &blobs[1]));

    registry.kill();
    remove(&stowd);
    stowd.wait_until(SOON, "the registry is asked", |stowd| {
        !stowd.lines(" not pulled /").is_empty()
    });
    assert_eq!(inodes(&stowd, &blobs), before);
    assert_elsewhere(&stowd, &blobs);
}
