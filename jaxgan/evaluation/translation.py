"""How near translated pictures are to the right ones, pixel by pixel, and whether they are as sharp."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.evaluation.diversity import WINDOW, ms_ssim


def compare(made: ArrayLike, target: ArrayLike) -> Mapping[str, float]:
    """Pictures against the right ones, uint8 [n, height, width, channel] both, pair by pair:

    - ``l1``: mean absolute difference, of levels in [0, 1]; ``l1_error``, its standard error over pictures;
    - ``psnr``: mean over pictures of 10 log10(1 / mean squared difference), in dB; equal pictures count as 99;
    - ``ssim``: structural similarity at one scale (`diversity.ms_ssim`), of pictures of at least 11 pixels a side;
    - ``sharpness``: the `detail` of the made pictures divided by that of the right ones. 1 is as sharp as they are:
      below, blurred, as the mean of several right answers is; above, invented.

    Raises ValueError for shapes that differ, or no pictures.
    """
    made, target = np.asarray(made), np.asarray(target)
    if made.shape != target.shape or made.ndim != 4 or len(made) == 0:
        raise ValueError(f"pictures to compare are [n, height, width, channel], got {made.shape} and {target.shape}")
    difference = (made.astype(np.float64) - target) / 255.0
    each = np.abs(difference).mean(axis=(1, 2, 3))
    squared = np.square(difference).mean(axis=(1, 2, 3))
    found = {
        "l1": float(each.mean()),
        "l1_error": float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan"),
        "psnr": float(np.mean(np.minimum(99.0, -10.0 * np.log10(np.maximum(squared, 1e-12))))),
    }
    if min(made.shape[1:3]) >= WINDOW:
        found["ssim"] = float(ms_ssim(made, target, scales=1).mean())
    wanted = detail(target)
    return found | {"sharpness": detail(made) / wanted if wanted > 0 else float("nan")}


def detail(images: ArrayLike) -> float:
    """Power of the fine half of a picture's frequencies, mean over pictures uint8 [n, height, width, channel].

    Of the grey picture in [0, 1], its mean taken away: the squared magnitudes of the discrete Fourier transform at
    frequencies of at least a quarter of a cycle a pixel, half the finest that an axis has, over the squared number of
    pixels. Blur takes it away first. The picture is taken as periodic, so that borders that do not
    meet add to it: compare only pictures of one kind.
    """
    grey = np.asarray(images).astype(np.float64).mean(axis=-1) / 255.0
    power = np.square(np.abs(np.fft.fft2(grey))) / grey[0].size ** 2
    vertical, horizontal = (np.fft.fftfreq(side) for side in grey.shape[1:])
    radius = np.hypot(vertical[:, None], horizontal[None, :])
    return float(power[:, radius >= 0.25].sum(axis=-1).mean())
