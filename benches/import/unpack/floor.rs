//! The least that unpacking can cost on this machine: the layers are decompressed, and their files are
//! written by tar, a layer a processor, and are on the disk. The longer of the two is the floor.

use std::fmt;
use std::fs::File;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::syncfs;

use super::layers::{Layer, layers};
use crate::archives::Archive;
use crate::figures::{shortest, time};
use crate::floor::processors;
use crate::options::Input;
use crate::page_cache;

/// What it took, round by round.
#[derive(Debug, Default)]
pub(super) struct UnpackFloor {
    /// Of nothing, where no layer is compressed.
    decoded: Vec<Duration>,
    /// When tar had ended.
    written: Vec<Duration>,
    /// When that was on the disk.
    synced: Vec<Duration>,
}

impl fmt::Display for UnpackFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, times) = self.longer();
        write!(f, "{what}: {}", time(shortest(times)))
    }
}

impl UnpackFloor {
    /// Measures both once more.
    pub(super) fn measure(&mut self, archive: &Archive, input: Input) {
        let layers = layers(&archive.path);
        if layers.iter().any(Layer::is_compressed) {
            page_cache::prepare(std::slice::from_ref(archive), input);
            let began = Instant::now();
            processors::on_all(&layers, |_, layer| {
                io::copy(&mut layer.plain(), &mut io::sink()).expect("a sound layer");
            });
            self.decoded.push(began.elapsed());
        }
        let (written, synced) = write(&layers);
        self.written.push(written);
        self.synced.push(synced);
    }

    /// What the longer of the two is, with its times.
    pub(super) fn longer(&self) -> (String, &[Duration]) {
        if shortest(&self.decoded) > shortest(&self.synced) {
            return ("decompress the layers".to_owned(), &self.decoded);
        }
        let written = time(shortest(&self.written));
        let what = format!("write the files with tar, syncfs (tar alone: {written})");
        (what, &self.synced)
    }
}

/// Writes the files of all layers, each into a directory of its own: until tar has ended, and until that is on
/// the disk. The tars are in the page cache.
fn write(layers: &[Layer]) -> (Duration, Duration) {
    let dir = tempfile::Builder::new()
        .prefix("stowd-floor-")
        .tempdir_in("/var/tmp")
        .expect("a directory in /var/tmp");
    for (number, layer) in layers.iter().enumerate() {
        let tar = dir.path().join(format!("{number}.tar"));
        let mut tar = File::create_new(tar).expect("a file of its own");
        io::copy(&mut layer.plain(), &mut tar).expect("room on the disk");
        std::fs::create_dir(dir.path().join(number.to_string())).expect("a directory");
    }
    page_cache::settle();
    let began = Instant::now();
    processors::on_all(layers, |number, _| {
        let status = Command::new("tar")
            .args(["--numeric-owner", "-xpf"])
            .arg(dir.path().join(format!("{number}.tar")))
            .arg("-C")
            .arg(dir.path().join(number.to_string()))
            .stdin(Stdio::null())
            .status();
        let status = status.expect("tar runs");
        assert!(status.success(), "tar: {status}");
    });
    let written = began.elapsed();
    syncfs(File::open(dir.path()).expect("it is there")).expect("syncfs");
    (written, began.elapsed())
}
