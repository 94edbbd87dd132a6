#!/usr/bin/env bash
# Gets the CPU build of libtorch that tch needs into .libtorch, once.
#
# The PyTorch wheel carries libtorch and its headers, and pip knows the user's
# mirrors, proxies and certificates, so pip downloads it, and checks its SHA-256.
# The Linux wheel is the CUDA one. Its libtorch_cpu.so loads two small CUDA
# libraries at start, GPU or not; they come from wheels of their own, and the
# gigabytes of other CUDA wheels are never touched.
#
# All work is done in .libtorch.part, which is renamed at the end: .libtorch is
# whole or absent. What an interrupted run has downloaded is used by the next one.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.13.0 # the only one that tch 0.26 accepts
need_mb=3000   # at most 1100 for the wheel and its unpacking, the rest for the build
part=.libtorch.part

say() { printf 'actviz set-up: %s\n' "$1" >&2; }
fail() { say "$1" && exit 1; }

# Per platform: name==version, pip's platform tag, SHA-256. The big one comes last,
# so that what can go wrong goes wrong early.
case "$(uname -s) $(uname -m)" in
'Linux x86_64') pins='
nvidia-cuda-runtime==13.0.96 manylinux2014_x86_64 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 manylinux_2_25_x86_64 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
torch==2.13.0 manylinux_2_28_x86_64 60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7' ;;
'Linux aarch64') pins='
nvidia-cuda-runtime==13.0.96 manylinux2014_aarch64 ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
nvidia-cuda-cupti==13.0.85 manylinux_2_25_aarch64 796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151
torch==2.13.0 manylinux_2_28_aarch64 092790c696a760c729fd5722835f50b9d81fd7c8f141571f3f3cf4081a8f664c' ;;
'Darwin arm64') pins='
torch==2.13.0 macosx_14_0_arm64 e76f9bcecc52b8ff711239a2f7547d5353df95878ab232f0773c1d95928b92f8' ;;
*) pins= ;;
esac

# The build needs these whoever provides libtorch.
need_build_tools() {
  command -v cargo >/dev/null ||
    fail 'cargo is not on the PATH: install Rust (rustup.rs), open a new shell and run this again'
  local cxx=${CXX:-c++}
  command -v "${cxx%% *}" >/dev/null ||
    fail "no C++ compiler ($cxx): install g++ (Debian, Ubuntu: apt install g++; macOS: xcode-select --install)"
}

# A libtorch of the user's own wins. The order is torch-sys's: any value of
# LIBTORCH_USE_PYTORCH, even 0, beats LIBTORCH.
use_own_libtorch() {
  local where found undo
  if [ -n "${LIBTORCH_USE_PYTORCH+set}" ]; then
    where=python3 undo='or unset LIBTORCH_USE_PYTORCH to have a CPU build fetched'
    [ -z "${VIRTUAL_ENV:-}" ] || where=python
    found=$("$where" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null) ||
      fail "LIBTORCH_USE_PYTORCH is set but $where has no PyTorch: pip install torch==$version, $undo"
    where="the PyTorch of $(command -v "$where")"
  elif [ -n "${LIBTORCH+set}" ]; then
    where="LIBTORCH=$LIBTORCH" undo='or unset LIBTORCH to have a CPU build fetched'
    [[ $LIBTORCH = /* ]] || fail "$where is not an absolute path, so cargo cannot use it: make it one, $undo"
    [ -d "$LIBTORCH/lib" ] && [ -e "$LIBTORCH/include/torch/script.h" ] ||
      fail "$where has no lib/ or no include/torch/script.h: point it at an unpacked libtorch $version, $undo"
    # The first is in libtorch's own archive, the second in PyTorch's package.
    found=$(cat "$LIBTORCH/build-version" 2>/dev/null ||
      sed -n "s/^__version__ = '\(.*\)'/\1/p" "$LIBTORCH/version.py" 2>/dev/null || echo "$version")
  else
    return 1
  fi
  [ "${found%%+*}" = "$version" ] || [ -n "${LIBTORCH_BYPASS_VERSION_CHECK+set}" ] ||
    fail "$where is version $found, but tch needs $version: install that version, $undo"
  say "using $where ($found)"
}

# The link stands for libtorch_cpu.so, so this looks at both.
is_fetched() {
  [ "$(cat .libtorch/pins 2>/dev/null)" = "$pins" ] && ls .libtorch/lib/libtorch.* >/dev/null 2>&1
}

need_download_tools() {
  local other="or set LIBTORCH to a libtorch $version of your own"
  [ -n "$pins" ] || fail "no libtorch is known for $(uname -s) $(uname -m): use Linux (x86_64, aarch64) or macOS (arm64), $other"
  [ "$(uname -s)" = Darwin ] || getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
    fail "PyTorch needs a Linux with glibc, and this one has another C library: build in a Debian container, $other"
  command -v python3 >/dev/null ||
    fail "python3 is not installed; its pip fetches libtorch: install it (Debian, Ubuntu: apt install python3-pip), $other"
  python3 -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip, which fetches libtorch: install it (Debian, Ubuntu: apt install python3-pip), $other"
  local free_mb
  free_mb=$(python3 -c 'import shutil; print(shutil.disk_usage(".").free >> 20)')
  [ "$free_mb" -ge $need_mb ] ||
    fail "too little disk space in $PWD: $free_mb MB are free, $need_mb MB are needed for libtorch and the build"
}

download() { # name==version, platform tag, SHA-256
  local errors cause
  printf '%s --hash=sha256:%s\n' "$1" "$3" >$part/requirement
  # One fixed Python version, whatever runs pip, because one file is pinned. No
  # cache: a second copy of half a gigabyte is of no use to anybody. TMPDIR is here
  # because /tmp is often small; old versions of pip do not know RESUME_RETRIES.
  # Its progress bar goes to stderr, what it has to complain about is kept.
  { errors=$(
    TMPDIR=$PWD/$part/tmp PIP_RESUME_RETRIES=20 PIP_REQUIRE_VIRTUALENV=0 \
      python3 -m pip download --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
      --only-binary=:all: --implementation cp --python-version 3.11 --platform "$2" \
      -r $part/requirement -d $part/wheels 2>&1 >&3
  ); } 3>&2 && return
  case $errors in
  *'DO NOT MATCH THE HASHES'*) cause='what came is not the pinned file (its SHA-256 differs): check the package index that pip is set to use' ;;
  *'No space left'*) cause='the disk is full: free some space and run this again' ;;
  *onnection* | *'timed out'*) cause='no connection to the package index: check the network or the proxy and run this again' ;;
  *) cause="pip says: $(grep -m 1 ERROR <<<"$errors" || tail -n 1 <<<"$errors")" ;;
  esac
  fail "cannot download $1: $cause"
}

unpack() { # wheel: only what is compiled against, linked or loaded
  python3 - "$1" $part/libtorch <<'PY'
import pathlib, re, shutil, sys, zipfile

wheel, out = sys.argv[1], pathlib.Path(sys.argv[2])
header = r"torch/(include/.+[^/])"
library = r".+/(lib/(?:lib(?:c10|torch_cpu|gomp|omp|cudart|cupti|arm_compute\w*|nvpl\w+|gfortran)\.(?:so|dylib)[.\d]*|libtorch\.dylib))"
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if match := re.fullmatch(f"{header}|{library}", name):
            target = out / (match[1] or match[2])
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
PY
}

fetch() {
  rm -rf $part/tmp $part/libtorch
  mkdir -p $part/tmp $part/wheels $part/libtorch
  say "fetching libtorch $version for the CPU into $PWD/.libtorch (once)"
  local pin wheel
  while read -r -a pin; do
    [ ${#pin[@]} -eq 0 ] || download "${pin[@]}"
  done <<<"$pins"
  say 'unpacking'
  for wheel in $part/wheels/*.whl; do
    unpack "$wheel"
  done
  # The CUDA wheel's own libtorch.so would ask for libtorch_cuda.so.
  [ "$(uname -s)" = Darwin ] || ln -s libtorch_cpu.so $part/libtorch/lib/libtorch.so
  echo $version >$part/libtorch/build-version
  echo "$pins" >$part/libtorch/pins
  rm -rf .libtorch
  mv $part/libtorch .libtorch
  rm -rf $part
}

need_build_tools
use_own_libtorch && exit
# Where there is flock, a second make waits here for the first one's download.
! command -v flock >/dev/null || { exec 9<.cargo/fetch-libtorch.sh && flock 9; }
is_fetched && exit
need_download_tools
fetch
