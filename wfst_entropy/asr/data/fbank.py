"""Log-mel filter bank features: the extractors, and archives of them on disk."""

from __future__ import annotations

import errno
import importlib
import json
import logging
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soxr
import torch
from lhotse import Fbank, FbankConfig, LilcomChunkyWriter, MonoCut
from lhotse.features.base import FeatureExtractor, register_extractor

from wfst_entropy.asr.data.errors import DataError, MissingDependencyError, brief
from wfst_entropy.asr.data.manifest_files import (
    Excluded,
    is_newer,
    read_cuts,
    read_manifest,
    write_excluded,
    write_jsonl,
)
from wfst_entropy.asr.data.manifests import PREFIX, PartSummary
from wfst_entropy.asr.data.processes import process_context
from wfst_entropy.fsa.atomic_file import replacing

SAMPLING_RATE = 16000
FRAME_SHIFT = 0.01
SPEEDS = (0.9, 1.1)
# Cuts per archive: small enough for a smooth progress bar and an even load of the processes.
_SHARD_SIZE = 500
# Folder beside unfinished archives that tells which of them are whole.
_NOTES = "notes"

ExtractorName = Literal["lhotse", "kaldi-native-fbank", "kaldifeat", "torchaudio"]
# What manifests of lhotse call the features of each.
EXTRACTOR_OF_TYPE: dict[str, ExtractorName] = {
    "kaldi-fbank": "lhotse",
    "kaldi-native-fbank": "kaldi-native-fbank",
    "kaldifeat-fbank": "kaldifeat",
    "fbank": "torchaudio",
}


@dataclass
class KaldiNativeFbankConfig:
    """Options of `KaldiNativeFbank`; the names and defaults are those of lhotse's `FbankConfig`."""

    sampling_rate: int = SAMPLING_RATE
    num_filters: int = 80
    low_freq: float = 20.0
    high_freq: float = -400.0
    snip_edges: bool = False
    dither: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Returns the options for a manifest."""
        return dict(vars(self))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> KaldiNativeFbankConfig:
        """Builds the options from a manifest."""
        return KaldiNativeFbankConfig(**data)


@register_extractor
class KaldiNativeFbank(FeatureExtractor):
    """Filter bank features by the package `kaldi-native-fbank`.

    They equal those of lhotse's `Fbank` to about 2e-3.
    """

    name = "kaldi-native-fbank"
    config_type = KaldiNativeFbankConfig

    @property
    def frame_shift(self) -> float:
        """Seconds between two frames."""
        return FRAME_SHIFT

    def feature_dim(self, sampling_rate: int) -> int:
        """Returns the number of mel bins."""
        return int(self.config.num_filters)

    def extract(self, samples: Any, sampling_rate: int) -> np.ndarray:
        """Returns features (T, F), float32, of samples (1, num_samples) or (num_samples,)."""
        import kaldi_native_fbank

        config = self.config
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = sampling_rate
        options.frame_opts.dither = config.dither
        options.frame_opts.snip_edges = config.snip_edges
        options.mel_opts.num_bins = config.num_filters
        options.mel_opts.low_freq = config.low_freq
        options.mel_opts.high_freq = config.high_freq
        online = kaldi_native_fbank.OnlineFbank(options)
        online.accept_waveform(sampling_rate, np.asarray(samples, dtype=np.float32).reshape(-1))
        online.input_finished()
        frames = [online.get_frame(i) for i in range(online.num_frames_ready)]
        return np.stack(frames) if frames else np.zeros((0, config.num_filters), np.float32)


def make_extractor(
    name: ExtractorName = "lhotse", num_mel_bins: int = 80, snip_edges: bool = False
) -> FeatureExtractor:
    """Builds a feature extractor for speech at 16 kHz, 100 frames a second.

    Args:
      name: "lhotse", "kaldi-native-fbank", "kaldifeat" or "torchaudio".
      num_mel_bins: dimension of a frame.
      snip_edges: only frames whose whole window of 25 ms lies in the samples, instead of one for
        every 10 ms with the samples reflected at both ends; for frames of a stream.

    Raises:
      DataError: the name is unknown.
      MissingDependencyError: its package is not installed, or does not load.

    >>> make_extractor("lhotse").feature_dim(16000)
    80
    """
    if name not in get_args(ExtractorName):
        known = ", ".join(get_args(ExtractorName))
        raise DataError(f"extractor: needs one of {known}, got {name!r}")
    if name == "lhotse":
        with warnings.catch_warnings():
            # lhotse warns that snipped edges do not fit the durations of cuts
            warnings.filterwarnings("ignore", message=".*snip_edges.*")
            return Fbank(
                FbankConfig(
                    sampling_rate=SAMPLING_RATE, num_filters=num_mel_bins, snip_edges=snip_edges
                )
            )
    module = name.replace("-", "_")
    try:
        importlib.import_module(module)
    # A wheel that was built for another torch or for CUDA raises OSError.
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"extractor {name}: the package {module} cannot be imported ({error}); install "
            "one that fits the installed torch, or use --extractor lhotse"
        ) from error
    if name == "kaldi-native-fbank":
        return KaldiNativeFbank(
            KaldiNativeFbankConfig(num_filters=num_mel_bins, snip_edges=snip_edges)
        )
    if name == "torchaudio":
        from lhotse import TorchaudioFbank, TorchaudioFbankConfig

        return TorchaudioFbank(
            TorchaudioFbankConfig(num_mel_bins=num_mel_bins, snip_edges=snip_edges)
        )
    from lhotse.features.kaldifeat import (
        KaldifeatFbank,
        KaldifeatFbankConfig,
        KaldifeatFrameOptions,
        KaldifeatMelOptions,
    )

    return KaldifeatFbank(
        KaldifeatFbankConfig(
            frame_opts=KaldifeatFrameOptions(snip_edges=snip_edges),
            mel_opts=KaldifeatMelOptions(num_bins=num_mel_bins),
        )
    )


def compute_fbank(
    manifest_dir: Path | str,
    output_dir: Path | str,
    part: str,
    *,
    extractor: ExtractorName = "lhotse",
    num_mel_bins: int = 80,
    perturb_speed: bool = False,
    num_jobs: int = 2,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> PartSummary:
    """Writes the features of a part and `librispeech_cuts_{part}.jsonl.gz`.

    The features lie in `librispeech_feats_{part}/*.lca`. Nothing is visible under the final names
    until the part is whole; a part that was interrupted goes on after its last whole archive. The
    result does not depend on `num_jobs`. An utterance that fails is left out and listed in
    `excluded_{part}.tsv`.

    Args:
      manifest_dir: holds the recordings and supervisions, or the cuts, of the part.
      output_dir: where the features go.
      part: such as "train-clean-5".
      extractor: see `make_extractor`.
      num_mel_bins: dimension of a frame.
      perturb_speed: add every utterance at 0.9 and 1.1 times its speed, and put the cuts in random
        order.
      num_jobs: number of processes.
      seed: of the random order.
      on_progress: called with (part, number of cuts done, number of all cuts).

    Returns:
      What was written.

    Raises:
      DataError: a manifest is missing or damaged, or no utterance is usable.
      MissingDependencyError: the extractor's package is missing.
      OSError: the features cannot be written, for example because the disk is full.
    """
    output_dir = Path(output_dir).resolve()
    output_dir.mkdir(parents=True, exist_ok=True)
    cuts_file = output_dir / f"{PREFIX}_cuts_{part}.jsonl.gz"
    made_by = make_extractor(extractor, num_mel_bins)  # its errors come before any work is done
    sources = _source_files(Path(manifest_dir), part)
    if is_newer(cuts_file, sources):
        return _existing(cuts_file, part, made_by, num_mel_bins, perturb_speed)
    cuts = _source_cuts(sources, perturb_speed)
    archive_dir = output_dir / f"{PREFIX}_feats_{part}"
    unfinished_dir = output_dir / f".{archive_dir.name}.unfinished"
    settings = {
        "extractor": [extractor, num_mel_bins],
        "perturb_speed": perturb_speed,
        "shard_size": _SHARD_SIZE,
        "sources": {path.name: path.stat().st_mtime_ns for path in sources},
    }
    _go_on_or_clear(unfinished_dir, settings)
    shards = [
        _Shard(
            cuts[start : start + _SHARD_SIZE],
            unfinished_dir / f"feats-{start // _SHARD_SIZE:05d}.lca",
            archive_dir,
            extractor,
            num_mel_bins,
        )
        for start in range(0, len(cuts), _SHARD_SIZE)
    ]
    results = _run_shards(shards, num_jobs, part, len(cuts), on_progress)
    done = [item for written, _ in results for item in written]
    excluded = [item for _, failed in results for item in failed]
    write_excluded(output_dir, part, excluded)
    if not done:
        raise DataError(
            f"{part}: features of not one utterance could be computed; the causes are in "
            f"{output_dir / f'excluded_{part}.tsv'}"
        )
    if perturb_speed:
        random.Random(seed).shuffle(done)
    shutil.rmtree(archive_dir, ignore_errors=True)
    shutil.rmtree(unfinished_dir / _NOTES)
    unfinished_dir.replace(archive_dir)
    write_jsonl(cuts_file, done)
    return PartSummary(part, len(done), sum(cut["duration"] for cut in done), len(excluded))


def _go_on_or_clear(unfinished_dir: Path, settings: dict[str, Any]) -> None:
    """Keeps the archives of an interrupted run with the same settings, deletes those of another."""
    note = unfinished_dir / _NOTES / "settings.json"
    text = json.dumps(settings)
    if note.is_file() and note.read_text(encoding="utf-8") == text:
        return
    shutil.rmtree(unfinished_dir, ignore_errors=True)
    note.parent.mkdir(parents=True)
    with replacing(note) as file:
        file.write(text.encode("utf-8"))


@dataclass(frozen=True)
class _Shard:
    """The cuts of one archive; the work of one process at a time."""

    cuts: list[MonoCut]
    archive: Path
    final_dir: Path
    extractor: ExtractorName
    num_mel_bins: int

    @property
    def note(self) -> Path:
        """What is known of the archive; where it is, the archive is whole."""
        return self.archive.parent / _NOTES / f"{self.archive.stem}.json"


def _existing(
    cuts_file: Path, part: str, extractor: FeatureExtractor, num_mel_bins: int, perturb_speed: bool
) -> PartSummary:
    """Describes the features that are there, after a check that they are those asked for."""
    cuts = read_cuts(cuts_file)
    first = next(iter(cuts)).features
    perturbed = any(_perturbed_id(cut.id) for cut in cuts)
    wanted = (extractor.name, num_mel_bins, perturb_speed)
    if (first.type, first.num_features, perturbed) != wanted:
        raise DataError(
            f"{cuts_file}: has features (extractor, mel bins, speed perturbation) "
            f"{(first.type, first.num_features, perturbed)}, not {wanted}; delete the file to "
            "compute them again, or give another --data-dir"
        )
    return PartSummary(part, len(cuts), sum(cut.duration for cut in cuts), 0, skipped=True)


def _perturbed_id(cut_id: str) -> bool:
    return cut_id.endswith(tuple(f"_sp{speed}" for speed in SPEEDS))


def _source_files(manifest_dir: Path, part: str) -> list[Path]:
    """Returns the cut set of a part, or its recordings and supervisions."""
    own = manifest_dir / f"{PREFIX}_cuts_{part}.jsonl.gz"
    if own.is_file():
        return [own]
    paths = [manifest_dir / f"{PREFIX}_{k}_{part}.jsonl.gz" for k in ("recordings", "supervisions")]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file; run prepare.sh --stage 1 --stop-stage 1")
    return paths


def _source_cuts(sources: Sequence[Path], perturb_speed: bool) -> list[MonoCut]:
    cuts = list(read_cuts(sources[0]) if len(sources) == 1 else _join_manifests(*sources))
    if perturb_speed:
        cuts += [cut.perturb_speed(speed) for speed in SPEEDS for cut in cuts]
    return cuts


def _join_manifests(recordings_file: Path, supervisions_file: Path) -> Iterator[MonoCut]:
    recordings = {item.id: item for _, item in read_manifest(recordings_file)}
    for number, supervision in read_manifest(supervisions_file):
        recording = recordings.get(supervision.recording_id)
        if recording is None:
            raise DataError(
                f"{supervisions_file}:{number}: no recording {supervision.recording_id!r} in "
                f"{recordings_file}; delete both and run prepare.sh --stage 1 --stop-stage 1"
            )
        yield MonoCut(
            id=supervision.id,
            start=0.0,
            duration=recording.duration,
            channel=0,
            recording=recording,
            supervisions=[supervision],
        )


def _run_shards(
    shards: Sequence[_Shard],
    num_jobs: int,
    part: str,
    num_cuts: int,
    on_progress: Callable[[str, int, int], None] | None,
) -> list[tuple[list[dict[str, Any]], list[Excluded]]]:
    """Computes the shards, in processes when there are several; the results keep their order."""
    num_jobs = min(num_jobs, len(shards))
    done = 0
    if num_jobs <= 1:
        results = []
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # utterances are too small to be shared among threads
        try:
            for shard in shards:
                results.append(_compute_shard(shard))
                done += len(shard.cuts)
                if on_progress is not None:
                    on_progress(part, done, num_cuts)
        finally:
            torch.set_num_threads(num_threads)
        return results
    # One thread each: more would only contend for the same cores.
    with ProcessPoolExecutor(
        num_jobs,
        mp_context=process_context(__name__),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        futures = [pool.submit(_compute_shard, shard) for shard in shards]
        try:
            for future in as_completed(futures):
                done += len(shards[futures.index(future)].cuts)
                future.result()
                if on_progress is not None:
                    on_progress(part, done, num_cuts)
        except BrokenProcessPool as error:
            raise DataError(
                f"{part}: a process that computed features was killed, perhaps for lack of memory; "
                "run the stage again, with fewer jobs"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _compute_shard(shard: _Shard) -> tuple[list[dict[str, Any]], list[Excluded]]:
    """Writes an archive, unless it is there already; returns its cuts and what was left out."""
    if shard.note.is_file():
        known = json.loads(shard.note.read_text(encoding="utf-8"))
        return known["done"], [Excluded(**item) for item in known["excluded"]]
    done, excluded = _write_archive(shard)
    with replacing(shard.note) as file:
        content = {"done": done, "excluded": [asdict(item) for item in excluded]}
        file.write(json.dumps(content).encode("utf-8"))
    return done, excluded


def _write_archive(shard: _Shard) -> tuple[list[dict[str, Any]], list[Excluded]]:
    extractor = make_extractor(shard.extractor, shard.num_mel_bins)
    done: list[dict[str, Any]] = []
    excluded: list[Excluded] = []
    final_path = str(shard.final_dir / shard.archive.name)
    try:
        with LilcomChunkyWriter(shard.archive) as writer:
            for cut in shard.cuts:
                features = _extract(extractor, cut)
                if isinstance(features, str):
                    source = cut.recording.sources[0].source
                    excluded.append(Excluded(cut.id, features, str(source)))
                    continue
                key = writer.write(cut.id, features)
                manifest = {
                    "type": extractor.name,
                    "num_frames": features.shape[0],
                    "num_features": features.shape[1],
                    "frame_shift": FRAME_SHIFT,
                    "sampling_rate": SAMPLING_RATE,
                    "start": cut.start,
                    "duration": cut.duration,
                    "storage_type": writer.name,
                    "storage_path": final_path,
                    "storage_key": key,
                    "recording_id": cut.recording_id,
                    "channels": cut.channel,
                }
                if cut.sampling_rate != SAMPLING_RATE:
                    # Features must agree with the recording about the rate; this notes the
                    # resampling that was done here, for whoever reads the audio again.
                    cut = cut.resample(SAMPLING_RATE)
                done.append({**cut.to_dict(), "features": manifest})
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                "the disk is full; free some space and run the stage again (it goes on from here)",
                str(shard.archive),
            ) from error
        raise
    return done, excluded


def _extract(extractor: FeatureExtractor, cut: MonoCut) -> np.ndarray | str:
    """Returns the features (T, F) of a cut, or why there are none."""
    try:
        samples = cut.load_audio()
        if cut.sampling_rate != SAMPLING_RATE:
            samples = soxr.resample(samples[0], cut.sampling_rate, SAMPLING_RATE)[None]
        features = np.asarray(extractor.extract(samples, SAMPLING_RATE), dtype=np.float32)
    # Audio backends raise errors of many kinds; each means that this file is of no use.
    except Exception as error:
        logging.debug("cut %s", cut.id, exc_info=True)
        return f"features cannot be computed: {brief(error)}"
    expected = cut.duration / FRAME_SHIFT
    if features.shape[0] == 0 or abs(features.shape[0] - expected) > 2:
        return f"{features.shape[0]} frames of features where {expected:.1f} were expected"
    if not np.isfinite(features).all():
        return "the features are not finite numbers"
    return features
