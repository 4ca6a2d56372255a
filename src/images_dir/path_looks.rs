//! What a look at one path tells.

use std::path::PathBuf;
use std::time::Instant;

use super::follower::Follower;
use super::ignored::ignored;
use super::interpret::Changed;
use super::look::{LookCause, PathState, clock, is_removed};
use super::orders::WalkCause;
use super::unsettled::{Judged, Stage};
use crate::entry::{Entry, Verdict};
use crate::source_event::{SourceEvent, Unreadable};

impl Follower {
    pub(super) fn look_at_what_changed(&mut self, changed: Changed) {
        if let Some(cause) = changed.walk {
            self.want(cause);
        }
        let touched = changed.paths.difference(&changed.unlinked).cloned();
        self.look_at(touched, LookCause::Touched);
        self.look_at(changed.unlinked, LookCause::Unlinked);
    }

    pub(super) fn look_at(&mut self, paths: impl IntoIterator<Item = PathBuf>, cause: LookCause) {
        // One time for all: files that were touched together are whole together.
        let now = Instant::now();
        for path in paths {
            if let Some(event) = self.look(path, cause, now) {
                self.tell(event);
            }
        }
    }

    /// Looks at what is there now. No event: there is nothing new, or a walk is wanted to tell it.
    fn look(&mut self, path: PathBuf, cause: LookCause, now: Instant) -> Option<SourceEvent> {
        let verdict = Verdict::on(path.file_name().unwrap_or_default());
        let looked = PathState::at(&path, &self.reach);
        if let (PathState::File(identity), Verdict::Entry(kind)) = (&looked, verdict) {
            self.unreadables.remove(&path);
            self.ignored.remove(&path);
            let entry = Entry {
                path,
                kind,
                identity: *identity,
            };
            return self.judge(entry, cause, now);
        }
        if looked == PathState::Gone {
            return self.gone(path, cause);
        }
        self.settling.gone(&path);
        match looked {
            PathState::Unknown(error) if matches!(verdict, Verdict::Entry(_)) => {
                self.ignored.remove(&path);
                let news = self.unreadables.failed(&path, &error, now);
                let tell = news || cause == LookCause::Asked;
                tell.then_some(SourceEvent::Unreadable(Unreadable { path, error }))
            }
            PathState::File(_) | PathState::Special | PathState::Unknown(_) => {
                self.unreadables.remove(&path);
                let known = self.ignored.get(&path).cloned();
                let tell = known.is_none() || cause == LookCause::Asked;
                let ignored = known.or_else(|| ignored(path.clone(), &self.reach))?;
                self.ignored.insert(path, ignored.clone());
                tell.then_some(SourceEvent::Ignored(ignored))
            }
            PathState::Directory | PathState::Gone => {
                self.want(WalkCause::Directories);
                None
            }
        }
    }

    /// There is nothing at the path any more. Only what was in the directories as they are known was
    /// removed from them: what is out of sight has nothing at its path either.
    fn gone(&mut self, path: PathBuf, cause: LookCause) -> Option<SourceEvent> {
        let was_there = self.settling.knows(&path)
            || self.ignored.contains_key(&path)
            || self.unreadables.has(&path);
        if was_there
            && (cause == LookCause::Unlinked || is_removed(&path, &self.directories, &self.reach))
        {
            self.settling.gone(&path);
            self.unreadables.remove(&path);
            self.ignored.remove(&path);
            return Some(SourceEvent::Removed(path));
        }
        if was_there || cause == LookCause::Asked {
            self.settling.gone(&path);
            self.want(WalkCause::Directories);
        }
        None
    }

    fn judge(&mut self, entry: Entry, cause: LookCause, now: Instant) -> Option<SourceEvent> {
        let Judged { stage, news } = match cause {
            LookCause::Touched | LookCause::Unlinked | LookCause::Asked => {
                self.settling.touched(&entry, now)
            }
            LookCause::Due => self.settling.found(&entry, now, clock()),
        };
        let event = match stage {
            Stage::Settling => SourceEvent::Settling(entry),
            Stage::StillWritten => SourceEvent::StillWritten(entry),
            Stage::Whole => SourceEvent::Settled(entry),
        };
        let tell = news || cause == LookCause::Asked;
        tell.then_some(event)
    }
}
