"""Several processes: started here or by torchrun, joined by torch.distributed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from wfst_entropy.asr.options import OptionError
from wfst_entropy.fsa.errors import FsaError, FsaRuntimeError

# values in one message between processes
_BUCKET_SIZE = 10_000_000
# characters of an error that a process tells the one that started it: what a pipe holds without a
# reader, from several processes
_MAX_MESSAGE = 8000


@dataclasses.dataclass(frozen=True)
class ProcessRank:
    """Which process this is, and the device it computes on.

    >>> ProcessRank(0, 1, torch.device("cpu")).is_first
    True
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes checkpoints and logs for all."""
        return self.rank == 0


def launch(run: Callable[..., None], world_size: int, master_port: int, *args: Any) -> None:
    """Call ``run(rank, *args)`` in one process, in several new ones, or in this one of torchrun's.

    Args:
      run: A function of a module, taking a :class:`ProcessRank` first.
      world_size: Processes to start; must be 1 under torchrun.
      master_port: TCP port on this machine by which the processes find each other.
      *args: Further arguments of ``run``.

    Raises:
      OptionError: when torchrun started the process and ``world_size`` says otherwise.
      FsaRuntimeError: with the message of the first new process that raised an
        :class:`~wfst_entropy.fsa.errors.FsaError` or an ``OSError``, or when one was killed; other
        errors come with the process's traceback.

    >>> launch(lambda rank, word: print(rank.world_size, word), 1, 12354, "process")
    1 process
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        number = int(os.environ["WORLD_SIZE"])
        if world_size not in (1, number):
            raise OptionError(
                f"world_size: torchrun started {number} processes, --world-size says "
                f"{world_size}; leave --world-size out under torchrun"
            )
        rank = int(os.environ["RANK"])
        with process_group(rank, number, int(os.environ["LOCAL_RANK"])) as process:
            run(process, *args)
    elif world_size == 1:
        run(ProcessRank(0, 1, _device(0)), *args)
    else:
        _start(run, world_size, master_port, args)


@contextlib.contextmanager
def process_group(rank: int, world_size: int, local_rank: int) -> Iterator[ProcessRank]:
    """Join the group of processes for the length of a ``with`` block.

    Args:
      rank: The number of this process among all.
      world_size: All processes.
      local_rank: The number of this process on its machine, which chooses the GPU.

    Yields:
      This process's :class:`ProcessRank`.

    Raises:
      OptionError: when another program listens at the port.
    """
    device = _device(local_rank)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, rank=rank, world_size=world_size)
    except RuntimeError as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise OptionError(
            f"master_port: {os.environ.get('MASTER_PORT')} is in use, maybe by another training on "
            "this machine; give another --master-port"
        ) from error
    try:
        yield ProcessRank(rank, world_size, device)
    finally:
        dist.destroy_process_group()


def sum_over_processes(values: list[float], process: ProcessRank) -> list[float]:
    """Add up numbers, position by position, over all processes.

    Args:
      values: This process's numbers; all processes must call this together, with as many.
      process: Which process this is.

    Returns:
      The sums, the same in every process.

    >>> sum_over_processes([1.0, 2.0], ProcessRank(0, 1, torch.device("cpu")))
    [1.0, 2.0]
    """
    if process.world_size == 1:
        return values
    sums = torch.tensor(values, dtype=torch.float64, device=process.device)
    dist.all_reduce(sums)
    return sums.tolist()


def sum_gradients(parameters: Sequence[Tensor], factor: float, process: ProcessRank) -> None:
    """Add up the gradients of all processes, times a factor.

    This is done once all have computed theirs, rather than meanwhile as DistributedDataParallel
    does: a process may then compute its share in parts, or fail to, without others waiting in the
    middle of their gradients; and a parameter that one or all processes did not use is no matter.

    Args:
      parameters: Whose ``grad`` is changed in place; all processes must call this together. A
        parameter without a gradient in any process keeps none.
      factor: What the sums are multiplied by.
      process: Which process this is.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> weight.sum().backward()
    >>> sum_gradients([weight], 0.5, ProcessRank(0, 1, torch.device("cpu")))
    >>> weight.grad
    tensor([0.5000, 0.5000])
    """
    if process.world_size > 1:
        has_gradient = [float(parameter.grad is not None) for parameter in parameters]
        anywhere = sum_over_processes(has_gradient, process)
        used = [parameter for parameter, count in zip(parameters, anywhere) if count]
        for bucket in _buckets(used):
            _sum_bucket(bucket)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def _buckets(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one dtype in groups: a message for each parameter would take too long."""
    bucket: list[Tensor] = []
    size = 0
    for parameter in parameters:
        if bucket and (size > _BUCKET_SIZE or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket


def _sum_bucket(parameters: list[Tensor]) -> None:
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def _start(
    run: Callable[..., None], world_size: int, master_port: int, args: tuple[Any, ...]
) -> None:
    """Start processes on this machine and wait for them."""
    os.environ["MASTER_ADDR"] = "localhost"
    os.environ["MASTER_PORT"] = str(master_port)
    told = mp.get_context("spawn").SimpleQueue()
    own = (world_size, told, run, args)
    started = mp.spawn(_spawned, args=own, nprocs=world_size, join=False)
    try:
        while not started.join():
            pass
    except KeyboardInterrupt:  # which only this process may have received
        for process in started.processes:
            process.terminate()
        raise
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        if not told.empty():
            raise FsaRuntimeError(told.get()) from None
        if isinstance(error, mp.ProcessRaisedException):
            raise
        ended = error.signal_name or f"exit code {error.exit_code}"
        raise FsaRuntimeError(
            f"process {error.error_index + 1} of {world_size} ended with {ended}; if the "
            "system killed it, memory may not suffice: lower --max-duration. The same command "
            "goes on from the newest checkpoint"
        ) from None


def _spawned(
    rank: int, world_size: int, told: Any, run: Callable[..., None], args: tuple[Any, ...]
) -> None:
    """One of the new processes; puts the message of an error that a user can mend into ``told``."""
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() // world_size))
    try:
        with process_group(rank, world_size, rank) as process:
            run(process, *args)
    except (FsaError, OSError) as error:
        told.put(str(error)[:_MAX_MESSAGE])
        raise


def _device(local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
