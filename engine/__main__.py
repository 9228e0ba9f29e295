"""The command line: python -m engine COMMAND, one of those that `python -m engine --help` lists.

Exit codes: 0 done, 1 the run did not finish, 2 something was wrong with what was given (the message says what).
"""

import argparse
import logging
import os
import sys
from contextlib import chdir
from pathlib import Path

from engine.commands import assemble as assemble_command
from engine.commands import bundle as bundle_command
from engine.commands import capture as capture_command
from engine.commands import compare as compare_command
from engine.commands import evaluate as evaluate_command
from engine.commands import export as export_command
from engine.commands import fetch as fetch_command
from engine.commands import lmms as lmms_command
from engine.commands import node as node_command
from engine.commands import notebook as notebook_command
from engine.commands import pack as pack_command
from engine.commands import probe as probe_command
from engine.commands import rescale as rescale_command
from engine.commands import runs as runs_command
from engine.commands import serve as serve_command
from engine.commands import spec as spec_command
from engine.commands import submit as submit_command
from engine.commands import sweep as sweep_command
from engine.commands import worker as worker_command
from engine.desk.launch import ensure_worker
from engine.desk.starting import line_up, need_inputs
from engine.records.errors import WorkbenchError
from engine.records.files import storage_error
from engine.records.packaged import packaged
from engine.records.presets import preset_names
from engine.records.settings import ROOT, Settings, read_settings


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    settings = read_settings(options.runs)
    try:
        result = options.command(options, settings)
        print(end="", flush=True)
        return result
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Who reads what is printed has seen enough; what is left of it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # A disk, a folder or a device that is not as it was; what has no name of a file is no storage's.
        if error.filename is None:
            raise
        print(f"error: {storage_error(Path(error.filename), error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 1


def worker(options: argparse.Namespace, settings: Settings) -> int:
    submit_command.need_cluster(options)
    if options.cluster:
        print(submit_command.worker_to_cluster(options, settings))
        return 0
    _prepare_threads()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _quiet()
    # Why it gave up, where no signal ended it: whoever looks after it begins it again.
    return 1 if worker_command.serve(settings, processes=options.processes, sharded=options.sharded) else 0


def on_node(options: argparse.Namespace, settings: Settings) -> int:
    _prepare_threads()
    _quiet()
    return node_command.on_node(options, settings)


def train(options: argparse.Namespace, settings: Settings) -> int:
    """Train in the foreground, with the worker's own loop; the last line printed is the run id."""
    spec = spec_command.spec_of(options)
    _prepare_threads()
    _quiet()
    from engine.commands.foreground import train_here

    with chdir(ROOT):
        # Where the worker, who may have to resume it, reads what a spec names without saying from where.
        return train_here(
            spec,
            settings,
            preset=_preset(options),
            name=options.name,
            processes=options.processes,
            sharded=options.sharded,
        )


def submit(options: argparse.Namespace, settings: Settings) -> int:
    """Queue a run for the worker, which is started if none is alive, or send it to a cluster; prints the run id."""
    submit_command.need_cluster(options)
    spec = spec_command.spec_of(options)
    if options.cluster:
        print(submit_command.to_cluster(spec, options, settings, preset=_preset(options)).id)
        return 0
    with chdir(ROOT):
        # Where the worker reads what a spec names without saying from where.
        need_inputs(spec)
        run = line_up(spec, settings, preset=_preset(options), name=options.name)
    try:
        print(run.id, flush=True)
    finally:
        ensure_worker(settings)
    return 0


def capture(options: argparse.Namespace, settings: Settings) -> int:
    _prepare_threads()
    _quiet()
    return capture_command.capture(options, settings)


def assemble(options: argparse.Namespace, settings: Settings) -> int:
    _prepare_threads()
    _quiet()
    return assemble_command.assemble(options, settings)


def evaluate(options: argparse.Namespace, settings: Settings) -> int:
    _prepare_threads()
    _quiet()
    return evaluate_command.evaluate(options, settings)


def lmms(options: argparse.Namespace, settings: Settings) -> int:
    _prepare_threads()
    _quiet()
    return lmms_command.lmms(options, settings)


def probe(options: argparse.Namespace, settings: Settings) -> int:
    _prepare_threads()
    _quiet()
    return probe_command.probe(options, settings)


def export(options: argparse.Namespace, settings: Settings) -> int:
    _quiet()
    return export_command.export(options, settings)


def prepare(options: argparse.Namespace, settings: Settings) -> int:
    """Convert the bundled model, or a packaged one that was fetched, once."""
    from engine.compute.model.bundled import bundled_folder, convert_bundled

    if options.model:
        fetch_command.convert(packaged(options.model), settings)
        return 0
    if bundled_folder(settings.models) is None:
        print("Converting the bundled model (once, 25 to 60 s) ...", file=sys.stderr, flush=True)
        convert_bundled(settings.models)
    print(f"The bundled model is ready in {settings.models}.", file=sys.stderr)
    return 0


def _preset(options: argparse.Namespace) -> str:
    """What the record calls the preset; as on the screen, one with changed fields is '(edited)'."""
    stem = Path(options.spec).stem
    if stem not in preset_names():
        return ""
    return f"{stem} (edited)" if options.set else stem


def _prepare_threads() -> None:
    worker_command.leave_signals_to_the_first()
    # Spinning OpenMP barriers of two busy processes slow each other many times over.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _quiet() -> None:
    """Progress bars and advice of libraries would bury what this command has to say."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--runs", help="folder of the runs (default: WORKBENCH_RUNS, else runs/)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[shared])
        command.set_defaults(command=function)
        return command

    command = add("worker", worker, "serve the runs folder: the process that trains and answers")
    submit_command.add_arguments(
        command,
        "have a job of this cluster of clusters.toml serve it",
        hours="after them it ends; what it trained can be resumed, and what waits is for the next worker",
    )
    worker_command.add_team(command)
    for name, function, text in (
        ("train", train, "train a spec in the foreground; the last line is the run id"),
        ("submit", submit, "queue a spec for the worker; prints the run id"),
    ):
        command = add(name, function, text)
        if name == "train":
            worker_command.add_team(command)
        command.add_argument("spec", metavar="SPEC.json", help="a spec file, or a preset's name such as quick")
        command.add_argument("--name", default="", help="a name for the run")
        spec_command.add_changes(command)
        if name == "submit":
            submit_command.add_arguments(command)
    spec_command.add_arguments(add("spec", spec_command.show, "print a spec whole, or all fields that one has"))
    runs_command.add_arguments(add("runs", runs_command.runs, "list the runs"))
    capture_command.add_arguments(add("capture", capture, "capture a run's activations beside the base model's"))
    evaluate_command.add_arguments(add("evaluate", evaluate, "attack a run's circuit breaker and judge the answers"))
    lmms_command.add_arguments(add("lmms", lmms, "tasks of lmms-eval on both models of a run that sees"))
    probe_command.add_arguments(add("probe", probe, "fit the harmfulness probes of a finished run"))
    sweep_command.add_arguments(
        add("sweep", sweep_command.sweep, "train a grid of specs, evaluate each, tabulate what came out")
    )
    export_command.add_arguments(add("export", export, "write a run's adapter as a folder for a hub"))
    pack_command.add_arguments(
        add("pack", pack_command.pack, "copy a finished run without answers to harmful prompts, for sharing")
    )
    rescale_command.add_arguments(add("rescale", rescale_command.rescale, "copy a finished run at another strength"))
    bundle_command.add_arguments(add("bundle", bundle_command.bundle, "write a run as one HTML file that plays it"))
    notebook_command.add_arguments(add("notebook", notebook_command.notebook, "write a view of a run as a notebook"))
    compare_command.add_arguments(add("compare", compare_command.compare, "write what differs between runs"))
    serve_command.add_arguments(
        add("serve", serve_command.serve, "answer OpenAI clients on this machine with a run's circuit-broken model")
    )
    command = add("prepare", prepare, "convert the bundled model, once")
    command.add_argument("model", nargs="?", default="", help="a packaged model that was fetched, in its place")
    node_command.add_arguments(add("on-node", on_node, "what a cluster's job does on its node: train one run"))
    assemble_command.add_arguments(add("assemble", assemble, "put a small model that sees together, of packages"))
    fetch_command.add_arguments(
        add("fetch", fetch_command.fetch, "fetch a model, packaged or of the Hugging Face hub, once")
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
