"""What Slurm, Open MPI or Kubernetes says of the process that it started.

JAX's own detection reads it: coordinator, number of processes, which of them this is,
and its number among those of the machine. JAX offers that only together with the start
of its runtime, before which the processes of a job meet (`rendezvous`), so its registry
of clusters is asked directly.
"""

import os
import warnings
from typing import NamedTuple

# What each sets in the processes of a job, and not in a pod or a batch script alone.
_SIGNS = {
    "OMPI_COMM_WORLD_SIZE": "Open MPI",
    "OMPI_COMM_WORLD_RANK": "Open MPI",
    "SLURM_STEP_NODELIST": "Slurm",
    "JOB_COMPLETION_INDEX": "Kubernetes",
}


class Place(NamedTuple):
    """A process in its job."""

    scheduler: str
    coordinator: str  # host:port of process 0
    num_processes: int
    process_id: int
    local_id: int | None  # among the processes of this machine, where that is told


def find(
    *, coordinator: str | None = None, process_id: int | None = None
) -> Place | None:
    """Finds the place of this process; None where no scheduler started it.

    What is given of it wins.

    Raises:
        ValueError: variables of the scheduler that are missing or do not fit.
    """
    scheduler = next((_SIGNS[sign] for sign in _SIGNS if sign in os.environ), None)
    if scheduler is None:
        return None
    try:
        from jax._src import clusters

        detect = clusters.ClusterEnv.auto_detect_unset_distributed_params
        with warnings.catch_warnings():
            # Kubernetes' says which package is lacking.
            warnings.simplefilter("error", UserWarning)
            coordinator, count, process_id, local = detect(
                coordinator, None, process_id, None, None, None
            )
        if coordinator is None or count is None or process_id is None:
            raise ValueError("variables that say its rank are missing")
        if not 0 <= process_id < count:
            raise ValueError(f"it is number {process_id} of {count}")
        if local and local[0] < 0:
            raise ValueError(f"it is number {local[0]} on its machine")
    except Exception as error:  # whatever the client of a scheduler raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{scheduler} started this process, but its place in the job is not known "
            f"({reason}); give --num_processes, --process_id and --coordinator, or "
            "--num_processes=1 to run it alone"
        ) from error
    return Place(scheduler, coordinator, count, process_id, local[0] if local else None)


def own_devices(local_id: int, count: int) -> list[int]:
    """Numbers the GPUs of a process among those that it sees, `count` where it can.

    A scheduler that binds them shows each process its own, of which it takes all; else
    every process of the machine sees all, and takes its turn.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if seen[0] and len(seen) <= count:
        return [*range(len(seen))]
    return [*range(local_id * count, (local_id + 1) * count)]
