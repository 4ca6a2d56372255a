//! Which pins the plan may have taken off, and which it may take over.

use stowd::image_store::Image;
use stowd::pin::{DEFAULT_INSTANCE, OWNER_LABEL};
use stowd::plan::Plan;

use crate::invariants::Violation;
use crate::oracle::Oracle;
use crate::store::owns;

impl Oracle {
    /// The store tells which images it has.
    pub(crate) fn answered(&mut self, images: &[Image]) {
        self.compares();
        let is_own = |label: &String| owns(self.config.instance, label);
        let own = images.iter();
        let own = own.filter(|image| image.labels.get(OWNER_LABEL).is_some_and(is_own));
        self.own = own.map(|image| image.name.clone()).collect();
    }

    /// The plan wants pins taken off.
    pub(crate) fn unpins(&self, names: &[String], plan: &Plan) -> Result<(), Violation> {
        if !plan.is_loaded() {
            let names = names.join(", ");
            return Err(Violation::new(format!("2: {names} unpinned before READY")));
        }
        if !self.has_memory {
            let names = names.join(", ");
            return Err(Violation::new(format!(
                "2: {names} unpinned, and nothing was ever seen"
            )));
        }
        if !self.config.unpins() {
            let names = names.join(", ");
            return Err(Violation::new(format!(
                "2: {names} unpinned, and nothing is to be"
            )));
        }
        if let Some(hidden) = self.seen.hidden() {
            let (names, hidden) = (names.join(", "), hidden.display());
            return Err(Violation::new(format!(
                "2: {names} unpinned, and {hidden} cannot be listed"
            )));
        }
        match names.iter().find(|name| !self.own.contains(*name)) {
            Some(name) => Err(Violation::new(format!(
                "5: {name} is to be unpinned, and stowd has not pinned it"
            ))),
            None => Ok(()),
        }
    }

    /// The plan puts its owner's name on pins.
    pub(crate) fn takes_over(&self, names: &[String]) -> Result<(), Violation> {
        let is_to = self.config.instance == DEFAULT_INSTANCE;
        match names
            .iter()
            .find(|name| !is_to || !self.own.contains(*name))
        {
            Some(name) => Err(Violation::new(format!(
                "5: the pin of {name} is taken over"
            ))),
            None => Ok(()),
        }
    }
}
