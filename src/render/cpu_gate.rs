//! Who has the processor: the network, or what draws.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::Device;

/// Turns at the processor, where networks run on it, too.
///
/// Both use all cores. At the same time they are slower by a tenth: the threads that share an
/// operator wait for the last of them, which waits for a core that draws. A network on
/// another device does not care.
pub(super) struct CpuGate(Option<Mutex<()>>);

impl CpuGate {
    pub fn on(device: Device) -> CpuGate {
        CpuGate((device == Device::Cpu).then(Mutex::default))
    }

    /// Waits for a turn, which ends when the value is dropped.
    pub fn take(&self) -> Option<MutexGuard<'_, ()>> {
        self.0.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
