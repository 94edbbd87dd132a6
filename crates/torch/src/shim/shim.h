// The C face of the fence: what Rust (ffi.rs) may call in shim.cpp.
//
// Rules that hold for every function here:
// * none throws: an error comes back as an owned message (free it with
//   actviz_free_message), and null means success;
// * results come through out-parameters, which are written only on success;
// * a tensor is a pointer to a heap at::Tensor, as in torch-sys. A tensor that is
//   handed to a callback belongs to the callback.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {

// A loaded, tapped network. Used by one thread at a time, but by any.
typedef struct actviz_network actviz_network;

// The devices as torch-sys numbers them: -1 CPU, -2 MPS, else CUDA's index.
typedef int actviz_device;

// One activation call in the network's code. The strings live as long as the network.
typedef struct {
  // The path of the module that makes the call, e.g. "layer1.0.relu"; empty at the top.
  const char* path;
  // The activation function, e.g. "relu".
  const char* operation;
  // Whether that module is itself an activation of torch.nn (nn.ReLU and the like).
  int32_t is_module;
  // Where the channels stand: 0 unknown, 1 after the batch, 2 last.
  int32_t order;
  // Whether the values depend on the network's input.
  int32_t depends_on_input;
  // Elements of all weights that the values depend on.
  uint64_t parameters;
  // What its tensor is if it has three dimensions: 0 unknown, 1 no places of the image (queries,
  // mixtures of tokens), 2 the tokens of a map.
  int32_t tokens;
  // Of which map, counted from 0, which dimension counts the tokens, and whether there are
  // others before and after those of the map.
  size_t map;
  int32_t token_axis;
  int32_t has_tokens_before;
  int32_t has_tokens_after;
} actviz_node;

// Receives a tensor. Returns 0, or anything else to end the run with an error.
// `index` is the node of a tap, or the position of an output. A tap of which there is no node
// sees a map before it is made tokens of: the first one behind the last node is map 0.
typedef int (*actviz_receive)(void* context, size_t index, void* tensor);

// What a message begins with if a file was refused for an operator that it uses. Then
// follow, one a line, the operator and its place, with a tab between them.
#define ACTVIZ_REFUSED "actviz refused:\n"

// A part of a TorchScript file, named without the archive's own name ("data/0"), and where
// its `size` bytes go: initialised memory that no other record of the same call shares.
typedef struct {
  const char* name;
  void* to;
  size_t size;
} actviz_record;

// Fills in records of the file that is being loaded. Returns 0, or anything else if it
// cannot, which ends the loading with an error.
typedef int (*actviz_unpack)(void* context, const actviz_record* records, size_t count);

// Loads the TorchScript file that `file` is an open descriptor of onto `device`: evaluation mode, f32 or (if
// `in_bf16` is not 0) weights and input rounded to bf16, frozen, a tap after every
// activation and, if `all_operators` is not 0, after every other operator that changes how
// fine a tensor's structure is (convolutions, pools, normalisations, sums, ...). Those taps
// keep freezing from folding normalisation.
// Before any of its code runs it is scanned (audit.h); `allowed` names operators that
// are let through, one a line. `unpack` is called on this thread.
char* actviz_load(
    int file,
    actviz_device device,
    int32_t in_bf16,
    int32_t all_operators,
    const char* allowed,
    actviz_unpack unpack,
    void* context,
    actviz_network** out) noexcept;
// The operators of the open file, one a line: name, uses, yes or no for allowed,
// first place, with tabs between them. Owned text through `out`.
char* actviz_audit(
    int file,
    const char* allowed,
    actviz_unpack unpack,
    void* context,
    char** out) noexcept;
void actviz_free_network(actviz_network* network) noexcept;

size_t actviz_node_count(const actviz_network* network) noexcept;
// `index` must be below actviz_node_count.
actviz_node actviz_node_at(const actviz_network* network, size_t index) noexcept;

// Numbers that live as long as the network. `values` may be null if there are none.
typedef struct {
  const int64_t* values;
  size_t count;
} actviz_numbers;

// What an operator gives: a value that depends on the network's input. What is written to has
// another ID from there on.
typedef struct {
  // From 1; 0 is the input.
  size_t id;
  const char* operation;
  // By axis; none where the operator has none or the graph does not tell.
  actviz_numbers kernel;
  actviz_numbers stride;
  actviz_numbers padding;
  actviz_numbers dilation;
  // Those that the operator works along; none where it has none or the graph does not tell.
  actviz_numbers dimensions;
  // The IDs of what it reads; -1 for what depends on the input and nobody knows.
  actviz_numbers sources;
} actviz_value;

// Which operator reads which, in the order of the code. Empty unless all operators are tapped.
size_t actviz_value_count(const actviz_network* network) noexcept;
// `index` must be below actviz_value_count.
actviz_value actviz_value_at(const actviz_network* network, size_t index) noexcept;
// The ID of what each tap sees, in the order of the code; -1 if that does not depend on the
// input.
actviz_numbers actviz_tap_values(const actviz_network* network) noexcept;

// Whether the weights of another file can be filled in whose code is the same, and whose
// records have the same names and sizes.
int32_t actviz_is_refillable(const actviz_network* network) noexcept;
// Fills them in. After an error the network is of no use.
char* actviz_refill(actviz_network* network, actviz_unpack unpack, void* context) noexcept;

// Channels of the network's input, 0 if the graph does not tell.
int64_t actviz_input_channels(const actviz_network* network) noexcept;
// Whether the control flow depends on the values of the input, so that images of
// one batch would decide for each other.
int32_t actviz_is_data_dependent(const actviz_network* network) noexcept;

// Whether what one image of a batch gets may depend on the others in another way.
int32_t actviz_mixes_images(const actviz_network* network) noexcept;

// Has convolutions work on channels-last memory, or (0) as the network was saved. Sizes
// stay the same; code that asks how a tensor lies in memory may fail on it.
char* actviz_use_channels_last(actviz_network* network, int32_t on) noexcept;

// Runs the network on `input` (N, C, H, W), which it leaves as it is. `tap` is called
// on this thread, during the run, once for every executed activation, in order;
// `output` afterwards, for every tensor in the result. A tensor given to `tap` may be
// changed by the network once the callback has returned.
char* actviz_run(
    actviz_network* network,
    const void* input,
    int32_t with_gradients,
    actviz_receive tap,
    actviz_receive output,
    void* context) noexcept;

// For the doctor command. Static text, never null.
const char* actviz_torch_version(void) noexcept;
// The instruction set that the kernels use, e.g. "AVX2". Owned text through `out`.
char* actviz_cpu_capability(char** out) noexcept;
// The file that libtorch was loaded from. Owned text through `out`.
char* actviz_library_path(char** out) noexcept;

// Ends the process at once: libtorch's thousands of static objects are not taken apart.
void actviz_leave(int32_t code) noexcept;

// Makes CUDA compute in full f32 and repeatably.
char* actviz_make_cuda_exact(void) noexcept;

void actviz_free_message(char* message) noexcept;
}
