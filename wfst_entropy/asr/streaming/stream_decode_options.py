"""Options of decoding test sets as streams."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.options import OptionError, option


@dataclasses.dataclass
class StreamDecodeOptions(DecodeOptions):
    """Which model decodes streams, and how.

    Raises:
      OptionError: when a value is out of range or a decoding method is unknown.

    >>> options = StreamDecodeOptions(decoding_method="greedy_search", epoch=3, chunk_size=16)
    >>> options.res_dir.as_posix(), options.suffix
    ('exp/streaming/greedy_search', 'epoch-3-avg-1-chunk-16-use-averaged-model')
    """

    num_decode_streams: int = option(8, "Streams that are decoded at a time.")
    check_simulated: bool = option(
        False, "Decode whole utterances as well, and fail where a text differs."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_decode_streams < 1:
            raise OptionError(
                f"num_decode_streams: needs at least 1, got {self.num_decode_streams}"
            )

    @property
    def res_dir(self) -> Path:
        """Where results go: `{exp_dir}/streaming/{decoding_method}`."""
        return self.exp_dir / "streaming" / super().res_dir.name

    @property
    def simulated(self) -> DecodeOptions:
        """The options of decoding whole utterances with the same chunks."""
        fields = [field.name for field in dataclasses.fields(DecodeOptions)]
        return DecodeOptions(**{name: getattr(self, name) for name in fields})

    def with_chunks_of(self, model: AsrModel) -> StreamDecodeOptions:
        """The same options, with the model's chunk in place of none, for the names of files."""
        return dataclasses.replace(self, chunk_size=model.encoder.chunk_size)
