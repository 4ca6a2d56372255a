//! The importer over a store in memory: what it sends, what it names, what it leaves behind when
//! something breaks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stowd::digest::Digest;
use stowd::entry::{Entry, Identity, Kind};
use stowd::image_store::StoreError;
use stowd::importer::{ImportError, ImportReport, ImportRules, Reservations, import};
use stowd::ledger::{FailureClass, NamesOfLater};
use stowd::pin::{DEFAULT_PIN, RUNTIME_PIN};
use stowd::platform::{Platform, Wanted};
use stowd::progress::Meter;
use stowd::told::Told;
use tempfile::TempDir;
use tokio::sync::Barrier;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::memory_store::MemoryStore;

const MIB: usize = 1 << 20;

/// An archive that is being put together.
pub(crate) struct Draft {
    pub(crate) members: Vec<(String, Vec<u8>)>,
}

/// An OCI image of one layer, and the digests of its parts.
pub(crate) struct Drawn {
    pub(crate) layer: Digest,
    pub(crate) config: Digest,
    pub(crate) manifest: Digest,
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            members: vec![(
                "oci-layout".into(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            )],
        }
    }

    pub(crate) fn blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.members
            .push((format!("blobs/sha256/{}", digest.hex()), bytes));
        digest
    }

    pub(crate) fn image(&mut self, layer: Vec<u8>) -> Drawn {
        self.image_with(layer, "nobody")
    }

    /// One that differs by its author alone from others of the same layer.
    pub(crate) fn image_with(&mut self, layer: Vec<u8>, author: &str) -> Drawn {
        let size = layer.len();
        let digest = Digest::of(&layer);
        let path = format!("blobs/sha256/{}", digest.hex());
        let layer = match self.members.iter().any(|(there, _)| *there == path) {
            true => digest,
            false => self.blob(layer),
        };
        let config = format!(
            r#"{{"os":"linux","architecture":"amd64","author":"{author}","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let config_size = config.len();
        let config = self.blob(config.into_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":{size}}}]}}"#
        );
        let manifest = self.blob(manifest.into_bytes());
        Drawn {
            layer,
            config,
            manifest,
        }
    }

    pub(crate) fn index(&mut self, images: &[(&str, &Digest)]) {
        let manifests = images.iter().map(|(name, digest)| {
            let path = format!("blobs/sha256/{}", digest.hex());
            let size = self.members.iter().find(|(p, _)| *p == path).map_or(1, |(_, b)| b.len());
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"annotations":{{"io.containerd.image.name":"{name}"}}}}"#
            )
        });
        let manifests = manifests.collect::<Vec<_>>().join(",");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifests}]}}"#);
        self.members.push(("index.json".into(), index.into_bytes()));
    }

    pub(crate) fn remove(&mut self, digest: &Digest) {
        self.members
            .retain(|(path, _)| !path.ends_with(digest.hex()));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in &self.members {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, bytes.as_slice())
                .unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// Both ways through the reader: (plain, compressed).
    pub(crate) fn written(&self, dir: &Path) -> [PathBuf; 2] {
        let plain = dir.join("plain.tar");
        std::fs::write(&plain, self.bytes()).unwrap();
        let compressed = dir.join("compressed.tar.zst");
        std::fs::write(
            &compressed,
            zstd::encode_all(self.bytes().as_slice(), 1).unwrap(),
        )
        .unwrap();
        [plain, compressed]
    }
}

pub(crate) fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    // Never the beginning of a JSON document or of a compressed layer.
    std::iter::once(b'x')
        .chain(std::iter::repeat_with(&mut step))
        .take(length)
        .collect()
}

fn amd64() -> Wanted {
    Wanted::from_config(&["linux/amd64".to_owned()], Platform::host()).unwrap()
}

pub(crate) fn entry(path: &Path) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: Kind::Archive,
        identity: Identity::of(&std::fs::metadata(path).unwrap()),
    }
}

fn run(store: &MemoryStore, path: &Path) -> Result<ImportReport, ImportError> {
    run_metered(store, &entry(path), Meter::default())
}

fn run_metered(
    store: &MemoryStore,
    entry: &Entry,
    meter: Meter,
) -> Result<ImportReport, ImportError> {
    run_with(store, entry, meter, &[])
}

pub(crate) fn run_with(
    store: &MemoryStore,
    entry: &Entry,
    meter: Meter,
    extra_registries: &[&str],
) -> Result<ImportReport, ImportError> {
    run_before(store, entry, meter, extra_registries, &NamesOfLater::new())
}

/// An import of an archive where entries later in name order bring the names `later`.
pub(crate) fn run_before(
    store: &MemoryStore,
    entry: &Entry,
    meter: Meter,
    extra_registries: &[&str],
    later: &NamesOfLater,
) -> Result<ImportReport, ImportError> {
    let extra_registries = extra_registries.iter().map(|r| (*r).to_owned());
    let rules = ImportRules {
        later,
        reservations: &Reservations::default(),
        told: &Told::default(),
        wanted: &amd64(),
        extra_registries: &extra_registries.collect::<Vec<_>>(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(import(
        store,
        entry,
        rules,
        meter,
        &CancellationToken::new(),
    ))
}

/// An image of a layer of 3 MiB, `busybox:1`, in archives of all kinds.
fn busybox() -> (TempDir, Drawn, [PathBuf; 2]) {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(3 * MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let paths = draft.written(dir.path());
    (dir, image, paths)
}

#[test]
fn an_image_is_whole_labelled_named_and_pinned() {
    let (_dir, image, paths) = busybox();
    for path in paths {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let tag = "docker.io/library/busybox:1";
        let by_digest = format!("docker.io/library/busybox@{}", image.manifest);
        assert_eq!(report.images[0].names, [tag, &by_digest]);
        let state = store.state();
        assert_eq!(state.leases, 0);
        assert_eq!(
            state.asked, 0,
            "what has just been sent need not be asked for"
        );
        assert_eq!(state.blobs.len(), 3);
        let children = &state.blobs[&image.manifest].1;
        assert_eq!(
            children["containerd.io/gc.ref.content.config"],
            image.config.as_str()
        );
        assert_eq!(
            children["containerd.io/gc.ref.content.l.0"],
            image.layer.as_str()
        );
        for name in [tag, &by_digest] {
            assert!(state.seen.iter().any(|seen| seen == name));
            let record = &state.images[name];
            assert_eq!(record.target.digest, image.manifest);
            for (key, value) in [RUNTIME_PIN, DEFAULT_PIN] {
                assert_eq!(record.labels[key], value);
            }
        }
    }
}

/// Two images, with `index.json` first: cut where it may be, the archive has all that it lists, or not.
#[test]
fn an_archive_without_its_end_is_imported_when_all_that_it_lists_is_there() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let a = draft.image(noise(3000, 1));
    let b = draft.image(noise(2000, 2));
    draft.index(&[("a:1", &a.manifest), ("b:1", &b.manifest)]);
    let index = draft.members.pop().unwrap();
    draft.members.insert(1, index);
    let [plain, _] = draft.written(dir.path());
    let bytes = std::fs::read(plain).unwrap();
    let end = bytes.len() - 1024;
    let last = draft.members.last().unwrap().1.len();
    let border = end - last.next_multiple_of(512);
    for (length, whole) in [
        (end, true),
        (end + 512, true),
        // Without its last padding, with less, and behind the member before the last.
        (border + last, true),
        (border + last - 1, false),
        (border - 512, false),
        (512, false),
    ] {
        let cut = &bytes[..length];
        for (name, bytes) in [
            ("cut.tar", cut.to_vec()),
            ("cut.tar.zst", zstd::encode_all(cut, 1).unwrap()),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let store = MemoryStore::default();
            match run(&store, &path) {
                Ok(report) => {
                    assert!(whole, "{name} {length}: {report:?}");
                    assert_eq!((report.images.len(), report.problems.len()), (2, 0));
                }
                Err(error) => {
                    assert!(!whole, "{name} {length}: {error}");
                    assert_eq!(error.class(), FailureClass::Content);
                    let error = error.to_string();
                    assert!(error.starts_with("the tar archive ends early"), "{error}");
                    assert_eq!(
                        error.contains("no end marker"),
                        length == border - 512,
                        "{error}"
                    );
                    assert!(store.state().images.is_empty());
                }
            }
        }
    }
    // What only the store has may be what was cut off, and a blob may be wrong.
    let store = MemoryStore::default();
    let path = dir.path().join("whole.tar");
    std::fs::write(&path, &bytes).unwrap();
    run(&store, &path).unwrap();
    std::fs::write(&path, &bytes[..border - 512]).unwrap();
    let error = run(&store, &path).unwrap_err().to_string();
    assert!(error.contains("is not in the archive"), "{error}");
    let mut wrong = bytes[..end].to_vec();
    let layer = wrong
        .windows(64)
        .position(|bytes| bytes == &noise(3000, 1)[..64]);
    wrong[layer.unwrap() + 100] ^= 1;
    std::fs::write(&path, &wrong).unwrap();
    let store = MemoryStore::default();
    let error = run(&store, &path).unwrap_err().to_string();
    assert!(
        error.contains("no end marker") && error.contains("have the digest"),
        "{error}"
    );
    assert!(store.state().images.is_empty());
}

/// A base and what lies on it, in archives of their own.
#[test]
fn a_layer_that_the_store_has_need_not_be_in_a_docker_archive() {
    let dir = TempDir::new().unwrap();
    let [base, top] = [noise(3000, 1), noise(2000, 2)];
    let diff_ids = [&base, &top].map(|layer| Digest::of(layer));
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
        diff_ids[0], diff_ids[1]
    );
    let saved = r#"[{"Config":"config.json","RepoTags":["app:1"],"Layers":["base/layer.tar","top/layer.tar"]}]"#;
    let members = [
        ("config.json", config.into_bytes()),
        ("top/layer.tar", top),
        ("manifest.json", saved.as_bytes().to_vec()),
    ];
    let members = members
        .map(|(path, bytes)| (path.to_owned(), bytes))
        .to_vec();
    for path in (Draft { members }).written(dir.path()) {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.class, FailureClass::MissingBlob);
        assert!(
            report.problems[0].contains("the store no layer"),
            "{:?}",
            report.problems
        );
        // It came compressed, and was unpacked.
        let packed = zstd::encode_all(base.as_slice(), 1).unwrap();
        let unpacked = (
            "containerd.io/uncompressed".to_owned(),
            diff_ids[0].to_string(),
        );
        let blob = (packed.clone(), [unpacked].into());
        store.state().blobs.insert(Digest::of(&packed), blob);
        let report = run(&store, &path).unwrap();
        assert_eq!((report.images.len(), report.problems), (1, vec![]));
        let state = store.state();
        let manifest = &state.blobs[&report.images[0].digest].0;
        let manifest = String::from_utf8(manifest.clone()).unwrap();
        let layer = format!(
            r#"diff.tar.gzip","digest":"{}","size":{}}}"#,
            Digest::of(&packed),
            packed.len()
        );
        assert!(manifest.contains(&layer), "{manifest}");
    }
}

#[test]
fn what_the_store_has_is_not_sent_again() {
    let (_dir, image, paths) = busybox();
    for path in paths {
        let store = MemoryStore::default();
        run(&store, &path).unwrap();
        let sent = store.state().chunks;
        assert!(sent >= 5, "{sent}");
        // The manifest's labels were lost, as when it came with another tool.
        store
            .state()
            .blobs
            .get_mut(&image.manifest)
            .unwrap()
            .1
            .clear();
        run(&store, &path).unwrap();
        let state = store.state();
        assert_eq!(state.chunks, sent);
        assert_eq!(state.blobs[&image.manifest].1.len(), 3);
    }
}

#[test]
fn what_is_there_just_as_it_is_to_be_is_neither_read_nor_written() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(3 * MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let [plain, _] = draft.written(dir.path());
    let store = MemoryStore::default();
    let first = run(&store, &plain).unwrap();
    let again = |writes: bool, what: &str| {
        let before = store.state().writes;
        let meter = Meter::default();
        let report = run_metered(&store, &entry(&plain), meter.clone()).unwrap();
        assert_eq!(report.images, first.images, "{what}");
        assert_eq!(meter.bytes(), report.identity.size, "{what}");
        assert_eq!(store.state().writes > before, writes, "{what}");
        let state = store.state();
        assert_eq!(state.blobs[&image.manifest].1.len(), 3, "{what}");
        assert!(state.blobs.contains_key(&image.layer), "{what}");
        assert_eq!(state.images.len(), 2, "{what}");
        let pinned = |image: &stowd::image_store::Image| image.labels.contains_key(DEFAULT_PIN.0);
        assert!(state.images.values().all(pinned), "{what}");
        assert_eq!(state.leases, 0, "{what}");
    };
    again(false, "nothing is missing");
    assert_eq!(store.state().seen.len(), 4, "seen both times");
    let name = "docker.io/library/busybox:1";
    store.state().images.remove(name);
    again(true, "a name");
    let away = Digest::of(b"another");
    store.state().images.get_mut(name).unwrap().target.digest = away;
    again(true, "a name that points elsewhere");
    store.state().images.get_mut(name).unwrap().labels.clear();
    again(true, "a pin");
    store.state().blobs.remove(&image.layer);
    again(true, "a layer");
    store
        .state()
        .blobs
        .get_mut(&image.manifest)
        .unwrap()
        .1
        .clear();
    again(true, "the labels of a manifest");
    store.state().blobs.get_mut(&image.layer).unwrap().0.pop();
    again(true, "a layer of another length");
}

#[test]
fn a_half_sent_blob_is_resumed_and_a_wrong_half_is_sent_anew() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let layer = noise(3 * MIB + 5, 1);
    let image = draft.image(layer.clone());
    draft.index(&[("busybox:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        for half in [layer[..MIB + 7].to_vec(), noise(MIB + 7, 99), layer.clone()] {
            let right = layer.starts_with(&half);
            let store = MemoryStore::default();
            let length = half.len();
            store.state().ingests.insert(image.layer.clone(), half);
            let meter = Meter::default();
            let report = run_metered(&store, &entry(&path), meter.clone()).unwrap();
            assert_eq!(report.problems, Vec::<String>::new());
            assert_eq!(
                meter.bytes(),
                report.identity.size,
                "read twice, counted once"
            );
            // The layer, its labels, two documents, two names, and both seen.
            assert_eq!(meter.moved() - meter.bytes(), 8);
            let state = store.state();
            assert_eq!(
                state.blobs[&image.layer].0, layer,
                "{length} right: {right}"
            );
            assert_eq!(state.leases, 0);
        }
    }
}

/// A damaged blob had let go of it.
#[test]
fn a_blob_that_is_collected_under_an_import_is_written_again() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(2 * MIB, 1));
    draft.index(&[("one:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        store.state().collects_after = Some(1);
        let report = run(&store, &path).unwrap();
        assert_eq!((report.images.len(), report.problems.len()), (1, 0));
        assert_eq!(store.state().collects_after, None, "nothing was collected");
        assert!(store.state().blobs.contains_key(&image.layer));
    }
}

/// Another client has ended the lease, or the clock has made a step.
#[test]
fn what_a_store_has_lost_when_the_lease_ends_is_imported_again_once() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(2 * MIB, 1));
    draft.index(&[("one:1", &image.manifest)]);
    let parts = [image.layer, image.config, image.manifest];
    for path in draft.written(dir.path()) {
        for times in 0..4 {
            let store = MemoryStore::default();
            store.state().loses_at_end = times;
            let report = run(&store, &path).unwrap();
            let state = store.state();
            let is_whole = parts.iter().all(|part| state.blobs.contains_key(part));
            assert_eq!(is_whole, times < 2, "{times}");
            assert_eq!(report.images.len(), usize::from(is_whole), "{times}");
            let is_told = matches!(report.problems.as_slice(), [problem]
                if problem.ends_with("which was there when the image was named"));
            assert_eq!(is_told, !is_whole, "{:?}", report.problems);
            let class = match is_whole {
                true => FailureClass::default(),
                false => FailureClass::Environment,
            };
            assert_eq!(report.class, class);
            assert_eq!(
                (state.leases, state.loses_at_end),
                (0, times.saturating_sub(2))
            );
        }
    }
}

#[test]
fn a_store_that_fails_at_any_chunk_has_no_names_and_a_second_try_succeeds() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let one = draft.image(noise(2 * MIB, 1));
    let two = draft.image(noise(2 * MIB, 2));
    draft.index(&[("one:1", &one.manifest), ("two:1", &two.manifest)]);
    let away = || StoreError::Unreachable {
        call: "Content.Write",
        cause: "broken pipe".to_owned(),
    };
    for path in draft.written(dir.path()) {
        for at in 1..=4 {
            let store = MemoryStore::default();
            store.state().fail_at_chunk = Some((at, away()));
            let error = run(&store, &path).unwrap_err();
            assert!(error.is_store_away(), "{error}");
            assert_eq!(store.state().images.len(), 0);
            assert_eq!(store.state().leases, 0);
            assert_eq!(run(&store, &path).unwrap().images.len(), 2);
        }
        let store = MemoryStore::default();
        let full = StoreError::NoSpace {
            call: "Content.Write",
            cause: "no space left".to_owned(),
        };
        store.state().fail_at_chunk = Some((2, full));
        let error = run(&store, &path).unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        let FailureClass::NoSpace { needs } = error.class() else {
            panic!("{:?}", error.class());
        };
        // Of a compressed one no more is known than what was begun.
        let is_plain = path.extension().is_some_and(|extension| extension == "tar");
        let all = 4 * MIB as u64;
        assert!(needs == all || (!is_plain && needs == all / 2), "{needs}");
        assert_eq!(store.state().images.len(), 0);
        assert_eq!(store.state().open, 0, "{}", path.display());
        assert_eq!(store.state().ingests.len(), 0, "{}", path.display());
    }
}

#[test]
fn what_is_not_on_the_disk_gets_no_name() {
    let (_dir, _, paths) = busybox();
    for path in paths {
        let store = MemoryStore::default();
        store.state().fail_sync = Some(StoreError::Refused {
            call: "syncfs",
            cause: "Input/output error".to_owned(),
        });
        let error = run(&store, &path).unwrap_err();
        assert_eq!(error.class(), FailureClass::Environment, "{error}");
        assert_eq!(store.state().images.len(), 0);
        assert_eq!(run(&store, &path).unwrap().images.len(), 1);
    }
}

/// The body that is being read when an archive turns out to be cut takes room from the next archive
/// until it is thrown away.
#[test]
fn a_body_that_is_cut_short_is_thrown_away() {
    let (dir, _, [plain, _]) = busybox();
    let bytes = std::fs::read(plain).unwrap();
    let cut = dir.path().join("cut.tar.zst");
    // In the middle of the layer, with a compressed stream that is whole.
    let bytes = zstd::encode_all(&bytes[..2 * MIB], 1).unwrap();
    std::fs::write(&cut, bytes).unwrap();
    let store = MemoryStore::default();
    let error = run(&store, &cut).unwrap_err();
    assert_eq!(error.class(), FailureClass::Content, "{error}");
    let state = store.state();
    assert_eq!((state.opened, state.open), (1, 0));
    assert_eq!(state.collected, 1);
}

#[test]
fn an_image_that_is_not_whole_is_not_named_and_the_other_is() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let whole = draft.image(noise(MIB, 1));
    let broken = draft.image(noise(MIB, 2));
    draft.index(&[("whole:1", &whole.manifest), ("broken:1", &broken.manifest)]);
    draft.remove(&broken.layer);
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.images.len(), 1);
        assert_eq!(report.problems.len(), 1);
        assert_eq!(report.class, FailureClass::MissingBlob);
        let problem = &report.problems[0];
        assert!(
            problem.contains("broken:1") && problem.contains(broken.layer.as_str()),
            "{problem}"
        );
        let state = store.state();
        assert!(
            state.images.keys().all(|name| name.contains("whole")),
            "{:?}",
            state.images
        );
        assert!(
            state.ingests.is_empty(),
            "nothing is left to be resumed with other bytes"
        );
    }
}

#[test]
fn a_failed_import_asks_for_a_collection_only_where_it_has_written() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(MIB, 1));
    draft.index(&[("app:1", &image.manifest)]);
    let collected = |draft: &Draft, what: &str| {
        draft.written(dir.path()).map(|path| {
            let store = MemoryStore::default();
            let failed = run(&store, &path).map_or(true, |report| !report.problems.is_empty());
            assert!(failed, "{what}");
            let state = store.state();
            assert_eq!(state.leases, 0, "{what}");
            state.collected
        })
    };
    let mut without_layer = Draft {
        members: draft.members.clone(),
    };
    without_layer.remove(&image.layer);
    assert_eq!(collected(&without_layer, "no body at all"), [0, 0]);
    let without_images = Draft {
        members: vec![("index.json".into(), br#"{"manifests":[]}"#.to_vec())],
    };
    assert_eq!(collected(&without_images, "no images"), [0, 0]);
    // A compressed archive is sent before it is known that the image lacks its manifest.
    let mut without_manifest = Draft {
        members: draft.members.clone(),
    };
    without_manifest.remove(&image.manifest);
    assert_eq!(collected(&without_manifest, "a layer"), [0, 1]);
    // The whole image is written, and its neighbour is a problem.
    let mut half = Draft::new();
    let whole = half.image(noise(MIB, 2));
    half.index(&[("whole:1", &whole.manifest), ("app:1", &image.manifest)]);
    assert_eq!(collected(&half, "one of two"), [1, 1]);
}

/// The record of an image of another length would find it damaged for ever.
#[test]
fn a_manifest_that_is_wrong_about_the_length_of_a_blob_of_the_store_names_nothing() {
    let dir = TempDir::new().unwrap();
    let layer = noise(MIB, 1);
    let digest = Digest::of(&layer);
    for size in [MIB, MIB - 1] {
        let mut draft = Draft::new();
        let config = r#"{"os":"linux","architecture":"amd64"}"#;
        let config_size = config.len();
        let config = draft.blob(config.into());
        let manifest = format!(
            r#"{{"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}]}}"#
        );
        let manifest = draft.blob(manifest.into_bytes());
        draft.index(&[("one:1", &manifest)]);
        for path in draft.written(dir.path()) {
            let store = MemoryStore::default();
            let blob = (layer.clone(), Default::default());
            store.state().blobs.insert(digest.clone(), blob);
            let report = run(&store, &path).unwrap();
            let is_right = size == MIB;
            assert_eq!(report.images.len(), usize::from(is_right));
            assert_eq!(store.state().images.is_empty(), !is_right);
            assert_eq!(
                report.problems.is_empty(),
                is_right,
                "{:?}",
                report.problems
            );
            assert!(store.state().blobs.contains_key(&digest));
        }
    }
}

#[test]
fn a_blob_that_only_the_store_has_completes_an_image() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let whole = dir.path().join("whole.tar");
    std::fs::write(&whole, draft.bytes()).unwrap();
    for digest in [&image.layer, &image.config, &image.manifest] {
        draft.remove(digest);
    }
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        run(&store, &whole).unwrap();
        store.state().images.clear();
        let opened = store.state().opened;
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let state = store.state();
        assert_eq!(state.images.len(), 2);
        assert_eq!(
            state.opened, opened,
            "it is asked for, not opened for writing"
        );
    }
}

/// An archive whose documents only the store has, and a store that has them.
fn documents_in_the_store() -> (TempDir, [PathBuf; 2], MemoryStore) {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    let whole = dir.path().join("whole.tar");
    std::fs::write(&whole, draft.bytes()).unwrap();
    let store = MemoryStore::default();
    run(&store, &whole).unwrap();
    store.state().read.clear();
    for digest in [&image.config, &image.manifest] {
        draft.remove(digest);
    }
    let paths = draft.written(dir.path());
    (dir, paths, store)
}

#[test]
fn images_are_looked_for_on_a_thread_that_may_block() {
    let (_dir, paths, store) = documents_in_the_store();
    let wanted = amd64();
    for path in paths {
        // All async work is done by the thread of the test.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let rules = ImportRules {
            later: &NamesOfLater::new(),
            reservations: &Reservations::default(),
            told: &Told::default(),
            wanted: &wanted,
            extra_registries: &[],
        };
        let entry = entry(&path);
        let given_up = CancellationToken::new();
        let import = import(&store, &entry, rules, Meter::default(), &given_up);
        let report = runtime.block_on(import).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let read = std::mem::take(&mut store.state().read);
        assert_eq!(read.len(), 2, "the manifest and the configuration");
        let here = std::thread::current().id();
        assert!(read.iter().all(|(_, thread)| *thread != here));
    }
}

#[test]
fn an_import_that_is_dropped_does_not_wait_for_documents() {
    let (_dir, paths, store) = documents_in_the_store();
    store.state().holds_reads = true;
    let wanted = amd64();
    for path in paths {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (store, entry, wanted) = (store.clone(), entry(&path), wanted.clone());
            let importing = tokio::spawn({
                let store = store.clone();
                async move {
                    let rules = ImportRules {
                        later: &NamesOfLater::new(),
                        reservations: &Reservations::default(),
                        told: &Told::default(),
                        wanted: &wanted,
                        extra_registries: &[],
                    };
                    let given_up = CancellationToken::new();
                    import(&store, &entry, rules, Meter::default(), &given_up).await
                }
            });
            while store.state().read.is_empty() {
                tokio::task::yield_now().await;
            }
            importing.abort();
            assert!(importing.await.unwrap_err().is_cancelled());
        });
        // This waits for all threads that may block.
        drop(runtime);
        store.state().read.clear();
    }
}

#[test]
fn all_compressed_archives_that_are_imported_at_once_are_decompressed_at_once() {
    // `images.parallel`: as many imports as the plan has begun.
    const PARALLEL: u8 = 12;
    let dirs = (0..PARALLEL).map(|seed| {
        let dir = TempDir::new().unwrap();
        let mut draft = Draft::new();
        let image = draft.image(noise(MIB, seed));
        draft.index(&[(&format!("a:{seed}"), &image.manifest)]);
        let [_, compressed] = draft.written(dir.path());
        (dir, compressed)
    });
    let dirs = dirs.collect::<Vec<_>>();
    let store = MemoryStore::default();
    store.state().gather = Some(Arc::new(Barrier::new(PARALLEL.into())));
    let (wanted, given_up) = (amd64(), CancellationToken::new());
    let (reservations, told) = (Reservations::default(), Told::default());
    let later = NamesOfLater::new();
    let entries = dirs.iter().map(|(_, path)| entry(path)).collect::<Vec<_>>();
    let imports = entries.iter().map(|entry| {
        let rules = ImportRules {
            later: &later,
            reservations: &reservations,
            told: &told,
            wanted: &wanted,
            extra_registries: &[],
        };
        import(&store, entry, rules, Meter::default(), &given_up)
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Fewer at once would wait for the others for ever.
    let all = futures_util::future::join_all(imports);
    let all = runtime.block_on(async { timeout(Duration::from_secs(60), all).await });
    for report in all.expect("not all were begun") {
        assert_eq!(report.unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn a_flipped_bit_in_a_layer_names_the_member_and_both_digests() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let good = draft.image(noise(MIB, 1));
    let bad = draft.image(noise(MIB, 2));
    draft.index(&[("good:1", &good.manifest), ("bad:1", &bad.manifest)]);
    let member = draft
        .members
        .iter_mut()
        .find(|(path, _)| path.ends_with(bad.layer.hex()))
        .unwrap();
    member.1[777_777] ^= 1;
    let actual = Digest::of(&member.1);
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.class, FailureClass::Content);
        let problem = report.problems.join("\n");
        for part in [
            bad.layer.as_str(),
            actual.as_str(),
            "blobs/sha256/",
            "bad:1",
        ] {
            assert!(problem.contains(part), "{part} is not in: {problem}");
        }
        let state = store.state();
        assert!(!state.blobs.contains_key(&actual) && !state.blobs.contains_key(&bad.layer));
        assert_eq!(state.images.len(), 2);
        assert!(state.ingests.is_empty());
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_names_nothing() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let touched = path.clone();
        let touch = move || {
            let file = std::fs::File::options().append(true).open(touched).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        };
        store.state().at_chunk = Some((1, Box::new(touch)));
        let result = run(&store, &path);
        assert!(matches!(result, Err(ImportError::Changed)), "{result:?}");
        assert!(store.state().images.is_empty());
        assert_eq!(store.state().leases, 0);
    }
}

#[test]
fn a_file_that_is_overwritten_while_it_is_read_has_changed_and_is_not_damaged() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(12 * MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        for replacement in [&b""[..], b"another file"] {
            let store = MemoryStore::default();
            let whole = std::fs::read(&path).unwrap();
            let overwritten = path.clone();
            let overwrite = move || std::fs::write(overwritten, replacement).unwrap();
            store.state().at_chunk = Some((1, Box::new(overwrite)));
            let result = run(&store, &path);
            assert!(matches!(result, Err(ImportError::Changed)), "{result:?}");
            assert!(store.state().images.is_empty());
            assert_eq!(store.state().leases, 0);
            std::fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn another_version_than_the_one_that_was_seen_is_not_imported() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        let seen = entry(&path);
        let other = path.with_extension("other");
        let store = MemoryStore::default();
        let changed = |what: &str| {
            let result = run_metered(&store, &seen, Meter::default());
            assert!(
                matches!(result, Err(ImportError::Changed)),
                "{what}: {result:?}"
            );
            assert_eq!(store.state().chunks, 0);
            assert_eq!(store.state().leases, 0);
        };
        std::fs::copy(&path, &other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        changed("renamed over");
        std::fs::write(&path, b"").unwrap();
        changed("emptied");
        std::fs::remove_file(&path).unwrap();
        changed("removed");
        std::fs::create_dir(&path).unwrap();
        changed("a directory");
    }
}

#[test]
fn an_error_of_an_unchanged_file_stays_itself() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cut.tar.zst");
    let whole = zstd::encode_all(Draft::new().bytes().as_slice(), 1).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    let store = MemoryStore::default();
    let error = run(&store, &path).unwrap_err();
    assert_eq!(error.class(), FailureClass::Content);
    let error = error.to_string();
    assert!(error.starts_with("the zstd stream ends early"), "{error}");
}

#[test]
fn a_file_that_cannot_be_looked_at_any_more_has_not_changed() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let image = draft.image(noise(MIB, 1));
    draft.index(&[("busybox:1", &image.manifest)]);
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let entry = entry(&path);
        // A link to itself cannot be looked at, by root or not.
        let looped = path.clone();
        let break_path = move || {
            std::fs::remove_file(&looped).unwrap();
            std::os::unix::fs::symlink(&looped, &looped).unwrap();
        };
        let refused = StoreError::Refused {
            call: "Content.Write",
            cause: "no".to_owned(),
        };
        store.state().at_chunk = Some((1, Box::new(break_path)));
        store.state().fail_at_chunk = Some((1, refused));
        let error = run_metered(&store, &entry, Meter::default()).unwrap_err();
        assert_eq!(error.class(), FailureClass::Environment);
        let error = error.to_string();
        assert!(
            error.starts_with("cannot be looked at: Too many levels of symbolic links"),
            "{error}"
        );
        assert_eq!(store.state().leases, 0);
    }
}

#[test]
fn an_import_that_is_given_up_ends_at_the_next_chunk_and_names_nothing() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let seeds = 1..=8;
    let images = seeds.map(|seed| draft.image(noise(3 * MIB, seed)));
    let images = images.collect::<Vec<_>>();
    let names = (1..=8).map(|n| format!("given-up:{n}")).collect::<Vec<_>>();
    let index = names.iter().zip(&images);
    let index = index.map(|(name, image)| (name.as_str(), &image.manifest));
    draft.index(&index.collect::<Vec<_>>());
    let wanted = amd64();
    for path in draft.written(dir.path()) {
        let store = MemoryStore::default();
        let given_up = CancellationToken::new();
        let give_up = given_up.clone();
        // In the middle of the second or third body, and of the first one that a plain archive sends.
        store.state().at_chunk = Some((8, Box::new(move || give_up.cancel())));
        let entry = entry(&path);
        let rules = ImportRules {
            later: &NamesOfLater::new(),
            reservations: &Reservations::default(),
            told: &Told::default(),
            wanted: &wanted,
            extra_registries: &[],
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let import = import(&store, &entry, rules, Meter::default(), &given_up);
        let result = runtime.block_on(import);
        assert!(matches!(result, Err(ImportError::Changed)), "{result:?}");
        let state = store.state();
        // Each body that is on its way may have a chunk under way.
        assert!(state.chunks <= 8 + 4, "{}", state.chunks);
        assert!(state.opened <= 5, "{}", state.opened);
        assert!(state.images.is_empty());
        assert_eq!((state.leases, state.collected), (0, 1));
    }
}

#[test]
fn two_members_of_one_path_are_two_blobs_on_their_way() {
    let dir = TempDir::new().unwrap();
    let layer = noise(MIB, 1);
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        Digest::of(&layer)
    );
    let saved = r#"[{"Config":"config.json","RepoTags":["twice:1"],"Layers":["layer.tar"]}]"#;
    let members = [
        ("layer.tar", noise(MIB, 2)),
        ("layer.tar", layer),
        ("config.json", config.into_bytes()),
        ("manifest.json", saved.as_bytes().to_vec()),
    ];
    let members = members.map(|(path, bytes)| (path.to_owned(), bytes));
    for path in (Draft {
        members: members.into(),
    })
    .written(dir.path())
    {
        let store = MemoryStore::default();
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.images.len(), 1);
        let keys = std::mem::take(&mut store.state().keys);
        let mut unique = keys.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), keys.len(), "{keys:?}");
        assert_eq!(keys.len(), if path.ends_with("plain.tar") { 0 } else { 2 });
    }
}

#[test]
fn a_blob_that_was_removed_on_its_way_is_sent_anew() {
    let (_dir, image, paths) = busybox();
    for path in paths {
        let store = MemoryStore::default();
        let removed = StoreError::Removed {
            digest: image.layer.clone(),
            cause: "rename: no such file or directory".to_owned(),
        };
        store.state().fail_at_chunk = Some((2, removed));
        let report = run(&store, &path).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(store.state().images.len(), 2);
    }
}

#[test]
fn of_many_problems_a_few_are_told() {
    let dir = TempDir::new().unwrap();
    let mut draft = Draft::new();
    let absent = (0..25).map(|n| Digest::of(&[n])).collect::<Vec<_>>();
    let names = (0..25).map(|n| format!("absent:{n}")).collect::<Vec<_>>();
    let images = names.iter().map(String::as_str).zip(&absent);
    draft.index(&images.collect::<Vec<_>>());
    for path in draft.written(dir.path()) {
        let report = run(&MemoryStore::default(), &path).unwrap();
        assert_eq!(report.problems.len(), 11);
        assert!(
            report.problems[9].contains("absent:"),
            "{:?}",
            report.problems
        );
        assert_eq!(report.problems[10], "and 15 more");
    }
}
