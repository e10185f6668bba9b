"""The figures of the paper, Tab. 1 to 5, for the tables to stand beside.

They belong to the paper's own features, which cannot be downloaded. So a difference
to them says how near two networks are; whether the method does here what it did
there shows in the gain over each one's own raw features.
"""

from typing import NamedTuple

Cell = tuple[int, float]  # K, t


class Table(NamedTuple):
    """One table of the paper, or a table in its shape that the paper does not have."""

    source: str  # where it stands
    fprs: tuple[float, ...]  # F false positive rates, one a column
    raw: tuple[float, ...]  # F TPRs of the raw features; empty where the paper has none
    # F TPRs of every setting (K, t), in the paper's order; likewise.
    cells: dict[Cell, tuple[float, ...]]
    oddities: tuple[str, ...] = ()  # what is odd about the printed figures


class Challenge(NamedTuple):
    """A protocol of Tab. 5, one setting on several networks."""

    source: str  # where it stands
    fpr: float  # the false positive rate of its figures
    cell: Cell  # the setting (K, t)
    models: dict[str, tuple[float, float]]  # base and clustered TPR of each network
    others: dict[str, float]  # TPRs that others published on the same data
    oddities: tuple[str, ...]  # what is odd about the printed figures


_IJBC_FPRS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
_SMALL_FPRS = (1e-4, 1e-3, 1e-2, 1e-1)
_FEW = "The 1e-7 column rests on one to four false accepts."

IJBC_COVARIATE = Table(
    "Tab. 1, not cleaned",
    _IJBC_FPRS,
    (0.5899, 0.6691, 0.7429, 0.8011, 0.8491),
    {
        (5, 0.75): (0.6374, 0.6955, 0.7638, 0.8320, 0.8797),
        (10, 0.75): (0.6588, 0.7096, 0.7693, 0.8341, 0.8802),
        (15, 0.75): (0.6669, 0.7142, 0.7711, 0.8348, 0.8884),
        (20, 0.75): (0.6711, 0.7165, 0.7720, 0.8350, 0.8804),
        (5, 0.55): (0.1679, 0.3127, 0.5839, 0.8003, 0.8911),
        (10, 0.55): (0.2221, 0.3339, 0.5073, 0.7913, 0.8925),
        (15, 0.55): (0.2569, 0.3668, 0.4989, 0.7938, 0.8930),
        (20, 0.55): (0.3140, 0.3786, 0.5018, 0.7973, 0.8933),
    },
    (_FEW,),
)
IJBC_COVARIATE_CLEANED = Table(
    "Tab. 1, cleaned",
    _IJBC_FPRS,
    (0.5899, 0.6690, 0.7429, 0.8011, 0.8490),
    {
        (5, 0.75): (0.7247, 0.7741, 0.8061, 0.8386, 0.8668),
        (10, 0.75): (0.7342, 0.7776, 0.8089, 0.8395, 0.8674),
        (15, 0.75): (0.7369, 0.7772, 0.8091, 0.8397, 0.8674),
        (20, 0.75): (0.7382, 0.7802, 0.8099, 0.8397, 0.8675),
        (5, 0.55): (0.7127, 0.7804, 0.8342, 0.8620, 0.8837),
        (10, 0.55): (0.6634, 0.7738, 0.8293, 0.8648, 0.8862),
        (15, 0.55): (0.6666, 0.7692, 0.8271, 0.8658, 0.8873),
        (20, 0.55): (0.6851, 0.7785, 0.8261, 0.8660, 0.8878),
    },
    (_FEW, "The raw row repeats the one that is not cleaned, to 1e-4."),
)
IJBC_TEMPLATE = Table(
    "Tab. 2",
    _IJBC_FPRS,
    (0.7743, 0.8877, 0.9222, 0.9485, 0.9675),
    {
        (5, 0.55): (0.8604, 0.9339, 0.9477, 0.9681, 0.9812),
        (10, 0.55): (0.8074, 0.9141, 0.9441, 0.9676, 0.9801),
        (15, 0.55): (0.8169, 0.9154, 0.9433, 0.9675, 0.9810),
        (20, 0.55): (0.8169, 0.9139, 0.9433, 0.9675, 0.9810),
        (5, 0.6): (0.8302, 0.9065, 0.9434, 0.9664, 0.9801),
        (5, 0.7): (0.7781, 0.9011, 0.9357, 0.9613, 0.9767),
        (5, 0.8): (0.8127, 0.9055, 0.9317, 0.9547, 0.9717),
        (10, 0.6): (0.7781, 0.9018, 0.9412, 0.9655, 0.9798),
        (10, 0.7): (0.7229, 0.8954, 0.9362, 0.9607, 0.9766),
        (10, 0.8): (0.7754, 0.9054, 0.9324, 0.9546, 0.9715),
    },
    (_FEW,),
)
CFP_FP = Table(
    "Tab. 3",
    _SMALL_FPRS,
    (0.7671, 0.7820, 0.8360, 0.8791),
    {
        (5, 0.65): (0.7860, 0.8177, 0.8417, 0.8846),
        (10, 0.65): (0.7860, 0.8109, 0.8417, 0.8869),
        (15, 0.65): (0.7866, 0.8111, 0.8411, 0.8863),
        (20, 0.65): (0.7866, 0.8111, 0.8411, 0.8863),
        (5, 0.6): (0.7909, 0.8106, 0.8417, 0.8877),
        (10, 0.6): (0.7671, 0.7820, 0.8360, 0.8791),
        (15, 0.6): (0.8029, 0.8146, 0.8423, 0.8889),
        (20, 0.6): (0.8029, 0.8146, 0.8423, 0.8889),
        (5, 0.7): (0.7740, 0.8014, 0.8400, 0.8846),
        (10, 0.7): (0.7706, 0.8057, 0.8411, 0.8851),
        (15, 0.7): (0.7706, 0.8057, 0.8411, 0.8851),
        (20, 0.7): (0.7706, 0.8057, 0.8411, 0.8851),
    },
    (
        "K=10, t=0.60 repeats the raw row.",
        "With 3,500 impostor pairs the 1e-4 column has no false accept at all.",
    ),
)
YTF = Table(
    "Tab. 4",
    _SMALL_FPRS,
    (0.2670, 0.8030, 0.9683, 0.9854),
    {
        (5, 0.65): (0.3469, 0.7151, 0.9679, 0.9854),
        (10, 0.65): (0.3482, 0.7151, 0.9679, 0.9854),
        (15, 0.65): (0.3482, 0.7151, 0.9679, 0.9854),
        (20, 0.65): (0.3482, 0.7151, 0.9679, 0.9854),
        (5, 0.55): (0.4981, 0.7447, 0.9708, 0.9863),
        (10, 0.55): (0.5056, 0.7447, 0.9708, 0.9863),
        (15, 0.55): (0.5056, 0.7447, 0.9708, 0.9863),
        (20, 0.55): (0.5056, 0.7447, 0.9708, 0.9863),
        (5, 0.75): (0.3161, 0.8072, 0.9688, 0.9850),
        (10, 0.75): (0.3161, 0.8072, 0.9688, 0.9850),
        (15, 0.75): (0.3161, 0.8072, 0.9688, 0.9850),
        (20, 0.75): (0.3161, 0.8072, 0.9688, 0.9850),
    },
    (
        "The figures fit 2,401 genuine pairs; the official list has 2,500.",
        "With 2,500 impostor pairs the 1e-4 column has no false accept at all.",
    ),
)
# An anchor, not a table of the paper.
LFW = Table(
    "not in the paper",
    (1e-3, 1e-2, 1e-1),
    (),
    {(k, t): () for t in (0.55, 0.65, 0.75) for k in (5, 10, 15, 20)},
)

TRILLION_PAIRS = Challenge(
    "Tab. 5, TrillionPair",
    1e-8,
    (15, 0.55),
    {"light": (0.8200, 0.9341), "heavy": (0.9200, 0.9793)},
    {
        "the organisers' y2": 0.64691,
        "the organisers' r100": 0.80312,
        "the winner": 0.94198,
    },
    (
        "The text speaks of boosts of 20 % and 7.5 %; the table has 11.4 and 5.9 "
        "points, or 13.9 % and 6.4 %.",
    ),
)
IQIYI = Challenge(
    "Tab. 5, IQiYi",
    1e-4,
    (15, 0.55),
    {"light": (0.5702, 0.7222), "heavy": (0.6489, 0.7259)},
    {
        "the organisers' y2": 0.47191,
        "the organisers' r100": 0.64894,
        "the winner": 0.72981,
    },
    ("The base of the heavy network is the organisers' r100 figure.",),
)
