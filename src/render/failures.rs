//! What could not be done while the rest goes on.

use std::sync::{Mutex, PoisonError};

use super::Event;
use crate::error::Error;
use crate::manifest::Failed;
use crate::plan::Plan;
use crate::terminal::Reporter;

/// Reports failures as they come and keeps them for the manifest.
pub(super) struct Failures<'a> {
    plan: &'a Plan,
    reporter: &'a Reporter,
    watch: &'a (dyn Fn(Event<'_>) + Sync),
    /// By the image's place (nothing for all of them) and the fold.
    list: Mutex<Vec<(Option<usize>, Failed)>>,
}

impl<'a> Failures<'a> {
    pub fn new(
        plan: &'a Plan,
        reporter: &'a Reporter,
        watch: &'a (dyn Fn(Event<'_>) + Sync),
    ) -> Failures<'a> {
        Failures { plan, reporter, watch, list: Mutex::new(Vec::new()) }
    }

    /// An image failed in a fold; without a fold, in all of them; without an image, all.
    pub fn add(&self, fold: Option<usize>, image: Option<usize>, error: &Error) {
        self.reporter.failed(error);
        let path = image.map(|image| self.plan.images[image].label());
        let failed = Failed { fold, image: path, problem: error.to_string() };
        (self.watch)(Event::Failed(&failed));
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((image, failed));
    }

    pub fn is_empty(&self) -> bool {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// In the manifest's order, which does not depend on what came first.
    pub fn into_list(self) -> Vec<Failed> {
        let mut list = self.list.into_inner().unwrap_or_else(PoisonError::into_inner);
        list.sort_by_key(|(image, failed)| (*image, failed.fold));
        list.into_iter().map(|(_, failed)| failed).collect()
    }
}
