//! Images: read ahead of the network, decoded once for all folds.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::failures::Failures;
use crate::bundle::Input;
use crate::digest;
use crate::error::Error;
use crate::input::{self, Prepared};
use crate::plan::Plan;
use crate::spool::{Spool, Stored};

/// The images of a plan and what is known of them by now.
pub(super) struct Images<'a> {
    plan: &'a Plan,
    known: Vec<Known>,
}

#[derive(Default)]
struct Known {
    sha256: OnceLock<String>,
    /// Its pixels as the network sees them, if other folds will want them.
    pixels: OnceLock<Stored>,
    failed: OnceLock<()>,
}

impl<'a> Images<'a> {
    pub fn new(plan: &'a Plan) -> Images<'a> {
        Images { plan, known: plan.images.iter().map(|_| Known::default()).collect() }
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
        if let (Some(sha256), Some(stored)) = (known.sha256.get(), known.pixels.get()) {
            return Ok(Ok(Prepared { sha256: sha256.clone(), pixels: spool.bytes(*stored)? }));
        }
        let path = &self.plan.images[image].path;
        let prepared = match input::prepare_within(path, input, self.plan.limits) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let _ = known.sha256.set(prepared.sha256.clone());
        if self.plan.model.folds.len() > 1 {
            let _ = known.pixels.set(spool.store(&prepared.pixels)?);
        }
        Ok(Ok(prepared))
    }
}
