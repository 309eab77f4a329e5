"""Endless seeded training pictures, rendered in worker processes; fixed sets for measuring."""

from collections.abc import Iterator
from random import Random

import numpy as np
import torch
from PIL import Image, ImageEnhance
from render import COLOURS, compose
from torch.utils.data import IterableDataset, get_worker_info
from vocabulary import TRAINING_VENDORS, describe, load_drawings, load_things

IMAGE_SIZE = 96  # pixels; pictures are squashed to this square
COLOUR_NAMES = list(COLOURS)


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """RGB picture to uint8 [3, IMAGE_SIZE, IMAGE_SIZE], as the model's preprocessing resizes."""
    small = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 pictures to float32 in -1..1, the model's mean and deviation being 0.5."""
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def recoloured(rng: Random, tile: Image.Image) -> Image.Image:
    """The tile with other saturation and brightness: vendors differ in both."""
    if rng.random() < 0.5:
        alpha = tile.getchannel("A")
        rgb = ImageEnhance.Color(tile.convert("RGB")).enhance(rng.uniform(0.2, 1.6))
        tile = ImageEnhance.Brightness(rgb).enhance(rng.uniform(0.8, 1.2))
        tile.putalpha(alpha)
    return tile


class Compositions(IterableDataset[tuple[torch.Tensor, torch.Tensor, int, str]]):
    """Yields (uint8 [3, S, S], float32 [things] summing to 1, colour's number, text)."""

    def __init__(self, seed: int, batches: int, batch_size: int) -> None:
        self.seed, self.samples = seed, batches * batch_size
        self.things = load_things()
        self.drawings = {vendor: load_drawings(vendor) for vendor in TRAINING_VENDORS}

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, int, str]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        rng = Random(self.seed * 1000 + number)
        for _ in range(self.samples // workers):
            yield self.sample(rng)

    def sample(self, rng: Random) -> tuple[torch.Tensor, torch.Tensor, int, str]:
        """One new picture with its targets; more than half show a single thing."""
        chosen = rng.sample(range(len(self.things)), rng.choice((1, 1, 1, 2, 2, 3)))
        tiles = [recoloured(rng, self.drawings[rng.choice(TRAINING_VENDORS)][i]) for i in chosen]
        size = (rng.randint(84, 140), rng.randint(84, 140))
        made = compose(rng, tiles, size)
        target = torch.zeros(len(self.things))
        target[chosen] = 1 / len(chosen)
        text = describe(rng, [self.things[i] for i in chosen], made.colour, made.caption)
        return to_tensor(made.picture), target, COLOUR_NAMES.index(made.colour), text


def measured_compositions(seed: int, count: int) -> tuple[torch.Tensor, list[str]]:
    """Pictures of known drawings in distinct new compositions, and the plain text of each."""
    rng = Random(seed)
    things = load_things()
    drawings = {vendor: load_drawings(vendor) for vendor in TRAINING_VENDORS}
    pictures, texts, seen = [], [], set()
    while len(texts) < count:
        chosen = rng.sample(range(len(things)), rng.choice((1, 2, 2, 3)))
        if frozenset(chosen) in seen:
            continue
        seen.add(frozenset(chosen))
        tiles = [drawings[rng.choice(TRAINING_VENDORS)][i] for i in chosen]
        made = compose(rng, tiles, (rng.randint(320, 640), rng.randint(320, 640)))
        pictures.append(to_tensor(made.picture))
        texts.append(" and ".join(things[i].name for i in chosen))
    return torch.stack(pictures), texts


def measured_vendor(seed: int, vendor: str) -> tuple[torch.Tensor, list[str]]:
    """One picture of each thing as the vendor draws it, on random grounds, and the names."""
    rng = Random(seed)
    pictures = [to_tensor(compose(rng, [tile], (320, 320)).picture) for tile in load_drawings(vendor)]
    return torch.stack(pictures), [thing.name for thing in load_things()]
