//! The network of the last fold, kept for the next one.
//!
//! The folds of a cross-validation are one program with other weights. What is loaded,
//! prepared and known of one of them serves the next: only the weights are read anew, which
//! takes half the time.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::prepared::PreparedNetwork;
use actviz_core::archive::Program;
use actviz_core::engine::Taps;

/// A place for one network that nobody runs now, shared by all networks of an engine.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkCache(Arc<Mutex<Option<PreparedNetwork>>>);

impl NetworkCache {
    /// Takes the network that is kept, if it is of this program. Another one's memory is free
    /// then, before the next is loaded.
    pub fn take(&self, program: &Program, taps: Taps) -> Option<PreparedNetwork> {
        self.kept().take().filter(|loaded| loaded.program == *program && loaded.taps == taps)
    }

    /// Gives a network away until it is dropped.
    pub fn lend(&self, loaded: PreparedNetwork) -> CachedNetwork {
        CachedNetwork { loaded: Some(loaded), home: self.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Option<PreparedNetwork>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A network that is kept when it is dropped, if other weights can be filled in.
pub(super) struct CachedNetwork {
    /// There until it is dropped.
    loaded: Option<PreparedNetwork>,
    home: NetworkCache,
}

const THERE: &str = "only the end takes it away";

impl Deref for CachedNetwork {
    type Target = PreparedNetwork;

    fn deref(&self) -> &PreparedNetwork {
        self.loaded.as_ref().expect(THERE)
    }
}

impl DerefMut for CachedNetwork {
    fn deref_mut(&mut self) -> &mut PreparedNetwork {
        self.loaded.as_mut().expect(THERE)
    }
}

impl Drop for CachedNetwork {
    fn drop(&mut self) {
        let loaded = self.loaded.take().filter(|loaded| loaded.handle.is_refillable());
        if let Some(loaded) = loaded {
            *self.home.kept() = Some(loaded);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use actviz_core::archive::Program;
    use actviz_core::engine::{Batch, Device, DeviceChoice, InputShape, Network, Precision, Probe};
    use actviz_core::model_file::ModelFile;

    use crate::{TorchEngine, TorchNetwork};

    fn engine() -> TorchEngine {
        TorchEngine::new(DeviceChoice::Exactly(Device::Cpu), None).expect("a processor")
    }

    fn load(engine: &TorchEngine, file: &str) -> TorchNetwork {
        engine.load(&model(file)).expect("a network")
    }

    fn model(file: &str) -> ModelFile {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        ModelFile::open(&checkout.join(file)).expect("a file")
    }

    /// Whether the next fold is filled into this one (that the values are right is seen from
    /// outside, by tests/folds.rs).
    fn is_kept(engine: &TorchEngine, file: &str) -> bool {
        drop(load(engine, file));
        engine.cache.kept().is_some()
    }

    #[test]
    fn folds_of_usual_networks_are_kept() {
        for file in [
            "models/cnn9/fold_1.pt",
            "tests/fixtures/folds/normalised_1.scripted.pt",
            "tests/fixtures/folds/normalised_1.traced.pt",
            "tests/fixtures/cases/classifier.scripted.pt",
        ] {
            assert!(is_kept(&engine(), file), "{file}");
        }
    }

    #[test]
    fn what_was_computed_from_weights_is_not_kept() {
        for file in [
            "tests/fixtures/folds/decided_1.scripted.pt",
            "tests/fixtures/folds/derived_1.scripted.pt",
            "tests/fixtures/folds/counted_1.scripted.pt",
            "tests/fixtures/cases/f16.scripted.pt",
        ] {
            assert!(!is_kept(&engine(), file), "{file}");
        }
        let rounded = engine().computing_in(Precision::Bf16);
        assert!(!is_kept(&rounded, "models/cnn9/fold_1.pt"));
    }

    #[test]
    fn the_folds_of_a_bundle_are_one_program() {
        for name in ["cnn9", "cnn9-five", "resnet50"] {
            let programs = [1, 2, 3].map(|fold| {
                let file = self::model(&format!("models/{name}/fold_{fold}.pt"));
                Program::of(&file).expect("whole")
            });
            assert!(programs.iter().all(|program| *program == programs[0]), "{name}");
        }
    }

    #[test]
    fn a_network_that_runs_in_another_layout_is_not_kept() {
        let engine = engine();
        let mut network = load(&engine, "models/cnn9/fold_1.pt");
        let input = InputShape { channels: 3, height: 64, width: 64 };
        let name = network.layers(input).expect("layers").remove(0).name;
        let images = Batch::of(ndarray::Array4::zeros((2, 3, 64, 64)));
        network.run(&images, &[(name, Probe::Channels)]).expect("a run");
        drop(network);
        assert!(engine.cache.kept().is_none());
    }
}
