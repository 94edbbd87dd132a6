//! What to do about what libtorch says: its messages name ranks, types and sizes, and what
//! the network wants follows from them.

/// A network that cannot be loaded.
pub(super) fn of_load(message: &str, detail: &str) -> String {
    let says = |words: &str| message.contains(words) || detail.contains(words);
    if message.contains("its forward() takes") {
        return "a network gets one tensor (N, C, H, W): script a small module around it whose \
                forward() takes that alone, e.g. with tokens or a second input filled in"
            .to_owned();
    }
    if says("torch.classes.xnnpack") || says("prepacked::") {
        return "the file was made by optimize_for_mobile, for phones: save the network before \
                that call"
            .to_owned();
    }
    if says("keyword attribute 'value' is undefined") || says("ConstantMKLDNNTensor") {
        return "the file was made by optimize_for_inference, and PyTorch itself cannot load it: \
                save the network before that call (torch.jit.freeze alone is fine)"
            .to_owned();
    }
    if let Some(class) = named_after(&[message, detail], "torch.classes.") {
        return format!(
            "torch.classes.{class} comes from a library that this libtorch does not have: script \
             the network without it, e.g. before it is quantised or compiled"
        );
    }
    if says("torchvision::") {
        return "the file needs torchvision's own operators (nms, roi_align ...), which are no \
                part of libtorch: script the part of the network that does without, e.g. model.backbone"
            .to_owned();
    }
    if says("Unknown builtin op") {
        return "the file needs an operator library that is no part of libtorch: script the part \
                of the network that does without, e.g. its backbone"
            .to_owned();
    }
    if says("no method") || says("'forward'") || says("does not have a forward") {
        return "the file has no forward(): script a small module whose forward(x) calls what is \
                to be looked at"
            .to_owned();
    }
    "is it a TorchScript file, saved by torch.jit.save? -v prints all that libtorch said".to_owned()
}

/// A network whose operators are not known to be harmless.
pub(super) fn of_refusal(uses: &[(String, String)]) -> String {
    let allowed = uses.iter().filter(|(name, _)| can_be_allowed(name));
    let allow: Vec<String> = allowed.map(|(name, _)| format!("--allow-op {name}")).collect();
    if allow.len() < uses.len() {
        return "no network that torch.jit.save wrote has this; the file was made by hand"
            .to_owned();
    }
    let allow = allow.join(" ");
    // Code in C++ that stands behind a class cannot be looked into, harmless or not.
    if uses.iter().any(|(name, _)| name.contains("torch.classes")) {
        return format!(
            "such classes hold code that cannot be checked (quantised LSTMs use them, too); script \
             the network before it is quantised, or, if you trust the file: {allow}"
        );
    }
    format!("pictures can be drawn without such an operator; if you trust the file: {allow}")
}

/// Whether `--allow-op` lets it through: operators of ours and computed defaults, never.
fn can_be_allowed(name: &str) -> bool {
    !name.starts_with("actviz::") && !name.contains(' ')
}

/// A network that failed on `input`, e.g. `3x224x224`.
pub(super) fn of_run(message: &str, input: &str) -> String {
    let what = wanted(message, input).unwrap_or_else(|| {
        "give the size that the network was trained with: --input-size N or WxH".to_owned()
    });
    format!("{what}; -v prints all that libtorch said")
}

/// What the network wants in place of `input`, if the message tells.
fn wanted(message: &str, input: &str) -> Option<String> {
    const AROUND: &str = "script a small module around it whose forward() takes (N, C, H, W) and";
    let says = |words: &str| message.contains(words);
    if says("indices' to have one of the following scalar types")
        || says("to have scalar type Long")
    {
        return Some(
            "the network takes tokens (whole numbers), not pictures: only networks that look at \
             pictures are drawn"
                .to_owned(),
        );
    }
    if says("should be the same") && says("ype (") {
        return Some(match message {
            m if m.contains("Half") || m.contains("BFloat16") => {
                "the network was saved in half precision, and is fed with f32: save \
                 model.float()"
                    .to_owned()
            }
            m if m.contains("ouble") => {
                "the network was saved in double precision, and is fed with f32: save \
                 model.float()"
                    .to_owned()
            }
            _ => "the network is fed with f32: save model.float()".to_owned(),
        });
    }
    if says("not implemented for 'Float'") {
        return Some(format!(
            "the network takes whole numbers (bytes 0 to 255), and is fed with f32: {AROUND} turns \
             it into bytes"
        ));
    }
    if let Some(ranks) = between(message, "Expected ", " input to conv") {
        let what = match (ranks.contains("5D"), ranks.contains("4D"), ranks.contains("3D")) {
            (true, ..) => {
                return Some(
                    "the network takes volumes (N, C, D, H, W), not pictures: only networks that \
                     look at pictures are drawn"
                        .to_owned(),
                );
            }
            (_, true, _) => "drops the batch: forward(x) calls the network with x[0]",
            _ => {
                return Some(
                    "the network takes sequences (N, C, L), not pictures: only networks that look \
                     at pictures are drawn"
                        .to_owned(),
                );
            }
        };
        return Some(format!("the network adds a batch of its own: {AROUND} {what}"));
    }
    let lower = message.to_lowercase();
    if lower.contains("must have 3 dimensions, got 4")
        || lower.contains("expected input to be 2d or 3d, got 4d")
    {
        return Some(format!(
            "the network takes sequences or single images of 3 dimensions: {AROUND} brings it into \
             that shape"
        ));
    }
    multiplied(message, input).or_else(|| channels_last(message)).or_else(|| batch(message))
}

/// `mat1 and mat2 shapes cannot be multiplied (1x12288 and 784x64)`: a linear layer.
fn multiplied(message: &str, input: &str) -> Option<String> {
    let shapes = between(message, "cannot be multiplied (", ")")?;
    let (left, right) = shapes.split_once(" and ")?;
    let given: usize = left.split_once('x')?.1.parse().ok()?;
    let takes: usize = right.split_once('x')?.0.parse().ok()?;
    let sides: Vec<usize> = input.split('x').map_while(|side| side.trim().parse().ok()).collect();
    let is_flattened = sides.len() >= 3 && sides.iter().product::<usize>() == given;
    if !is_flattened {
        // Behind other layers, where the number grows with the picture.
        return Some(format!(
            "a linear layer of it takes {takes} values and gets {given}: the picture has another \
             size than in training; --input-size N or WxH"
        ));
    }
    let square = |channels: usize| {
        let side = takes.checked_div(channels)?.isqrt();
        (side > 1 && side * side * channels == takes).then_some(side)
    };
    Some(match (square(3), square(1)) {
        (Some(side), _) => format!(
            "its first layer takes {takes} values, 3 x {side} x {side}: --input-size {side}"
        ),
        (None, Some(side)) => format!(
            "its first layer takes {takes} values, {side} x {side} of one channel: \
             --channels 1 --input-size {side}"
        ),
        (None, None) => format!(
            "its first layer takes {takes} values for an image; --input-size WxH gives other sizes"
        ),
    })
}

/// `expected input[1, 64, 3, 64] to have 3 channels, but got 64 channels instead`
fn channels_last(message: &str) -> Option<String> {
    let wants: usize = between(message, " to have ", " channels")?.parse().ok()?;
    let shape = between(message, "expected input[", "]")?;
    let shape: Vec<usize> = shape.split(',').map_while(|side| side.trim().parse().ok()).collect();
    let moved = matches!(shape[..], [_, first, second, _] if first != wants && second == wants);
    Some(match moved {
        true => {
            "the network turns its input around: it takes (N, H, W, C), and gets (N, C, H, W): \
                 script a small module around it whose forward(x) calls it with \
                 x.permute(0, 2, 3, 1)"
                .to_owned()
        }
        false => format!(
            "a convolution of it takes {wants} channels: the input has other channels than in \
             training, or the network is meant for another input"
        ),
    })
}

/// `shape '[4, 512]' is invalid for input of size 512`: a size that was fixed when it was traced.
fn batch(message: &str) -> Option<String> {
    let shape = between(message, "shape '[", "]' is invalid for input of size ")?;
    let size = message.rsplit("of size ").next()?.trim();
    let size: usize = size.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let sides: Vec<i64> = shape.split(',').map_while(|side| side.trim().parse().ok()).collect();
    let (first, rest) = sides.split_first()?;
    let rest: i64 = rest.iter().product();
    let is_one = usize::try_from(rest).is_ok_and(|rest| rest > 0 && size.is_multiple_of(rest));
    match *first {
        fixed if fixed > 1 && (is_one || rest < 0) => Some(format!(
            "the network was traced with a batch of {fixed}, and takes no other: trace it with a \
             batch of 1, or script it"
        )),
        _ => None,
    }
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)? + start;
    Some(&text[start..end])
}

/// The name behind `mark` in the first text that has it.
fn named_after<'a>(texts: &[&'a str], mark: &str) -> Option<&'a str> {
    texts.iter().find_map(|text| {
        let start = text.find(mark)? + mark.len();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let end = text[start..].find(|c| !is_name(c)).unwrap_or(text.len() - start) + start;
        (end > start).then(|| text[start..end].trim_end_matches('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_says(message: &str, words: &str) {
        let hint = of_run(message, "3x64x64");
        assert!(hint.contains(words) && hint.contains("-v prints"), "{message}\n{hint}");
    }

    /// The messages are libtorch 2.13's own.
    #[test]
    fn what_a_network_wants_follows_from_what_libtorch_says() {
        let product = "mat1 and mat2 shapes cannot be multiplied ";
        run_says(&format!("{product}(1x12288 and 784x64)"), "--channels 1 --input-size 28");
        run_says(&format!("{product}(1x12288 and 3072x64)"), "3 x 32 x 32: --input-size 32");
        run_says(&format!("{product}(1x12288 and 50x64)"), "takes 50 values for an image");
        run_says(&format!("{product}(192x64 and 100x16)"), "takes 100 values and gets 64");
        run_says(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: \
             Long, Int; but got torch.FloatTensor instead (while checking arguments for embedding)",
            "takes tokens",
        );
        run_says("Input type (float) and bias type (c10::Half) should be the same", "half");
        run_says("Input type (float) and bias type (double) should be the same", "double");
        run_says("\"bitwise_and_cpu\" not implemented for 'Float'", "bytes 0 to 255");
        let conv = |ranks: &str, n: usize| {
            format!("Expected {ranks} input to conv{n}d, but got input of size: [1, 3, 64, 64]")
        };
        run_says(&conv("2D (unbatched) or 3D (batched)", 1), "sequences (N, C, L)");
        run_says(&conv("3D (unbatched) or 4D (batched)", 2), "x[0]");
        run_says(&conv("4D (unbatched) or 5D (batched)", 3), "volumes (N, C, D, H, W)");
        run_says("input must have 3 dimensions, got 4", "sequences");
        run_says("LSTM: Expected input to be 2D or 3D, got 4D instead", "sequences");
        let weight = "Given groups=1, weight of size [4, 3, 3, 3], expected ";
        run_says(
            &format!("{weight}input[1, 64, 3, 64] to have 3 channels, but got 64 channels instead"),
            "x.permute(0, 2, 3, 1)",
        );
        run_says(
            &format!("{weight}input[1, 1, 64, 64] to have 3 channels, but got 1 channels instead"),
            "takes 3 channels",
        );
        run_says("shape '[4, 512]' is invalid for input of size 512", "a batch of 4");
        run_says("shape '[4, -1]' is invalid for input of size 511", "a batch of 4");
        run_says("something else", "--input-size N or WxH");
    }

    #[test]
    fn a_file_that_cannot_be_loaded_is_told_how_it_was_made() {
        let says = |message: &str, detail: &str, words: &str| {
            let hint = of_load(message, detail);
            assert!(hint.contains(words), "{message}\n{hint}");
        };
        let class = "Unknown type name '__torch__.torch.classes.xnnpack.Conv2dOpContext':";
        says(class, "", "optimize_for_mobile");
        says("required keyword attribute 'value' is undefined", "", "optimize_for_inference");
        let class = "Unknown type name '__torch__.torch.classes.tensorrt.Engine':";
        says(class, "", "torch.classes.tensorrt.Engine comes from");
        says("Unknown builtin op: torchvision::nms.", "", "torchvision's own operators");
        says("Unknown builtin op: mylib::f.", "", "an operator library");
        says("its forward() takes 2 inputs", "", "takes that alone");
        says("Method 'forward' is not defined.", "", "no forward()");
        says("unexpected", "", "torch.jit.save");
    }

    #[test]
    fn a_refusal_does_not_claim_that_harmless_networks_need_no_such_class() {
        let uses = |name: &str| vec![(name.to_owned(), "code/a.py:1".to_owned())];
        let hint = of_refusal(&uses("__torch__.torch.classes.rnn.CellParamsBase"));
        assert!(hint.contains("quantised") && hint.contains("--allow-op __torch__"), "{hint}");
        let hint = of_refusal(&uses("aten::save"));
        assert!(hint.contains("--allow-op aten::save"), "{hint}");
        for made_by_hand in ["actviz::tap", "a computed constant (x)"] {
            assert!(!of_refusal(&uses(made_by_hand)).contains("--allow-op"), "{made_by_hand}");
        }
    }
}
