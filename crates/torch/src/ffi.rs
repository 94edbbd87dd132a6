//! The only unsafe code: calls into `shim.cpp`, each wrapped into a safe type.
//!
//! Errors come out of here as text, whole as libtorch wrote it; [`super::message`]
//! makes sentences of them.

use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};

use actviz_core::graph::{Graph, Value};
use tch::Tensor;

use super::prepared::TokenSource;

/// `actviz_network` of shim.h.
#[repr(C)]
struct RawNetwork {
    private: [u8; 0],
}

/// `actviz_node` of shim.h.
#[repr(C)]
struct RawNode {
    path: *const c_char,
    operation: *const c_char,
    is_module: i32,
    order: i32,
    depends_on_input: i32,
    parameters: u64,
    tokens: i32,
    map: usize,
    token_axis: i32,
    has_tokens_before: i32,
    has_tokens_after: i32,
}

/// `actviz_numbers` of shim.h.
#[repr(C)]
struct RawNumbers {
    values: *const i64,
    count: usize,
}

/// `actviz_value` of shim.h.
#[repr(C)]
struct RawValue {
    id: usize,
    operation: *const c_char,
    kernel: RawNumbers,
    stride: RawNumbers,
    padding: RawNumbers,
    dilation: RawNumbers,
    dimensions: RawNumbers,
    sources: RawNumbers,
}

/// `actviz_record` of shim.h.
#[repr(C)]
struct RawRecord {
    name: *const c_char,
    to: *mut c_void,
    size: usize,
}

type Unpack = unsafe extern "C" fn(*mut c_void, *const RawRecord, usize) -> c_int;
type Receive = unsafe extern "C" fn(*mut c_void, usize, *mut c_void) -> c_int;

unsafe extern "C" {
    fn actviz_load(
        file: c_int,
        device: c_int,
        in_bf16: c_int,
        all_operators: c_int,
        allowed: *const c_char,
        unpack: Unpack,
        context: *mut c_void,
        out: *mut *mut RawNetwork,
    ) -> *mut c_char;
    fn actviz_audit(
        file: c_int,
        allowed: *const c_char,
        unpack: Unpack,
        context: *mut c_void,
        out: *mut *mut c_char,
    ) -> *mut c_char;
    fn actviz_free_network(network: *mut RawNetwork);
    fn actviz_node_count(network: *const RawNetwork) -> usize;
    fn actviz_node_at(network: *const RawNetwork, index: usize) -> RawNode;
    fn actviz_value_count(network: *const RawNetwork) -> usize;
    fn actviz_value_at(network: *const RawNetwork, index: usize) -> RawValue;
    fn actviz_tap_values(network: *const RawNetwork) -> RawNumbers;
    fn actviz_is_refillable(network: *const RawNetwork) -> i32;
    fn actviz_refill(network: *mut RawNetwork, unpack: Unpack, context: *mut c_void)
    -> *mut c_char;
    fn actviz_input_channels(network: *const RawNetwork) -> i64;
    fn actviz_is_data_dependent(network: *const RawNetwork) -> i32;
    fn actviz_mixes_images(network: *const RawNetwork) -> i32;
    fn actviz_use_channels_last(network: *mut RawNetwork, on: i32) -> *mut c_char;
    fn actviz_run(
        network: *mut RawNetwork,
        input: *const c_void,
        with_gradients: i32,
        tap: Receive,
        output: Receive,
        context: *mut c_void,
    ) -> *mut c_char;
    fn actviz_torch_version() -> *const c_char;
    fn actviz_cpu_capability(out: *mut *mut c_char) -> *mut c_char;
    fn actviz_library_path(out: *mut *mut c_char) -> *mut c_char;
    fn actviz_make_cuda_exact() -> *mut c_char;
    fn actviz_leave(code: i32) -> !;
    fn actviz_free_message(message: *mut c_char);
}

/// A text that the shim allocated.
struct Text(NonNull<c_char>);

impl Text {
    fn new(text: *mut c_char) -> Option<Text> {
        NonNull::new(text).map(Text)
    }

    fn read(&self) -> String {
        // SAFETY: the shim gives nul-terminated texts that live until they are freed,
        // which only `drop` does.
        let text = unsafe { CStr::from_ptr(self.0.as_ptr()) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: the text came from the shim and is freed here only, once.
        unsafe { actviz_free_message(self.0.as_ptr()) }
    }
}

/// What the shim returned: null, or what went wrong.
fn check(message: *mut c_char) -> Result<(), String> {
    Text::new(message).map_or(Ok(()), |text| Err(text.read()))
}

/// One activation call in a network's code, as the shim found it.
pub(super) struct RawSite {
    pub path: String,
    pub operator: String,
    pub is_module: bool,
    pub order: i32,
    pub depends_on_input: bool,
    pub parameters: u64,
    pub tokens: TokenSource,
}

/// A loaded network.
#[derive(Debug)]
pub(super) struct Handle(NonNull<RawNetwork>);

// SAFETY: libtorch's modules, graphs and tensors are bound to no thread (reference
// counts are atomic, kernels are called from any thread), and a `Handle` is neither
// `Clone` nor `Sync`, so two threads never use one at once.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `actviz_load` and is freed here only, once.
        unsafe { actviz_free_network(self.0.as_ptr()) }
    }
}

impl Handle {
    /// Loads an open TorchScript file onto a device as torch-sys numbers them, in f32 or bf16, with
    /// taps after its activations alone or after all operators. `allowed` holds the operators that
    /// are let through, one a line; `unpack` fills in the weights. A panic in it passes through.
    pub fn load(
        file: BorrowedFd<'_>,
        device: c_int,
        in_bf16: bool,
        all_operators: bool,
        allowed: &CStr,
        unpack: Fill<'_>,
    ) -> Result<Handle, String> {
        let mut network = ptr::null_mut();
        let (file, allowed) = (file.as_raw_fd(), allowed.as_ptr());
        let (bf16, all) = (c_int::from(in_bf16), c_int::from(all_operators));
        let message = filling(unpack, |context| {
            // SAFETY: the text is nul-terminated, the descriptor is open and all pointers are
            // valid until the call is over, and `context` is what `unpack_records` expects.
            unsafe {
                actviz_load(
                    file,
                    device,
                    bf16,
                    all,
                    allowed,
                    unpack_records,
                    context,
                    &raw mut network,
                )
            }
        });
        let handle = NonNull::new(network).map(Handle);
        check(message)?;
        handle.ok_or_else(|| "libtorch returned no network".to_owned())
    }

    /// The activation calls in the network's code.
    pub fn sites(&self) -> Vec<RawSite> {
        // SAFETY: the network lives as long as `self`.
        let count = unsafe { actviz_node_count(self.0.as_ptr()) };
        (0..count).map(|index| self.site(index)).collect()
    }

    fn site(&self, index: usize) -> RawSite {
        // SAFETY: the network lives as long as `self`; `sites` keeps `index` in bounds.
        let node = unsafe { actviz_node_at(self.0.as_ptr(), index) };
        // SAFETY: the shim's texts are nul-terminated and live as long as the network.
        let path = unsafe { CStr::from_ptr(node.path) };
        // SAFETY: the same.
        let operator = unsafe { CStr::from_ptr(node.operation) };
        RawSite {
            path: path.to_string_lossy().into_owned(),
            operator: operator.to_string_lossy().into_owned(),
            is_module: node.is_module != 0,
            order: node.order,
            depends_on_input: node.depends_on_input != 0,
            parameters: node.parameters,
            tokens: match node.tokens {
                1 => TokenSource::Never,
                2 => TokenSource::Map {
                    index: node.map,
                    axis: usize::try_from(node.token_axis).unwrap_or(1),
                    before: node.has_tokens_before != 0,
                    after: node.has_tokens_after != 0,
                },
                _ => TokenSource::Unknown,
            },
        }
    }

    /// Which operator reads which.
    pub fn graph(&self) -> Graph {
        // SAFETY: the network lives as long as `self`.
        let count = unsafe { actviz_value_count(self.0.as_ptr()) };
        // SAFETY: the network lives as long as `self`.
        let taps = unsafe { actviz_tap_values(self.0.as_ptr()) };
        Graph {
            values: (0..count).map(|index| self.value(index)).collect(),
            taps: self.numbers(&taps).into_iter().map(|id| usize::try_from(id).ok()).collect(),
        }
    }

    fn value(&self, index: usize) -> Value {
        // SAFETY: the network lives as long as `self`; `graph` keeps `index` in bounds.
        let value = unsafe { actviz_value_at(self.0.as_ptr(), index) };
        // SAFETY: the shim's texts are nul-terminated and live as long as the network.
        let operator = unsafe { CStr::from_ptr(value.operation) };
        let sources = self.numbers(&value.sources);
        Value {
            id: value.id,
            operator: operator.to_string_lossy().into_owned(),
            kernel: self.numbers(&value.kernel),
            stride: self.numbers(&value.stride),
            padding: self.numbers(&value.padding),
            dilation: self.numbers(&value.dilation),
            dimensions: Some(self.numbers(&value.dimensions)).filter(|them| !them.is_empty()),
            sources: sources.into_iter().map(|id| usize::try_from(id).ok()).collect(),
        }
    }

    /// Copies what the shim lends of this network.
    fn numbers(&self, numbers: &RawNumbers) -> Vec<i64> {
        if numbers.values.is_null() || numbers.count == 0 {
            return Vec::new();
        }
        // SAFETY: the shim lends so many numbers of a network that lives as long as `self`.
        unsafe { std::slice::from_raw_parts(numbers.values, numbers.count) }.to_vec()
    }

    /// Whether weights of another file of the same program can be filled in.
    pub fn is_refillable(&self) -> bool {
        // SAFETY: the network lives as long as `self`.
        unsafe { actviz_is_refillable(self.0.as_ptr()) != 0 }
    }

    /// Fills them in; gives nothing back if that fails. A panic in `unpack` passes through.
    pub fn refill(self, unpack: Fill<'_>) -> Result<Handle, String> {
        check(filling(unpack, |context| {
            // SAFETY: the network lives as long as `self`, which is owned, so no run is under
            // way; `context` is what `unpack_records` expects.
            unsafe { actviz_refill(self.0.as_ptr(), unpack_records, context) }
        }))?;
        Ok(self)
    }

    /// Channels of the network's input; 0 if the graph does not tell.
    pub fn input_channels(&self) -> i64 {
        // SAFETY: the network lives as long as `self`.
        unsafe { actviz_input_channels(self.0.as_ptr()) }
    }

    /// Whether branches or loops look at the values of the input.
    pub fn is_data_dependent(&self) -> bool {
        // SAFETY: the network lives as long as `self`.
        unsafe { actviz_is_data_dependent(self.0.as_ptr()) != 0 }
    }

    /// Whether what one image of a batch gets may depend on the others in another way.
    pub fn mixes_images(&self) -> bool {
        // SAFETY: the network lives as long as `self`.
        unsafe { actviz_mixes_images(self.0.as_ptr()) != 0 }
    }

    /// Has convolutions work on channels-last memory, or as the network was saved.
    pub fn use_channels_last(&mut self, on: bool) -> Result<(), String> {
        // SAFETY: the network lives as long as `self`, which is borrowed mutably, so no run
        // is under way.
        check(unsafe { actviz_use_channels_last(self.0.as_ptr(), i32::from(on)) })
    }

    /// Runs the network on images (N, C, H, W) and returns the tensors of its result.
    ///
    /// `tap` gets every executed activation in order: which call of [`Handle::sites`]
    /// it is, and the tensor itself, which the network may change once `tap` has
    /// returned. Indices behind the last call are those of maps that tokens are made of. `Break` ends the run with an error. A panic in `tap` passes through.
    pub fn run(
        &mut self,
        images: &Tensor,
        with_gradients: bool,
        tap: &mut dyn FnMut(usize, Tensor) -> ControlFlow<()>,
    ) -> Result<Vec<Tensor>, String> {
        let mut receiver = Receiver { tap, outputs: Vec::new(), panic: None };
        // SAFETY: the network lives as long as `self`, which is borrowed mutably, so no
        // other run is under way; `images` is a tch tensor, thus a valid `at::Tensor`
        // that the shim only reads; `receiver` outlives the call, is what both callbacks
        // expect, and is used by nothing else meanwhile.
        let message = unsafe {
            actviz_run(
                self.0.as_ptr(),
                images.as_ptr().cast(),
                i32::from(with_gradients),
                receive_tap,
                receive_output,
                (&raw mut receiver).cast(),
            )
        };
        let Receiver { outputs, panic, .. } = receiver;
        let result = check(message);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        result.map(|()| outputs)
    }
}

/// Fills in records of a TorchScript file: their names, and where their bytes go. False if
/// it cannot.
pub(super) type Fill<'a> = &'a mut dyn FnMut(Vec<(&str, &mut [u8])>) -> bool;

/// What [`unpack_records`] works with.
struct Filler<'a> {
    fill: Fill<'a>,
    panic: Option<Box<dyn Any + Send>>,
}

/// Makes a call of the shim that unpacks records with the context that it is given.
fn filling(fill: Fill<'_>, call: impl FnOnce(*mut c_void) -> *mut c_char) -> *mut c_char {
    let mut filler = Filler { fill, panic: None };
    let message = call((&raw mut filler).cast());
    if let Some(payload) = filler.panic {
        resume_unwind(payload);
    }
    message
}

/// # Safety
/// `context` points to a `Filler` that nothing else uses now. If `count` is not 0, `records`
/// points to so many records, each with a text. If its size is not 0, each has so many bytes,
/// all initialised, that nothing else uses and no other record shares. All of it lives until
/// this returns.
unsafe extern "C" fn unpack_records(
    context: *mut c_void,
    records: *const RawRecord,
    count: usize,
) -> c_int {
    let records: &[RawRecord] = match count {
        // A null pointer makes no slice, not even an empty one.
        0 => &[],
        // SAFETY: the caller says so.
        _ => unsafe { std::slice::from_raw_parts(records, count) },
    };
    // SAFETY: the caller says so; `filling` made it, and lends it to one call of the shim, which
    // calls back on its own thread, one after the other.
    let filler = unsafe { &mut *context.cast::<Filler<'_>>() };
    let wanted = records.iter().map(|record| {
        // SAFETY: the caller says so.
        let name = unsafe { CStr::from_ptr(record.name) };
        let to: &mut [u8] = match record.size {
            0 => &mut [],
            // SAFETY: the caller says so. The shim takes zeroed memory (`zeros` of audit.cpp),
            // or that of a tensor that was filled before, for this record alone, and reads it
            // after this has returned.
            size => unsafe { std::slice::from_raw_parts_mut(record.to.cast::<u8>(), size) },
        };
        (name.to_str().unwrap_or_default(), to)
    });
    match catch_unwind(AssertUnwindSafe(|| (filler.fill)(wanted.collect()))) {
        Ok(is_filled) => c_int::from(!is_filled),
        Err(payload) => {
            filler.panic = Some(payload);
            1
        }
    }
}

/// What the callbacks of one run write to.
struct Receiver<'a> {
    tap: &'a mut dyn FnMut(usize, Tensor) -> ControlFlow<()>,
    outputs: Vec<Tensor>,
    panic: Option<Box<dyn Any + Send>>,
}

/// # Safety
/// `context` points to a `Receiver` that nothing else uses now, and `tensor` to a heap
/// `at::Tensor` that belongs to this call.
unsafe extern "C" fn receive_tap(context: *mut c_void, index: usize, tensor: *mut c_void) -> c_int {
    // SAFETY: the caller gives the tensor away; tch frees it with `delete`.
    let tensor = unsafe { Tensor::from_ptr(tensor.cast()) };
    // SAFETY: `Handle::run` passed its `Receiver`, which lives until the run is over; taps
    // come one after another on its thread.
    let receiver = unsafe { &mut *context.cast::<Receiver<'_>>() };
    match catch_unwind(AssertUnwindSafe(|| (receiver.tap)(index, tensor))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(payload) => {
            receiver.panic = Some(payload);
            1
        }
    }
}

/// # Safety
/// As for [`receive_tap`].
unsafe extern "C" fn receive_output(
    context: *mut c_void,
    _index: usize,
    tensor: *mut c_void,
) -> c_int {
    // SAFETY: the caller gives the tensor away; tch frees it with `delete`.
    let tensor = unsafe { Tensor::from_ptr(tensor.cast()) };
    // SAFETY: `Handle::run` passed its `Receiver`, which lives until the run is over;
    // outputs come after the last tap, on its thread.
    let receiver = unsafe { &mut *context.cast::<Receiver<'_>>() };
    receiver.outputs.push(tensor);
    0
}

/// The version of the libtorch that this program was built for.
pub(super) fn torch_version() -> String {
    // SAFETY: no arguments; the text is static.
    let text = unsafe { actviz_torch_version() };
    // SAFETY: the text is static and nul-terminated.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// Calls a function of the shim that gives a text.
fn text_of(call: impl FnOnce(*mut *mut c_char) -> *mut c_char) -> Result<String, String> {
    let mut out = ptr::null_mut();
    let message = call(&raw mut out);
    let text = Text::new(out);
    check(message)?;
    Ok(text.map(|text| text.read()).unwrap_or_default())
}

/// What the code of a TorchScript file uses, as shim.h says.
pub(super) fn audit(
    file: BorrowedFd<'_>,
    allowed: &CStr,
    unpack: Fill<'_>,
) -> Result<String, String> {
    let (file, allowed) = (file.as_raw_fd(), allowed.as_ptr());
    text_of(|out| {
        filling(unpack, |context| {
            // SAFETY: the text is nul-terminated and outlives the call, as do the descriptor
            // and what `text_of` gives; `context` is what `unpack_records` expects.
            unsafe { actviz_audit(file, allowed, unpack_records, context, out) }
        })
    })
}

/// The instruction set that the kernels use.
pub(super) fn cpu_capability() -> Result<String, String> {
    // SAFETY: `text_of` gives a pointer that outlives the call.
    text_of(|out| unsafe { actviz_cpu_capability(out) })
}

/// The file that libtorch was loaded from.
pub(super) fn library_path() -> Result<String, String> {
    // SAFETY: `text_of` gives a pointer that outlives the call.
    text_of(|out| unsafe { actviz_library_path(out) })
}

/// Ends the process with this exit code, without libtorch's destructors.
pub(super) fn leave(code: u8) -> ! {
    // SAFETY: no pointer is passed. No destructor runs, of any thread's values: files in
    // the middle of being written are left as a kill would leave them.
    unsafe { actviz_leave(i32::from(code)) }
}

/// Makes CUDA compute in full f32 and repeatably.
pub(super) fn make_cuda_exact() -> Result<(), String> {
    // SAFETY: no arguments.
    check(unsafe { actviz_make_cuda_exact() })
}

/// Loads a shared library for good, for what it registers while it is loaded.
pub(super) fn load_forever(library: impl AsRef<std::ffi::OsStr>) -> Result<(), String> {
    // SAFETY: only libtorch's own libraries and the driver are loaded, whose
    // initialisers are made to run at any time before their first use.
    let loaded = unsafe { libloading::Library::new(library.as_ref()) };
    match loaded {
        Ok(library) => {
            // What it registered points into it.
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Words as C wants them: one a line.
pub(super) fn c_lines(words: &[String]) -> Result<CString, String> {
    CString::new(words.join("\n")).map_err(|_| "a word contains a zero byte".to_owned())
}
