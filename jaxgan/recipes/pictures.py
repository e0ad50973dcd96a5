"""Pictures of what was trained that are more than a sheet of samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.arrays import image_grid

STRIP_PIXELS = 1024
FRAME_SECONDS = 0.08


def animate(pictures: Sequence[np.ndarray], out: Path) -> None:
    """Writes a GIF of uint8 pictures [height, width, channel], there and back."""
    animation = [Image.fromarray(p[..., 0] if p.shape[-1] == 1 else p).convert("P") for p in pictures]
    there_and_back = [*animation, *animation[-2:0:-1]]
    there_and_back[0].save(
        out,
        save_all=True,
        append_images=there_and_back[1:],
        duration=int(1000 * FRAME_SECONDS),
        loop=0,
    )


def sheet(*blocks: Sequence[np.ndarray]) -> np.ndarray:
    """A sheet of blocks with an empty row between them: a block is rows of uint8 images [n, height, width, channel].

    Rows may be of different lengths.
    """
    columns = max(len(row) for block in blocks for row in block)
    empty = np.zeros((columns, *blocks[0][0].shape[1:]), np.uint8)
    lines = [np.concatenate([row, empty[len(row) :]]) for block in blocks for row in (empty, *block)][1:]
    return enlarged(image_grid(np.concatenate(lines), columns))


def apart(first: np.ndarray, others: np.ndarray) -> np.ndarray:
    """A row: one image uint8 [height, width, channel], a gap, and others [n, ...]."""
    return np.concatenate([first[None], np.zeros_like(first)[None], others])


def beside(*columns: np.ndarray, in_a_row: int = 4) -> np.ndarray:
    """A sheet of groups of images that belong together, uint8 [n, height, width, channel] each, with gaps between.

    Group i has image i of every column. Grey ones become coloured where others are, and those that are smaller by a
    whole factor are enlarged.
    """
    height, width, channels = (max(column.shape[axis] for column in columns) for axis in (1, 2, 3))
    alike = [
        column.repeat(height // column.shape[1], axis=1)
        .repeat(width // column.shape[2], axis=2)
        .repeat(channels // column.shape[3], axis=3)
        for column in columns
    ]
    groups = np.stack([*alike, np.zeros_like(alike[0])], axis=1)
    length = groups.shape[1] * min(in_a_row, len(groups))
    flat = groups.reshape(-1, *groups.shape[2:])
    return sheet([flat[start : start + length][:-1] for start in range(0, len(flat), length)])


def neighbours(samples: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """A sheet: each sample uint8 [n, height, width, channel] at the left of its nearest training images [n, k, ...]."""
    return sheet([apart(sample, near) for sample, near in zip(samples, nearest, strict=True)])


def by_class(samples: np.ndarray, classes: np.ndarray, num_classes: int, columns: int = 10) -> np.ndarray:
    """A sheet with a row for each class: the first samples, uint8 [n, height, width, channel], of that class [n].

    Places stay black where there are fewer: a missing class is a black row.
    """
    sheet = np.zeros((num_classes, columns, *samples.shape[1:]), np.uint8)
    for row in range(num_classes):
        chosen = samples[classes == row][:columns]
        sheet[row, : len(chosen)] = chosen
    return enlarged(image_grid(sheet.reshape(-1, *samples.shape[1:]), columns))


def enlarged(picture: np.ndarray) -> np.ndarray:
    """A picture [height, width, channel] by a whole factor, so that small ones are seen."""
    scale = max(1, STRIP_PIXELS // max(picture.shape[:2]))
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)
