"""Speech from text with times: espeak-ng's C library, from the wheel `espeakng-loader`."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from wfst_entropy.asr.data.errors import DataError, MissingDependencyError, SynthesisError

# Constants of espeak-ng's public header, speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 1
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class SpeechEvent:
    """A word or a phoneme that starts at `sample`.

    Attributes:
      kind: "word" or "phoneme".
      sample: onset, in samples from the start of the utterance.
      text_position: index (from 0) of the word's first character in the text; of a phoneme, of
        the word it belongs to.
      length: number of characters of the word.
      phoneme: espeak-ng's name of the phoneme; names that start with "_" are pauses.
    """

    kind: str
    sample: int
    text_position: int
    length: int
    phoneme: str = ""


class Espeak:
    """The speech synthesiser espeak-ng. One per process: the C library keeps global state.

    The first instance of a process gives the same samples for the same arguments and the same
    sequence of calls; the library's state (slow pitch flutter, noise) runs on from call to call.
    Not safe to call from two threads.

    Args:
      voice: an espeak-ng voice with an optional variant, such as `"en-us+f2"`.
      words_per_minute: speaking rate, 80 to 450.
      pitch: 0 to 100, 50 is the voice's own.
      pitch_range: 0 (monotone) to 100.
      seed: of the library's own random numbers, which colour breathy voices.

    Raises:
      MissingDependencyError: the wheel `espeakng-loader` is not installed.
      SynthesisError: the library cannot be loaded or refuses to start.
      DataError: there is no such voice.
    """

    def __init__(
        self,
        voice: str,
        words_per_minute: int = 160,
        pitch: int = 50,
        pitch_range: int = 50,
        seed: int = 0,
    ) -> None:
        library, sample_rate = _start_library()
        self._library = library
        self.sample_rate: int = sample_rate
        self._chunks: list[np.ndarray] = []
        self._events: list[SpeechEvent] = []
        # Kept alive with the instance: ctypes does not hold a reference to it.
        self._callback = _Callback(self._receive)
        library.espeak_SetSynthCallback(self._callback)
        library.espeak_ng_SetRandSeed(seed)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise DataError(
                f"espeak-ng has no voice {voice!r}; give a name such as 'en-us' or 'en+m3'"
            )
        for parameter, value in (
            (_PARAMETER_RATE, words_per_minute),
            (_PARAMETER_PITCH, pitch),
            (_PARAMETER_RANGE, pitch_range),
        ):
            if library.espeak_SetParameter(parameter, value, 0) != 0:
                raise SynthesisError(
                    f"espeak-ng refused the value {value} for parameter {parameter}"
                )

    def synthesise(self, text: str) -> tuple[np.ndarray, list[SpeechEvent]]:
        """Speaks `text`.

        Args:
          text: one clause of plain words.

        Returns:
          samples: int16, (num_samples,), at `self.sample_rate`.
          events: words and phonemes in order of their onset.

        Raises:
          SynthesisError: the library reports an error or returns no samples.
        """
        self._chunks, self._events = [], []
        data = text.encode("utf-8")
        status = self._library.espeak_Synth(
            data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if status != 0 or not self._chunks:
            raise SynthesisError(f"espeak-ng made no speech (status {status}) from {text!r}")
        return np.concatenate(self._chunks), sorted(self._events, key=lambda e: e.sample)

    def _receive(self, wav: Any, num_samples: int, events: Any) -> int:
        if wav and num_samples > 0:
            # The buffer is reused by the library, hence the copy.
            self._chunks.append(np.ctypeslib.as_array(wav, shape=(num_samples,)).copy())
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            event = events[index]
            position = event.text_position - 1
            if event.type == _EVENT_WORD:
                self._events.append(SpeechEvent("word", event.sample, position, event.length))
            elif event.type == _EVENT_PHONEME:
                name = event.id.string.decode("utf-8", errors="replace")
                self._events.append(
                    SpeechEvent("phoneme", event.sample, position, event.length, name)
                )
            index += 1
        return 0


def find_library() -> tuple[str, str]:
    """Returns the paths of the library and of its data folder.

    Raises:
      MissingDependencyError: the wheel `espeakng-loader` is not installed.
    """
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "speech synthesis needs the wheel espeakng-loader, which is not installed; "
            "it comes with the extra `demo`: pip install 'wfst-entropy[demo]'"
        ) from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


@cache
def _start_library() -> tuple[ctypes.CDLL, int]:
    path, data_path = find_library()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise SynthesisError(f"cannot load the speech library {path}: {error}") from error
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    sample_rate = library.espeak_Initialize(
        _AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), _INITIALIZE_PHONEME_EVENTS
    )
    if sample_rate <= 0:
        raise SynthesisError(f"espeak-ng did not start with its data folder {data_path}")
    return library, sample_rate
