//! The archives that `benches/make-archives` made.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Longer than the default of `images.settle`: a file that changed later would be waited for.
const SETTLED: Duration = Duration::from_secs(3);

/// One archive.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    group: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The archive that it was before it was compressed; itself, if it is not.
    pub(crate) plain: PathBuf,
    /// The images that it brings.
    pub(crate) names: Vec<String>,
}

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Zstd,
    Gzip,
}

impl Archive {
    /// By its name, which tells the truth here.
    pub(crate) fn packing(&self) -> Packing {
        match self.path.extension().and_then(|suffix| suffix.to_str()) {
            Some("zst") => Packing::Zstd,
            Some("gz") => Packing::Gzip,
            _ => Packing::Plain,
        }
    }

    /// Its length in bytes as the images have it.
    pub(crate) fn plain_length(&self) -> u64 {
        length(&self.plain)
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Archives {
    all: Vec<Archive>,
}

impl Archives {
    /// Reads `archives.tsv`, which that script's head describes.
    pub(crate) fn read(dir: &Path) -> Self {
        let index = dir.join("archives.tsv");
        let text = std::fs::read_to_string(&index).unwrap_or_else(|error| {
            panic!(
                "{}: {error}: benches/run makes the archives",
                index.display()
            )
        });
        let archive = |line: &str| {
            let fields = line.split('\t').collect::<Vec<_>>();
            Archive {
                group: fields[0].to_owned(),
                path: dir.join(fields[1]),
                plain: dir.join(fields[2]),
                names: fields[3].split(' ').map(str::to_owned).collect(),
            }
        };
        Self {
            all: text.lines().map(archive).collect(),
        }
    }

    /// Those of a group, in the order of `archives.tsv`.
    pub(crate) fn group(&self, group: &str) -> Vec<Archive> {
        let of_it = self.all.iter().filter(|archive| archive.group == group);
        of_it.cloned().collect()
    }

    /// The one that is called so.
    pub(crate) fn one(&self, file: &str) -> Archive {
        let mut all = self.all.iter();
        let found = all.find(|archive| archive.path.ends_with(file));
        found
            .unwrap_or_else(|| panic!("{file} is not in archives.tsv"))
            .clone()
    }

    /// Waits until stowd reads all of them at once: it leaves files alone that have just changed.
    pub(crate) fn wait_until_settled(&self) {
        for archive in &self.all {
            while age(&archive.path) < SETTLED {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn length(path: &Path) -> u64 {
    metadata(path).len()
}

/// Since it was last touched. The status of a file cannot change before its content.
fn age(path: &Path) -> Duration {
    use std::os::unix::fs::MetadataExt as _;
    let changed = metadata(path).ctime();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed.unsigned_abs());
    changed.elapsed().unwrap_or_default()
}

fn metadata(path: &Path) -> std::fs::Metadata {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
