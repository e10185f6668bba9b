"""The experiment of the paper's section 4.6: what unlabelled identities are worth.

For every seed and share of labelled identities, four networks that differ in nothing
but the labels of their training; each learns twice, the second time from the weights of
the first, for as many steps as the others:

    name    learns first from            then from
    lower   the labelled, but choosing   the labelled
    raw     the same weights             the labelled, and clusters of raw features
    ours    the same weights             the labelled, and clusters of refined features
    upper   all training identities      all training identities

The clusters are of the unlabelled images, by the features of the first training. All
are compared on the test identities, over all pairs of their images.
"""

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

import gfa_jax as gfa
from experiments.training import pseudo_labeling, recipes, splits, trainer
from experiments.training.image_sets import ImageSet
from gfa_jax import metrics

Confidence = Literal["none", "weight", "drop"]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)
NAMES = ("lower", "raw", "ours", "upper")


class Options(NamedTuple):
    """Everything but the images, the shares and the seeds."""

    recipe: recipes.Recipe  # of every training
    first_steps: int  # batches of the first training
    second_steps: int  # batches of the second
    method: pseudo_labeling.Method  # of the clusters
    thresholds: tuple[float, ...]  # t to choose from
    # T_s to choose from with each t; the ablation chooses from as many t_s as there are
    # pairs.
    merge_thresholds: tuple[float, ...]
    confidence: Confidence  # what becomes of samples that their cluster doubts
    min_confidence: float  # below it, "drop" drops
    min_size: int  # least images of a pseudo-class
    test_share: float  # see `splits`
    choosing_share: float  # see `splits`
    fprs: tuple[float, ...]  # to report
    checkpoint_every: int  # steps


class Row(NamedTuple):
    """One network and how it did."""

    seed: int  # of the cut, the weights and the batches
    share: float | None  # of labelled identities; None for the upper bound
    name: str  # one of NAMES
    points: tuple[metrics.OperatingPoint, ...]  # on the test identities, one an FPR
    auc: float  # of the same pairs
    genuine_pairs: int  # of them
    impostor_pairs: int  # of them
    # T, t_s and what they did on the choosing identities, or None.
    setting: pseudo_labeling.Setting | None
    pseudo_labels: dict[str, Any] | None  # how they agree with the truth, or None
    seconds: float  # of the training, those of earlier processes not counted


def run(
    images: ImageSet,
    options: Options,
    *,
    shares: Sequence[float],
    seeds: Sequence[int],
    folder: pathlib.Path,
    progress: Callable | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Trains, clusters and tests for every seed and share of labelled identities.

    What is finished in the folder of checkpoints is not done again. `progress` goes
    around the steps of each training, and `say` is called with each row as it is
    measured. Gives the rows by seed: the upper bound, then the others by share.

    Raises:
        ValueError: a part without identities, or checkpoints of another configuration.
    """
    cuts = {
        (seed, share): splits.split_identities(
            images.num_identities,
            share=share,
            test_share=options.test_share,
            choosing_share=options.choosing_share,
            seed=seed,
        )
        for seed in seeds
        for share in shares
    }
    rows = []
    for seed in seeds:
        bench = _Bench(images, options, seed, folder / f"seed{seed}", progress)
        rows.append(bench.upper(cuts[seed, shares[0]]))
        say(describe_row(rows[-1]))
        for share in shares:
            for row in bench.share(share, cuts[seed, share]):
                rows.append(row)
                say(describe_row(row))
    return rows


class _Bench(NamedTuple):
    """The networks of one seed."""

    images: ImageSet
    options: Options
    seed: int
    folder: pathlib.Path
    progress: Callable | None

    def upper(self, split: splits.Split) -> Row:
        data = labelled_set(self.images, split.training)
        start = time.perf_counter()
        first = self._first(data, "upper_first")
        model = self._second(data, "upper", first)
        return self._row("upper", None, model, split, time.perf_counter() - start)

    def share(self, share: float, split: splits.Split) -> list[Row]:
        """Lower bound, ablation and ours, from the weights of one first training."""
        at = f"share{share:g}/"
        first = self._first(labelled_set(self.images, split.first), at + "first")
        labelled = labelled_set(self.images, split.labelled)
        start = time.perf_counter()
        model = self._second(labelled, at + "lower", first)
        rows = [self._row("lower", share, model, split, time.perf_counter() - start)]

        is_choosing = np.isin(self.images.labels, split.choosing)
        is_unlabelled = np.isin(self.images.labels, split.unlabelled)
        features = self._embed(first, is_choosing | is_unlabelled)
        known = np.where(is_choosing, self.images.labels, -1)
        known = known[is_choosing | is_unlabelled]
        truth = self.images.labels[is_unlabelled]
        for name in ("raw", "ours"):
            start = time.perf_counter()
            setting = self._choose(name, features, known)
            clusters = pseudo_labeling.make_clusters(
                features[known < 0],
                self._method(name),
                threshold=setting.threshold,
                merge_threshold=setting.merge_threshold,
            )
            labels = select(clusters, self.options, first_label=labelled.num_classes)
            data = add_pseudo_labels(
                labelled, self.images.images[is_unlabelled], labels, self.options
            )
            model = self._second(data, at + name, first)
            row = self._row(name, share, model, split, time.perf_counter() - start)
            found = pseudo_labeling.describe(labels, clusters, truth)
            rows.append(row._replace(setting=setting, pseudo_labels=found))
        return rows

    def _method(self, name: str) -> pseudo_labeling.Method:
        method = self.options.method
        return method._replace(num_steps=0) if name == "raw" else method

    def _choose(
        self, name: str, features: np.ndarray, known: np.ndarray
    ) -> pseudo_labeling.Setting:
        thresholds: Sequence[float] = self.options.thresholds
        merge_thresholds: Sequence[float] = self.options.merge_thresholds
        if name == "raw":
            merge_thresholds = pseudo_labeling.spread_settings(
                thresholds, merge_thresholds
            )
            thresholds = thresholds[:1]
        return pseudo_labeling.choose(
            features,
            known,
            self._method(name),
            thresholds=thresholds,
            merge_thresholds=merge_thresholds,
            progress=self.progress,
        )

    def _first(self, data: trainer.TrainingSet, name: str) -> trainer.Model:
        return self._fit(data, name, self.options.first_steps, None)

    def _second(
        self, data: trainer.TrainingSet, name: str, start: trainer.Model
    ) -> trainer.Model:
        return self._fit(data, name, self.options.second_steps, start)

    def _fit(
        self,
        data: trainer.TrainingSet,
        name: str,
        num_steps: int,
        start: trainer.Model | None,
    ) -> trainer.Model:
        return trainer.fit(
            data,
            self.options.recipe,
            num_steps=num_steps,
            seed=self.seed,
            folder=self.folder / name,
            start=start,
            checkpoint_every=self.options.checkpoint_every,
            configuration=self._configuration(name),
            progress=self.progress,
        )

    def _configuration(self, name: str) -> dict[str, Any]:
        """Says where the data of a training come from, for a refusal to name."""
        options = self.options
        about: dict[str, Any] = {
            "set": self.images.name,
            "test_share": options.test_share,
        }
        if not name.startswith("upper"):
            about["choosing_share"] = options.choosing_share
        if name.endswith(("/raw", "/ours")):
            about |= self._method(name.split("/")[1])._asdict()
            about |= {
                "thresholds": list(options.thresholds),
                "merge_thresholds": list(options.merge_thresholds),
                "confidence": options.confidence,
                "min_confidence": options.min_confidence,
                "min_size": options.min_size,
            }
        return about

    def _embed(self, model: trainer.Model, rows: np.ndarray) -> np.ndarray:
        return trainer.embed(model, self.images.images[rows], self.options.recipe)

    def _row(
        self,
        name: str,
        share: float | None,
        model: trainer.Model,
        split: splits.Split,
        seconds: float,
    ) -> Row:
        is_test = np.isin(self.images.labels, split.test)
        roc = metrics.all_pairs_roc(
            self._embed(model, is_test), self.images.labels[is_test]
        ).roc
        return Row(
            seed=self.seed,
            share=share,
            name=name,
            points=metrics.tpr_at_fpr(roc, self.options.fprs),
            auc=metrics.auc(roc),
            genuine_pairs=roc.num_genuine,
            impostor_pairs=roc.num_impostor,
            setting=None,
            pseudo_labels=None,
            seconds=seconds,
        )


def labelled_set(images: ImageSet, identities: np.ndarray) -> trainer.TrainingSet:
    """Takes the images of some identities [C], numbered in their order."""
    number = np.full(images.num_identities, -1, np.int64)
    number[identities] = np.arange(len(identities))
    labels = number[images.labels]
    rows = labels >= 0
    return trainer.TrainingSet(
        images.images[rows],
        labels[rows],
        np.ones(int(rows.sum()), np.float32),
        len(identities),
    )


def select(
    clusters: gfa.Clusters, options: Options, *, first_label: int
) -> gfa.PseudoLabels:
    """Turns clusters of unlabelled images into pseudo-labels, from `first_label` on.

    "drop" leaves doubted rows out.
    """
    drops = options.confidence == "drop"
    return gfa.pseudo_labels(
        clusters,
        min_size=options.min_size,
        min_confidence=options.min_confidence if drops else 0.0,
        first_label=first_label,
    )


def add_pseudo_labels(
    labelled: trainer.TrainingSet,
    unlabelled: np.ndarray,
    labels: gfa.PseudoLabels,
    options: Options,
) -> trainer.TrainingSet:
    """Joins what is labelled with what clusters say of some of the unlabelled images.

    "weight" gives each new row its confidence as weight, otherwise 1.
    """
    weights = np.ones(len(labels.rows), np.float32)
    if options.confidence == "weight":
        weights = labels.weights.astype(np.float32)
    return trainer.TrainingSet(
        np.concatenate([labelled.images, unlabelled[labels.rows]]),
        np.concatenate([labelled.labels, labels.labels]),
        np.concatenate([labelled.weights, weights]),
        labelled.num_classes + labels.num_classes,
    )


def describe_row(row: Row) -> str:
    """Says in a line how a network did."""
    share = "" if row.share is None else f", {row.share:.0%} labelled"
    tprs = ", ".join(f"{p.tpr:.4f} at {p.fpr_target:g}" for p in row.points)
    line = f"seed {row.seed}{share}, {row.name}: TPR {tprs}"
    if row.pseudo_labels is not None:
        found = row.pseudo_labels
        line += (
            f"; {found['rows']:,} pseudo-labels of {found['classes']:,} classes, "
            f"precision {found['precision']:.3f}, recall {found['recall']:.3f}"
        )
    return line
