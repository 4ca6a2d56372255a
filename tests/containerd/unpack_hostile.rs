//! Layers that would reach out of their snapshot: nothing outside is touched, and nothing is left half done.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::made::{append, recipe};
use crate::support::{Generation, Setup, Stowd, fixture, on_each_generation_in_turn};
use crate::unpack::{assert_nothing_half_done, tree};

const SOON: Duration = Duration::from_secs(120);
const UMOCI: &str = "registry.stowd.test/umoci:1.35";

on_each_generation_in_turn!(layers_reach_nothing_outside_of_their_snapshots);

/// A member by a name that no archiver would write.
fn member(tar: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType) {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    if matches!(kind, tar::EntryType::Char | tar::EntryType::Block) {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    }
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    tar.append(&header, &b""[..]).unwrap();
}

fn whiteout(path: &'static str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "a/kept", b"kept");
    member(&mut tar, path, tar::EntryType::Regular);
    tar.into_inner().unwrap()
}

/// Makes the tar of a layer another one.
type Change = fn(&mut Vec<u8>);

/// What is made of it, by the name of the image: whether it can be unpacked is containerd's to say.
fn hostile() -> [(&'static str, Change); 9] {
    [
        ("stowd.test/root:1", |tar| *tar = whiteout(".wh..")),
        ("stowd.test/nothing:1", |tar| *tar = whiteout(".wh.")),
        ("stowd.test/opaque:1", |tar| *tar = whiteout(".wh..wh..opq")),
        ("stowd.test/above:1", |tar| *tar = whiteout("../.wh.work")),
        ("stowd.test/others:1", |tar| *tar = whiteout("../../.wh.1")),
        ("stowd.test/absolute:1", |tar| {
            *tar = whiteout("/.wh.stowd-kept")
        }),
        ("stowd.test/through:1", |tar| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            builder.append_link(&mut link, "out", "/var/tmp").unwrap();
            member(&mut builder, "out/.wh.stowd-kept", tar::EntryType::Regular);
            append(&mut builder, "out/stowd-evil", b"evil");
            *tar = builder.into_inner().unwrap();
        }),
        ("stowd.test/hard-link:1", |tar| {
            let mut builder = tar::Builder::new(Vec::new());
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Link);
            link.set_size(0);
            let target = "../../../../../../../../../var/tmp/stowd-kept";
            builder.append_link(&mut link, "linked", target).unwrap();
            *tar = builder.into_inner().unwrap();
        }),
        ("stowd.test/device:1", |tar| {
            let mut builder = tar::Builder::new(Vec::new());
            member(&mut builder, "null", tar::EntryType::Char);
            member(
                &mut builder,
                "../../../../../../var/tmp/stowd-evil",
                tar::EntryType::Char,
            );
            *tar = builder.into_inner().unwrap();
        }),
    ]
}

fn mounted(stowd: &Stowd, number: usize) -> String {
    let trees = tempfile::tempdir().unwrap();
    tree(stowd, UMOCI, &trees.path().join(number.to_string()))
}

/// The layers name one file of the machine.
static KEPT: Mutex<()> = Mutex::new(());

fn layers_reach_nothing_outside_of_their_snapshots(generation: &Generation) {
    let _kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = Setup::new(generation);
    setup.stow(&fixture("umoci.tar").path);
    let mut stowd = setup.start();
    stowd.wait_ready(SOON);
    let before = mounted(&stowd, 1);
    let kept = Path::new("/var/tmp/stowd-kept");
    std::fs::write(kept, "kept").unwrap();
    for (number, (name, layer)) in hostile().into_iter().enumerate() {
        let mut made = recipe(20 + number as u64, name);
        made.layer = layer;
        let file = stowd.setup().images().join(format!("{number}.tar"));
        std::fs::write(file, made.oci().tar()).unwrap();
    }
    for (name, _) in hostile() {
        stowd.wait_until(SOON, name, |stowd| {
            let told = stowd.lines(&format!("unpacked {name}"));
            told.iter()
                .any(|line| !line.contains("(attempt 1)") || line.contains(" not "))
        });
    }
    let told = stowd.lines("unpacked stowd.test/");
    println!("{}", told.join("\n"));
    let files = |path: &Path| std::fs::read(path).ok();
    assert_eq!(files(kept).as_deref(), Some(&b"kept"[..]));
    std::fs::remove_file(kept).unwrap();
    for evil in ["/var/tmp/stowd-evil", "/stowd-evil", "/stowd-kept"] {
        assert!(std::fs::symlink_metadata(evil).is_err(), "{evil}");
    }
    assert_eq!(mounted(&stowd, 2), before, "another image");
    let not = |line: &&String| line.contains(" not unpacked ");
    for line in told.iter().filter(not) {
        assert!(
            line.contains("cannot be unpacked with overlayfs: "),
            "{line}"
        );
    }
    stowd.wait_until(SOON, "nothing is tried again", |stowd| {
        stowd.store().leases().is_empty()
    });
    assert_nothing_half_done(&stowd, "overlayfs");
}
