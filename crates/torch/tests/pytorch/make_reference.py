"""Writes what PyTorch computes for torchvision's architectures, as cases for
tests/torch_values.rs (`make test-pytorch` runs both).

    python make_reference.py FOLDER [ARCHITECTURE...]

Needs torch 2.13 and torchvision. Weights are random: no download.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))
import reference  # noqa: E402

DEFAULT = """resnet50 mobilenet_v3_small densenet121 googlenet shufflenet_v2_x1_0
convnext_tiny vit_b_16 swin_t swin_v2_t""".split()


def build(name):
    torch.manual_seed(0)
    options = {"weights": None}
    if name in ("googlenet", "inception_v3"):
        options.update(init_weights=False, aux_logits=True, transform_input=True)
    model = getattr(torchvision.models, name)(**options).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # As after training: folding it into the convolution must not be trivial.
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
    return model


def layouts(layers, side):
    """Channels-last and token layouts of the transformers here, by shape."""
    known = {}
    for name, _, tensor in layers:
        shape = list(tensor.shape)
        if ".cpb_mlp." in name or name.endswith(".attn.sigmoid"):
            known[name] = "flat"  # Swin v2's position bias: made of weights, not of the image
        elif len(shape) == 4 and shape[1] == shape[2] and shape[1] != shape[3]:
            known[name] = "channels-last"
        elif len(shape) == 4 and shape[2] != shape[3]:
            known[name] = "flat"
        elif len(shape) == 3 and (shape[1] - 1) ** 0.5 % 1 == 0:
            known[name] = "tokens"
        elif len(shape) != 4 or shape[0] != 1:
            known[name] = "flat"
    return known


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("architectures", nargs="*", default=DEFAULT)
    parser.add_argument("--images", type=int, default=1)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in args.architectures:
        model = build(name)
        side = 299 if name == "inception_v3" else 224
        images = torch.randn(args.images, 3, side, side)
        layers, _ = reference.record(model, images[:1])
        known = layouts(layers, side)
        try:
            expected = reference.feature_extraction_names(model)
            ours = [layer for layer, _, _ in layers]
            if ours != expected:
                pairs = [pair for pair in zip(ours, expected) if pair[0] != pair[1]]
                print(f"{name}: {len(ours)} calls, torchvision names {len(expected)}; {pairs[:3]}")
        except Exception as error:  # fx cannot trace every architecture
            print(f"{name}: no names from torchvision ({error})")
        with torch.no_grad():
            traced = torch.jit.trace(model, images[:1], check_trace=False)
        scripts = {"scripted": torch.jit.script(model), "traced": traced}
        reference.save(args.folder, name, scripts, model, images, known)
        print(f"{name}: {len(layers)} activation calls", flush=True)


if __name__ == "__main__":
    main()
