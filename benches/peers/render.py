"""What `actviz render` is measured against: the script that people write today.

PyTorch's forward hooks on the network's source (torchvision's ResNet50), a mean over the
channels, PIL to resize, a table of 256 colours, PIL to write. It is written to be fast:
inference mode, batches, one pass for all layers of a fold.

    render.py heatmaps OUT LAYERS IMAGES FOLD.pth ...
    render.py forward COUNT BATCH FOLD.pt     the bare frozen network, for the bound
    render.py checkpoints FOLDER K            K folds with random weights, each as FOLDER/fold_N.pt
                                              (TorchScript) and FOLDER/fold_N.pth (state_dict)

LAYERS is `ten`, the layers of models/resnet50, or `all` 49.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

TEN = ["relu", "layer1.0.relu_2", "layer1.2.relu_2", "layer2.0.relu_2", "layer2.3.relu_2",
       "layer3.0.relu_2", "layer3.2.relu_2", "layer3.5.relu_2", "layer4.0.relu_2",
       "layer4.2.relu_2"]
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
SIDE = 224
BATCH = 8


def table():
    """256 colours, near enough to viridis for the same amount of work."""
    ends = np.array([[68, 1, 84], [33, 145, 140], [253, 231, 37]], dtype=np.float32)
    places = np.linspace(0, 2, 256)
    return np.stack([np.interp(places, [0, 1, 2], ends[:, c]) for c in range(3)], 1).astype(np.uint8)


def load(path):
    from torchvision.models import resnet50

    model = resnet50(num_classes=2)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def hook(model, found, wanted):
    """Puts the channel mean of every wanted activation into `found`, by its name."""
    calls = {}

    def after(name):
        def remember(_module, _inputs, output):
            count = calls.get(name, 0)
            calls[name] = count + 1
            own = name if count == 0 else f"{name}_{count}"
            if wanted is None or own in wanted:
                found[own] = output.mean(1).clone()

        return remember

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(after(name))
    return calls


def read(path):
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(((pixels - MEAN) / STD).transpose(2, 0, 1))


def draw(values, colours, path):
    low, high = values.min(), values.max()
    scaled = (values - low) / max(high - low, 1e-12)
    large = np.asarray(Image.fromarray(scaled).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    Image.fromarray(colours[(large * 255).astype(np.uint8)]).save(path)


@torch.inference_mode()
def heatmaps(out, layers, images, folds):
    wanted = None if layers == "all" else set(TEN)
    files = sorted(Path(images).iterdir()) if Path(images).is_dir() else [Path(images)]
    colours = table()
    seconds = 0.0
    for fold, path in enumerate(folds, 1):
        model = load(path)
        found = {}
        calls = hook(model, found, wanted)
        began = time.perf_counter()
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            calls.clear()
            found.clear()
            model(torch.stack([read(file) for file in batch]))
            for place, file in enumerate(batch):
                folder = Path(out) / file.stem
                folder.mkdir(parents=True, exist_ok=True)
                for b, values in enumerate(found.values(), 1):
                    draw(values[place].numpy(), colours, folder / f"{fold}_{b}.png")
        seconds += time.perf_counter() - began
    print(f"{seconds:.4f}")


@torch.inference_mode()
def forward(count, batch, path):
    """Seconds for `count` images through the frozen network, nothing drawn."""
    torch._C._jit_set_profiling_mode(False)
    model = torch.jit.freeze(torch.jit.load(path).eval())
    images = torch.rand(batch, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        model(images)
    began = time.perf_counter()
    for _ in range(count // batch):
        model(images)
    print(f"{time.perf_counter() - began:.4f}")


def checkpoints(folder, count):
    from torchvision.models import resnet50

    Path(folder).mkdir(parents=True, exist_ok=True)
    for fold in range(1, count + 1):
        torch.manual_seed(fold)
        model = resnet50(num_classes=2).eval()
        torch.save(model.state_dict(), f"{folder}/fold_{fold}.pth")
        torch.jit.script(model).save(f"{folder}/fold_{fold}.pt")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "heatmaps":
        heatmaps(rest[0], rest[1], rest[2], rest[3:])
    elif what == "forward":
        forward(int(rest[0]), int(rest[1]), rest[2])
    else:
        checkpoints(rest[0], int(rest[1]))
