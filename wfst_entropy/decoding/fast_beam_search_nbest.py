"""Words of transducers' lattices: best paths and lists of drawn paths, under icefall's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wfst_entropy.algorithms import expected_edit_counts
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.fast_beam_search import FastBeamSearch
from wfst_entropy.decoding.nbest import Nbest
from wfst_entropy.decoding.one_best import get_aux_labels
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.fsa import Fsa


def fast_beam_search_one_best(
    transducer: Transducer,
    decoding_graph: Fsa | DecodingGraph | None,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    **options: Any,
) -> list[list[int]]:
    """The words (`aux_labels`) of the best path of each utterance.

    Args:
      transducer: see `FastBeamSearch`, which is better made once for many batches.
      decoding_graph: likewise; None for any sequence of tokens, which are the words then.
      encoder_out: `(N, T, D)`.
      encoder_out_lens: `(N,)`.
      options: `beam`, `max_states`, `max_contexts` and the other arguments of `FastBeamSearch`.

    Raises:
      DecodingError: the graph has no `aux_labels`; FsaError: see `FastBeamSearch`.

    Source: icefall, the function of the same name.
    """
    search = FastBeamSearch(transducer, decoding_graph, **options)
    states = [search.start() for _ in encoder_out]
    return get_aux_labels(search.best_path(search.advance(encoder_out, encoder_out_lens, states)))


def fast_beam_search_nbest(
    transducer: Transducer,
    decoding_graph: Fsa | DecodingGraph | None,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    num_paths: int,
    nbest_scale: float = 0.5,
    **options: Any,
) -> list[list[int]]:
    """Of the words on drawn paths, those whose best path scores most.

    Args:
      transducer: as in `fast_beam_search_one_best`.
      decoding_graph: likewise.
      encoder_out: likewise.
      encoder_out_lens: likewise.
      num_paths: how many paths are drawn from each lattice.
      nbest_scale: scores are multiplied by it before; the smaller, the more different the paths.
      options: likewise.

    Raises:
      DecodingError, FsaError: see `fast_beam_search_one_best` and `Nbest.from_lattice`.

    Source: icefall, the function of the same name.
    """
    lattice = _lattice(transducer, decoding_graph, encoder_out, encoder_out_lens, options)
    nbest = Nbest.from_lattice(lattice, num_paths, nbest_scale)
    return get_aux_labels(nbest.intersect(lattice).best())


def fast_beam_search_nbest_LG(
    transducer: Transducer,
    decoding_graph: Fsa | DecodingGraph | None,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    num_paths: int,
    nbest_scale: float = 0.5,
    **options: Any,
) -> list[list[int]]:
    r"""Of the words on drawn paths, those with the largest weight, summed over alignments.

    :math:`\arg\max_w \log \sum_{\pi : w} e^{w(\pi)}` over the paths of the lattice.

    Args:
      transducer: as in `fast_beam_search_nbest`.
      decoding_graph: likewise; with `ngram_lm_scale` among the options, its scores are scaled.
      encoder_out: likewise.
      encoder_out_lens: likewise.
      num_paths: likewise.
      nbest_scale: likewise.
      options: likewise.

    Raises:
      DecodingError, FsaError: see `fast_beam_search_nbest`.

    Source: icefall, the function of the same name.
    """
    lattice = _lattice(transducer, decoding_graph, encoder_out, encoder_out_lens, options)
    nbest = Nbest.from_lattice(lattice, num_paths, nbest_scale)
    return get_aux_labels(nbest.best(nbest.sequence_scores(lattice).values))


def fast_beam_search_nbest_oracle(
    transducer: Transducer,
    decoding_graph: Fsa | DecodingGraph | None,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    num_paths: int,
    ref_texts: Sequence[Sequence[int]],
    nbest_scale: float = 0.5,
    **options: Any,
) -> list[list[int]]:
    """Of the words on drawn paths, those with the fewest errors: a bound, not a result.

    Args:
      transducer: as in `fast_beam_search_nbest`.
      decoding_graph: likewise.
      encoder_out: likewise.
      encoder_out_lens: likewise.
      num_paths: likewise.
      ref_texts: the true words of each utterance (tokens, where there is no graph).
      nbest_scale: likewise.
      options: likewise.

    Raises:
      DecodingError: another number of references, or see `fast_beam_search_nbest`; FsaError:
        likewise.

    Source: icefall, the function of the same name.
    """
    lattice = _lattice(transducer, decoding_graph, encoder_out, encoder_out_lens, options)
    if len(ref_texts) != lattice.num_fsas:
        raise DecodingError(
            f"ref_texts: needs one for each of {lattice.num_fsas} utterances, got {len(ref_texts)}"
        )
    nbest = Nbest.from_lattice(lattice, num_paths, nbest_scale)
    refs = [list(ref_texts[utterance]) for utterance in nbest.shape.row_ids(1).tolist()]
    errors = expected_edit_counts(nbest.fsa.detach(), refs, tokens="aux_labels").errors
    return get_aux_labels(nbest.best(-errors))


def _lattice(
    transducer: Transducer,
    decoding_graph: Fsa | DecodingGraph | None,
    encoder_out: Tensor,
    encoder_out_lens: Tensor,
    options: dict[str, Any],
) -> Fsa:
    search = FastBeamSearch(transducer, decoding_graph, **options)
    states = [search.start() for _ in encoder_out]
    return search.lattice(search.advance(encoder_out, encoder_out_lens, states))
