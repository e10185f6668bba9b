"""The seconds, bytes and money that a pool takes on P GPUs, by a model.

With n = ⌈N/P⌉ rows a device, D columns, K candidates, T updates, 4 bytes a value:

    exact search   N² D / P operations, and N² D / P² more where P is even; each cosine
                   passes the device's memory four times (written, and read for the
                   maxima of its groups, its row and its column); ⌊P/2⌋ blocks of n rows
                   and their lists arrive, and the lists once more
    IVF            one index of n rows a process, C cells: 10 rounds of k-means on 64 C
                   rows, filling it, then N queries that each read C centroids and
                   nprobe cells of n / C rows
    an update      n K rows of D are read at random; the other devices' N D (P − 1)/P
                   values arrive, all at once (gather) or one block after another (ring)

Operations and memory traffic of one device add up; what arrives in a ring hides behind
them, so that the longer of the two counts. Nothing here was measured on a GPU.
"""

import math
from typing import NamedTuple

from gfa_jax import sharding
from gfa_jax.neighbors.calibrated import num_cells

_VALUE = 4
_LIST_ENTRY = 8
_PASSES = 4
_KMEANS_ROUNDS = 10
_ROWS_PER_CELL = 64


class Machine(NamedTuple):
    """What one GPU, and the host share of one process, can do.

    Attributes:
        tflops: 10¹² operations a second of the search's matrix product.
        memory_gbs: GB a second of device memory.
        memory_gb: GB of device memory.
        near_gbs: GB a second that arrive from a GPU of the same host.
        far_gbs: GB a second that arrive from a GPU of another host.
        gpus_per_host: GPUs of one host.
        index_tflops: 10¹² operations a second of the processor's share.
        index_gbs: GB a second of host memory's share.
        price: of a GPU for an hour.
    """

    tflops: float
    memory_gbs: float
    memory_gb: float
    near_gbs: float
    far_gbs: float
    gpus_per_host: int
    index_tflops: float
    index_gbs: float
    price: float

    def link(self, num_devices: int) -> float:
        """GB a second on the slowest link of a ring over so many GPUs."""
        return self.near_gbs if num_devices <= self.gpus_per_host else self.far_gbs


class Job(NamedTuple):
    """What is computed.

    Attributes:
        num_rows: N.
        dim: D.
        k: K.
        num_steps: T.
        nprobe: cells of each index that a query reads.
    """

    num_rows: int
    dim: int
    k: int
    num_steps: int
    nprobe: int


class Estimate(NamedTuple):
    """What the model says of one stage on P devices.

    Attributes:
        seconds: of the stage.
        device_bytes: held on each device.
        link_bytes: that arrive at each device.
    """

    seconds: float
    device_bytes: float
    link_bytes: float


def exact_search(job: Job, machine: Machine, num_devices: int) -> Estimate:
    """Estimates `exact_neighbors_sharded`; see the module."""
    share, hops = _share(job, num_devices), num_devices // 2
    cosines = search_cosines(job.num_rows, num_devices)
    compute = 2 * cosines * job.dim / (machine.tflops * 1e12)
    memory = _PASSES * _VALUE * cosines / (machine.memory_gbs * 1e9)
    arriving = search_link_bytes(job, num_devices) if hops else 0
    links = arriving / (machine.link(num_devices) * 1e9)
    held = 3 * share * job.dim * _VALUE + 4 * share * job.k * _LIST_ENTRY
    return Estimate(max(compute + memory, links), held, arriving)


def search_cosines(num_rows: int, num_devices: int) -> float:
    """Counts the cosines of one device: half of all pairs, shared, and the opposite."""
    share = math.ceil(num_rows / num_devices)
    others = num_devices // 2
    own = share**2 / 2 if num_devices > 1 else num_rows**2 / 2
    return own + others * share**2


def search_link_bytes(job: Job, num_devices: int) -> int:
    """Counts the bytes that arrive at one device: blocks, marks and lists; lists."""
    share = _share(job, num_devices)
    lists = share * (job.k - 1) * _LIST_ENTRY
    return (num_devices // 2) * (share * (job.dim * _VALUE + 1) + lists) + lists


def ivf_search(job: Job, machine: Machine, num_devices: int) -> Estimate:
    """Estimates `faiss_neighbors_sharded` with an inverted file; see the module."""
    share = _share(job, num_devices)
    cells = num_cells(share)
    trained = min(share, _ROWS_PER_CELL * cells)
    products = _KMEANS_ROUNDS * trained * cells + share * cells + job.num_rows * cells
    compute = 2 * products * job.dim / (machine.index_tflops * 1e12)
    read = job.num_rows * min(job.nprobe / cells, 1) * share * job.dim * _VALUE
    memory = read / (machine.index_gbs * 1e9)
    others = (num_devices - 1) / num_devices
    arriving = others * job.num_rows * job.dim * _VALUE
    arriving += others * job.num_rows * job.k * _LIST_ENTRY
    links = arriving / (machine.link(num_devices) * 1e9)
    return Estimate(max(compute + memory, links), 0, arriving)


def updates(
    job: Job, machine: Machine, num_devices: int
) -> tuple[Estimate, sharding.ExchangeMemory, str]:
    """Estimates `aggregate_sharded`, in the form that fits a device; see the module."""
    share = _share(job, num_devices)
    held = sharding.exchange_memory(
        num_rows=job.num_rows, dim=job.dim, k=job.k, num_devices=num_devices
    )
    limit = round(machine.memory_gb * 1e9)
    exchange = sharding.choose_exchange(held, memory_limit=limit)
    row = job.dim * _VALUE
    read = share * (job.k + 3) * row
    if exchange == "ring":
        read += num_devices * 3 * share * row
    memory = read / (machine.memory_gbs * 1e9)
    arriving = (num_devices - 1) * share * row
    links = arriving / (machine.link(num_devices) * 1e9)
    step = max(memory, links) if exchange == "ring" else memory + links
    return (
        Estimate(
            job.num_steps * step, getattr(held, exchange), job.num_steps * arriving
        ),
        held,
        exchange,
    )


def turning_point(
    job: Job, machine: Machine, num_devices: int, *, what: str
) -> int | None:
    """Finds the N, to three digits, from which the choice is the other one.

    Near it IVF and exact search may change places more than once: the number of cells
    is a power of two.

    Args:
        job: its num_rows is not read.
        machine: the GPUs.
        num_devices: P.
        what: "ivf" for the size from which IVF takes less time than exact search;
            "ring" from which the gathered form does not fit; "full" from which
            neither form of an update does.

    Returns:
        N, or None where it is above 10¹².
    """

    def turned(num_rows: int) -> bool:
        asked = job._replace(num_rows=num_rows)
        if what == "ivf":
            exact = exact_search(asked, machine, num_devices).seconds
            return ivf_search(asked, machine, num_devices).seconds < exact
        estimate, _, exchange = updates(asked, machine, num_devices)
        if what == "ring":
            return exchange == "ring" or estimate.device_bytes > machine.memory_gb * 1e9
        search = exact_search(asked, machine, num_devices)
        needed = max(estimate.device_bytes, search.device_bytes)
        return needed > machine.memory_gb * 1e9

    low, high = 1000 * num_devices, 10**12
    if not turned(high):
        return None
    while high - low > low // 1000:
        middle = (low + high) // 2
        low, high = (low, middle) if turned(middle) else (middle, high)
    return high


def _share(job: Job, num_devices: int) -> int:
    return math.ceil(job.num_rows / num_devices)
