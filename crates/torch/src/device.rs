//! From the device that the user names to one that is there.

use std::path::PathBuf;

use super::ffi;
use actviz_core::engine::{Device, DeviceChoice};
use actviz_core::error::Error;

/// libtorch's CUDA kernels. The linker drops this library, since nothing refers to
/// it: its kernels register themselves while it is loaded.
const CUDA_LIBRARY: &str = if cfg!(windows) { "torch_cuda.dll" } else { "libtorch_cuda.so" };
/// NVIDIA's driver.
const CUDA_DRIVER: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// Finds the chosen device, makes it ready, and says what it knows of CUDA. `auto` is CUDA where that works
/// without any complaint, else the processor.
///
/// # Errors
/// [`Error::Device`] if exactly this device was asked for and is not there.
pub(super) fn choose(choice: DeviceChoice) -> Result<(Device, String), Error> {
    match choice {
        DeviceChoice::Auto => Ok(match start_cuda() {
            Ok(count) => (Device::Cuda(0), devices(count)),
            Err(problem) => (Device::Cpu, unavailable(&problem)),
        }),
        DeviceChoice::Exactly(Device::Cuda(index)) => {
            let missing = |problem| no_device(Device::Cuda(index), problem);
            let count = start_cuda().map_err(missing)?;
            if index >= count {
                let problem = format!("this machine has {count} CUDA device(s), counted from 0");
                return Err(missing(problem));
            }
            Ok((Device::Cuda(index), devices(count)))
        }
        DeviceChoice::Exactly(Device::Mps) if !tch::utils::has_mps() => Err(no_device(
            Device::Mps,
            "this libtorch or this machine has no MPS (Apple's GPU)".to_owned(),
        )),
        DeviceChoice::Exactly(device) => Ok((device, "not looked at".to_owned())),
    }
}

/// What can be said of CUDA here, in words.
pub fn cuda_state() -> String {
    start_cuda().map_or_else(|problem| unavailable(&problem), devices)
}

fn devices(count: usize) -> String {
    format!("{count} device(s)")
}

fn unavailable(problem: &str) -> String {
    format!("not available: {problem}")
}

/// The folder of the libtorch that is loaded, if the system tells.
pub fn folder() -> Option<PathBuf> {
    let file = PathBuf::from(ffi::library_path().ok()?);
    file.parent().map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.to_owned()))
}

/// As torch-sys numbers devices.
pub(super) fn number(device: Device) -> i32 {
    match device {
        Device::Cpu => -1,
        Device::Mps => -2,
        Device::Cuda(index) => i32::try_from(index).unwrap_or(i32::MAX),
    }
}

/// Loads CUDA's part of libtorch and counts the devices. The cheap questions come
/// first, so a machine without CUDA does not pay for the answer.
fn start_cuda() -> Result<usize, String> {
    let library = folder().unwrap_or_default().join(CUDA_LIBRARY);
    if !library.is_file() {
        return Err("this libtorch is built for CPU only".to_owned());
    }
    if ffi::load_forever(CUDA_DRIVER).is_err() {
        return Err(format!("NVIDIA's driver ({CUDA_DRIVER}) is not installed"));
    }
    ffi::load_forever(&library)?;
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(count) if count > 0 => ffi::make_cuda_exact().map(|()| count),
        _ => Err("the driver finds no CUDA device".to_owned()),
    }
}

fn no_device(device: Device, problem: String) -> Error {
    let hint = match device {
        Device::Cuda(_) => {
            "CUDA needs NVIDIA's driver and a PyTorch 2.13 with CUDA (pip install torch==2.13.0); \
             build actviz against it with LIBTORCH_USE_PYTORCH=1, or take --device cpu"
        }
        _ => "take --device cpu",
    };
    Error::Device { device: device.to_string(), problem, hint: hint.to_owned() }
}
