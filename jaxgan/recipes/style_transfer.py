"""Style transfer: one photograph in the style of a set of pictures, or of another photograph.

Park, Efros, Zhang, Zhu, "Contrastive Learning for Unpaired Image-to-Image Translation", 2020, arXiv 2007.15651,
section 4.4: the game of `cut` on crops of a single picture, with nothing but that game to say what style is.

    jaxgan train style_transfer                                          a temple in the colours of a flower
    jaxgan train style_transfer --data crops:PHOTO.jpg+folder:PAINTINGS
    jaxgan translate RUN PHOTO.jpg                                       the whole photograph, at its own size

The photograph's crops are domain a, the style domain b. The defaults take two photographs that come with
scikit-learn. Style is judged by eye, and by the Frechet distance of random convolutions between translated
crops and the style's: after 600 steps (experiments/translation.py) 9, 45 before, 32 without the contrast or without
low-pass filters, which leaves a chequered ground. There is no published number for it. The paper's nets for one
picture are StyleGAN2's, of 1024 pixels; these are `cut`'s, so there is no preset `paper`.
"""

from dataclasses import replace

from jaxgan.config import Options, Preset
from jaxgan.recipes import cut
from jaxgan.recipes.cut import Config, make

__all__ = ["PRESETS", "Config", "make"]

CROPS = cut.PRESETS["cpu"].config

PRESETS = {
    "cpu": Preset(
        replace(CROPS, nets=replace(CROPS.nets, halvings=2, antialias=True), identity_weight=0.0, contrast_weight=2.0),
        Options(steps=1000, batch=4, data="china+flower", size=32, sample_every=250, evaluate_every=250),
    ),
}
