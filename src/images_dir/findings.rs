//! What events mean for the images directory.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::inotify::{Act, Event, Fate, Wd};
use super::survey::Map;
use super::watch::Cause;
use super::writing::Writing;
use crate::entry::Verdict;

/// What was found in some events.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Files that were touched.
    pub(super) touched: BTreeSet<PathBuf>,
    /// The directories must be looked at again, and their files listed.
    pub(super) rescan: Option<Cause>,
}

/// Finds out what `events` mean, and keeps account of the watches that ended and of the files that
/// are being written.
pub(super) fn findings(events: Vec<Event>, map: &mut Map, writing: &mut Writing) -> Findings {
    let mut reader = Reader {
        map,
        writing,
        moved: HashMap::new(),
        found: Findings::default(),
    };
    for event in events {
        reader.read(event);
    }
    reader.found
}

struct Reader<'a> {
    map: &'a mut Map,
    writing: &'a mut Writing,
    /// Files that were renamed while they are open. The two halves of a rename follow each other.
    moved: HashMap<u32, (Wd, OsString)>,
    found: Findings,
}

impl Reader<'_> {
    fn read(&mut self, event: Event) {
        match event {
            Event::Overflow => {
                self.writing.forget();
                self.rescan(Cause::Overflow);
            }
            Event::Itself(wd, fate) => self.itself(wd, fate),
            Event::Name { wd, name, act, dir } => {
                self.keep_account(wd, &name, act);
                self.on_the_way(wd, &name, act);
                if Verdict::on(&name) != Verdict::Passing {
                    self.in_the_directory(wd, &name, act, dir);
                }
            }
        }
    }

    fn rescan(&mut self, cause: Cause) {
        self.found.rescan = self.found.rescan.max(Some(cause));
    }

    fn itself(&mut self, wd: Wd, fate: Fate) {
        let known = match fate {
            Fate::Ended => self.map.forget(wd),
            Fate::Changed | Fate::Unmounted => self.map.has(wd),
        };
        if known {
            self.rescan(match fate {
                Fate::Unmounted => Cause::Mounts,
                Fate::Changed | Fate::Ended => Cause::Directories,
            });
        }
    }

    /// Keeps account of which files are being written, hidden ones too: they may get another name
    /// meanwhile.
    fn keep_account(&mut self, wd: Wd, name: &OsStr, act: Act) {
        if self.map.files(wd, name).next().is_none() {
            return;
        }
        let now = Instant::now();
        match act {
            Act::Written => self.writing.begun(wd, name, now),
            Act::Closed | Act::Deleted => _ = self.writing.ended(wd, name),
            Act::MovedOut(cookie) => {
                if self.writing.ended(wd, name) {
                    self.moved.insert(cookie, (wd, name.to_owned()));
                }
            }
            Act::MovedIn(cookie) => {
                self.writing.ended(wd, name);
                if self.moved.remove(&cookie).is_some() {
                    self.writing.begun(wd, name, now);
                }
            }
            Act::Created | Act::Attributes => {}
        }
    }

    /// The name may be on the way to a link's target, or to the images directory.
    fn on_the_way(&mut self, wd: Wd, name: &OsStr, act: Act) {
        let ways = self.map.ways(wd, name);
        for way in ways {
            if act.is_of_names() || (way.content && act != Act::Written) {
                self.found.touched.extend(way.link.clone());
            }
        }
        if act.is_of_names() && !ways.is_empty() {
            self.rescan(Cause::Directories);
        }
    }

    /// The name may be an entry, or a directory of entries.
    fn in_the_directory(&mut self, wd: Wd, name: &OsStr, act: Act, dir: bool) {
        let Some(path) = self.map.listed(wd, name) else {
            return;
        };
        if dir {
            return self.rescan(Cause::Directories);
        }
        match act {
            Act::Written => return,
            Act::Created | Act::MovedIn(_) => match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() || metadata.is_dir() => {
                    self.rescan(Cause::Directories);
                }
                // Opened anew, and nothing is in it yet: it will be closed. A link to a file that
                // is whole raises no other event.
                Ok(metadata) if act == Act::Created && metadata.len() == 0 => {
                    return self.writing.begun(wd, name, Instant::now());
                }
                _ => {}
            },
            Act::MovedOut(_) | Act::Deleted | Act::Closed | Act::Attributes => {}
        }
        self.found.touched.insert(path);
    }
}
