// Reads an open file for libtorch, which would otherwise open it by its path: this process
// may have no right to, and what is read must be what was checked.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>
#include <c10/util/Exception.h>

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace actviz {

// The descriptor stays the caller's, open as long as this is there.
class FileReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit FileReader(int file) : file_(file) {
    // Not fstat: glibc asks by path, too, and the sandbox refuses all that does. Nobody reads
    // at the place that this moves.
    const auto end = lseek(file, 0, SEEK_END);
    TORCH_CHECK(end >= 0, "the file cannot be looked at");
    size_ = static_cast<size_t>(end);
  }

  size_t size() const override {
    return size_;
  }

  size_t read(uint64_t position, void* to, size_t count, const char* what) const override {
    size_t done = 0;
    while (done < count) {
      const auto got = pread(
          file_, static_cast<char*>(to) + done, count - done, static_cast<off_t>(position + done));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      TORCH_CHECK(got >= 0, "the file cannot be read: ", what);
      if (got == 0) {
        break;
      }
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  int file_;
  size_t size_;
};

}  // namespace actviz
