"""The measurements as Markdown, and as curves of seconds against rows."""

import math

import jax

from experiments.benchmarks import gradient_memory, timing
from experiments.benchmarks.measured import Found, Row
from gfa_jax.plotting import style


def render(
    rows: list[Row],
    found: list[Found],
    gradients: list[gradient_memory.Gradient],
    limits: dict[str, float],
    reading: dict[int, dict[str, int] | None],
    *,
    dim: int,
    k: int,
) -> str:
    """Lays everything out in Markdown.

    `limits` are the measured rates of "product" and "copy"; `reading`, by N, the most
    bytes of a process that only reads the rows.
    """
    device = jax.devices()[0]
    only_read = ", ".join(f"{_mb(held)} ({size:,})" for size, held in reading.items())
    lines = [
        f"{device.device_kind}, JAX {jax.__version__}, float32, D={dim}, K={k}: tile "
        f"products {limits['product'] / 1e9:.0f} GFLOP/s, copy "
        f"{limits['copy'] / 1e9:.1f} GB/s. A process that only reads the rows holds "
        f"{only_read} MB.",
        "",
    ]
    lines += _table(
        "stage | N | ours, s | of the ceiling | ours, MB | peer | peer, s | peer, MB "
        "| times as fast (least–most)",
        [_cells(row) for row in rows],
    )
    if any(row.share < 1 for row in rows):
        lines += ["~ estimated: the peer did a share of the queries.", ""]
    if len({row.size for row in rows}) > 1:
        lines += _table("grows as | ours | peer | its", _growths(rows))
    if found:
        lines += _table(
            "approximate search | N | setting | recall of all K | of the edges",
            [
                f"{each.method} | {each.size:,} | {each.setting} | {each.recall:.4f} "
                f"| {each.edge_recall:.4f}"
                for each in found
            ],
        )
    if gradients:
        lines += _table(
            "memory of a gradient, T = 20, in feature matrices | K | temporaries",
            [f"graph={g.graph} | {g.k} | {g.matrices:.1f}" for g in gradients],
        )
    return "\n".join(lines[:-1]) + "\n"


def plot(rows: list[Row]):
    """Draws seconds against rows on logarithmic axes, ours solid and peers dashed.

    Args:
        rows: of the main table.

    Returns:
        A matplotlib figure, a panel a stage.
    """
    import matplotlib.figure

    names = list(dict.fromkeys(row.stage for row in rows))
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    figure = matplotlib.figure.Figure(
        figsize=(3.1 * columns, 2.7 * lines), layout="constrained"
    )
    panels = figure.subplots(lines, columns, sharex=False, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        ours = [row for row in rows if row.stage == name]
        peers = list(dict.fromkeys(row.peer for row in ours))
        curves = {"ours": _curve(ours, peers[0], is_ours=True)}
        curves |= {peer: _curve(ours, peer, is_ours=False) for peer in peers}
        for number, (label, (sizes, seconds)) in enumerate(curves.items()):
            axes.plot(
                sizes,
                seconds,
                color=style.COLORS[number],
                marker=style.MARKERS[number],
                linestyle="--" if number else "-",
                markersize=4,
                linewidth=1.2 if number else 2,
                label=label,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = sorted({row.size for row in ours})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_title(name, fontsize="medium")
        axes.set_xlabel("rows N")
        axes.set_ylabel("seconds")
        axes.grid(visible=True, alpha=0.3)
        # Room above the curves for the names.
        axes.margins(x=0.1, y=0.4)
        axes.legend(fontsize="x-small", frameon=False, loc="upper left")
    return figure


def _curve(
    rows: list[Row], peer: str, *, is_ours: bool
) -> tuple[list[int], list[float]]:
    series = [row for row in rows if row.peer == peer]
    sizes = [row.size for row in series]
    times = [row.times.ours if is_ours else row.times.peer for row in series]
    return sizes, [timing.median(each) for each in times]


def _cells(row: Row) -> str:
    ratios = row.times.ratios
    ceiling = "" if row.ceiling is None else f"{row.ceiling:.0%}"
    estimated = "~" if row.share < 1 else ""
    return (
        f"{row.stage} | {row.size:,} | {timing.median(row.times.ours):.3g} | {ceiling} "
        f"| {_mb(row.ours_bytes)} | {row.peer} "
        f"| {estimated}{timing.median(row.times.peer):.3g} | {_mb(row.peer_bytes)} "
        f"| {timing.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    )


def _mb(held: dict[str, int] | None) -> str:
    if held is None:
        return "none"
    text = f"{held['resident_bytes'] / 1e6:,.0f}"
    if "device_bytes" in held:
        text += f" + {held['device_bytes'] / 1e6:,.0f} on the device"
    return text


def _growths(rows: list[Row]) -> list[str]:
    series = dict.fromkeys((row.stage, row.peer) for row in rows)
    lines = []
    for stage, peer in series:
        own = [row for row in rows if row.stage == stage]
        exponents = [
            timing.growth(*_curve(own, peer, is_ours=is_ours))
            for is_ours in (True, False)
        ]
        if not any(map(math.isnan, exponents)):
            ours, theirs = (f"N^{exponent:.2f}" for exponent in exponents)
            lines.append(f"{stage} | {ours} | {peer} | {theirs}")
    return lines


def _table(head: str, cells: list[str]) -> list[str]:
    rule = "|".join(["---"] * (head.count("|") + 1))
    return [f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in cells), ""]
