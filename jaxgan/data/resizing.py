"""Centre squares of pictures at one size, by Pillow's filters."""

import hashlib
from dataclasses import replace

import numpy as np
from PIL import Image

from jaxgan.data.images import DataError, Images
from jaxgan.data.pixels import Lazy, fingerprint

# Pillow's filters widen their support when they reduce, so all but "nearest" antialias; this is
# what FID's "clean" resizing means, and what TensorFlow's and PyTorch's defaults do not do.
RESIZERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def resized(images: Images, size: int, resizer: str = "lanczos") -> Images:
    """The images' centre squares at `size` pixels a side, by `square`; the same object if they are so already."""
    check_resizer(resizer)
    height, width, channels = images.size
    if (height, width) == (size, size):
        return images
    if size < 1:
        raise DataError(f"size {size} is not a number of pixels; give 1 or more")
    used = images.resizer if min(height, width) == size else resizer

    def change(image: np.ndarray | Lazy) -> np.ndarray | Lazy:
        shape = (len(image), size, size, channels)
        if isinstance(image, Lazy):
            return Lazy(lambda i: square(image[i], size, resizer), shape)
        out = np.empty(shape, np.uint8)
        for i, one in enumerate(image):
            out[i] = square(one, size, resizer)
        return out

    image = change(images.image)
    test_image = None if images.test_image is None else change(images.test_image)

    def identity(part: np.ndarray | Lazy, label: np.ndarray | None, attribute: np.ndarray | None, before: str) -> str:
        if isinstance(part, np.ndarray):
            return fingerprint(part, label, attribute)
        return before and hashlib.sha256(f"{before} {size} {used}".encode()).hexdigest()

    digest, tested = identity(image, images.label, images.attribute, images.fingerprint), ""
    if test_image is not None:
        tested = identity(test_image, images.test_label, images.test_attribute, images.test_fingerprint)
    return replace(
        images, image=image, test_image=test_image, fingerprint=digest, resizer=used, test_fingerprint=tested
    )


def square(image: np.ndarray, size: int, resizer: str = "lanczos") -> np.ndarray:
    """The centre square of uint8 [height, width, channel] resized to uint8 [size, size, channel].

    `resizer` is one of `RESIZERS`; all but nearest antialias when reducing. Each channel is
    resized on its own, in uint8 as Pillow does.
    """
    planes = [cut(Image.fromarray(image[..., c]), size, resizer) for c in range(image.shape[-1])]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def cut(picture: Image.Image, size: int, resizer: str) -> Image.Image:
    """The centre square of a picture, size by size pixels."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    # cropped first: resize(box=...) would let the filter see pixels beyond the square
    picture = picture.crop((left, top, left + side, top + side))
    return picture if side == size else picture.resize((size, size), RESIZERS[resizer])


def check_resizer(resizer: str) -> None:
    """DataError for what is none of `RESIZERS`."""
    if resizer not in RESIZERS:
        raise DataError(f"unknown resizer '{resizer}'; choose one of {', '.join(RESIZERS)}")
