//! The names that a path goes through, each of which can be made to lead elsewhere.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::reach::{Reach, Silent};

/// As many links as the kernel follows in one path (path_resolution(7)).
const LINKS: usize = 40;

/// What a path goes through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathWalk {
    /// Every name in order: those of the directories, of the links, of what the links lead through,
    /// and the last one. When the walk ends early, the last is the missing name.
    pub(super) steps: Vec<PathStep>,
    pub(super) end: End,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathStep {
    /// The directory, with no link in its path.
    pub(super) dir: PathBuf,
    pub(super) name: OsString,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// To this directory, with no link in its path.
    Directory(PathBuf),
    /// To something that is not a directory, under the name of the last step.
    File,
    /// Nowhere: a name is missing, or links lead in a circle.
    Nowhere,
    /// To a mount that does not answer.
    Silent(Silent),
}

impl PathWalk {
    /// Follows `path`, which starts in `from` (no link in it) if it is relative. `arm` is called
    /// with each directory *before* a name in it is looked at.
    pub(super) fn follow(
        from: &Path,
        path: &Path,
        reach: &Reach,
        mut arm: impl FnMut(&Path),
    ) -> Self {
        let mut steps = Vec::new();
        let mut at = from.to_owned();
        let mut ahead: VecDeque<Part> = parts(path).collect();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            let name = match part {
                Part::Root => {
                    at = PathBuf::from("/");
                    continue;
                }
                Part::Up => {
                    at.pop();
                    continue;
                }
                Part::Down(name) => name,
            };
            arm(&at);
            let here = at.join(&name);
            let dir = at.clone();
            steps.push(PathStep { dir, name });
            if let Err(silent) = reach.enter(&here) {
                return Self::ending(steps, End::Silent(silent));
            }
            let kind = match fs::symlink_metadata(&here) {
                Ok(metadata) => metadata.file_type(),
                Err(_) => return Self::ending(steps, End::Nowhere),
            };
            if kind.is_dir() {
                at = here;
            } else if kind.is_symlink() {
                links += 1;
                let Some(target) = fs::read_link(&here).ok().filter(|_| links <= LINKS) else {
                    return Self::ending(steps, End::Nowhere);
                };
                for part in parts(&target).rev() {
                    ahead.push_front(part);
                }
            } else if ahead.is_empty() {
                return Self::ending(steps, End::File);
            } else {
                return Self::ending(steps, End::Nowhere);
            }
        }
        Self::ending(steps, End::Directory(at))
    }

    fn ending(steps: Vec<PathStep>, end: End) -> Self {
        Self { steps, end }
    }
}

enum Part {
    Root,
    Up,
    Down(OsString),
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = Part> {
    path.components().filter_map(|component| match component {
        Component::RootDir => Some(Part::Root),
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    })
}
