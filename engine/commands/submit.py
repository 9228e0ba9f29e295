"""`--cluster NAME` of submit and sweep: runs go to a cluster in place of this machine's worker."""

import argparse
import socket
from contextlib import chdir

from engine.desk.launch import end_worker, ensure_worker, team_options
from engine.desk.queue import Queue
from engine.desk.sending import need_accepted, send_or_delete
from engine.desk.starting import need_inputs
from engine.desk.worker_job import need_none_sent, send_worker
from engine.records.clusters import Resources, find_cluster
from engine.records.errors import ClusterError, WorkbenchError, WorkerError
from engine.records.runs import Run, create_run
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec


def add_arguments(
    command: argparse.ArgumentParser,
    text: str = "train on this cluster of clusters.toml",
    *,
    hours: str = "after them it is queued again and goes on",
) -> None:
    command.add_argument("--cluster", default="", metavar="NAME", help=text)
    command.add_argument("--partition", metavar="NAME", help="in place of the cluster's own")
    command.add_argument("--gpus", type=int, help="GPUs of a node, in place of the cluster's own number")
    command.add_argument("--hours", type=float, help=hours)


def need_cluster(options: argparse.Namespace) -> None:
    """Raises ClusterError for what is asked of a cluster where none is named."""
    for name in ("partition", "gpus", "hours"):
        if getattr(options, name) is not None and not options.cluster:
            raise ClusterError(f"--{name} is asked of a cluster: give --cluster NAME too, or leave it out.")


def worker_to_cluster(options: argparse.Namespace, settings: Settings) -> str:
    """The number of a job that serves the runs folder in place of this machine's worker, which ends if it is idle.

    Raises WorkerError where that one is at work, or runs elsewhere; ClusterError as a run that is sent.
    """
    asked = resources(options, settings)
    need_none_sent(settings)
    worker = Queue(settings.desk).worker()
    if worker.alive and worker.host != socket.gethostname():
        raise WorkerError(
            f"The worker runs on {worker.host} (process {worker.pid}, {worker.status}): end it there, then send one."
        )
    if worker.alive and worker.status != "idle":
        raise WorkerError(f"The worker (process {worker.pid}) is {worker.status}: wait until it is idle, or end it.")
    need_accepted(find_cluster(settings, options.cluster), asked, options.cluster, settings)
    if worker.alive:
        # It gives the lock back before the job wants it.
        end_worker(worker.pid)
    try:
        return send_worker(settings, to=options.cluster, asked=asked, how=_how(options)).job
    except WorkbenchError:
        if worker.alive:
            ensure_worker(settings, options=team_options(worker.machine))
        raise


def _how(options: argparse.Namespace) -> list[str]:
    """In how many processes it computes, as options of its command."""
    processes = ["--processes", str(options.processes)] if options.processes else []
    return [*processes, *(["--sharded"] * options.sharded)]


def resources(options: argparse.Namespace, settings: Settings) -> Resources:
    """What is asked of the cluster. Raises ClusterError."""
    cluster = find_cluster(settings, options.cluster)
    return cluster.asked(partition=options.partition, gpus=options.gpus, hours=options.hours)


def to_cluster(spec: RunSpec, options: argparse.Namespace, settings: Settings, *, preset: str) -> Run:
    """A new run that a cluster has. Raises ModelError or DataError, and makes none, where the spec's model or a prompt
    file is not there; ClusterError where the cluster does not take it."""
    asked = resources(options, settings)
    with chdir(ROOT):
        # Where its job reads what a spec names without saying from where.
        need_inputs(spec)
        run = create_run(settings.runs, spec, preset=preset, name=options.name)
    send_or_delete(run, to=options.cluster, asked=asked, settings=settings)
    return run
