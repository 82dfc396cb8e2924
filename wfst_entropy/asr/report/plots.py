"""The pictures of a report: training curves, and an alignment with its entropy per frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from wfst_entropy.decoding.alignment import ForcedAlignment
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.metrics.latency import WordTime

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#222222"
_GREY = "#9a9a9a"
_BLUE = "#1f5fa8"
_ORANGE = "#d9731a"
_SIDEWAYS: Any = {"rotation": 90, "ha": "left", "va": "center", "fontsize": 7.5}
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "svg.hashsalt": "wfst-entropy",
}


@dataclass
class AlignmentPicture:
    """All that is drawn of one utterance.

    Attributes:
      name: id of the utterance.
      features: `(T, F)`, log filter-bank energies.
      log_probs: `(T', C)`, output of the CTC head; None for a transducer.
      emissions: `(T', U)`, of a transducer: how probable each token of the text is to be emitted in
        each frame, given the text; None for a CTC head.
      alignment: of the reference text.
      symbols: text of each token number.
      words: reference words with their true times, as far as they are known.
      frame_shift: seconds between feature frames.
      subsampling_factor: feature frames per frame of these.
    """

    name: str
    features: Tensor
    log_probs: Tensor | None
    alignment: ForcedAlignment
    symbols: Sequence[str]
    words: Sequence[WordTime]
    frame_shift: float
    subsampling_factor: int
    emissions: Tensor | None = None

    @property
    def seconds_per_frame(self) -> float:
        """Seconds between two frames of the model's output."""
        return self.frame_shift * self.subsampling_factor


def _figure(rows: Sequence[float], size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with panels one below the other, made without any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=list(rows), squeeze=False)
    return figure, list(axes[:, 0])


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})


def _draw_features(axes: Axes, picture: AlignmentPicture) -> None:
    seconds = len(picture.features) * picture.frame_shift
    image = picture.features.float().numpy().T
    low, high = np.percentile(image, [2, 99.5]) if image.size else (0.0, 1.0)
    axes.imshow(
        image,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=low,
        vmax=high,
        extent=(0.0, seconds, 0, image.shape[0]),
        interpolation="nearest",
    )
    axes.set_ylabel("mel channel")


def _draw_words(panels: Sequence[Axes], words: Sequence[WordTime]) -> None:
    """Names above the first panel; boundaries down through all of them."""
    for word in words:
        for panel in panels:
            bright = panel is panels[0]
            for time in (word.start, word.end):
                panel.axvline(
                    time,
                    color="white" if bright else _GREY,
                    linewidth=0.8 if bright else 0.6,
                    linestyle=(0, (4, 3)),
                    alpha=0.9 if bright else 0.6,
                    zorder=0.5 if not bright else 2,
                )
        panels[0].text(
            (word.start + word.end) / 2,
            1.03,
            word.word,
            transform=panels[0].get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
            rotation=35 if len(words) > 12 else 0,
        )


def _draw_posteriors(axes: Axes, picture: AlignmentPicture, blank: int) -> None:
    """A curve per token of the text, named at its span of the best path; blank in grey."""
    spans = picture.alignment.spans
    colour = _colours([span.token for span in spans])
    if picture.log_probs is not None:
        probs = picture.log_probs.float().exp().numpy()
        times = (np.arange(len(probs)) + 0.5) * picture.seconds_per_frame
        axes.fill_between(times, probs[:, blank], color=_GREY, alpha=0.18, linewidth=0)
        axes.plot(times, probs[:, blank], color=_GREY, linewidth=0.8)
        axes.text(1.005, 0.5, "grey: blank", transform=axes.transAxes, color=_GREY, **_SIDEWAYS)
        for token in dict.fromkeys(span.token for span in spans):
            axes.plot(times, probs[:, token], color=colour[token], linewidth=1.1)
        curves = [probs[:, span.token] for span in spans]
        axes.set_ylabel("CTC posterior")
    else:
        curves = [] if picture.emissions is None else list(picture.emissions.float().numpy().T)
        times = (np.arange(len(picture.alignment.state_entropy)) + 0.5) * picture.seconds_per_frame
        for span, curve in zip(spans, curves, strict=True):
            axes.plot(times, curve, color=colour[span.token], linewidth=1.1)
        axes.set_ylabel("token emitted,\ngiven the text")
    for span, curve in zip(spans, curves, strict=True):
        peak = span.start_frame + int(curve[span.start_frame : span.end_frame].argmax())
        axes.text(
            (peak + 0.5) * picture.seconds_per_frame,
            1.04,
            picture.symbols[span.token].replace("\u2581", "\u2423"),  # a space that can be seen
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=colour[span.token],
        )
    axes.set_ylim(0, 1.18)
    axes.set_yticks([0, 0.5, 1])


def _colours(tokens: Sequence[int]) -> dict[int, Any]:
    from matplotlib import colormaps

    palette = colormaps["tab20"]
    return {
        token: palette(2 * i % 20 + (2 * i // 20) % 2)
        for i, token in enumerate(dict.fromkeys(tokens))
    }


def _draw_entropy(axes: Axes, picture: AlignmentPicture) -> None:
    step = picture.seconds_per_frame
    states = picture.alignment.state_entropy.numpy()
    local = picture.alignment.local_entropy.numpy()
    times = (np.arange(len(states)) + 0.5) * step
    total = float(local.sum())
    axes.fill_between(times, states, color=_BLUE, alpha=0.15, linewidth=0)
    axes.plot(times, states, color=_BLUE, linewidth=1.1, label=r"of the state, $H(s_t)$")
    label = rf"added by the frame, $H(s_t\,|\,s_{{t-1}})$; sum $H_c$ = {total:.2f} nats"
    axes.bar(times, local, width=0.8 * step, color=_ORANGE, alpha=0.85, linewidth=0, label=label)
    axes.set_ylim(0, max(float(states.max(initial=0.0)), 0.1) * 1.45)
    axes.set_ylabel("alignment\nentropy (nats)")
    axes.legend(loc="upper left", ncols=2, fontsize=7.5)


def plot_alignment(picture: AlignmentPicture, path: Path | str, *, blank: int = 0) -> None:
    """Draw features, token posteriors and the alignment entropy per frame of one utterance.

    Args:
      picture: the utterance; its alignment must be valid.
      path: the PNG file to write, whole or not at all.
      blank: the blank symbol.
    """
    import matplotlib as mpl

    seconds = max(len(picture.features) * picture.frame_shift, picture.seconds_per_frame)
    width = min(max(9.0, 2.6 * seconds), 22.0)
    with mpl.rc_context(_STYLE):
        figure, panels = _figure([1.0, 1.25, 0.9], (width, 5.6))
        _draw_features(panels[0], picture)
        _draw_posteriors(panels[1], picture, blank)
        _draw_entropy(panels[2], picture)
        _draw_words(panels, picture.words)
        panels[0].set_title(
            f"{picture.name}    dashed: true word boundaries" if picture.words else picture.name,
            pad=18 if len(picture.words) <= 12 else 40,
            color=_GREY,
            fontsize=8,
        )
        panels[-1].set_xlabel("time (s)")
        panels[-1].set_xlim(0, seconds)
        figure.align_ylabels(panels)
        _save(figure, Path(path))


def _curve(
    axes: Axes, history: Sequence[dict[str, Any]], key: str, label: str, **style: Any
) -> bool:
    points = [(row["epoch"], row[key]) for row in history if _is_number(row.get(key))]
    if points:
        axes.plot(*zip(*points, strict=True), label=label, marker="o", markersize=3, **style)
    return bool(points)


def _training_curve(
    axes: Axes, history: Sequence[dict[str, Any]], column: int, key: str, **style: Any
) -> None:
    """The mean per frame between two points of the history's curves, at the middle between them."""
    points = []
    for row in history:
        curve = [[0, 0.0, 0.0, 0.0], *row.get("curve", [])]
        for before, now in pairwise(curve):
            frames = now[3] - before[3]
            if frames > 0:
                place = row["epoch"] - 1 + (before[0] + now[0]) / 2 / curve[-1][0]
                points.append((place, (now[column] - before[column]) / frames))
    if points:
        axes.plot(*zip(*points, strict=True), label="training", **style)
    else:
        _curve(axes, history, key, "training", **style)


def _curves_of_second_head(axes: Axes, history: Sequence[dict[str, Any]], what: str) -> None:
    """Of a CTC head beside a transducer, whose figures are those without a head's name."""
    if any(f"valid_transducer_{what}" in row for row in history):
        for name, part, colour in (("train", "training", _BLUE), ("valid", "validation", _ORANGE)):
            style = {"color": colour, "linestyle": (0, (1, 1.5)), "linewidth": 1.1}
            _curve(axes, history, f"{name}_ctc_{what}", f"{part}, CTC head", **style)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def plot_training_curves(
    history: Sequence[dict[str, Any]], path: Path | str, *, entropy_kind: str = "conditional"
) -> None:
    """Draw loss and alignment entropy per frame over the epochs, of each head of the model.

    Args:
      history: rows of `history.jsonl`, one per epoch, with the points of its `curve`; missing
        figures are left out.
      path: the PNG file to write, whole or not at all.
      entropy_kind: the kind of entropy in the history, as `--entropy-kind` calls it.
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context(_STYLE):
        figure, (losses, entropies) = _figure([1.0, 1.0], (6.4, 5.2))
        _training_curve(losses, history, 1, "train_nll", color=_BLUE)
        _curve(losses, history, "valid_nll", "validation", color=_ORANGE)
        _curves_of_second_head(losses, history, "nll")
        losses.set_ylabel("-log p(text | audio)\n(nats per frame)")
        _training_curve(entropies, history, 2, "train_entropy", color=_BLUE)
        _curve(entropies, history, "valid_entropy", "validation", color=_ORANGE)
        _curves_of_second_head(entropies, history, "entropy")
        entropies.set_ylabel(f"{entropy_kind} alignment\nentropy (nats per frame)")
        entropies.set_xlabel("epoch")
        entropies.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (losses, entropies):
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
            if axes.get_legend_handles_labels()[0]:
                axes.legend()
        _save(figure, Path(path))
