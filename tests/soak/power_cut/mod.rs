//! The power is cut, and everything is there again.
//!
//! containerd's root and stowd's state are on a file system whose disk remembers how it was written to
//! (`recorded_disk`). One load is recorded, with an archive that comes after READY. Then the disk is put
//! together as a cut would have left it, at many moments; on it a containerd is looked into by itself, and
//! a stowd is started.

mod file_system;
mod named;
mod recorded_disk;
mod served_file;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::dice::Dice;
use crate::support::{
    Daemon, Generation, Options, Setup, Store, Stowd, assert_clean, blobs_dir, fixture, names,
    on_each_generation_in_turn, pinned_tags,
};
use crate::{SOON, rounds};

use file_system::{KINDS, Kind, Mounts};
use named::{Damage, damage_of_named, wrong_files};
use recorded_disk::{Cut, KEEPS_ALL, RecordedDisk};

on_each_generation_in_turn!(after_a_cut_of_the_power_everything_is_there);

/// Plain and compressed; images share blobs, and have small ones, which are sent whatever is configured.
const AT_START: [&str; 5] = [
    "large.tar",
    "umoci.tar.gz",
    "podman-docker-images.tar",
    "index-attested.tar",
    "ctr-all-platforms.tar.xz",
];
/// Comes when stowd is ready.
const LATER: &str = "skopeo-oci-zstd.tar.zst";

fn after_a_cut_of_the_power_everything_is_there(generation: &Generation) {
    let mut dice = Dice::seeded();
    let loads = loads(&mut dice);
    let cuts = rounds(8);
    let recorded = cuts.div_ceil(4).min(loads.len());
    for (number, (kind, is_direct)) in loads.into_iter().take(recorded).enumerate() {
        let cuts = cuts / recorded + usize::from(number < cuts % recorded);
        let written = if is_direct { "direct" } else { "sent" };
        let what = format!("containerd {}, {}, {written}", generation.name, kind.name);
        let mut recording = Recording::of(generation, kind, is_direct);
        let mut found = Found::default();
        for _ in 0..cuts {
            let cut = recording.moment(&mut dice);
            println!("{what}: {cut:?} of {}", recording.end);
            recording.live_through(cut, &mut dice, &mut found);
        }
        println!("{what}: {found:?}");
        assert!(
            found.damaged_with_a_name.is_empty(),
            "{:?}",
            found.damaged_with_a_name
        );
    }
}

/// File systems, each with direct writes and without, in any order; the first is on ext4, which most
/// nodes have.
fn loads(dice: &mut Dice) -> Vec<(Kind, bool)> {
    let mut loads = Vec::new();
    for load in KINDS
        .into_iter()
        .flat_map(|kind| [(kind, true), (kind, false)])
    {
        let at = dice.below(loads.len() as u64 + 1) as usize;
        loads.insert(at, load);
    }
    let first = loads.iter().position(|(kind, _)| *kind == KINDS[0]);
    loads.swap(0, first.expect("ext4"));
    loads
}

/// What the cuts of a recording have shown.
#[derive(Debug, Default)]
struct Found {
    cuts: usize,
    after_ready: usize,
    /// The disk had reported as written, and lost, what was not flushed.
    lost_its_cache: usize,
    /// What is wrong with blobs of images that had their names.
    damaged_with_a_name: Vec<(Cut, Vec<(String, Damage)>)>,
    /// Files without a name in the store whose bytes are not those of their digests.
    wrong_files: usize,
    /// READY had been said, and archives were read once more: the ledger is written a little later.
    read_again: usize,
}

/// One load that was recorded, and the stowd that it was recorded of, which is started on what the cuts
/// leave.
struct Recording {
    disk: RecordedDisk,
    /// How many steps the disk had seen when READY was heard, and at the end.
    ready: usize,
    end: usize,
    stowd: Stowd,
    // Behind stowd: what it has open cannot be unmounted.
    mounts: Mounts,
}

impl Recording {
    fn of(generation: &Generation, kind: Kind, is_direct: bool) -> Self {
        let mut setup = Setup::new(generation);
        let (mounts, disk) = Mounts::recorded(kind, setup.dir());
        setup.images = format!("settle = \"0s\"\ndirect = {is_direct}\n");
        for (key, place) in [("CONTAINERD__ROOT", "root"), ("STATE_DIR", "lib")] {
            let place = mounts.point().join(place).display().to_string();
            setup.environment.push((format!("STOWD_{key}"), place));
        }
        for file in AT_START {
            setup.stow(&fixture(file).path);
        }
        let mut stowd = setup.start();
        let ready = Arc::new(AtomicUsize::new(usize::MAX));
        stowd.notify.on_ready({
            let (ready, disk) = (Arc::clone(&ready), disk.clone());
            move || ready.store(disk.length(), Ordering::Relaxed)
        });
        stowd.wait_ready(SOON);
        stowd.setup().stow(&fixture(LATER).path);
        stowd.wait_until(SOON, "the later archive is imported", |stowd| {
            !stowd.outcomes(LATER).is_empty()
        });
        // The journal is committed twice, with what was not synced.
        std::thread::sleep(Duration::from_secs(2));
        let end = disk.length();
        assert_eq!(stowd.stop(), Some(0));
        mounts.unmount();
        let ready = ready.load(Ordering::Relaxed);
        assert!(ready <= end, "READY was heard too early");
        Self {
            disk,
            ready,
            end,
            stowd,
            mounts,
        }
    }

    /// Any moment, or one soon after READY, or one about a flush: each as often.
    fn moment(&self, dice: &mut Dice) -> Cut {
        let mut below = |bound: usize| dice.below(bound as u64) as usize;
        let at = match below(3) {
            0 => below(self.end + 1),
            1 => self.ready + below(20),
            _ => {
                let flushes = self.disk.flushes(self.end);
                flushes[below(flushes.len())] + below(3)
            }
        };
        Cut {
            at: at.min(self.end),
            keeps: [KEEPS_ALL, KEEPS_ALL, 0, 256, 768][below(5)],
        }
    }

    fn live_through(&mut self, cut: Cut, dice: &mut Dice, found: &mut Found) {
        found.cuts += 1;
        found.after_ready += usize::from(cut.at >= self.ready);
        found.lost_its_cache += usize::from(cut.keeps < KEEPS_ALL);
        // Twice the same: the first containerd changes what the second one is to find.
        let seed = dice.below(u64::MAX) | 1;
        for look in [Self::look_into_containerd, Self::start_stowd] {
            let after = self.mounts.after();
            self.disk.put_together(cut, &mut Dice(seed), &after);
            self.mounts.mount(&after);
            look(self, cut, found);
            self.mounts.unmount();
        }
    }

    /// Before any stowd has looked at it, whatever has a name has all its bytes, and what READY told of
    /// has its names.
    fn look_into_containerd(&mut self, cut: Cut, found: &mut Found) {
        let root = self.mounts.point().join("root");
        let blobs = blobs_dir(&root);
        found.wrong_files += wrong_files(&blobs).len();
        let options = Options {
            root: Some(root),
            ..Options::default()
        };
        let mut containerd = Daemon::start_with(self.stowd.setup().generation(), options);
        containerd.wait();
        let store = Store::at(&containerd.address());
        let damage = damage_of_named(&store, &blobs);
        found
            .damaged_with_a_name
            .extend((!damage.is_empty()).then_some((cut, damage)));
        if cut.at >= self.ready {
            let named = store.images().into_keys().collect();
            let missing = &names(&AT_START) - &named;
            assert_eq!(missing, BTreeSet::new(), "{cut:?}");
        }
        drop(store);
        containerd.stop();
    }

    fn start_stowd(&mut self, cut: Cut, found: &mut Found) {
        let stowd = &mut self.stowd;
        // It is on a tmpfs, where power is cut for real.
        let _ = fs::remove_dir_all(stowd.setup().dir().join("state"));
        let count = |stowd: &Stowd| AT_START.map(|file| stowd.outcomes(file).len());
        let before = count(stowd);
        stowd.restart();
        stowd.wait_ready(SOON);
        if cut.at >= self.ready {
            found.read_again += usize::from(count(stowd) != before);
        }
        let files = AT_START.into_iter().chain([LATER]).collect::<Vec<_>>();
        let missing = &names(&files) - &pinned_tags(stowd);
        assert_eq!(missing, BTreeSet::new(), "{cut:?}");
        assert_clean(stowd);
        let bad_ledger = stowd.lines(" ledger not used");
        assert_eq!(bad_ledger, Vec::<String>::new(), "{cut:?}");
        let blobs = blobs_dir(&self.mounts.point().join("root"));
        let damage = damage_of_named(&stowd.store(), &blobs);
        assert_eq!(damage, Vec::<(String, Damage)>::new(), "{cut:?}");
        assert_eq!(stowd.stop(), Some(0));
    }
}
