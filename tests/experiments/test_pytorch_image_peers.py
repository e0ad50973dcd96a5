"""The nets of the benchmark in PyTorch are ours: outputs and gradients with copied parameters."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

import image_workloads  # noqa: E402
import pytorch_image_peers  # noqa: E402

W = image_workloads.IMAGE_WORKLOADS
SMALL = {name: image_workloads.tiny_images(W[f"{name}-64x64-64"]) for name in ("stylegan2", "biggan", "r3gan")}
CASES = {
    # higher than wide or wider than high; attention behind the start or a block of G
    "stylegan2": replace(SMALL["stylegan2"], size=(16, 24, 3)),
    "biggan-8": replace(SMALL["biggan"], size=(8, 12, 3), attention=4),
    "biggan-16": replace(SMALL["biggan"], size=(16, 16, 3), attention=8),
    # with the channels of the paper's tables, which begin at 64 pixels
    "biggan-64": replace(SMALL["biggan"], size=(64, 64, 3), attention=32, width=2),
    "r3gan": replace(SMALL["r3gan"], size=(16, 24, 3), blocks=2),
}


def _spread(variables: Any, seed: int) -> Any:
    """The same variables with every parameter off its start, and power iterations that have converged."""
    draw = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: np.asarray(x + 0.3 * max(float(np.std(x)), 0.1) * draw.normal(size=x.shape), np.float32),
        variables["params"],
    )
    spread = {**variables, "params": params}
    if "spectral" in variables:
        spread["spectral"] = _converged(variables["spectral"], params)
    return spread


def _converged(spectral: Any, params: Any) -> Any:
    # tests whether the order of the kernels is the one in which SpectralNorm numbers them: shapes must fit
    kernels = {
        "start": ["Dense_0", "Convolution_0"],
        "UpBlock": ["Convolution_0", "UpsampledConvolution_0", "Convolution_1"],
        "ConditionalBatchNorm": ["Dense_0", "Dense_1"],
        "SelfAttention": ["query", "key", "value", "output"],
        "FirstBlock": ["Convolution_0", "Convolution_1", "PooledConvolution_0"],
        "DownBlock": ["Convolution_0", "Convolution_1", "PooledConvolution_0"],
    }

    def visit(us: Any, tree: Any, kind: str) -> Any:
        names = kernels[kind]
        if kind == "start" and "Dense_1" in tree:
            names = ["Dense_0", "Dense_1"]
        if kind == "DownBlock" and "PooledConvolution_0" not in tree:
            names = ["Convolution_0", "Convolution_1", "Convolution_2"]
        found = {}
        for name, value in us.items():
            if not name.startswith("SpectralNorm_"):
                found[name] = visit(value, tree[name], name.split("_")[0])
                continue
            kernel = tree[names[int(name.split("_")[1])]]["kernel"]
            left = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]).T)[0][:, 0]
            assert left.shape == value["u"].shape
            found[name] = {"u": jnp.asarray(left)}
        return found

    return visit(spectral, params, "start")


def _theirs(x: Any, images: bool = False) -> Any:
    x = np.asarray(x)
    return torch.from_numpy(np.array(x.transpose(0, 3, 1, 2) if images else x))


@pytest.mark.parametrize(
    ("name", "train"),
    # only BigGAN's nets are different in use
    [
        ("stylegan2", True),
        ("biggan-8", True),
        ("biggan-16", True),
        ("r3gan", True),
        ("biggan-8", False),
        ("biggan-64", False),
    ],
)
def test_same_parameters_same_outputs_and_gradients(name: str, train: bool) -> None:
    w, draw = CASES[name], np.random.default_rng(1)
    ours = image_workloads.our_nets(w)
    variables = [_spread(jax.jit(net.init)(jax.random.key(i)), i) for i, net in enumerate(ours)]
    theirs = pytorch_image_peers.nets(w)
    pytorch_image_peers.copy_parameters(w, theirs, (variables[0], variables[1]))
    latent = draw.normal(size=(w.batch, w.latent)).astype(np.float32)
    images = draw.normal(size=(w.batch, *w.size)).astype(np.float32)
    label = (draw.permutation(w.batch) % w.num_classes,) if w.num_classes else ()
    quiet: dict[str, Any] = {"noisy": False} if w.net == "stylegan2" else {}
    for net, mine, variable, inputs, options in (
        (theirs[0], ours[0], variables[0], latent, quiet),
        (theirs[1], ours[1], variables[1], images, {}),
    ):
        net.train(train)
        of_images = inputs is images
        weights = draw.normal(size=(w.batch,) if of_images else (w.batch, *w.size)).astype(np.float32)

        def loss(
            params: Any, x: Any, mine: Any = mine, variable: Any = variable, weights: np.ndarray = weights
        ) -> tuple[Any, Any]:
            output = mine.apply({**variable, "params": params}, x, *label, train=train)[0]
            return jnp.mean(output * weights), output

        if train:
            differentiated = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
            (_, output), (gradients, to_inputs) = differentiated(variable["params"], inputs)
        else:
            output = jax.jit(loss)(variable["params"], inputs)[1]
        seen = _theirs(inputs, of_images).requires_grad_(True)
        result = net(seen, *[torch.from_numpy(x) for x in label], **options)
        (result * _theirs(weights, not of_images)).mean().backward()
        found = result.detach().numpy()
        scale = float(np.std(output))
        # what varies over examples and pixels, not a constant
        assert scale > 1e-3 and np.std(np.asarray(output), axis=0).max() > 1e-3
        assert_allclose(found if of_images else found.transpose(0, 2, 3, 1), output, rtol=1e-4, atol=1e-4 * scale)
        if train:
            reached = seen.grad.numpy()
            reached = reached.transpose(0, 2, 3, 1) if of_images else reached
            # a bias in front of batch normalization has a gradient of zero but for rounding
            floor = 1e-2 * max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
            close(reached, to_inputs)
            # gradients take the way of the parameters: put where theirs are, they are theirs
            copy = pytorch_image_peers.nets(w)[of_images]
            held = {**variable, "params": gradients}
            family = pytorch_image_peers.FAMILIES[w.net]
            (family.copy_discriminator if of_images else family.copy_generator)(copy, held)
            theirs_named, ours_named = dict(net.named_parameters()), dict(copy.named_parameters())
            assert theirs_named.keys() == ours_named.keys() and len(theirs_named) == len(jax.tree.leaves(gradients))
            for key, value in theirs_named.items():
                assert value.grad is not None, key
                close(value.grad.numpy(), ours_named[key].detach().numpy(), key, floor)


def close(found: np.ndarray, expected: Any, name: str = "", floor: float = 0.0) -> None:
    expected = np.asarray(expected)
    scale = max(float(np.abs(expected).max()), floor)
    assert scale > 0, name
    assert_allclose(found, expected, rtol=1e-3, atol=2e-4 * scale, err_msg=name)


@pytest.mark.parametrize("kind", ["non_saturating", "hinge", "relativistic"])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_losses(kind: str, player: str) -> None:
    from jaxgan.losses import adversarial

    real, fake = np.float32([1.5, -0.3, 0.4]), np.float32([-0.7, 2.0, 0.1])
    expected = jnp.mean(getattr(getattr(adversarial, kind), player)(real, fake))
    function = getattr(pytorch_image_peers, f"{player}_loss")
    assert_allclose(function(kind, torch.from_numpy(real), torch.from_numpy(fake)).item(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["stylegan2", "r3gan"])
def test_the_penalty(name: str) -> None:
    from jaxgan.losses import penalties

    w, draw = SMALL[name], np.random.default_rng(2)
    ours, net = image_workloads.our_nets(w)[1], pytorch_image_peers.nets(w)[1]
    variables = _spread(jax.jit(ours.init)(jax.random.key(0)), 3)
    pytorch_image_peers.FAMILIES[w.net].copy_discriminator(net, variables)
    images = draw.normal(size=(w.batch, *w.size)).astype(np.float32)

    def penalty(params: Any) -> Any:
        critic = lambda x: ours.apply({**variables, "params": params}, x)[0]  # noqa: E731
        return jnp.mean(penalties.r1(critic, images, images, jax.random.key(0)))

    expected, gradients = jax.jit(jax.value_and_grad(penalty))(variables["params"])
    seen = _theirs(images, True).requires_grad_(True)
    found = pytorch_image_peers.squared_gradient(net(seen), seen)
    found.backward()
    assert_allclose(found.item(), expected, rtol=1e-4)
    # of a layer in front, whose way to the penalty is the longest
    layer, key = (net.blocks[0].conv1, "Convolution_2") if name == "stylegan2" else (net.first, "Convolution_0")
    close(layer.weight.grad.numpy(), gradients[key]["kernel"].transpose(3, 2, 0, 1))
