//! How far the work has come, and the one line that says so.

mod meter;
mod pace;

use std::fmt;
use std::time::SystemTime;

use bytesize::ByteSize;

use crate::ledger::Summary;
use crate::unpack::UnpackTally;

pub use meter::Meter;
pub(crate) use pace::LoadPace;
pub use pace::{Amount, Speed};

/// The work as it stands. Its `Display` is the STATUS line (`sd_notify(3)`).
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Entries that have an outcome.
    pub summary: Summary,
    /// The number of entries that have none.
    pub open: usize,
    /// Archives that are worked on, by their paths.
    pub working: Vec<Work>,
    /// Bytes of archives whose work has ended, since all was done last.
    pub ended_bytes: u64,
    /// Bytes of archives that wait to be worked on.
    pub waiting_bytes: u64,
    /// How fast archives are read, where that is known.
    pub speed: Option<Speed>,
    /// Lists that are worked on, by their paths.
    pub pulling: Vec<Work>,
    /// The first entry that is not read before it has settled.
    pub settling: Option<String>,
    /// Images that are unpacked at the moment, by their names, and how many wait for that.
    pub unpacking: (Vec<String>, usize),
    /// How many images are unpacked, where stowd unpacks them.
    pub unpacked: Option<UnpackTally>,
    pub loaded: bool,
    /// The images directory.
    pub watching: String,
    /// Whether the images directory is missing.
    pub is_dir_missing: bool,
    /// Entries whose directory cannot be seen; what they brought is kept.
    pub out_of_sight: usize,
    /// Files that are no entries.
    pub ignored: usize,
    /// Blobs that are damaged in the store, and about which nothing is done.
    pub damaged: usize,
    /// The image without which no pod starts, where neither the store nor an entry has it.
    pub missing_sandbox_image: Option<String>,
    /// How often the store had returned of which this tells.
    pub store_returns: u64,
    /// Why the store does not answer, if it does not.
    pub store_away: Option<String>,
    /// The first of the entries that have failed.
    pub trouble: Option<Trouble>,
    /// The progress of entries whose work has ended, that of the store with what no meter counts, and how
    /// often a file was seen to grow.
    pub ended: u64,
    /// Grows with each turn of the work loop. The watchdog is fed only while it does.
    pub turns: u64,
}

/// An entry that has failed.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub name: String,
    /// How often it was tried; 0 where its file cannot be.
    pub attempts: u32,
    /// When it is tried again by itself.
    pub next_try: Option<SystemTime>,
}

/// An entry that is worked on.
#[derive(Debug, Clone)]
pub struct Work {
    pub name: String,
    /// The length of its file, in bytes.
    pub size: u64,
    /// How many of these bytes are done; for a list, how many of its lines.
    pub meter: Meter,
}

impl Work {
    /// The progress of a list.
    fn lines(&self) -> String {
        let images = usize::try_from(self.meter.expected()).unwrap_or(usize::MAX);
        let images = counted(images, "image", "images");
        format!("{}, {} of {images}", self.name, self.meter.bytes())
    }
}

impl Progress {
    /// How much of all archives is done, since all was done last.
    pub fn amount(&self) -> Amount {
        let working = self.working.iter();
        let (done, size) = working.fold((0, 0), |(done, size), work| {
            // One that is read a second time has been metered twice.
            (done + work.meter.bytes().min(work.size), size + work.size)
        });
        Amount {
            done: self.ended_bytes + done,
            total: self.ended_bytes + size + self.waiting_bytes,
        }
    }

    /// Whether stowd has work that may take long: the load, or an archive after it. A store that is away is
    /// waited for, and told of by itself.
    pub(crate) fn is_busy(&self) -> bool {
        self.store_away.is_none() && (!self.loaded || !self.working.is_empty())
    }

    /// A number that grows as long as there is progress. It does not grow when an entry is ended because
    /// it made none.
    pub fn moved(&self) -> u64 {
        let working = self.working.iter().chain(&self.pulling);
        let working = working.map(|work| work.meter.moved());
        self.ended + working.sum::<u64>()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            entries, failed, ..
        } = self.summary;
        if let Some(error) = &self.store_away {
            return write!(f, "waiting for containerd: {error}; {}", self.summary);
        }
        if let Some(first) = self.working.first() {
            let total = entries + self.open;
            let Amount { done, total: size } = self.amount();
            let bytes = ByteSize::b(done).display().iec();
            let others = match self.working.len() {
                1 => String::new(),
                several => format!(" and {} more", several - 1),
            };
            let size = ByteSize::b(size).display().iec();
            write!(
                f,
                "importing {}/{total}: {}{others}, {bytes} of {size}",
                // One that is tried again has an outcome already.
                total.min(entries + 1),
                first.name
            )?;
            if let Some(speed) = &self.speed {
                write!(f, ", {speed}")?;
            }
        } else if !self.loaded && !self.pulling.is_empty() {
            self.pulling(f, "")?;
        } else if !self.loaded && !self.unpacking.0.is_empty() {
            self.unpacking(f, "")?;
        } else if let Some(name) = &self.settling {
            write!(f, "waiting for {name}, {} to do", self.open)?;
        } else if self.loaded {
            write!(f, "ready: {}", self.summary)?;
            if let Some(trouble) = &self.trouble {
                write!(f, " ({trouble})")?;
            }
            let not_unpacked = self.unpacked.map_or(0, |tally| tally.failed);
            if not_unpacked > 0 {
                write!(f, ", {not_unpacked} not unpacked")?;
            }
            if self.ignored > 0 {
                write!(f, ", {} ignored", self.ignored)?;
            }
            if self.out_of_sight > 0 {
                let entries = counted(self.out_of_sight, "entry", "entries");
                write!(f, ", {entries} out of sight")?;
            }
            if self.damaged > 0 {
                let blobs = counted(self.damaged, "blob", "blobs");
                write!(f, ", {blobs} damaged")?;
            }
            self.pulling(f, "; ")?;
            self.unpacking(f, "; ")?;
            write!(f, "; watching {}", self.watching)?;
            return match &self.missing_sandbox_image {
                Some(name) => write!(f, "; sandbox image missing: {name}"),
                None => Ok(()),
            };
        } else {
            write!(f, "looking for images")?;
        }
        if failed > 0 {
            write!(f, "; {failed} failed")
        } else {
            Ok(())
        }
    }
}

impl Progress {
    /// Which images are unpacked, if any.
    fn unpacking(&self, f: &mut fmt::Formatter<'_>, before: &str) -> fmt::Result {
        let (names, queued) = &self.unpacking;
        let Some((first, more)) = names.split_first() else {
            return Ok(());
        };
        write!(f, "{before}unpacking {first}")?;
        match more.len() + queued {
            0 => Ok(()),
            more => write!(f, " and {}", counted(more, "image more", "images more")),
        }
    }

    /// Which lists are worked on, if any.
    fn pulling(&self, f: &mut fmt::Formatter<'_>, before: &str) -> fmt::Result {
        match self.pulling.as_slice() {
            [] => Ok(()),
            [only] => write!(f, "{before}pulling {}", only.lines()),
            [first, more @ ..] => {
                let more = counted(more.len(), "list", "lists");
                write!(f, "{before}pulling {} and {more} more", first.lines())
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            attempts,
            next_try,
        } = self;
        write!(f, "{name}: ")?;
        if *attempts > 0 {
            let attempts = counted(*attempts as usize, "attempt", "attempts");
            write!(f, "{attempts}, ")?;
        }
        match next_try {
            Some(next) => write!(f, "next at {}", humantime::format_rfc3339_seconds(*next)),
            // Of its file, or of what another entry brings.
            None => f.write_str("waits for a change"),
        }
    }
}

/// A number of things, for people.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = counted(self.images, "image", "images");
        let entries = counted(self.entries, "entry", "entries");
        write!(f, "{images} from {entries}")?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn work(name: &str, size: u64, done: u64) -> Work {
        let work = Work {
            name: name.to_owned(),
            size,
            meter: Meter::default(),
        };
        work.meter.add(done);
        work
    }

    fn summary(images: usize, entries: usize, failed: usize) -> Summary {
        Summary {
            images,
            entries,
            failed,
        }
    }

    #[test]
    fn the_line_tells_which_entry_and_how_many_bytes() {
        let mut progress = Progress {
            summary: summary(4, 2, 0),
            open: 10,
            working: vec![work("app.tar.zst", 1288490189, 432013312)],
            ..Progress::default()
        };
        assert_eq!(
            progress.to_string(),
            "importing 3/12: app.tar.zst, 412.0 MiB of 1.2 GiB"
        );
        progress.working.push(work("b.tar", 1 << 20, 0));
        progress.summary.failed = 1;
        assert_eq!(
            progress.to_string(),
            "importing 3/12: app.tar.zst and 1 more, 412.0 MiB of 1.2 GiB; 1 failed"
        );
        progress.ended_bytes = 1 << 30;
        progress.waiting_bytes = 2 << 30;
        progress.speed = Some(Speed {
            bytes_per_second: 120 << 20,
            left: Some(Duration::from_secs(18)),
        });
        assert_eq!(
            progress.to_string(),
            "importing 3/12: app.tar.zst and 1 more, 1.4 GiB of 4.2 GiB, 120.0 MiB/s, 18 s left; 1 failed"
        );
    }

    #[test]
    fn lists_are_told_by_their_lines() {
        let list = |name: &str, done, lines| {
            let work = work(name, 1 << 20, done);
            work.meter.expect(lines);
            work
        };
        let mut progress = Progress {
            summary: summary(4, 2, 0),
            open: 1,
            pulling: vec![list("core.txt", 3, 12)],
            watching: "/images".to_owned(),
            ..Progress::default()
        };
        assert_eq!(progress.to_string(), "pulling core.txt, 3 of 12 images");
        progress.pulling.push(list("more.txt", 0, 1));
        progress.loaded = true;
        assert_eq!(
            progress.to_string(),
            "ready: 4 images from 2 entries; pulling core.txt, 3 of 12 images and 1 list more; \
             watching /images"
        );
        progress.working.push(work("b.tar", 1 << 20, 0));
        assert_eq!(progress.to_string(), "importing 3/3: b.tar, 0 B of 1.0 MiB");
        (progress.open, progress.summary.entries) = (0, 3);
        assert_eq!(progress.to_string(), "importing 3/3: b.tar, 0 B of 1.0 MiB");
    }

    #[test]
    fn ready_counts_images_entries_and_failures_and_names_the_first() {
        let mut loaded = Progress {
            summary: summary(1, 1, 0),
            loaded: true,
            watching: "/images".to_owned(),
            ..Progress::default()
        };
        let ready = "ready: 1 image from 1 entry; watching /images";
        assert_eq!(loaded.to_string(), ready);
        loaded.summary = summary(36, 12, 1);
        loaded.trouble = Some(Trouble {
            name: "b.tar".to_owned(),
            attempts: 2,
            next_try: Some(SystemTime::UNIX_EPOCH),
        });
        let ready = "ready: 36 images from 12 entries, 1 failed \
                     (b.tar: 2 attempts, next at 1970-01-01T00:00:00Z); watching /images";
        assert_eq!(loaded.to_string(), ready);
        (loaded.ignored, loaded.out_of_sight) = (2, 1);
        let ready = "ready: 36 images from 12 entries, 1 failed (b.tar: 2 attempts, next at \
                     1970-01-01T00:00:00Z), 2 ignored, 1 entry out of sight; watching /images";
        assert_eq!(loaded.to_string(), ready);
        loaded.damaged = 3;
        assert!(
            loaded
                .to_string()
                .contains(" out of sight, 3 blobs damaged; ")
        );
        loaded.damaged = 0;
        loaded.unpacked = Some(UnpackTally {
            unpacked: 35,
            failed: 1,
        });
        loaded.unpacking = (vec!["r.example/x:1".to_owned()], 2);
        let ready = "ready: 36 images from 12 entries, 1 failed (b.tar: 2 attempts, next at \
                     1970-01-01T00:00:00Z), 1 not unpacked, 2 ignored, 1 entry out of sight; \
                     unpacking r.example/x:1 and 2 images more; watching /images";
        assert_eq!(loaded.to_string(), ready);
        loaded.loaded = false;
        let unpacking = "unpacking r.example/x:1 and 2 images more; 1 failed";
        assert_eq!(loaded.to_string(), unpacking);
        loaded.store_away = Some("no answer".to_owned());
        let away = "waiting for containerd: no answer; 36 images from 12 entries, 1 failed";
        assert_eq!(loaded.to_string(), away);
        assert_eq!(Progress::default().to_string(), "looking for images");
    }
}
