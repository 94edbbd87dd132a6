//! What a file is that is no TorchScript network, and what to do about it.
//!
//! Told from a file's first bytes, and of zip archives from the names inside: formats that
//! networks are kept in, and what people get instead of one when a download goes wrong.

/// What PNG, JPEG, GIF, WebP, BMP and TIFF begin with.
const PICTURES: [&[u8]; 7] =
    [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*"];

/// What a file is instead, and how to get a TorchScript file.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What it is, to follow the file's name.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// So many bytes of a file's beginning are enough.
pub const START: usize = 1024;

const SCRIPT: &str = "torch.jit.script(model.eval()).save('model.pt')";

fn kind(problem: &str, hint: impl Into<String>) -> Kind {
    Kind { problem: problem.to_owned(), hint: hint.into() }
}

/// How to come from Python's model, however it was kept, to a file for us.
fn export(before: &str) -> String {
    format!("{before}, then {SCRIPT}")
}

/// A file that is no zip archive, by its first bytes (up to [`START`]) and its length.
pub fn of_start(start: &[u8], length: u64) -> Kind {
    const NOT: &str = "not a TorchScript file";
    let begins = |magic: &[u8]| start.starts_with(magic);
    let at = |place: usize, magic: &[u8]| start.get(place..).is_some_and(|b| b.starts_with(magic));
    if length == 0 {
        return kind("the file is empty", "copy or download it again");
    }
    if begins(b"version https://git-lfs") {
        return kind(
            "a Git LFS pointer, which stands for the file; the file itself was not fetched",
            "in its repository: git lfs install, then git lfs pull",
        );
    }
    if is_safetensors(start) {
        return kind(
            "a safetensors file: weights without the network's code",
            export("build the model in Python and load the weights into it"),
        );
    }
    if begins(b"\x89HDF\r\n\x1a\n") {
        return kind(
            "an HDF5 file, as Keras writes them, not a TorchScript file",
            "only networks of PyTorch are read",
        );
    }
    if at(4, b"TFL3") {
        return kind("a TensorFlow Lite network", "only networks of PyTorch are read");
    }
    if at(4, b"ET") && start.get(6..8).is_some_and(|two| two.iter().all(u8::is_ascii_digit)) {
        return kind(
            "an ExecuTorch program (.pte), not a TorchScript file",
            export("take the model that it was exported from"),
        );
    }
    if at(4, b"PTMF") {
        return kind(
            "a network for PyTorch Mobile in its flatbuffer format",
            export("take the model that it was made from"),
        );
    }
    if let Some(version) = protobuf_version(start) {
        // Both begin with their version as field 1; TensorFlow's has never changed.
        return match version {
            1 => kind("a TensorFlow SavedModel", "only networks of PyTorch are read"),
            _ => kind(
                "an ONNX network, not a TorchScript file",
                export("take the PyTorch model that it was exported from"),
            ),
        };
    }
    if begins(b"GGUF") {
        return kind("a GGUF file of a language model", "only networks of PyTorch are read");
    }
    if begins(b"\x7fELF") || begins(b"MZ") || begins(b"\xcf\xfa\xed\xfe") {
        return kind(
            "a program or library (AOTInductor writes such), not a TorchScript file",
            export("take the model that it was compiled from"),
        );
    }
    if begins(b"\x93NUMPY") {
        return kind(
            "an array of NumPy, not a network",
            "--model takes the network; arrays go where pictures go",
        );
    }
    if PICTURES.iter().any(|mark| start.starts_with(mark)) {
        return kind("a picture, not a network", "--model takes the network, pictures follow it");
    }
    if let Some(unpack) = compressed(start) {
        return kind("a packed file, not a TorchScript file", format!("unpack it first: {unpack}"));
    }
    if is_pickle(start) {
        return kind(
            "a pickle saved by torch.save, not a TorchScript file",
            export("load it in Python with torch.load, into its model if it holds weights alone"),
        );
    }
    text(start).unwrap_or_else(|| {
        kind(&format!("{NOT} (it is no zip archive)"), format!("export it in Python: {SCRIPT}"))
    })
}

/// A zip archive that is no TorchScript file, by the names inside; `pickle` is its data.pkl,
/// as far as it was read.
pub fn of_archive(names: &[String], pickle: &[u8]) -> Kind {
    let has =
        |name: &str| names.iter().any(|own| own == name || own.ends_with(&format!("/{name}")));
    let has_part = |part: &str| names.iter().any(|own| own.contains(part));
    if has_part("data/aotinductor/") {
        return kind(
            "a package of AOTInductor (.pt2): compiled, without layers to look at",
            export("take the model that it was compiled from"),
        );
    }
    if has("archive_format") || has("models/model.json") || has("serialized_exported_program.json")
    {
        return kind(
            "a file of torch.export (.pt2), which is not read yet",
            "save the same model as TorchScript: torch.jit.trace(model.eval(), example_input)\
             .save('model.pt'); a loaded .pt2 gives a model with torch.export.load(FILE).module()",
        );
    }
    if has("model.json") && has_part("/code/") {
        return kind(
            "written by PyTorch 1.2 or older, in a format that libtorch no longer reads",
            "save it anew with a PyTorch that reads both, e.g. 1.4: \
             torch.jit.load('old.pt').save('new.pt')",
        );
    }
    if has("config.json") && has("model.weights.h5") {
        return kind("a network of Keras", "only networks of PyTorch are read");
    }
    if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        return kind(
            "arrays of NumPy (.npz), not a network",
            "--model takes the network; arrays go where pictures go",
        );
    }
    if has("data.pkl") {
        // A module's pickle names the dictionaries that every torch.nn.Module has.
        return match pickle.windows(8).any(|bytes| bytes == b"_modules") {
            true => kind(
                "a module saved by torch.save: a pickle, without the network's code",
                export(
                    "where the model's source is: \
                     model = torch.load('FILE', map_location='cpu', weights_only=False)",
                ),
            ),
            false => kind(
                "saved by torch.save: weights, without the network's code",
                export("build the model in Python, model.load_state_dict(torch.load('FILE'))"),
            ),
        };
    }
    let inside = |end: &str| names.iter().find(|name| name.ends_with(end));
    if let Some(network) = inside(".pt").or_else(|| inside(".pth")) {
        return kind(
            "a zip archive with networks in it",
            format!("unpack it first; it holds {network}"),
        );
    }
    kind("a zip archive, but not a TorchScript file", format!("export it in Python: {SCRIPT}"))
}

/// The length of a header in JSON, then the header.
fn is_safetensors(start: &[u8]) -> bool {
    /// The format's own limit.
    const LONGEST: u64 = 100_000_000;
    let Some((length, rest)) = start.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..=LONGEST).contains(&length) && rest.starts_with(b"{\"")
}

/// The version that a protobuf message of ONNX or TensorFlow begins with, if it does: field 1,
/// a small number, and then another of its fields.
fn protobuf_version(start: &[u8]) -> Option<u8> {
    let &[0x08, version, next, ..] = start else { return None };
    let is_next = matches!(next, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42);
    (is_next && (1..=32).contains(&version)).then_some(version)
}

/// The command that unpacks it.
fn compressed(start: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gunzip, or tar -xzf"),
        (b"BZh", "bunzip2, or tar -xjf"),
        (b"\xfd7zXZ\0", "unxz, or tar -xJf"),
        (b"\x28\xb5\x2f\xfd", "unzstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z x"),
        (b"Rar!", "unrar x"),
    ];
    let is_tar = start.get(257..).is_some_and(|rest| rest.starts_with(b"ustar"));
    let found = kinds.iter().find(|(magic, _)| start.starts_with(magic));
    found.map(|(_, how)| *how).or(is_tar.then_some("tar -xf"))
}

/// Protocols 2 to 5 begin with a mark and the protocol.
fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80] | [0x80, 2..=5, ..])
}

/// Text, and above all a page that a server sent in place of the file.
fn text(start: &[u8]) -> Option<Kind> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A letter may be cut in two at the end.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let lower = text.trim_start_matches('\u{feff}').trim_start().to_lowercase();
    let is_page = ["<!doctype", "<html", "<?xml", "<head", "<error"];
    Some(match is_page.iter().any(|tag| lower.starts_with(tag)) {
        true => kind(
            "a web page, not a TorchScript file: a server's answer instead of the download",
            "open the address in a browser; it may ask to sign in or to confirm, or be wrong",
        ),
        false => {
            let first: String = lower_line(text);
            kind(
                &format!("not a TorchScript file but text, which begins with \"{first}\""),
                format!(
                    "if it was downloaded, look at what it says; else export the network in \
                         Python: {SCRIPT}"
                ),
            )
        }
    })
}

/// The first line, or what there is room for.
fn lower_line(text: &str) -> String {
    const MOST: usize = 40;
    let line = text.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(MOST).collect();
    if short.len() < line.len() { format!("{short}...") } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(start: &[u8], problem: &str, hint: &str) {
        let found = of_start(start, start.len() as u64);
        assert!(found.problem.contains(problem), "{problem}: {found:?}");
        assert!(found.hint.contains(hint), "{hint}: {found:?}");
    }

    #[test]
    fn a_file_that_is_no_archive_is_told_by_its_first_bytes() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        says(lfs, "Git LFS pointer", "git lfs pull");
        let mut safetensors = 128_u64.to_le_bytes().to_vec();
        safetensors.extend(b"{\"__metadata__\":{\"format\":\"pt\"}}");
        says(&safetensors, "safetensors", "torch.jit.script");
        says(b"\x89HDF\r\n\x1a\n\0\0", "HDF5", "PyTorch");
        says(b"\x1c\0\0\0TFL3\0\0", "TensorFlow Lite", "PyTorch");
        says(b"\x38\0\0\0ET12eh00", "ExecuTorch", "torch.jit.script");
        says(b"\x38\0\0\0PTMF", "Mobile", "torch.jit.script");
        says(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "ONNX", "torch.jit.script");
        says(b"\x08\x01\x12\xa0\x01", "SavedModel", "PyTorch");
        says(b"GGUF\x03\0\0\0", "GGUF", "PyTorch");
        says(b"\x7fELF\x02\x01\x01", "AOTInductor", "torch.jit.script");
        says(b"\x93NUMPY\x01\0", "NumPy", "--model");
        says(b"\x89PNG\r\n\x1a\n\0", "a picture", "--model");
        says(b"\x1f\x8b\x08\0", "packed", "gunzip");
        says(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "torch.save", "torch.load");
        says(b"", "empty", "again");
        says(b"\0\x01\x02\x03", "not a TorchScript file", "torch.jit.script");
        let mut tar = vec![0; 300];
        tar[257..262].copy_from_slice(b"ustar");
        says(&tar, "packed", "tar -xf");
    }

    #[test]
    fn pages_and_texts_are_told_apart_from_networks() {
        says(b"\n<!DOCTYPE html>\n<html lang=en>", "web page", "browser");
        says(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "web page", "browser");
        says("Entry not found \u{e4}".as_bytes(), "\"Entry not found", "look at what");
        // A letter is cut in two.
        says(&"caf\u{e9}".as_bytes()[..4], "text", "look at what");
        says(b"a\x07b", "no zip archive", "torch.jit.script");
    }

    #[test]
    fn an_archive_is_told_by_the_names_inside() {
        let says = |names: &[&str], pickle: &[u8], problem: &str, hint: &str| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = of_archive(&names, pickle);
            assert!(found.problem.contains(problem), "{problem}: {found:?}");
            assert!(found.hint.contains(hint), "{hint}: {found:?}");
        };
        says(&["m/archive_format", "m/models/model.json"], b"", "torch.export", "torch.jit.trace");
        says(&["serialized_exported_program.json", "version"], b"", "torch.export", ".module()");
        says(&["m/archive_format", "m/data/aotinductor/model/a.so"], b"", "AOTInductor", "script");
        says(&["m/version", "m/code/m.py", "m/model.json", "m/tensors/0"], b"", "1.2", "anew");
        says(&["config.json", "metadata.json", "model.weights.h5"], b"", "Keras", "PyTorch");
        says(&["a.npy", "b.npy"], b"", "NumPy", "--model");
        says(&["m/data.pkl", "m/data/0"], b"..X\x08_modulesq", "a module saved", "weights_only");
        says(&["m/data.pkl", "m/data/0"], b"collections OrderedDict", "weights", "state_dict");
        says(&["runs/fold_1.pt", "runs/readme"], b"", "with networks in it", "runs/fold_1.pt");
        says(&["a.txt"], b"", "a zip archive, but", "torch.jit.script");
    }
}
