"""Embedding networks for small grey images, in flax nnx.

    images [B, S, S] ──► stem, stride 2 ──► stages, stride 2 each ──► flatten
           ──► dense ──► batch norm ──► embedding [B, D]

A stage is one block wider and half as large as the one before. Three blocks:

    residual     y = x' + BN(conv(relu(BN(conv(x)))))
    resnet_se    the same, the second summand weighted by channel:
                 a · sigmoid(W₂ relu(W₁ mean(a)))
    efficient    MBConv: 1 × 1 to four times the channels, 3 × 3 by channel, the weights
                 by channel, 1 × 1 back; swish instead of relu

x' is x, or a 1 × 1 convolution of it where the shape changes. The flattened map keeps
where things are, which a mean over the map would forget. All arithmetic is float32,
whatever JAX's default.

Sources: He et al., CVPR 2016; Hu et al., Squeeze-and-Excitation, CVPR 2018; Tan and Le,
EfficientNet, ICML 2019; batch norm at the end as in ArcFace, CVPR 2019.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp

try:
    from flax import nnx
except ImportError as error:
    raise ImportError(
        "training needs flax, orbax-checkpoint and pillow: pip install 'gfa_jax[train]'"
    ) from error

NetworkName = Literal["residual", "resnet_se", "efficient"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)

_SQUEEZE = 4  # channels of a block to those that its channel weights pass through
_EXPAND = 4

_Conv = functools.partial(
    nnx.Conv, use_bias=False, dtype=jnp.float32, param_dtype=jnp.float32
)
_Dense = functools.partial(nnx.Linear, dtype=jnp.float32, param_dtype=jnp.float32)
# Half of the statistics are of the last seven batches: runs are short.
_BatchNorm = functools.partial(
    nnx.BatchNorm, momentum=0.9, dtype=jnp.float32, param_dtype=jnp.float32
)


class ChannelWeights(nnx.Module):
    """Squeeze and excitation: scales each channel by what all of them are about."""

    def __init__(self, channels: int, squeezed: int, *, act: Callable, rngs: nnx.Rngs):
        self.squeeze = _Dense(channels, squeezed, rngs=rngs)
        self.excite = _Dense(squeezed, channels, rngs=rngs)
        self.act = act

    def __call__(self, x: jax.Array) -> jax.Array:
        """Takes and returns [B, H, W, C]."""
        weights = self.act(self.squeeze(x.mean(axis=(1, 2))))
        return x * nnx.sigmoid(self.excite(weights))[:, None, None, :]


class ResidualBlock(nnx.Module):
    """Two 3 × 3 convolutions beside a shortcut, with channel weights if asked."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, weigh: bool, rngs: nnx.Rngs
    ):
        self.first = _Conv(inputs, outputs, (3, 3), strides=stride, rngs=rngs)
        self.first_norm = _BatchNorm(outputs, rngs=rngs)
        self.second = _Conv(outputs, outputs, (3, 3), rngs=rngs)
        self.second_norm = _BatchNorm(outputs, rngs=rngs)
        squeezed = max(1, outputs // _SQUEEZE)
        self.weights = (
            ChannelWeights(outputs, squeezed, act=nnx.relu, rngs=rngs)
            if weigh
            else None
        )
        self.shortcut = (
            _Conv(inputs, outputs, (1, 1), strides=stride, rngs=rngs)
            if stride > 1 or inputs != outputs
            else None
        )

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Takes [B, H, W, inputs], returns [B, H / stride, W / stride, outputs]."""
        y = self.first_norm(self.first(x), use_running_average=not train)
        y = self.second_norm(self.second(nnx.relu(y)), use_running_average=not train)
        if self.weights is not None:
            y = self.weights(y)
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class MBConvBlock(nnx.Module):
    """EfficientNet's block: expand, filter each channel, weigh, project."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, rngs: nnx.Rngs):
        wide = _EXPAND * inputs
        self.expand = _Conv(inputs, wide, (1, 1), rngs=rngs)
        self.expand_norm = _BatchNorm(wide, rngs=rngs)
        self.filter = _Conv(
            wide, wide, (3, 3), strides=stride, feature_group_count=wide, rngs=rngs
        )
        self.filter_norm = _BatchNorm(wide, rngs=rngs)
        squeezed = max(1, inputs // _SQUEEZE)
        self.weights = ChannelWeights(wide, squeezed, act=nnx.silu, rngs=rngs)
        self.project = _Conv(wide, outputs, (1, 1), rngs=rngs)
        self.project_norm = _BatchNorm(outputs, rngs=rngs)
        self.keeps_shape = stride == 1 and inputs == outputs

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Takes [B, H, W, inputs], returns [B, H / stride, W / stride, outputs]."""
        y = self.expand_norm(self.expand(x), use_running_average=not train)
        y = self.filter_norm(self.filter(nnx.silu(y)), use_running_average=not train)
        y = self.project(self.weights(nnx.silu(y)))
        y = self.project_norm(y, use_running_average=not train)
        return x + y if self.keeps_shape else y


class EmbeddingNetwork(nnx.Module):
    """The whole network of the module's docstring."""

    def __init__(
        self,
        name: NetworkName,
        *,
        image_size: int,
        widths: Sequence[int],
        depth: int,
        embedding_dim: int,
        rngs: nnx.Rngs,
    ):
        self.stem = _Conv(1, widths[0], (3, 3), strides=2, rngs=rngs)
        self.stem_norm = _BatchNorm(widths[0], rngs=rngs)
        blocks = []
        inputs = widths[0]
        for outputs in widths:
            for stride in (2,) + (1,) * (depth - 1):
                blocks.append(_block(name, inputs, outputs, stride=stride, rngs=rngs))
                inputs = outputs
        self.blocks = nnx.List(blocks)
        side = image_size
        for _ in range(1 + len(widths)):
            side = -(-side // 2)
        self.embed = _Dense(
            side * side * inputs, embedding_dim, use_bias=False, rngs=rngs
        )
        self.embed_norm = _BatchNorm(embedding_dim, use_scale=False, rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Embeds images.

        Args:
            images: [B, S, S] floating grey values in [0, 255].
            train: whether batch norm uses, and keeps, the statistics of the batch.

        Returns:
            [B, D] float32, of any length.
        """
        x = (images.astype(jnp.float32) / 127.5 - 1)[..., None]
        x = self.stem_norm(self.stem(x), use_running_average=not train)
        x = nnx.relu(x)
        for block in self.blocks:
            x = block(x, train=train)
        x = self.embed(x.reshape(len(x), -1))
        return self.embed_norm(x, use_running_average=not train)


def build(
    name: NetworkName,
    *,
    image_size: int,
    widths: Sequence[int] = (16, 32, 64),
    depth: int = 1,
    embedding_dim: int = 64,
    seed: int | jax.Array,
) -> EmbeddingNetwork:
    """Makes a network with random weights, for images of S pixels a side.

    `widths` are the channels of each stage, `depth` its blocks, at least 1. Raises
    ValueError for an unknown name, or numbers out of range.
    """
    if name not in NETWORKS:
        raise ValueError(f"network is {name!r}; expected one of {', '.join(NETWORKS)}")
    if not widths or min(image_size, depth, embedding_dim, *widths) < 1:
        raise ValueError(
            f"image_size {image_size}, widths {tuple(widths)}, depth {depth} and "
            f"embedding_dim {embedding_dim}: give numbers of at least 1"
        )
    return EmbeddingNetwork(
        name,
        image_size=image_size,
        widths=widths,
        depth=depth,
        embedding_dim=embedding_dim,
        # The usual generator takes most of a second a layer to compile on a CPU.
        rngs=nnx.Rngs(params=jax.random.key(seed, impl="unsafe_rbg")),
    )


def _block(
    name: NetworkName, inputs: int, outputs: int, *, stride: int, rngs: nnx.Rngs
) -> nnx.Module:
    if name == "efficient":
        return MBConvBlock(inputs, outputs, stride=stride, rngs=rngs)
    weigh = name == "resnet_se"
    return ResidualBlock(inputs, outputs, stride=stride, weigh=weigh, rngs=rngs)
