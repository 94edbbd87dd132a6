//! Images: read ahead of the network, decoded once for all folds.

use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::failures::Failures;
use crate::bundle::Input;
use crate::digest;
use crate::error::Error;
use crate::input::{self, Content, Prepared};
use crate::plan::Plan;
use crate::spool::{Spool, Stored};

/// The images of a plan and what is known of them by now.
pub(super) struct Images<'a> {
    plan: &'a Plan,
    known: Vec<Known>,
    /// The first image of which only the first of several frames was read, how many it has,
    /// and how many such images there are.
    moving: Mutex<Option<(usize, usize, usize)>>,
}

#[derive(Default)]
struct Known {
    sha256: OnceLock<String>,
    /// What the network sees of it, if other folds will want it.
    content: OnceLock<StoredContent>,
    failed: OnceLock<()>,
}

struct StoredContent {
    stored: Stored,
    is_values: bool,
    frames: usize,
}

impl<'a> Images<'a> {
    pub fn new(plan: &'a Plan) -> Images<'a> {
        let known = plan.images.iter().map(|_| Known::default()).collect();
        Images { plan, known, moving: Mutex::new(None) }
    }

    /// That frames were left out, if any were.
    pub fn note_of_frames(&self) -> Option<String> {
        let moving = *self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, frames, images) = moving?;
        let path = self.plan.images[first].path.display();
        let others = match images {
            1 => String::new(),
            2 => ", and 1 image more has several".to_owned(),
            _ => format!(", and {} images more have several", images - 1),
        };
        Some(format!(
            "{path} has {frames} frames{others}: the first one is drawn; --frame N|all draws others"
        ))
    }

    fn count_frames(&self, image: usize, frames: usize) {
        if frames < 2 || self.plan.images[image].frame.is_some() {
            return;
        }
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        *moving = match *moving {
            Some((first, own, images)) if first < image => Some((first, own, images + 1)),
            Some((.., images)) => Some((image, frames, images + 1)),
            None => Some((image, frames, 1)),
        };
    }

    /// The SHA-256 of an image that was read.
    pub fn sha256(&self, image: usize) -> Option<&str> {
        self.known[image].sha256.get().map(String::as_str)
    }

    /// The SHA-256 of an image, read for it if need be; `None` if it cannot be.
    pub fn read_sha256(&self, image: usize) -> Option<String> {
        let known = self.known[image].sha256.get().cloned();
        known.or_else(|| digest::of_file(&self.plan.images[image].path).ok())
    }

    /// Notes the SHA-256 of an image whose pictures are all there.
    pub fn set_sha256(&self, image: usize, sha256: String) {
        let _ = self.known[image].sha256.set(sha256);
    }

    /// Reads a batch's images; those that cannot be read are reported once.
    ///
    /// # Errors
    /// That of the only image, or a full disk.
    pub fn prepare(
        &self,
        batch: &[usize],
        input: &Input,
        spool: &Spool,
        failures: &Failures<'_>,
    ) -> Result<Vec<(usize, Prepared)>, Error> {
        let wanted = batch.par_iter().filter(|image| self.known[**image].failed.get().is_none());
        let read = |image: &usize| Ok((*image, self.read(*image, input, spool)?));
        let read = wanted.map(read).collect::<Result<Vec<_>, Error>>()?;
        let mut ready = Vec::with_capacity(read.len());
        for (image, result) in read {
            match result {
                Ok(prepared) => ready.push((image, prepared)),
                // The only image: its error is the command's.
                Err(error) if self.plan.listed == 1 => return Err(error),
                Err(error) => {
                    let _ = self.known[image].failed.set(());
                    failures.add(None, Some(image), &error);
                }
            }
        }
        Ok(ready)
    }

    /// The inner error is the image's, the outer one the spool's.
    fn read(
        &self,
        image: usize,
        input: &Input,
        spool: &Spool,
    ) -> Result<Result<Prepared, Error>, Error> {
        let known = &self.known[image];
        if let (Some(sha256), Some(known)) = (known.sha256.get(), known.content.get()) {
            let content = Content::from_bytes(spool.bytes(known.stored)?, known.is_values);
            return Ok(Ok(Prepared { sha256: sha256.clone(), content, frames: known.frames }));
        }
        let (path, frame) = (&self.plan.images[image].path, self.plan.images[image].frame);
        let prepared = match input::prepare(path, frame, input, &self.plan.reading) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let is_first = known.sha256.set(prepared.sha256.clone()).is_ok();
        if is_first {
            self.count_frames(image, prepared.frames);
        }
        if self.plan.model.folds.len() > 1 {
            let stored = spool.store(&prepared.content.to_bytes())?;
            let is_values = matches!(prepared.content, Content::Values(_));
            let frames = prepared.frames;
            let _ = known.content.set(StoredContent { stored, is_values, frames });
        }
        Ok(Ok(prepared))
    }
}
