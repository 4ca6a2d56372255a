//! What is warned of when the initial load is over, and when it begins later: the sandbox image is
//! missing, or entries give one name to different images.

use crate::happened::Happened;
use crate::image_store::Image;

use super::event::Effect;
use super::state::Plan;

impl Plan {
    /// The runtime is asked for its sandbox image, now and when it returns: the initial load is not over
    /// before it has answered.
    pub(super) fn ask_for_sandbox_image(&mut self) {
        self.sandbox.begin();
        self.effects.push(Effect::AskSandboxImage);
    }

    /// The name of the sandbox image, where the store lacks it and no entry brings it.
    pub fn missing_sandbox_image(&self) -> Option<&str> {
        self.sandbox.missing()
    }

    pub(super) fn look_for_sandbox_image(&mut self, images: &[Image]) {
        self.sandbox
            .listed(|name| images.iter().any(|image| image.name == name));
    }

    /// Before the initial load is over an entry may still bring it.
    pub(super) fn judge_sandbox_image(&mut self) {
        if self.load.is_over() {
            let mut sandbox = std::mem::take(&mut self.sandbox);
            let told = sandbox.judge(|name| self.ledger.brings(name) || self.is_promised(name));
            self.sandbox = sandbox;
            self.effects.extend(told.map(Effect::Tell));
        }
    }

    /// Tells which images are overruled, if that was not told in this run. The ledger is looked at when
    /// the initial load is over, and when the store is asked after a change.
    pub(super) fn tell_overruled(&mut self) {
        let revision = Some(self.ledger.revision());
        if self.load.is_over() && self.overruled_of != revision {
            let overruled = self.ledger.overruled();
            let new = overruled.difference(&self.overruled).cloned();
            let told = new.map(|image| Effect::Tell(Happened::Overruled(image)));
            self.effects.extend(told);
            self.overruled = overruled;
            self.overruled_of = revision;
        }
    }
}
