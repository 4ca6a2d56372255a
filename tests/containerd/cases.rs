//! Archives as people have them, on real containerds: what is imported runs, and what would not run is
//! told at import.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use containerd_client::services::v1 as api;
use containerd_client::types::Descriptor;
use rustix::process::Signal;
use stowd::containerd::Containerd;
use stowd::image_store::ImageStore as _;
use tokio::runtime::Runtime;

use crate::support::{
    Daemon, Generation, PAUSE_IMAGE, Setup, Stowd, on_each_generation_in_turn,
    on_the_reference_in_turn, reference, run_in_pod, write_static_image, write_static_image_in,
};

const SOON: Duration = Duration::from_secs(180);

/// The directories of `tests/fixtures/archives` whose archives are imported, and what of them.
const IMPORTED: [(&str, &[&str]); 9] = [
    ("absolute_layer_names", &["absolute-layer-names:1"]),
    (
        "another_media_type_in_index_json",
        &["another-media-type-in-index-json:1"],
    ),
    (
        "backslashes_in_blob_paths",
        &["backslashes-in-blob-paths:1"],
    ),
    ("no_end_marker", &["no-end-marker:1"]),
    (
        "one_block_of_zeros_at_the_end",
        &["one-block-of-zeros-at-the-end:1"],
    ),
    ("sparse_members_pax", &["sparse-members-pax:1"]),
    (
        "top_layers_alone_beside_their_base",
        &[
            "top-layers-alone-beside-their-base:base",
            "top-layers-alone-beside-their-base:top",
        ],
    ),
    (
        "two_platforms_each_with_its_tag",
        &["two-platforms-each-with-its-tag:1-amd64"],
    ),
    ("zarf_package", &["zarf-package:1"]),
];

fn archives_of_people_are_imported_and_texts_beside_them_are_no_failure(generation: &Generation) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut setup = Setup::new(generation);
    // The archives are for it, whatever this machine is.
    setup.images.push_str("platforms = [\"linux/amd64\"]\n");
    let mut names = BTreeSet::new();
    for (directory, images) in IMPORTED {
        names.extend(images.iter().map(|image| format!("docker.io/held/{image}")));
        for item in std::fs::read_dir(fixtures.join("archives").join(directory)).unwrap() {
            let path = item.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name != "expected" {
                setup.stow_as(&path, &format!("{directory}/{name}"));
            }
        }
    }
    for list in ["31-checksums", "32-prose"] {
        let text = std::fs::read(fixtures.join("lists").join(list).join("list.txt")).unwrap();
        setup.list(&format!("{list}.txt"), text);
    }
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    // The layers above may have been tried before their base was there.
    let failed = stowd.lines(" failed /");
    assert!(
        failed.iter().all(|line| line.contains("b-delta.tar")),
        "{failed:?}"
    );
    assert_eq!(
        stowd.lines("ready: 10 images from 12 entries").len(),
        1,
        "{}",
        stowd.log()
    );
    assert_eq!(stowd.lines("ignored: no list of images: ").len(), 2);
    assert_eq!(stowd.lines("has no end marker").len(), 2);
    let store = stowd.store();
    let tags = store
        .images()
        .into_keys()
        .filter(|name| !name.contains('@'));
    assert_eq!(tags.collect::<BTreeSet<_>>(), names);
    store.collect_garbage();
    assert!(!store.closure().is_empty());
    for (digest, blob) in store.blobs() {
        assert_eq!(store.hash(&digest), (digest, blob.size));
    }
}

fn gzip(layer: Vec<u8>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&layer).unwrap();
    encoder.finish().unwrap()
}

fn zstd(layer: Vec<u8>) -> Vec<u8> {
    zstd::encode_all(layer.as_slice(), 1).unwrap()
}

fn plain(layer: Vec<u8>) -> Vec<u8> {
    layer
}

fn xz(layer: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = liblzma::read::XzEncoder::new(layer.as_slice(), 0);
    std::io::copy(&mut encoder, &mut out).unwrap();
    out
}

/// A layer: its media type, and what is done to it.
type Layer = (&'static str, fn(Vec<u8>) -> Vec<u8>);

/// Layers that a note is told of.
const NOTED: [Layer; 5] = [
    ("application/vnd.oci.image.layer.v1.tar+gzip", plain),
    ("application/vnd.oci.image.layer.v1.tar+gzip", zstd),
    ("application/vnd.oci.image.layer.v1.tar+zstd", gzip),
    ("application/vnd.docker.image.rootfs.diff.tar", gzip),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", zstd),
];

/// Layers of images that are refused.
const REFUSED: [Layer; 3] = [
    ("application/vnd.oci.image.layer.v1.tar", gzip),
    ("application/vnd.oci.image.layer.v1.tar", zstd),
    ("application/vnd.oci.image.layer.v1.tar+gzip", xz),
];

fn a_pod_of_an_image_with_a_mislabelled_layer_runs_or_the_image_is_refused(
    generation: &Generation,
) {
    let setup = Setup::new(generation);
    let dir = tempfile::tempdir().unwrap();
    let command = ["/bin/busybox", "sleep", "1000000"];
    setup.stow(&write_static_image(dir.path(), PAUSE_IMAGE, &command));
    let name = |kind: &str, number: usize| format!("stowd.test/{kind}:{number}");
    let write = |kind: &str, layers: &[Layer]| {
        for (number, (media_type, pack)) in layers.iter().enumerate() {
            let name = name(kind, number);
            let file = write_static_image_in(dir.path(), &name, &command, media_type, *pack);
            setup.stow_as(&file, &format!("{kind}-{number}.tar"));
        }
    };
    write("noted", &NOTED);
    write("refused", &REFUSED);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let runtime = Runtime::new().unwrap();
    for (number, (media_type, _)) in NOTED.into_iter().enumerate() {
        let file = format!("noted-{number}.tar");
        let notes = stowd.lines(&format!("{file}: layer sha256:"));
        assert_eq!(notes.len(), 1, "{media_type}: {notes:?}");
        assert!(
            notes[0].contains(": containerd unpacks it all the same"),
            "{notes:?}"
        );
        let logs = tempfile::tempdir().unwrap();
        let (address, name) = (stowd.address(), name("noted", number));
        let command = ["/bin/sh", "-c", "exit 7"];
        let ran = runtime.block_on(run_in_pod(&address, logs.path(), &name, &command));
        assert_eq!(ran.exit_code, 7, "{media_type}: {}", ran.log);
    }
    for number in 0..REFUSED.len() {
        let outcomes = stowd.outcomes(&format!("refused-{number}.tar"));
        let is_told =
            |line: &String| line.contains(" failed /") && line.contains(" push or build it");
        assert!(outcomes.iter().all(is_told), "{outcomes:?}");
        assert!(!outcomes.is_empty());
    }
}

/// What stowd does not import, containerd could not have unpacked.
fn what_is_refused_is_what_containerd_cannot_unpack(generation: &Generation) {
    let mut daemon = Daemon::start(generation);
    daemon.wait();
    let dir = tempfile::tempdir().unwrap();
    for (number, (media_type, pack)) in REFUSED.into_iter().enumerate() {
        let name = format!("stowd.test/refused:{number}");
        let file = write_static_image_in(dir.path(), &name, &["true"], media_type, pack);
        let imported = daemon.try_ctr(&["images", "import", file.to_str().unwrap()]);
        assert!(imported.is_err(), "{media_type}: {imported:?}");
    }
}

on_each_generation_in_turn!(what_is_refused_is_what_containerd_cannot_unpack);
on_the_reference_in_turn!(
    archives_of_people_are_imported_and_texts_beside_them_are_no_failure,
    a_pod_of_an_image_with_a_mislabelled_layer_runs_or_the_image_is_refused,
);

/// An images directory of links to a disk that is not there.
#[test]
fn twenty_thousand_links_that_lead_nowhere_hold_nothing() {
    let setup = Setup::new(&reference());
    let images = setup.images();
    for number in 0..20_000 {
        let link = images.join(format!("{number}.tar"));
        symlink(format!("/nowhere/{number}.tar"), link).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let good = write_static_image(dir.path(), "stowd.test/good:1", &["true"]);
    setup.stow_as(&good, "good.tar");
    let began = Instant::now();
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    println!("READY after {:?}", began.elapsed());
    assert_eq!(stowd.outcomes("good.tar").len(), 1);
    assert_eq!(stowd.lines("ready: 1 image from 20001 entries").len(), 1);
    let late = write_static_image(dir.path(), "stowd.test/late:1", &["true"]);
    stowd.signal(Signal::HUP);
    std::fs::copy(late, images.join("late.tar")).unwrap();
    let began = Instant::now();
    let is_imported = |stowd: &Stowd| !stowd.outcomes("late.tar").is_empty();
    stowd.wait_until(SOON, "the late archive is imported", is_imported);
    println!("imported beside a rescan after {:?}", began.elapsed());
    assert_eq!(stowd.lines(" failed /").len(), 20_000, "each is told once");
    let began = Instant::now();
    assert_eq!(stowd.stop(), Some(0));
    println!("stopped after {:?}", began.elapsed());
}

/// One answer has room for 16 MiB, and these records have 24.
#[tokio::test(flavor = "multi_thread")]
async fn more_images_than_fit_an_answer_are_listed_in_parts() {
    let generation = reference();
    let mut daemon = Daemon::start(&generation);
    daemon.wait();
    let containerd = Containerd::connect(daemon.address(), "many").unwrap();
    let channel = containerd_client::connect(daemon.address()).await.unwrap();
    let mut images = api::images_client::ImagesClient::new(channel);
    let names = (0..200).map(|number| format!("r.example/{}:{number}", "x".repeat(200)));
    let names = names.collect::<BTreeSet<_>>();
    for name in &names {
        let labels = (0..30).map(|label| (format!("label-{label}"), "x".repeat(4000)));
        let mut request = tonic::Request::new(api::CreateImageRequest {
            image: Some(api::Image {
                name: name.clone(),
                labels: labels.collect(),
                target: Some(Descriptor {
                    media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
                    digest: stowd::digest::Digest::of(b"one").to_string(),
                    size: 3,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        });
        let namespace = "many".parse().unwrap();
        request
            .metadata_mut()
            .insert("containerd-namespace", namespace);
        images.create(request).await.unwrap();
    }
    let listed = containerd.images().await.unwrap();
    let listed = listed
        .into_iter()
        .map(|image| image.name)
        .collect::<Vec<_>>();
    assert_eq!(listed.len(), names.len(), "each once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
}
