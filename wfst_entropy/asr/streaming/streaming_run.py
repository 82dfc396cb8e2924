"""A recogniser of streams with the model of a training run."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import torch

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.fbank import EXTRACTOR_OF_TYPE, ExtractorName
from wfst_entropy.asr.data.manifest_files import iter_cuts
from wfst_entropy.asr.data.manifests import PREFIX
from wfst_entropy.asr.data.tokenizer import Tokenizer, load_tokenizer
from wfst_entropy.asr.decode.decode_setup import tuned_scales
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import SearchMethod, SearchSetup
from wfst_entropy.asr.search.methods import METHODS, make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.streaming.endpoint import EndpointOptions
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
from wfst_entropy.asr.streaming.stream_search import check_streamable
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.asr.training.run_config import RunConfig, refuse_other_tokens
from wfst_entropy.lang import LangDir


@dataclasses.dataclass
class StreamingRun:
    """The model of a run, ready for streams.

    Attributes:
      options: with the number of the epoch, a method and a chunk size where none was given.
      config: of the training.
      tokenizer: of the lang directory.
      method: the search.
      recognizer: with both.
      extractor: what computed the features of the training.
    """

    options: StreamDecodeOptions
    config: RunConfig
    tokenizer: Tokenizer
    method: SearchMethod
    recognizer: StreamingRecognizer
    extractor: ExtractorName


def load_streaming_run(
    options: StreamDecodeOptions,
    search: SearchOptions,
    *,
    lang_dir: Path | None = None,
    endpoint: EndpointOptions | None = None,
    dither_silence: bool = False,
    device: torch.device | str = "cpu",
) -> StreamingRun:
    """Loads a run: the same model, features and search as decoding of whole utterances.

    Scales that `decode.py --tune true` found are used unless `search` has others.

    Args:
      options: which model, which method, which chunks.
      search: beams, graphs, files.
      lang_dir: where graphs lie; by default that of the training.
      endpoint: when an utterance is over; None where only the end of the audio tells.
      dither_silence: see `StreamingRecognizer`.
      device: where the model computes.

    Raises:
      CheckpointError, OptionError: there is no such run or checkpoint, or no such graph; the model
        looks ahead, or the method does not fit it; scales are to be tuned; or the lang directory
        has other tokens.
    """
    if search.tune:
        raise OptionError(
            "tune: streams are decoded with the scales that decode.py --tune true has found; tune "
            "there, with the same method and chunks"
        )
    options = options.resolved()
    model, config = load_model(
        options.exp_dir, options.epoch, options.avg, options.use_averaged_model, options.iter
    )
    options = options.for_model(config.model)
    check_streamable(METHODS[options.decoding_method])
    lang_dir = config.data.lang_dir if lang_dir is None else lang_dir
    options.choose_chunks(model)
    tokenizer = load_tokenizer(lang_dir)
    refuse_other_tokens(options.exp_dir, lang_dir)
    # searches run on the CPU, and the head with them
    head = None if model.transducer is None else copy.deepcopy(model.transducer).cpu()
    scales = tuned_scales(options.simulated) | search.scales()
    setup = SearchSetup(tokenizer, LangDir(lang_dir), search, scales, head)
    method = make_method(options.decoding_method, setup)
    extractor = extractor_of(config.data)
    recognizer = StreamingRecognizer(
        *(model, method),
        extractor=extractor,
        feature_dim=config.model.feature_dim,
        endpoint=endpoint,
        dither_silence=dither_silence,
        device=device,
    )
    return StreamingRun(
        options.with_chunks_of(model), config, tokenizer, method, recognizer, extractor
    )


def extractor_of(data: DataOptions) -> ExtractorName:
    """What computed the features of a run: as its manifests say, where they are still there."""
    for path in sorted(data.manifest_dir.glob(f"{PREFIX}_cuts_*.jsonl.gz")):
        cut = next(iter_cuts(path), None)
        if cut is not None and cut.has_features and not data.on_the_fly_feats:
            return EXTRACTOR_OF_TYPE.get(cut.features.type, data.extractor)
    return data.extractor
