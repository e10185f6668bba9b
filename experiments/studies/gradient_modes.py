"""Three ways to one gradient: what each holds in memory, and how far they agree.

    python -m experiments.gradient_modes --steps=5,20,80

T updates as `gfa_jax.fixed_point` makes them, on generated features, soft mask
and fixed graph, and a loss of the refined rows; its gradient in the four parameters

    reverse    through a checkpointed scan
    forward    along one tangent a parameter
    implicit   at the fixed point, to which no number of updates belongs

Memory is that of the temporaries of the compiled program in units of the features,
[N, D], the same in every run; the distance is the largest difference from the implicit
gradient over its largest part. Written to --output_dir: report.json. The difference is
of float64 with JAX_ENABLE_X64=1. Needs optimistix: pip install '.[cpu,train]'.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from gfa_jax import affinity, datasets
from gfa_jax.fixed_point import iteration
from gfa_jax.programs import cli, evaluation, flags, outputs

FLAGS = flags.FLAGS
_SOFT = gfa.Options(mask="soft")
_SEED = 0  # of the features and the loss
flags.DEFINE_integer("rows", 2000, "Rows N of the generated features.", 16)
flags.DEFINE_integer("columns", 128, "Columns D.", 2)
flags.DEFINE_integer("k", 15, "Neighbours, the row itself counted.", 2)
flags.DEFINE_list("steps", ["5", "20", "80"], "T of reverse and forward mode.")
flags.DEFINE_float("gamma", 0.5, "Share of the neighbours.", 0.0, 0.99)
flags.DEFINE_float("threshold", 0.55, "t.", -1.0, 1.0)
_OUTPUTS = ("report.json",)
flags.DEFINE_string("output_dir", "outputs/gradient_modes", "Folder of the results.")


class Problem(NamedTuple):
    """What a gradient is taken at."""

    params: gfa.Params  # what it is of
    features: jax.Array  # [N, D] floating unit rows
    neighbors: gfa.Neighbors  # [N, K]
    target: jax.Array  # [N, D]; the loss is ⟨F, target⟩


class Mode(NamedTuple):
    """One gradient."""

    name: str  # reverse, forward or implicit
    steps: int | None  # T; None for the fixed point
    # Function of a Problem's fields that gives Params.
    gradient: Callable[..., gfa.Params]


class Measured(NamedTuple):
    """What one gradient holds and gives."""

    name: str  # of the mode
    steps: int | None  # T; None for the fixed point
    bytes: int | None  # of its temporaries; None where the compiler does not tell
    matrices: float | None  # the same over the bytes of the features
    distance: float  # from the implicit gradient


def modes(steps: Sequence[int]) -> list[Mode]:
    """Builds the gradients of ⟨F, target⟩ in the parameters.

    Args:
        steps: T of reverse and forward mode.

    Returns:
        The modes, the implicit one first.
    """

    def at_rest(params, features, neighbors, target) -> jax.Array:
        rest = iteration.solve(features, neighbors, params, options=_SOFT)
        return jnp.vdot(rest.features, target)

    def after(num_steps: int) -> Callable[..., jax.Array]:
        def loss(params, features, neighbors, target) -> jax.Array:
            indices = neighbors.indices
            edges = affinity.score(features, indices, params, options=_SOFT)

            def step(rows, _):
                return iteration.update_from_start(
                    rows, features, indices, params, edges=edges
                ), None

            rows, _ = jax.lax.scan(jax.checkpoint(step), features, length=num_steps)
            return jnp.vdot(rows, target)

        return loss

    found = [Mode("implicit", None, jax.grad(at_rest))]
    for num_steps in steps:
        found.append(Mode("reverse", num_steps, jax.grad(after(num_steps))))
        found.append(Mode("forward", num_steps, jax.jacfwd(after(num_steps))))
    return found


def measure(problem: Problem, steps: Sequence[int]) -> list[Measured]:
    """Compiles and runs each mode.

    Args:
        problem: at which the gradients are taken.
        steps: T of reverse and forward mode.

    Returns:
        Measured, one a mode, the implicit one first.
    """
    found, reference = [], None
    for mode in modes(steps):
        compiled = jax.jit(mode.gradient).lower(*problem).compile()
        analysis: Any = compiled.memory_analysis()
        held = None if analysis is None else int(analysis.temp_size_in_bytes)
        gradient = np.asarray(jnp.stack(compiled(*problem)), np.float64)
        reference = gradient if reference is None else reference
        distance = float(np.abs(gradient - reference).max() / np.abs(reference).max())
        matrices = None if held is None else held / problem.features.nbytes
        found.append(Measured(mode.name, mode.steps, held, matrices, distance))
    return found


def render(found: list[Measured]) -> str:
    """Lays the table out for the terminal."""
    lines = [["gradient", "T", "[N, D] arrays", "bytes", "distance"]]
    for row in found:
        size = "-" if row.bytes is None else f"{row.bytes:,}"
        matrices = "-" if row.matrices is None else f"{row.matrices:.1f}"
        steps = "at rest" if row.steps is None else str(row.steps)
        lines.append([row.name, steps, matrices, size, f"{row.distance:.1e}"])
    return evaluation.align(lines)


def main() -> None:
    """Generates, compiles, measures, writes."""
    cli.keep_compiled_programs()
    stages = cli.Stages()
    steps = cli.numbers("steps", int)
    if min(steps) < 1:
        raise ValueError(f"--steps={','.join(FLAGS.steps)}: expected at least 1 each")
    gfa.neighbors.check_k(FLAGS.k, FLAGS.rows)
    folder = outputs.prepare_folder(FLAGS.output_dir, _OUTPUTS)
    sample = datasets.synthetic_features(
        num_rows=FLAGS.rows, dim=FLAGS.columns, seed=_SEED
    )
    dtype = jnp.zeros(0).dtype  # float64 where JAX was told so
    features = jnp.asarray(sample.features, dtype)
    draws = np.random.default_rng(_SEED).standard_normal(features.shape)
    target = jnp.asarray(draws, dtype)
    given = gfa.Params(FLAGS.gamma, FLAGS.threshold)
    params = gfa.Params(*(jnp.asarray(value, dtype) for value in given))
    with stages("gradients"):
        neighbors = gfa.exact_neighbors(features, k=FLAGS.k)
        found = measure(Problem(params, features, neighbors, target), steps)
    with outputs.staged(folder, _OUTPUTS) as hidden:
        report = {
            "dtype": str(dtype),
            "gradients": [row._asdict() for row in found],
            "seconds": stages.seconds,
        }
        outputs.write_report(hidden, report)
    print(render(found))
    print(f"report.json is in {folder}")
