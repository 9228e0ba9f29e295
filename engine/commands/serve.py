"""`python -m engine serve`: a run behind an OpenAI-compatible endpoint, answered by the worker."""

import argparse
import socket
import sys

from engine.desk.endpoints import endpoint_name
from engine.desk.launch import ensure_worker
from engine.records.checkpoints import parse_checkpoint, run_checkpoints
from engine.records.errors import RunError, WorkerError
from engine.records.harmfulness import KINDS, need_probes
from engine.records.runs import open_run
from engine.records.settings import Settings

HERE = "127.0.0.1"
PORT = 8340


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id, or RUN@STEP")
    command.add_argument("--probe", choices=KINDS, default="", help="the run's harmfulness probe ends answers")
    command.add_argument("--host", default=HERE, help=f"address to listen at (default: {HERE}, this machine alone)")
    command.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0: any that is free")


def serve(options: argparse.Namespace, settings: Settings) -> int:
    """Answer until interrupted. Raises RunError for what cannot be served, WorkerError where the address is taken."""
    import uvicorn

    from engine.endpoint.app import Offer, endpoint

    checkpoint = parse_checkpoint(options.run)
    if checkpoint.is_base:
        raise RunError("A run is served, its base model beside it as 'base': write RUN or RUN@STEP.")
    run = open_run(settings.runs, checkpoint.run_id)
    known = run_checkpoints(run)
    if checkpoint not in known:
        steps = ", ".join(map(str, known)) or "nothing to ask yet"
        raise RunError(f"'{checkpoint}' cannot be asked: run {run.id} has {steps}.")
    if options.probe:
        need_probes(run, settings, checkpoint.step)
    with listening(options.host, options.port) as place, endpoint_name(settings) as own:
        ensure_worker(settings)
        is_here = options.host in (HERE, "localhost", "::1")
        offer = Offer(checkpoint, own, options.probe)
        app = endpoint(settings, offer, hosts=(HERE, "localhost", "[::1]") if is_here else ("*",))
        reach = "this machine alone" if is_here else "EVERY machine that reaches this address, without any password"
        name = options.host if ":" not in options.host else f"[{options.host}]"
        print(f"{checkpoint} and base at http://{name}:{place.getsockname()[1]}/v1, open to {reach}", file=sys.stderr)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[place])
    return 0


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address. Raises WorkerError with the address where it cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise WorkerError(f"{host}:{port} cannot be listened at: {said}. Choose another --port or --host.") from error
