"""The GAN of 2014 under the protocol of its paper: Parzen-window log-likelihood of MNIST test images.

    python experiments/parzen.py                              protocol `cpu`: a small part of the training
    python experiments/parzen.py --protocol paper             250 epochs: an accelerator, or hours
    python experiments/parzen.py --data npz:mnist.npz         MNIST from a file

Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv 1406.2661, Table 1: 225 +- 2 nats, where
the uncertainty is over test images of one model. Ours is over seeds, and the one over test images
stands beside it. Protocol: the first 50,000 training images, 10,000 samples, pixels in [0, 1]; the
bandwidth is the best of ten between 0.1 and 1 on the first 1,000 of the last 10,000 training images;
the mean over the 10,000 test images. Where the training differs from the authors' says recipes/gan.py.

The rows "training images" and "k-means centroids" are the estimator's own: real images as if they were
samples, and centroids of the training images, which no model drew. Theis et al. 2016, arXiv
1511.01844, Table 1, have 243 and 313 for them: the estimator prefers the centroids to the data.
"""

import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np
from contract import Row, arguments, committed, finish

import jaxgan
from jaxgan.data.images import Images
from jaxgan.evaluation.likelihood import parzen_bandwidth, parzen_log_likelihood
from jaxgan.recipes.dataset import open_data
from jaxgan.run import find_preset
from jaxgan.training.parallel import configure_backend

PAPER = "Goodfellow et al. 2014, arXiv 1406.2661, Table 1"
NOTE = "Theis et al. 2016, arXiv 1511.01844, Table 1"
BANDWIDTHS = [float(bandwidth) for bandwidth in np.logspace(-1, 0, 10)]
EPOCHS = {"paper": 250, "cpu": 4}


def main() -> None:
    parser = arguments(__doc__ or "", seeds=3)
    parser.add_argument("--protocol", choices=EPOCHS, default="cpu")
    parser.add_argument("--data", default="mnist", help="mnist, or npz:FILE with the same images")
    parser.add_argument("--data-dir", default=None, help="where the data set lies, or its official files")
    flags = parser.parse_args()
    began = time.perf_counter()
    configure_backend()
    options = find_preset("gan", "paper").options
    images = open_data(replace(options, data="digits" if flags.smoke else flags.data, data_dir=flags.data_dir))
    assert isinstance(images, Images) and images.test_image is not None
    n = 300 if flags.smoke else 2000 if flags.quick else 10_000
    pixels, test = _pixels(images.image), _pixels(images.test_image)[:n]
    train, validation = pixels[: len(pixels) * 5 // 6], pixels[len(pixels) * 5 // 6 :][:1000]

    def nats(samples: np.ndarray) -> np.ndarray:
        return parzen_log_likelihood(test, samples, parzen_bandwidth(validation, samples, BANDWIDTHS))

    rows = [
        _estimator("training images", nats(train[:n]), 243.0),
        _estimator("k-means centroids", nats(_centroids(train, n)), 313.0),
    ]
    steps = 2 if flags.smoke else 300 if flags.quick else EPOCHS[flags.protocol] * len(train) // options.batch
    means, errors = [], []
    with tempfile.TemporaryDirectory() as folder:
        # the validation images are no part of the training
        np.savez(f"{folder}/train.npz", image=np.asarray(images.image)[: len(train)])
        for seed in range(flags.seeds):
            run = jaxgan.train(
                "gan",
                preset="paper",
                data=f"npz:{folder}/train.npz",
                steps=steps,
                seed=seed,
                outdir=folder,
                features="random-conv",
                sample_every=0,
                save_every=0,
                quiet=True,
                **({"generator_width": 8, "discriminator_width": 8} if flags.smoke else {}),
            )
            scores = nats(_pixels(run.sample(n, seed=1)))
            means.append(float(scores.mean()))
            errors.append(float(scores.std(ddof=1) / np.sqrt(len(scores))))
            print(f"seed {seed}: {means[-1]:.1f} +- {errors[-1]:.1f} nats", flush=True)
    error = float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None
    published: dict[str, Any] = {"published": 225.0, "published_uncertainty": 2.0, "source": PAPER}
    beside = published if flags.protocol == "paper" else {}
    name = f"gan ({flags.protocol})"
    rows.append(Row(name, "nats", float(np.mean(means)), error, "standard error over seeds", len(means), **beside))
    rows.append(Row(f"one seed of gan ({flags.protocol})", "nats", means[0], errors[0], "standard error over images"))
    other = "cpu" if flags.protocol == "paper" else "paper"
    pending = [Row("gan (paper)", "nats", None, **published)] if other == "paper" else []
    rows += committed("parzen", other) or pending
    protocol = (
        f"{', '.join(f'{kind}: {count} epochs' for kind, count in EPOCHS.items())}; batch {options.batch}, "
        f"{n:,} samples, {images.name}"
    )
    finish("parzen", PAPER, protocol, rows, began, flags)


def _estimator(method: str, scores: np.ndarray, published: float) -> Row:
    error = float(scores.std(ddof=1) / np.sqrt(len(scores)))
    return Row(method, "nats", float(scores.mean()), error, "standard error over images", 1, published, None, NOTE)


def _centroids(train: np.ndarray, n: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    flat = train.reshape(len(train), -1)
    means = MiniBatchKMeans(n, init="random", random_state=0, n_init=1, batch_size=4096, max_iter=5)
    return means.fit(flat).cluster_centers_


def _pixels(images: Any) -> np.ndarray:
    images = np.asarray(images)
    return images / 255.0 if images.dtype == np.uint8 else (images + 1.0) / 2.0


if __name__ == "__main__":
    main()
