"""A process for each device of this machine: started, listened to, told of signals, and ended together."""

import dataclasses
import multiprocessing
import os
import pickle
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping
from copy import deepcopy
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from safetensors.torch import load_file, save_file

from backbones.base import resolve_device
from backbones.training.devices import fabric_of
from backbones.training.job import Job
from backbones.training.outcomes import Fitted, OutOfMemory
from backbones.training.saving import weights
from backbones.training.training import Training


def launch(job: Job) -> Fitted:
    """As :class:`Training` in this process, but on several devices. Out of memory starts again from the last
    checkpoint with half the device batch.
    """
    notes: list[Mapping[str, Any]] = []
    while True:
        try:
            fitted = _Processes(job).run()
            break
        except OutOfMemory as error:
            half = error.device_batch // 2
            if half < 2 or half >= (job.execution.device_batch or error.device_batch):
                raise
            notes.append({"from": error.device_batch, "to": half, "reason": error.reason})
            job = dataclasses.replace(job, execution=dataclasses.replace(job.execution, device_batch=half))
    if notes:
        fitted.notes["out_of_memory"] = notes
    return fitted


class _Processes:
    """One start of a job's processes; the first of them tells what happens, any of them what went wrong."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.folder = tempfile.TemporaryDirectory(prefix="bob-training-")
        job.trainee.cpu()
        quiet = dataclasses.replace(job, log=None, execution=dataclasses.replace(job.execution, report=None))
        try:
            luggage = pickle.dumps(quiet)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(
                f"devices={job.execution.devices} starts processes, and what they are given cannot be sent to them "
                f"({error}); use functions and classes of a module, no lambdas or locals, or devices=1"
            ) from None
        self.luggage = Path(self.folder.name) / "job.pickle"
        self.luggage.write_bytes(luggage)

    def run(self) -> Fitted:
        """Start, listen to the end, and bring the weights home."""
        context = multiprocessing.get_context("spawn")
        port = _free_port()
        processes: list[SpawnProcess] = []
        pipes: list[Connection] = []
        with self.folder:
            try:
                for rank in range(self.job.execution.devices):
                    mine, theirs = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(rank, port, self.luggage, theirs))
                    process.start()
                    theirs.close()
                    processes.append(process)
                    pipes.append(mine)
                facts = self._listen(pipes)
                for process in processes:
                    process.join()
                return self._bring_home(facts)
            except Exception:
                _end(processes, signal.SIGKILL)
                raise
            except BaseException:  # a signal: they keep what is done, and then end
                _end(processes, signal.SIGTERM)
                raise

    def _listen(self, pipes: list[Connection]) -> Mapping[str, Any]:
        """What the first process finished with. Raises what any of them raised, or that it died."""
        while True:
            for pipe in wait(pipes):
                assert isinstance(pipe, Connection)
                try:
                    kind, value = pipe.recv()
                except EOFError:
                    rank = pipes.index(pipe)
                    raise RuntimeError(f"the training process of device {rank} died; its own output says why") from None
                if kind == "done":
                    return dict(value)
                if kind == "error":
                    raise value
                self._pass_on(kind, value)

    def _pass_on(self, kind: str, value: Any) -> None:
        if kind == "report" and self.job.execution.report is not None:
            self.job.execution.report(*value)
        if kind == "log" and self.job.log is not None:
            self.job.log(*value)

    def _bring_home(self, facts: Mapping[str, Any]) -> Fitted:
        folder, trainee = Path(self.folder.name), self.job.trainee
        trainee.load_state_dict(load_file(folder / "model.safetensors"))
        model = trainee.to(resolve_device(self.job.execution.device)).eval()
        if (folder / "average.safetensors").exists():
            model = deepcopy(trainee)
            model.load_state_dict(load_file(folder / "average.safetensors"))
        return Fitted(model, **facts)


def _work(rank: int, port: int, luggage: Path, pipe: Connection) -> None:
    """The life of one process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        _train(pickle.loads(luggage.read_bytes()), rank, luggage.parent, pipe)  # what the parent wrote, for it alone
    except Exception as error:
        pipe.send(("error", _sendable(error)))


def _end_with_parent() -> None:
    """A parent that is killed tells nobody: its processes would wait for one another, each holding a GPU."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train(job: Job, rank: int, folder: Path, pipe: Connection) -> None:
    if resolve_device(job.execution.device).type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // job.execution.devices))
    if rank == 0:
        execution = dataclasses.replace(job.execution, report=lambda *said: pipe.send(("report", said)))
        job = dataclasses.replace(job, execution=execution, log=lambda *said: pipe.send(("log", said)))
    fitted = Training(job, fabric_of(job.execution, LightningEnvironment())).run()
    if rank == 0:
        save_file(weights(job.trainee), folder / "model.safetensors")
        if fitted.model is not job.trainee:
            save_file(weights(fitted.model), folder / "average.safetensors")
        names = [field.name for field in dataclasses.fields(fitted) if field.name != "model"]
        pipe.send(("done", {name: getattr(fitted, name) for name in names}))
    torch.distributed.barrier()  # the others stay until the weights are written


def _sendable(error: Exception) -> Exception:
    try:
        return pickle.loads(pickle.dumps(error)) and error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _end(processes: list[SpawnProcess], number: int) -> None:
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)
    for process in processes:
        process.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
