"""Random views of an image that show the same person.

    x ↦ a · mirror?(shift(x)) + b,     a ~ U[1 − c, 1 + c],  b ~ 255 · U[−c, c]

mirrored with probability 1/2; shifted by whole pixels, the edge repeated, which is a
crop of the padded image.
"""

import jax
import jax.numpy as jnp


def augment(
    key: jax.Array,
    images: jax.Array,
    *,
    flip: bool = True,
    max_shift: int = 2,
    brightness: float = 0.2,
) -> jax.Array:
    """Draws one view, float32 and not clipped, of every image [B, S, S] in [0, 255].

    Half of them are mirrored where `flip`; shifts go up to `max_shift` pixels each way,
    and `brightness` is c in [0, 1). The same key gives the same views.
    """
    count, size, _ = images.shape
    images = images.astype(jnp.float32)
    mirror, shift, gain, offset = jax.random.split(key, 4)
    if flip:
        mirrored = jax.random.bernoulli(mirror, shape=(count, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    if max_shift:
        start = jax.random.randint(shift, (count, 2), 0, 2 * max_shift + 1)
        around = [(0, 0), (max_shift, max_shift), (max_shift, max_shift)]
        padded = jnp.pad(images, around, mode="edge")

        def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1]), (size, size))

        images = jax.vmap(crop)(padded, start)
    draws = {"shape": (count, 1, 1), "dtype": jnp.float32}
    scale = 1 + jax.random.uniform(gain, minval=-brightness, maxval=brightness, **draws)
    moved = jax.random.uniform(offset, minval=-brightness, maxval=brightness, **draws)
    return scale * images + 255 * moved
