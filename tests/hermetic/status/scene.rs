//! A node as a reader finds it: what the daemon says, and what containerd does.

use std::time::{Duration, SystemTime};

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image};
use stowd::needed_blob::NeededBlob;
use stowd::pin::PinOwner;
use stowd::status::{
    DaemonPhase, EntryState, EntryStatus, ImageStatus, ImageUnpack, Leftover, OnBoard, Report,
    STATUS_VERSION, SandboxAnswer, SeenDaemon, StatusDocument, StoreAnswer, Unasked, UnpackStage,
};

pub(super) const DIR: &str = "/var/lib/stowd/images";
pub(super) const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// The time of the scenes.
pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_806_131 + seconds)
}

pub(super) struct Scene {
    /// What the daemon says; of one that does not run, what its ledger says.
    pub(super) board: OnBoard,
    pub(super) phase: DaemonPhase,
    /// What one that does not run has left.
    pub(super) left: Option<Leftover>,
    pub(super) answer: Result<StoreAnswer, Unasked>,
    pub(super) notes: Vec<String>,
}

impl Scene {
    /// A ready node with three archives, of which the store has all.
    pub(super) fn new() -> Self {
        let mut scene = Self {
            board: OnBoard {
                loaded: true,
                line: format!("ready: 4 images from 3 entries; watching {DIR}"),
                ..OnBoard::default()
            },
            phase: DaemonPhase::Ready,
            left: None,
            answer: Ok(StoreAnswer {
                unpacked: Some([].into()),
                sandbox: Some(SandboxAnswer {
                    name: PAUSE.to_owned(),
                    is_there: true,
                }),
                free: Some(21_600_000_000),
                ..StoreAnswer::default()
            }),
            notes: Vec::new(),
        };
        scene.bring(
            "core.tar.zst",
            &[
                (PAUSE, 317_000),
                ("registry.k8s.io/coredns/coredns:v1.11.3", 16_900_000),
            ],
        );
        scene.bring(
            "apps/db.tar",
            &[("docker.io/library/postgres:17", 151_000_000)],
        );
        scene.bring(
            "apps/web.tar",
            &[("docker.io/library/nginx:1.27", 72_000_000)],
        );
        scene
    }

    /// An entry is imported, and the store has its images, which share a base of 30 MB.
    pub(super) fn bring(&mut self, file: &str, images: &[(&str, u64)]) {
        let images = images.iter().map(|(name, bytes)| image(name, *bytes));
        let images = images.collect::<Vec<_>>();
        for image in &images {
            for name in &image.names {
                self.store().images.retain(|other| other.name != *name);
                self.store().images.push(stored(name, &image.digest));
            }
            let config = image.blobs[0].digest.clone();
            self.store().unpacked.as_mut().unwrap().insert(config);
        }
        self.board.entries.push(EntryStatus {
            images,
            bytes: Some(100_000_000),
            finished: Some(at(0)),
            seconds: Some(3.25),
            attempts: 1,
            ..entry(file, EntryState::Imported)
        });
    }

    pub(super) fn store(&mut self) -> &mut StoreAnswer {
        self.answer.as_mut().unwrap()
    }

    /// The entry of this file.
    pub(super) fn entry(&mut self, file: &str) -> &mut EntryStatus {
        let path = format!("{DIR}/{file}");
        let mut entries = self.board.entries.iter_mut();
        entries.find(|entry| entry.path == path).unwrap()
    }

    /// The store's record of this name.
    pub(super) fn record(&mut self, name: &str) -> &mut Image {
        let mut images = self.store().images.iter_mut();
        images.find(|image| image.name == name).unwrap()
    }

    pub(super) fn fail(&mut self, file: &str, error: &str, class: &str) -> &mut EntryStatus {
        self.board.entries.push(EntryStatus {
            error: Some(error.to_owned()),
            class: Some(class.to_owned()),
            attempts: 2,
            finished: Some(at(0)),
            ..entry(file, EntryState::Failed)
        });
        self.entry(file)
    }

    /// It is stopped, and only the ledger tells.
    pub(super) fn stop(&mut self, left: Leftover) {
        self.left = Some(left);
        self.board.loaded = false;
        self.board.line.clear();
        for image in self
            .board
            .entries
            .iter_mut()
            .flat_map(|entry| &mut entry.images)
        {
            image.unpack = None;
        }
    }

    pub(super) fn report(self) -> Report {
        let seen = match self.left {
            Some(left) => SeenDaemon::NotRunning(left),
            None => SeenDaemon::Runs {
                document: Box::new(document(self.phase)),
                is_elsewhere: false,
            },
        };
        Report::new(seen, self.board, self.answer, "default", DIR, self.notes)
    }
}

pub(super) fn document(phase: DaemonPhase) -> StatusDocument {
    StatusDocument {
        version: STATUS_VERSION,
        stowd: "0.1.0".to_owned(),
        pid: 1234,
        pid_start: 77,
        pid_namespace: 4_026_531_836,
        boot_id: "b".to_owned(),
        started: Some(at(0)),
        written: Some(at(60)),
        instance: "default".to_owned(),
        images_dir: DIR.to_owned(),
        containerd_address: "/run/stowd/containerd.sock".to_owned(),
        supervises: true,
        phase,
        ready_since: (phase == DaemonPhase::Ready).then(|| at(5)),
        error: None,
        metrics_error: None,
        on_board: OnBoard::default(),
    }
}

pub(super) fn entry(file: &str, state: EntryState) -> EntryStatus {
    EntryStatus {
        path: format!("{DIR}/{file}"),
        state,
        progress: None,
        bytes: None,
        finished: None,
        seconds: None,
        attempts: 0,
        error: None,
        class: None,
        next_try: None,
        images: Vec::new(),
    }
}

fn image(name: &str, bytes: u64) -> ImageStatus {
    let digest = Digest::of(name.as_bytes());
    let (repository, _) = name.rsplit_once(':').unwrap();
    let blob = |text: &str, size| NeededBlob {
        digest: Digest::of(text.as_bytes()),
        size,
    };
    ImageStatus {
        names: vec![name.to_owned(), format!("{repository}@{digest}")],
        digest,
        kept: false,
        unpack: Some(unpack(UnpackStage::Unpacked)),
        blobs: vec![
            blob(&format!("config of {name}"), 2_000),
            blob(&format!("layer of {name}"), bytes),
            blob("base", 30_000_000),
        ],
    }
}

pub(super) fn unpack(stage: UnpackStage) -> ImageUnpack {
    ImageUnpack {
        stage,
        error: None,
        next_try: None,
    }
}

fn stored(name: &str, digest: &Digest) -> Image {
    Image {
        name: name.to_owned(),
        target: Descriptor {
            media_type: String::new(),
            digest: digest.clone(),
            size: 1,
        },
        labels: PinOwner::default().labels(),
    }
}
