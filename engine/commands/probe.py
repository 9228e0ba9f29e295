"""`python -m engine probe`: fit the harmfulness probes of a finished run, in the foreground."""

import argparse
import sys

from engine.commands.counting import carry_out
from engine.records.harmfulness import KINDS, TITLES, HarmfulnessProbes, need_probes, probes_folder
from engine.records.runs import open_run
from engine.records.settings import Settings


def probe(options: argparse.Namespace, settings: Settings) -> int:
    """Fit, and print what was found and the folder. Probes that are there for these settings are left alone."""
    run = open_run(settings.runs, options.run)
    from engine.device import Device
    from engine.jobs.harmfulness import fit_probe_job

    payload = {"run": run.id, "block": options.block, "false_alarms": options.false_alarms}
    carry_out(fit_probe_job(payload, Device(settings).tools(0)), lambda event: event.message)
    print(_summary(need_probes(run, settings, None)), file=sys.stderr)
    print(probes_folder(run, settings))
    return 0


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")
    command.add_argument("--block", help="the block whose output they read (default: the spec's, else the last target)")
    command.add_argument(
        "--false-alarms", type=float, help="share of borderline answers that may be ended (default: the spec's, 0.05)"
    )


def _summary(found: HarmfulnessProbes) -> str:
    rate = f"{100 * found.false_alarms:g} %"
    lines = [f"block {found.block}, step {found.step}; fitted on {found.rows}"]
    for side, probes in found.probes.items():
        for kind in KINDS:
            one = probes[kind]
            lines.append(
                f"  {side:<9} {TITLES[kind]:<10} AUC {one.auc:.3f}  fires in {one.caught(found.false_alarms):.0%} of "
                f"{len(one.harmful)} held-out harmful answers at {rate} of {len(one.borderline)} "
                "borderline ones"
            )
    return "\n".join(lines)
