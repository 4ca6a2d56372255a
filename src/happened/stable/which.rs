//! Which message tells of what happened.

use super::message::StableMessage;
use super::{begin, end, entries};
use crate::happened::{DaemonEvent, Happened, OutputEvent, ProcessEvent, Run, StoreEvent};
use crate::layout::Note;
use crate::source_event::{Ignored, LooksLike};

impl Happened {
    pub fn message(&self) -> &'static StableMessage {
        match self {
            Self::Daemon(event) => event.message(),
            Self::Process(event) => event.message(),
            Self::Output(event) => event.message(),
            Self::Store(event) => event.message(),
            Self::Found { .. } => &entries::FOUND,
            Self::Skipped(_) => &entries::SKIPPED,
            Self::Missing { .. } => &entries::MISSING,
            Self::Damaged { .. } => &entries::DAMAGED,
            Self::LeftDamaged { .. } => &entries::LEFT_DAMAGED,
            Self::Scrubbed { .. } => &entries::SCRUBBED,
            Self::LeftToInstance { .. } => &entries::LEFT_TO_INSTANCE,
            Self::Imported { .. } => &entries::IMPORTED,
            Self::Unpacked { .. } => &entries::UNPACKED,
            Self::SnapshotsMissing(_) => &entries::SNAPSHOTS_MISSING,
            Self::NotUnpacked { .. } => &entries::NOT_UNPACKED,
            Self::NoList { .. } => &entries::NO_LIST,
            Self::Failed { .. } => &entries::FAILED,
            Self::Noted {
                note: Note::Shadowed(_),
                ..
            } => &entries::SHADOWED,
            Self::Noted { .. } => &entries::NOTED,
            Self::Changed(_) => &entries::CHANGED,
            Self::GoneUnimported(_) => &entries::GONE_UNIMPORTED,
            Self::Gone(_) => &entries::GONE,
            Self::NotPulled { .. } => &entries::NOT_PULLED,
            Self::PullingWithoutCredentials { .. } => &entries::PULLING_WITHOUT_CREDENTIALS,
            Self::LoginMissing { .. } => &entries::LOGIN_MISSING,
            Self::NotLabelled { .. } => &entries::NOT_LABELLED,
            Self::NotNamed { .. } => &entries::NOT_NAMED,
            Self::Ignored(Ignored { looks_like, .. }) => match looks_like {
                LooksLike::Nothing => &entries::IGNORED,
                LooksLike::OciLayout => &entries::IGNORED_LAYOUT,
                LooksLike::Archive(_) => &entries::IGNORED_ARCHIVE,
            },
            Self::DirectoryMissing(_) => &entries::DIRECTORY_MISSING,
            Self::OutOfSight { .. } => &entries::OUT_OF_SIGHT,
            Self::Baked { .. } => &entries::BAKED,
            Self::InSightAgain => &entries::IN_SIGHT_AGAIN,
            Self::Degraded(_) => &entries::DEGRADED,
            Self::Restored => &entries::RESTORED,
            Self::Unpinned(_) => &entries::UNPINNED,
            Self::NotUnpinned(_) => &entries::NOT_UNPINNED,
            Self::PinsHeld(_) => &entries::PINS_HELD,
            Self::StoreNotListed(_) => &end::STORE_NOT_LISTED,
            Self::StoreAway { .. } => &end::STORE_AWAY,
            Self::Overruled(_) => &entries::OVERRULED,
            Self::SandboxImageMissing(_) => &entries::SANDBOX_IMAGE_MISSING,
            Self::SandboxImageThere(_) => &entries::SANDBOX_IMAGE_THERE,
            Self::StoreSilent(_) => &end::STORE_SILENT,
            Self::StoreReturned => &end::STORE_RETURNED,
            Self::GivenUp { .. } => &entries::GIVEN_UP,
            Self::ListsOvertime { .. } => &entries::LISTS_OVERTIME,
        }
    }
}

impl DaemonEvent {
    fn message(&self) -> &'static StableMessage {
        match self {
            Self::FilterIgnored(_) => &begin::FILTER_IGNORED,
            Self::ConfigDoubtful(_) => &begin::CONFIG_DOUBTFUL,
            Self::StateDirNotWritten { .. } => &begin::STATE_DIR_NOT_WRITTEN,
            Self::StateDirNotLocked { .. } => &begin::STATE_DIR_NOT_LOCKED,
            Self::UncleanStop(_) => &begin::UNCLEAN_STOP,
            Self::LedgerNotUsed(_) => &begin::LEDGER_NOT_USED,
            Self::LedgerOfAnother { .. } => &begin::LEDGER_OF_ANOTHER,
            Self::LedgerNotWritten(_) => &begin::LEDGER_NOT_WRITTEN,
            Self::LedgerWrittenAgain(_) => &begin::LEDGER_WRITTEN_AGAIN,
            Self::LedgerNotSaved => &begin::LEDGER_NOT_SAVED,
            Self::StatusNotWritten { .. } => &begin::STATUS_NOT_WRITTEN,
            Self::MetricsServed(_) => &begin::METRICS_SERVED,
            Self::MetricsNotServed(_) => &begin::METRICS_NOT_SERVED,
            Self::ManagerNotTold(_) => &begin::MANAGER_NOT_TOLD,
            Self::BakedSetWritten { .. } => &end::BAKED_SET_WRITTEN,
            Self::BakedSetNotChanged(_) => &end::BAKED_SET_NOT_CHANGED,
            Self::Loading { .. } => &end::LOADING,
            Self::Loaded { .. } => &end::LOADED,
            Self::Reloaded(_) => &end::RELOADED,
            Self::NotTakenBeforeRestart(_) => &end::NOT_TAKEN_BEFORE_RESTART,
            Self::NotReloaded(_) => &end::NOT_RELOADED,
            Self::Stopping(_) => &end::STOPPING,
            Self::StoppingAtOnce(_) => &end::STOPPING_AT_ONCE,
            Self::Stopped(_) => &end::STOPPED,
        }
    }
}

impl ProcessEvent {
    fn message(&self) -> &'static StableMessage {
        match self {
            Self::LeftoverFound(_) => &begin::LEFTOVER_FOUND,
            Self::LeftoverStopped(_) => &begin::LEFTOVER_STOPPED,
            Self::Started { .. } => &begin::CONTAINERD_STARTED,
            Self::Attached(_) => &begin::ATTACHED,
            Self::Awaited { .. } => &begin::CONTAINERD_AWAITED,
            Self::Stopping(_) => &end::CONTAINERD_STOPPING,
            Self::Overdue { .. } => &end::CONTAINERD_OVERDUE,
            Self::Killing(_) => &end::CONTAINERD_KILLED,
            Self::Abandoned(_) => &end::CONTAINERD_ABANDONED,
            Self::NotWaitedFor(_) => &end::CONTAINERD_NOT_WAITED_FOR,
            Self::Stopped { .. } => &end::CONTAINERD_STOPPED,
        }
    }
}

impl OutputEvent {
    fn message(&self) -> &'static StableMessage {
        match self {
            Self::FileNotRotated { .. } => &end::FILE_NOT_ROTATED,
            Self::FileNotWritten { .. } => &end::FILE_NOT_WRITTEN,
            Self::FileWrittenAgain { .. } => &end::FILE_WRITTEN_AGAIN,
            Self::NotTidied { .. } => &end::NOT_TIDIED,
            Self::Dropped(_) => &end::OUTPUT_DROPPED,
            Self::NotAwaited => &end::OUTPUT_NOT_AWAITED,
            Self::ReaderPanicked => &end::OUTPUT_READER_PANICKED,
        }
    }
}

impl StoreEvent {
    fn message(&self) -> &'static StableMessage {
        match self {
            Self::WritingDirectly(_) => &begin::WRITING_DIRECTLY,
            Self::SendingBlobs(_) => &begin::SENDING_BLOBS,
            Self::DirectWritesEnded(_) => &begin::DIRECT_WRITES_ENDED,
            Self::SandboxImageUnknown(_) => &entries::SANDBOX_IMAGE_UNKNOWN,
            Self::DeletionsNotHeard(_) => &begin::DELETIONS_NOT_HEARD,
            Self::DeletionsHeardAgain => &begin::DELETIONS_HEARD_AGAIN,
            Self::InstanceNotHeld(_) => &begin::INSTANCE_NOT_HELD,
            Self::LeasesNotFound(_) => &begin::LEASES_NOT_FOUND,
            Self::LeasesNotCleared {
                run: Run::Earlier, ..
            } => &begin::EARLIER_LEASES_NOT_CLEARED,
            Self::LeasesNotCleared { run: Run::This, .. } => &begin::OWN_LEASES_NOT_CLEARED,
            Self::LeaseNotReleased(_) => &begin::LEASE_NOT_RELEASED,
        }
    }
}
