"""Start a run: its record, its place in the queue, a worker that lives. Knows nothing of forms."""

from engine.desk.launch import ensure_worker
from engine.desk.sending import send_or_delete
from engine.desk.starting import line_up, need_inputs
from engine.records.clusters import Resources
from engine.records.presets import read_preset
from engine.records.runs import Run, create_run
from engine.records.spec import RunSpec
from workbench.kit.state import settings


def start_preset(name: str) -> Run:
    """A run of a preset as it is. Raises SpecError where there is no such preset, else as start_run does."""
    return start_run(read_preset(name), preset=name)


def start_run(spec: RunSpec, *, preset: str = "", name: str = "", to: str = "", asked: Resources | None = None) -> Run:
    """A queued run of this spec. Raises ModelError or DataError, and makes none, where the model's folder or a prompt
    file has gone since it was chosen, or where its rows offer tools that the model does not take; ClusterError where
    the cluster does not take it.

    to: the name of a cluster, '' for this machine.  asked: in place of what the cluster's table says.
    """
    need_inputs(spec)
    if to:
        run = create_run(settings().runs, spec, preset=preset, name=name.strip())
        send_or_delete(run, to=to, asked=asked, settings=settings())
        return run
    run = line_up(spec, settings(), preset=preset, name=name.strip())
    ensure_worker(settings())
    return run
