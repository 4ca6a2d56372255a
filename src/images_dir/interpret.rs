//! What inotify events mean for the images directory.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::inotify::{Act, Fate, WatchEvent, Wd};
use super::look::announce;
use super::orders::WalkCause;
use super::reach::Reach;
use super::settling::Settling;
use super::watch_tree::WatchTree;
use crate::entry::Verdict;

/// What some events say.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Paths that were touched, and are to be looked at.
    pub(super) paths: BTreeSet<PathBuf>,
    /// Those of them that were taken out of their directory and not put there again.
    pub(super) unlinked: BTreeSet<PathBuf>,
    pub(super) walk: Option<WalkCause>,
}

/// Says what `events` mean, and keeps account of the watches that ended and of the files that are
/// open for writing.
pub(super) fn interpret(
    events: Vec<WatchEvent>,
    tree: &mut WatchTree,
    settling: &mut Settling,
    reach: &Reach,
    now: Instant,
) -> Changed {
    let mut interpreter = Interpreter {
        tree,
        settling,
        reach,
        now,
        moved: HashMap::new(),
        changed: Changed::default(),
    };
    for event in events {
        interpreter.event(event);
    }
    interpreter.changed
}

struct Interpreter<'a> {
    tree: &'a mut WatchTree,
    settling: &'a mut Settling,
    reach: &'a Reach,
    now: Instant,
    /// When the files that were renamed while they are open were last written to. The two halves
    /// of a rename follow each other.
    moved: HashMap<u32, Instant>,
    changed: Changed,
}

impl Interpreter<'_> {
    fn event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Overflow => {
                self.settling.writers.forget();
                self.walk(WalkCause::Overflow);
            }
            WatchEvent::Itself(wd, fate) => self.itself(wd, fate),
            WatchEvent::Name { wd, name, act, dir } => {
                self.writers(wd, &name, act);
                self.dependencies(wd, &name, act);
                if Verdict::on(&name) != Verdict::Temporary {
                    self.in_the_directory(wd, &name, act, dir);
                }
            }
        }
    }

    fn walk(&mut self, cause: WalkCause) {
        self.changed.walk = self.changed.walk.max(Some(cause));
    }

    fn itself(&mut self, wd: Wd, fate: Fate) {
        let known = match fate {
            Fate::Ended => self.tree.forget(wd),
            Fate::Changed | Fate::Unmounted => self.tree.has(wd),
        };
        if known {
            self.walk(match fate {
                Fate::Unmounted => WalkCause::Mounts,
                Fate::Changed | Fate::Ended => WalkCause::Directories,
            });
        }
    }

    /// Keeps account of which files are open for writing, hidden ones too: they may get another
    /// name meanwhile.
    fn writers(&mut self, wd: Wd, name: &OsStr, act: Act) {
        let paths = self.tree.files(wd, name).collect::<Vec<_>>();
        match act {
            Act::Written => paths
                .into_iter()
                .for_each(|path| self.written(path, self.now)),
            Act::Closed | Act::Deleted => {
                for path in &paths {
                    self.settling.writers.closed(path);
                }
            }
            Act::MovedOut(cookie) => {
                for path in &paths {
                    if let Some(last) = self.settling.writers.closed(path) {
                        self.moved.insert(cookie, last);
                    }
                }
            }
            Act::MovedIn(cookie) => {
                let last = self.moved.remove(&cookie);
                for path in paths {
                    self.settling.writers.closed(&path);
                    if let Some(last) = last {
                        self.written(path, last);
                    }
                }
            }
            Act::Created | Act::Attributes => {}
        }
    }

    /// The first write to an entry since it was closed is told; the others are not.
    fn written(&mut self, path: PathBuf, when: Instant) {
        let verdict = Verdict::on(path.file_name().unwrap_or_default());
        if self.settling.written(&path, when) && matches!(verdict, Verdict::Entry(_)) {
            self.changed.paths.insert(path);
        }
    }

    /// A link's target, or the images directory, may be reached through the name.
    fn dependencies(&mut self, wd: Wd, name: &OsStr, act: Act) {
        let dependencies = self.tree.dependencies(wd, name);
        for dependency in dependencies {
            let Some(link) = &dependency.link else {
                continue;
            };
            if act.is_of_names() && !dependency.content {
                // Another file may be behind the link now.
                self.settling.writers.closed(link);
            }
            if act.is_of_names() || (dependency.content && act != Act::Written) {
                self.changed.paths.insert(link.clone());
            }
        }
        if act.is_of_names() && !dependencies.is_empty() {
            self.walk(WalkCause::Directories);
        }
    }

    /// The name may be an entry, or a directory of entries.
    fn in_the_directory(&mut self, wd: Wd, name: &OsStr, act: Act, dir: bool) {
        let Some(path) = self.tree.listed(wd, name) else {
            return;
        };
        if dir {
            return self.walk(WalkCause::Directories);
        }
        match act {
            Act::Created | Act::MovedIn(_) => _ = self.changed.unlinked.remove(&path),
            Act::Deleted | Act::MovedOut(_) => _ = self.changed.unlinked.insert(path.clone()),
            Act::Written | Act::Closed | Act::Attributes => {}
        }
        match act {
            Act::Written => return,
            Act::Created | Act::MovedIn(_) if announce(&path, self.reach).is_ok() => {
                match fs::symlink_metadata(&path) {
                    Ok(metadata) if metadata.is_symlink() || metadata.is_dir() => {
                        self.walk(WalkCause::Directories);
                    }
                    // Opened anew, and nothing is in it yet: it will be closed. A link to a file that
                    // is whole raises no other event.
                    Ok(metadata) if act == Act::Created && metadata.len() == 0 => {
                        return self.written(path, self.now);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.changed.paths.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::unsettled::SettleLimits;
    use super::*;

    #[test]
    fn a_look_at_a_new_file_is_announced_as_it_may_hang() {
        let (dir, wd) = (Path::new("/proc/none"), Wd(1));
        let mut tree = WatchTree::default();
        tree.add(dir, wd);
        tree.list(dir, dir);
        for (act, expected) in [(Act::Created, true), (Act::Closed, false)] {
            let event = WatchEvent::Name {
                wd,
                name: "a.tar".into(),
                act,
                dir: false,
            };
            let mut settling = Settling::new(Duration::ZERO, SettleLimits::default());
            let (events, reach) = (vec![event], Reach::default());
            let changed = interpret(events, &mut tree, &mut settling, &reach, Instant::now());
            assert_eq!(changed.paths, BTreeSet::from([dir.join("a.tar")]));
            assert_eq!(reach.looks().is_at(&dir.join("a.tar")), expected, "{act:?}");
        }
    }
}
