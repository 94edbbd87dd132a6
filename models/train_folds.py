"""Trains the bundles: one network per fold of a k-fold cross-validation.

    pip install torch==2.13.0 torchvision==0.28.0 pillow numpy
    python models/train_folds.py fetch  --data DATA
    python models/train_folds.py cnn9     --data DATA --out models/cnn9
    python models/train_folds.py resnet50 --data DATA --out models/resnet50

`fetch` brings three sets of drawings of the same emoji with `npm pack`; SOURCES
below names them and their licences. The task is one against the rest: pictures of
animals against pictures of food and drink. Emoji, not drawings, are split into
folds, so that no drawing of a held-out emoji is ever trained on, and the emoji in
SAMPLES are in no fold at all.

Nothing is chosen by looking at a held-out fold: the schedule is fixed, the last
epoch counts, and each fold's figure is measured once, on the file as written.
"""

import argparse
import hashlib
import io
import json
import math
import os
import random
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

FOLDS = 3
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

SOURCES = {
    "@lobehub/fluent-emoji-3d@1.1.0": "Fluent emoji (c) Microsoft, MIT",
    "emoji-datasource-google@16.0.0": "Noto emoji (c) Google, Apache-2.0; data (c) Cal Henderson, MIT",
    "emoji-datasource-twitter@16.0.0": "Twemoji (c) Twitter and contributors, CC-BY 4.0",
}

# In no fold: fox, parrot, tropical fish, strawberry, hamburger.
SAMPLES = {"1f98a", "1f99c", "1f420", "1f353", "1f354"}

TASKS = {
    "animals-food": {
        "animal": lambda entry: entry["subcategory"].startswith("animal-"),
        "food": lambda entry: entry["category"] == "Food & Drink",
    },
    "five": {
        "mammal": lambda entry: entry["subcategory"] == "animal-mammal",
        "other animal": lambda entry: entry["subcategory"].startswith("animal-"),
        "food": lambda entry: entry["category"] == "Food & Drink",
        "vehicle": lambda entry: entry["subcategory"].startswith("transport-"),
        "face": lambda entry: entry["subcategory"].startswith("face-"),
    },
}


# ---------------------------------------------------------------- drawings


def fetch(data):
    """Brings and unpacks the packages of SOURCES."""
    data.mkdir(parents=True, exist_ok=True)
    for package in SOURCES:
        name = package.split("/")[-1].rsplit("@", 1)[0]
        if (data / name).exists():
            continue
        packed = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=data, check=True, capture_output=True, text=True
        ).stdout.strip()
        with tarfile.open(data / packed) as archive:
            archive.extractall(data / "unpacking", filter="data")
        (data / "unpacking" / "package").rename(data / name)
        (data / packed).unlink()
        print("fetched", package)


def emoji_key(text):
    """The code points without the variation selector, which the sets use unevenly."""
    return "-".join(part for part in text.lower().split("-") if part not in ("fe0f", "200d"))


def load_drawings(data, task, side):
    """[(key, label, RGBA uint8 array)], sorted by key."""
    entries = json.loads((data / "emoji-datasource-google" / "emoji.json").read_text())
    classes = TASKS[task]
    drawings = []
    fluent = {emoji_key(f.stem): f for f in (data / "fluent-emoji-3d" / "assets").iterdir()}
    for entry in entries:
        key = emoji_key(entry["unified"])
        label = next((i for i, holds in enumerate(classes.values()) if holds(entry)), None)
        if label is None:
            continue
        files = [
            fluent.get(key),
            data / "emoji-datasource-google" / "img" / "google" / "64" / entry["image"],
            data / "emoji-datasource-twitter" / "img" / "twitter" / "64" / entry["image"],
        ]
        for file in files:
            if file is not None and file.exists():
                picture = Image.open(file).convert("RGBA").resize((side, side), Image.BILINEAR)
                drawings.append((key, label, np.asarray(picture)))
    drawings.sort(key=lambda drawing: drawing[0])
    return [d for d in drawings if d[0] not in SAMPLES]


def folds_of(drawings, seed):
    """key -> fold (from 0), each class spread evenly over the folds."""
    chance = random.Random(seed)
    folds = {}
    for label in sorted({label for _, label, _ in drawings}):
        keys = sorted({key for key, own, _ in drawings if own == label})
        chance.shuffle(keys)
        folds.update({key: position % FOLDS for position, key in enumerate(keys)})
    return folds


def stack(drawings):
    pictures = torch.from_numpy(np.stack([d[2] for d in drawings])).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.tensor([d[1] for d in drawings])


def normalise(rgb):
    shape = (1, 3, 1, 1)
    return (rgb - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)


def on_white(rgba):
    alpha = rgba[:, 3:]
    return rgba[:, :3] * alpha + (1 - alpha)


def augment(rgba, side):
    """RGBA in 0..1 -> normalised RGB: moved, turned, mirrored, recoloured, and on
    70 % of the pictures laid on a background that is not white."""
    n = len(rgba)
    turn = (torch.rand(n) - 0.5) * math.radians(60)
    zoom = torch.empty(n).uniform_(0.8, 1.7)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    shift = (torch.rand(2, n) - 0.5) * 0.5
    rows = [torch.stack([cos * mirror, -sin, shift[0]], 1), torch.stack([sin * mirror, cos, shift[1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 4, side, side], align_corners=False)
    moved = F.grid_sample(rgba, grid, mode="bilinear", align_corners=False)
    colour, alpha = moved[:, :3], moved[:, 3:]
    # Colour alone must not give the class away: mix towards grey, shift the channels.
    grey = colour.mean(1, keepdim=True)
    strength = torch.empty(n, 1, 1, 1).uniform_(0.3, 1.3)
    gain = torch.empty(n, 3, 1, 1).uniform_(0.75, 1.25)
    colour = ((grey + (colour - grey) * strength) * gain).clamp(0, 1)
    # Smooth two-colour fields, some with noise.
    coarse = torch.rand(n, 3, 3, 3)
    field = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    field = (field + torch.randn(n, 3, side, side) * torch.rand(n, 1, 1, 1) * 0.15).clamp(0, 1)
    white = (torch.rand(n, 1, 1, 1) < 0.3).float()
    back = white + (1 - white) * field
    return normalise(colour * alpha + back * (1 - alpha))


# ---------------------------------------------------------------- networks


class Cnn9(nn.Module):
    """Nine layers: conv, pool, conv, pool, conv, pool, flatten, linear, linear."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1)
        self.relu3 = nn.ReLU()
        self.pool3 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(64 * 8 * 8, 64)
        self.relu4 = nn.ReLU()
        self.linear2 = nn.Linear(64, classes)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.pool3(self.relu3(self.conv3(x)))
        x = self.relu4(self.linear1(self.flatten(x)))
        return self.linear2(x)


def resnet50(classes):
    import torchvision

    model = torchvision.models.resnet50(num_classes=classes, zero_init_residual=True)
    return model.to(memory_format=torch.channels_last)


BUNDLES = {
    # stages: (side in pixels, epochs); the last stage's side is the input's.
    "cnn9": {
        "build": Cnn9, "stages": [(64, 60)], "prune": 0.0, "rate": 2e-3, "batch": 64,
        "description": "A CNN of nine layers that tells {classes} apart.",
        "layers": ["relu1", "relu2", "relu3"],
    },
    "resnet50": {
        "build": resnet50, "stages": [(48, 50), (96, 12), (128, 8)], "prune": 0.85, "rate": 1e-3, "batch": 24,
        "description": "torchvision's ResNet50, trained from scratch to tell {classes} apart.",
        "layers": [
            "relu", "layer1.0.relu_2", "layer1.2.relu_2", "layer2.0.relu_2", "layer2.3.relu_2",
            "layer3.0.relu_2", "layer3.2.relu_2", "layer3.5.relu_2", "layer4.0.relu_2", "layer4.2.relu_2",
        ],
    },
}


# ---------------------------------------------------------------- training


def share_to_prune(name, most):
    """Early layers are small and everything passes through them: keep more."""
    if name.startswith(("conv1", "fc")):
        return 0.0
    if name.startswith("layer1"):
        return 0.5 * most
    return most


def prune(model, masks, most):
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            share = share_to_prune(name, most)
            keep = int(parameter.numel() * share)
            if keep:
                limit = parameter.detach().abs().flatten().kthvalue(keep).values
                masks[name] = (parameter.detach().abs() > limit).float()


def apply_masks(model, masks):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])


def round_weights(model, bits=6, step_bits=3):
    """Each filter's weights to a grid of its own; zero stays zero. The grid's step has few
    bits too, so that the lower bytes of each f32 are zero and deflate well."""
    steps = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                flat = parameter.flatten(1)
                step = flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / steps
                fraction, exponent = torch.frexp(step)
                step = torch.ldexp((fraction * 2**step_bits).round() / 2**step_bits, exponent)
                parameter.copy_(((flat / step).round() * step).view_as(parameter))


def shrink(model, small, masks, batch, side):
    """Rounds the weights. The statistics of batch norm, which belong to the weights
    before, are measured anew."""
    round_weights(model)
    apply_masks(model, masks)
    model.train()
    with torch.no_grad():
        for _ in range(2):
            for chosen in torch.randperm(len(small)).split(batch):
                if len(chosen) > 1:
                    model(augment(small[chosen], side).contiguous(memory_format=torch.channels_last))


def train(spec, pictures, labels, classes, seed, resume, log):
    """The trained network. Every second epoch everything needed to go on is written
    to the file `resume`, and a later call goes on from there."""
    torch.manual_seed(seed)
    model = spec["build"](classes)
    loss_of = nn.CrossEntropyLoss(
        weight=len(labels) / (classes * torch.bincount(labels, minlength=classes).float()),
        label_smoothing=0.05,
    )
    batches = len(labels) // spec["batch"]
    total = sum(epochs for _, epochs in spec["stages"]) * batches
    optimiser = torch.optim.AdamW(model.parameters(), lr=spec["rate"], weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, spec["rate"], total_steps=total + 1, pct_start=0.15)
    masks, step, epoch = {}, 0, 0
    # Pruned in steps over the middle, so that the last third heals the cuts.
    cuts = {int(total * at): share for at, share in [(0.45, 0.5), (0.55, 0.7), (0.65, 0.8), (0.72, 1.0)]}
    first = 0
    if resume.exists():
        saved = torch.load(resume)
        for part, state in zip((model, optimiser, schedule), saved["states"]):
            part.load_state_dict(state)
        masks, step, first = saved["masks"], saved["step"], saved["epoch"]
        torch.set_rng_state(saved["chance"])
        log(f"goes on after epoch {first}")
    for side, epochs in spec["stages"]:
        small = F.interpolate(pictures.float() / 255, size=(side, side), mode="bilinear", antialias=True)
        for _ in range(epochs):
            if epoch < first:
                epoch += 1
                continue
            began, losses, right = time.time(), 0.0, 0
            model.train()
            order = torch.randperm(len(labels))
            for index in range(batches):
                chosen = order[index * spec["batch"] : (index + 1) * spec["batch"]]
                out = model(augment(small[chosen], side).contiguous(memory_format=torch.channels_last))
                loss = loss_of(out, labels[chosen])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                step += 1
                if spec["prune"] and step in cuts:
                    prune(model, masks, spec["prune"] * cuts[step])
                apply_masks(model, masks)
                losses += loss.item()
                right += (out.argmax(1) == labels[chosen]).sum().item()
            epoch += 1
            log(f"epoch {epoch} at {side}: loss {losses / batches:.3f}, "
                f"right {right / batches / spec['batch']:.3f}, {time.time() - began:.0f} s")
            if epoch % 2 == 0:
                unfinished = resume.with_suffix(".tmp")
                states = [part.state_dict() for part in (model, optimiser, schedule)]
                chance = torch.get_rng_state()
                torch.save(dict(states=states, masks=masks, step=step, epoch=epoch, chance=chance), unfinished)
                unfinished.rename(resume)
    if spec["prune"]:
        shrink(model, small, masks, spec["batch"], side)
    return model.eval()


# ---------------------------------------------------------------- files


def save(model, file):
    """TorchScript, its zip deflated, the same bytes for the same weights."""
    model = model.to(memory_format=torch.contiguous_format)
    plain = io.BytesIO()
    torch.jit.save(torch.jit.script(model), plain)
    packed = io.BytesIO()
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, source.read(name), compresslevel=9)
    unfinished = file.with_suffix(".tmp")
    unfinished.write_bytes(packed.getvalue())
    unfinished.rename(file)


def balanced_accuracy(file, pictures, labels, classes, side):
    """The mean over the classes of the share found right, on white, from the file."""
    model = torch.jit.load(str(file)).eval()
    small = F.interpolate(pictures.float() / 255, size=(side, side), mode="bilinear", antialias=True)
    with torch.no_grad():
        found = torch.cat([model(normalise(on_white(part))).argmax(1) for part in small.split(32)])
    return float(np.mean([(found[labels == c] == c).float().mean().item() for c in range(classes)]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fetch", *BUNDLES])
    parser.add_argument("--data", type=Path, required=True, help="folder of the drawings")
    parser.add_argument("--out", type=Path, help="the bundle's folder")
    parser.add_argument("--task", choices=TASKS, default="animals-food")
    parser.add_argument("--name", help="the bundle's name; default: the network's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", default="fox.png", help="relative to the bundle, and in its folder")
    parser.add_argument("--only", type=int, help="train this fold alone (from 1)")
    args = parser.parse_args()
    if args.what == "fetch":
        return fetch(args.data)
    spec, names = BUNDLES[args.what], list(TASKS[args.task])
    side = spec["stages"][-1][0]
    drawings = load_drawings(args.data, args.task, 160)
    folds = folds_of(drawings, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{len(drawings)} drawings of {len(folds)} emoji, {len(names)} classes", flush=True)
    for fold in range(FOLDS):
        if args.only and fold + 1 != args.only:
            continue
        kept = stack([d for d in drawings if folds[d[0]] != fold])
        held = stack([d for d in drawings if folds[d[0]] == fold])
        log = lambda text: print(f"fold {fold + 1}, {text}", flush=True)
        file = args.out / f"fold_{fold + 1}.pt"
        resume = args.out / f"fold_{fold + 1}.resume"
        model = train(spec, *kept, len(names), args.seed * 100 + fold, resume, log)
        save(model, file)
        resume.unlink()
        accuracy = balanced_accuracy(file, *held, len(names), side)
        figures = {"balanced_accuracy": round(accuracy, 4), "held_out_pictures": len(held[1])}
        (args.out / f"fold_{fold + 1}.json").write_text(json.dumps(figures))
        log(f"held out: {figures}, {file.stat().st_size} bytes")
    describe(args, spec, names, side)


def describe(args, spec, names, side):
    """model.json, once every fold is there."""
    parts = [args.out / f"fold_{fold + 1}.json" for fold in range(FOLDS)]
    if not all(part.exists() for part in parts):
        return
    folds = []
    for part in parts:
        file = part.with_suffix(".pt")
        folds.append({
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "metrics": json.loads(part.read_text()),
        })
        part.unlink()
    document = {
        "schema": 1,
        "name": args.name or args.what,
        "description": spec["description"].format(classes=", ".join(names)),
        "classes": names,
        "input": {"channels": 3, "width": side, "height": side, "mean": MEAN, "std": STD, "resize": "stretch"},
        "layers": spec["layers"],
        "folds": folds,
        "sample": args.sample,
        "licence": "MIT OR Apache-2.0, as the rest of this project",
        "provenance": "Trained from scratch by models/train_folds.py on " + "; ".join(
            f"{package}: {licence}" for package, licence in SOURCES.items()
        ),
    }
    unfinished = args.out / "model.json.tmp"
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.rename(args.out / "model.json")


if __name__ == "__main__":
    main()
