"""`--cluster NAME` of submit and sweep: runs go to a cluster in place of this machine's worker."""

import argparse

from engine.desk.sending import send_or_delete
from engine.records.clusters import Resources, find_cluster
from engine.records.runs import Run, create_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cluster", default="", metavar="NAME", help="train on this cluster of clusters.toml")
    command.add_argument("--partition", metavar="NAME", help="in place of the cluster's own")
    command.add_argument("--gpus", type=int, help="GPUs of a node, in place of the cluster's own number")
    command.add_argument("--hours", type=float, help="after them it is queued again and goes on")


def resources(options: argparse.Namespace, settings: Settings) -> Resources:
    """What is asked of the cluster. Raises ClusterError."""
    cluster = find_cluster(settings, options.cluster)
    return cluster.asked(partition=options.partition, gpus=options.gpus, hours=options.hours)


def to_cluster(spec: RunSpec, options: argparse.Namespace, settings: Settings, *, preset: str) -> Run:
    """A new run that a cluster has. Raises ClusterError, and makes none, where it does not take it."""
    asked = resources(options, settings)
    run = create_run(settings.runs, spec, preset=preset, name=options.name)
    send_or_delete(run, to=options.cluster, asked=asked, settings=settings)
    return run
