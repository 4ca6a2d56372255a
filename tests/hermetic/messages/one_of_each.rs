//! One of each thing that can happen. A new one does not compile until it is here.

use std::iter::successors;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use stowd::compression::Compression;
use stowd::digest::Digest;
use stowd::entry::Kind;
use stowd::happened::{
    DaemonEvent, FoundBecause, Happened, OutputEvent, ProcessEvent, Run, ScrubReason, StoreEvent,
};
use stowd::layout::{Fault, ImageProblem, MislabelledLayer, Note};
use stowd::ledger::{Change, FailureClass, OverruledImage, Summary};
use stowd::naming::{Reference, Shadowed};
use stowd::needed_blob::{BlobDamage, BlobFault, NeededBlob};
use stowd::progress::Amount;
use stowd::source_event::{Ignored, LooksLike};
use stowd::unpack::UnpackTally;

/// All of them.
pub(super) fn one_of_each() -> Vec<Happened> {
    let mut all = of_entries();
    all.extend(notes().map(|note| Happened::Noted {
        entry: "/images/a.tar".to_owned(),
        note,
    }));
    all.extend(of_daemon().map(Happened::Daemon));
    all.extend(of_process().map(Happened::Process));
    all.extend(of_output().map(Happened::Output));
    all.extend(of_store().map(Happened::Store));
    all
}

fn path() -> PathBuf {
    PathBuf::from("/images/a.tar")
}

fn error() -> String {
    "no space left".to_owned()
}

fn image() -> String {
    "r.example/a:1".to_owned()
}

fn list() -> String {
    "/images/a.txt".to_owned()
}

fn looks(looks_like: LooksLike) -> Happened {
    let path = path();
    Happened::Ignored(Ignored { path, looks_like })
}

/// Those of entries and images.
fn of_entries() -> Vec<Happened> {
    let next = |happened: &Happened| match happened {
        Happened::Found { .. } => Some(Happened::Skipped(path())),
        Happened::Skipped(_) => Some(Happened::Missing {
            path: path(),
            names: vec![image()],
        }),
        Happened::Missing { .. } => Some(Happened::Damaged {
            path: path(),
            damage: vec![BlobDamage {
                image: image(),
                blob: NeededBlob {
                    digest: Digest::of(b"a"),
                    size: 1,
                },
                fault: BlobFault::NoFile,
            }],
        }),
        Happened::Damaged { .. } => Some(Happened::LeftToInstance {
            path: path(),
            instance: "edge".to_owned(),
            names: vec![image()],
        }),
        Happened::LeftToInstance { .. } => Some(Happened::Imported {
            path: path(),
            kind: Kind::Archive,
            images: Vec::new(),
            bytes: 1,
            duration: Duration::ZERO,
        }),
        Happened::Imported { .. } => Some(Happened::Failed {
            path: path(),
            images: Vec::new(),
            class: FailureClass::Content,
            error: error(),
            attempts: 1,
            next_try: Some(SystemTime::UNIX_EPOCH),
        }),
        Happened::Failed { .. } => Some(Happened::Changed(path())),
        Happened::Changed(_) => Some(Happened::NotPulled {
            entry: list(),
            line: 1,
            image: Some(image()),
            error: error(),
        }),
        Happened::NotPulled { .. } => Some(Happened::PullingWithoutCredentials {
            entry: list(),
            error: error(),
        }),
        Happened::PullingWithoutCredentials { .. } => Some(Happened::LoginMissing {
            entry: list(),
            cause: error(),
        }),
        Happened::LoginMissing { .. } => Some(Happened::NotLabelled {
            entry: list(),
            image: image(),
            error: error(),
        }),
        Happened::NotLabelled { .. } => Some(Happened::NotNamed {
            image: image(),
            error: error(),
        }),
        Happened::NotNamed { .. } => Some(Happened::GoneUnimported(path())),
        Happened::GoneUnimported(_) => Some(Happened::Gone(path())),
        Happened::Gone(_) => Some(Happened::Ignored(path().into())),
        Happened::Ignored(Ignored { looks_like, .. }) => Some(match looks_like {
            LooksLike::Nothing => looks(LooksLike::OciLayout),
            LooksLike::OciLayout => looks(LooksLike::Archive(Compression::Plain)),
            LooksLike::Archive(_) => Happened::NoList {
                path: path(),
                error: error(),
            },
        }),
        Happened::NoList { .. } => Some(Happened::DirectoryMissing(path())),
        Happened::DirectoryMissing(_) => Some(Happened::OutOfSight {
            first: path(),
            entries: 1,
        }),
        Happened::OutOfSight { .. } => Some(Happened::Baked {
            entries: 2,
            images: 3,
        }),
        Happened::Baked { .. } => Some(Happened::InSightAgain),
        Happened::InSightAgain => Some(Happened::Degraded(error())),
        Happened::Degraded(_) => Some(Happened::Restored),
        Happened::Restored => Some(Happened::Unpinned(image())),
        Happened::Unpinned(_) => Some(Happened::NotUnpinned(error())),
        Happened::NotUnpinned(_) => Some(Happened::PinsHeld(path())),
        Happened::PinsHeld(_) => Some(Happened::StoreNotListed(error())),
        Happened::StoreNotListed(_) => Some(Happened::StoreAway {
            path: path(),
            error: error(),
        }),
        Happened::StoreAway { .. } => Some(Happened::StoreSilent(error())),
        Happened::StoreSilent(_) => Some(Happened::StoreReturned),
        Happened::StoreReturned => Some(Happened::GivenUp {
            path: path(),
            names: vec![image()],
        }),
        Happened::GivenUp { .. } => Some(Happened::ListsOvertime {
            lists: vec![path()],
            limit: Duration::from_secs(300),
        }),
        Happened::ListsOvertime { .. } => Some(Happened::Overruled(OverruledImage {
            entry: path(),
            digest: Digest::of(b"a"),
            by: path(),
            other: Digest::of(b"b"),
            names: vec![image()],
        })),
        Happened::Overruled(_) => Some(Happened::SandboxImageMissing(image())),
        Happened::SandboxImageMissing(_) => Some(Happened::SandboxImageThere(image())),
        Happened::SandboxImageThere(_) => Some(Happened::LeftDamaged {
            damage: BlobDamage {
                image: image(),
                blob: NeededBlob {
                    digest: Digest::of(b"a"),
                    size: 1,
                },
                fault: BlobFault::Bytes,
            },
            is_brought: false,
        }),
        Happened::LeftDamaged { .. } => Some(Happened::Scrubbed {
            reason: ScrubReason::Due,
            blobs: 3,
            bytes: 1 << 20,
            damaged: 1,
        }),
        Happened::Scrubbed { .. } => Some(Happened::Unpacked {
            image: image(),
            snapshots: 2,
            duration: Duration::from_millis(1500),
        }),
        Happened::Unpacked { .. } => Some(Happened::SnapshotsMissing(image())),
        Happened::SnapshotsMissing(_) => Some(Happened::NotUnpacked {
            image: image(),
            error: error(),
            attempts: 1,
            next_try: Some(SystemTime::UNIX_EPOCH),
        }),
        Happened::NotUnpacked { .. } => None,
        // Each of these has a function below.
        Happened::Noted { .. }
        | Happened::Daemon(_)
        | Happened::Process(_)
        | Happened::Output(_)
        | Happened::Store(_) => None,
    };
    let first = Happened::Found {
        path: path(),
        bytes: 1,
        reason: FoundBecause::Listed(Change::New),
    };
    successors(Some(first), next).collect()
}

fn notes() -> impl Iterator<Item = Note> {
    let first = Note::Shadowed(Shadowed {
        name: Reference::parse("r.example/a:1").unwrap(),
        image: image(),
    });
    successors(Some(first), |note| match note {
        Note::Shadowed(_) => Some(Note::NameRefused {
            image: image(),
            reason: error(),
        }),
        Note::NameRefused { .. } => Some(Note::LeftOut(ImageProblem {
            image: image(),
            fault: Fault::TooMuch,
        })),
        Note::LeftOut(_) => Some(Note::NamesNotRead(error())),
        Note::NamesNotRead(_) => Some(Note::Mislabelled(MislabelledLayer {
            digest: Digest::of(b""),
            is: Compression::Zstd,
            says: Compression::Gzip,
        })),
        Note::Mislabelled(_) => Some(Note::NoEndMarker),
        Note::NoEndMarker => Some(Note::More(1)),
        Note::More(_) => None,
    })
}

fn of_daemon() -> impl Iterator<Item = DaemonEvent> {
    let first = DaemonEvent::FilterIgnored(error());
    successors(Some(first), |event| match event {
        DaemonEvent::FilterIgnored(_) => Some(DaemonEvent::ConfigDoubtful(error())),
        DaemonEvent::ConfigDoubtful(_) => Some(DaemonEvent::StateDirNotWritten {
            path: path(),
            error: error(),
        }),
        DaemonEvent::StateDirNotWritten { .. } => Some(DaemonEvent::StateDirNotLocked {
            path: path(),
            error: error(),
        }),
        DaemonEvent::StateDirNotLocked { .. } => {
            Some(DaemonEvent::UncleanStop(SystemTime::UNIX_EPOCH))
        }
        DaemonEvent::UncleanStop(_) => Some(DaemonEvent::LedgerNotUsed(error())),
        DaemonEvent::LedgerNotUsed(_) => Some(DaemonEvent::LedgerOfAnother {
            path: path(),
            images_dir: Some(path()),
            names: 1,
        }),
        DaemonEvent::LedgerOfAnother { .. } => Some(DaemonEvent::LedgerNotWritten(error())),
        DaemonEvent::LedgerNotWritten(_) => Some(DaemonEvent::LedgerWrittenAgain(path())),
        DaemonEvent::LedgerWrittenAgain(_) => Some(DaemonEvent::LedgerNotSaved),
        DaemonEvent::LedgerNotSaved => Some(DaemonEvent::StatusNotWritten {
            path: path(),
            error: error(),
        }),
        DaemonEvent::StatusNotWritten { .. } => {
            Some(DaemonEvent::MetricsServed("127.0.0.1:9477".to_owned()))
        }
        DaemonEvent::MetricsServed(_) => Some(DaemonEvent::MetricsNotServed(error())),
        DaemonEvent::MetricsNotServed(_) => Some(DaemonEvent::BakedSetWritten {
            path: path(),
            entries: 2,
            images: 3,
        }),
        DaemonEvent::BakedSetWritten { .. } => Some(DaemonEvent::BakedSetNotChanged(error())),
        DaemonEvent::BakedSetNotChanged(_) => Some(DaemonEvent::ManagerNotTold(error())),
        DaemonEvent::ManagerNotTold(_) => Some(DaemonEvent::Loading {
            status: "importing 1/2: a.tar, 0 B of 1.0 MiB".to_owned(),
            entries: 0,
            open: 2,
            amount: Amount::default(),
            speed: None,
        }),
        DaemonEvent::Loading { .. } => Some(DaemonEvent::Loaded {
            summary: Summary::default(),
            ignored: 0,
            unpacked: Some(UnpackTally::default()),
        }),
        DaemonEvent::Loaded { .. } => Some(DaemonEvent::Reloaded(Vec::new())),
        DaemonEvent::Reloaded(_) => Some(DaemonEvent::NotTakenBeforeRestart(vec!["state-dir"])),
        DaemonEvent::NotTakenBeforeRestart(_) => Some(DaemonEvent::NotReloaded(error())),
        DaemonEvent::NotReloaded(_) => Some(DaemonEvent::Stopping("SIGTERM")),
        DaemonEvent::Stopping(_) => Some(DaemonEvent::StoppingAtOnce("SIGTERM")),
        DaemonEvent::StoppingAtOnce(_) => Some(DaemonEvent::Stopped(error())),
        DaemonEvent::Stopped(_) => None,
    })
}

fn of_process() -> impl Iterator<Item = ProcessEvent> {
    let (pid, limit) = (1, Duration::from_secs(30));
    successors(
        Some(ProcessEvent::LeftoverFound(pid)),
        move |event| match event {
            ProcessEvent::LeftoverFound(_) => Some(ProcessEvent::LeftoverStopped(pid)),
            ProcessEvent::LeftoverStopped(_) => Some(ProcessEvent::Started {
                pid,
                binary: "/usr/bin/containerd".to_owned(),
            }),
            ProcessEvent::Started { .. } => Some(ProcessEvent::Attached(error())),
            ProcessEvent::Attached(_) => Some(ProcessEvent::Awaited {
                seconds: 5,
                missing: "no socket".to_owned(),
            }),
            ProcessEvent::Awaited { .. } => Some(ProcessEvent::Stopping(pid)),
            ProcessEvent::Stopping(_) => Some(ProcessEvent::Overdue { pid, limit }),
            ProcessEvent::Overdue { .. } => Some(ProcessEvent::Killing(pid)),
            ProcessEvent::Killing(_) => Some(ProcessEvent::Abandoned(pid)),
            ProcessEvent::Abandoned(_) => Some(ProcessEvent::NotWaitedFor(error())),
            ProcessEvent::NotWaitedFor(_) => Some(ProcessEvent::Stopped {
                pid,
                status: "exit status: 0".to_owned(),
            }),
            ProcessEvent::Stopped { .. } => None,
        },
    )
}

fn of_output() -> impl Iterator<Item = OutputEvent> {
    let first = OutputEvent::FileNotRotated {
        file: path(),
        error: error(),
    };
    successors(Some(first), |event| match event {
        OutputEvent::FileNotRotated { .. } => Some(OutputEvent::FileNotWritten {
            file: path(),
            error: error(),
        }),
        OutputEvent::FileNotWritten { .. } => Some(OutputEvent::FileWrittenAgain {
            file: path(),
            lines: 1,
        }),
        OutputEvent::FileWrittenAgain { .. } => Some(OutputEvent::NotTidied {
            directory: path(),
            error: error(),
        }),
        OutputEvent::NotTidied { .. } => Some(OutputEvent::Dropped(1)),
        OutputEvent::Dropped(_) => Some(OutputEvent::NotAwaited),
        OutputEvent::NotAwaited => Some(OutputEvent::ReaderPanicked),
        OutputEvent::ReaderPanicked => None,
    })
}

fn of_store() -> impl Iterator<Item = StoreEvent> {
    let not_cleared = |run| {
        Some(StoreEvent::LeasesNotCleared {
            run,
            error: error(),
        })
    };
    successors(
        Some(StoreEvent::WritingDirectly(path())),
        move |event| match event {
            StoreEvent::WritingDirectly(_) => Some(StoreEvent::SendingBlobs(error())),
            StoreEvent::SendingBlobs(_) => Some(StoreEvent::DirectWritesEnded(error())),
            StoreEvent::DirectWritesEnded(_) => Some(StoreEvent::SandboxImageUnknown(error())),
            StoreEvent::SandboxImageUnknown(_) => Some(StoreEvent::DeletionsNotHeard(error())),
            StoreEvent::DeletionsNotHeard(_) => Some(StoreEvent::DeletionsHeardAgain),
            StoreEvent::DeletionsHeardAgain => Some(StoreEvent::InstanceNotHeld(error())),
            StoreEvent::InstanceNotHeld(_) => Some(StoreEvent::LeasesNotFound(error())),
            StoreEvent::LeasesNotFound(_) => not_cleared(Run::Earlier),
            StoreEvent::LeasesNotCleared {
                run: Run::Earlier, ..
            } => not_cleared(Run::This),
            StoreEvent::LeasesNotCleared { run: Run::This, .. } => {
                Some(StoreEvent::LeaseNotReleased(error()))
            }
            StoreEvent::LeaseNotReleased(_) => None,
        },
    )
}
