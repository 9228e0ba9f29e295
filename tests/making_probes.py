"""Harmfulness probes that fire always or never, in the place of fitted ones."""

import torch

from engine.compute.model.harmfulness import save_layers
from engine.records.evaluation.counts import SIDES
from engine.records.files import write_whole
from engine.records.harmfulness import KINDS, PROBES, WEIGHTS, FittedProbe, HarmfulnessProbes, probes_folder
from engine.records.runs import Run
from engine.records.settings import Settings


def always_or_never(run: Run, settings: Settings, *, base: float, rerouted: float) -> None:
    """Probes whose score is always 0, and the only held-out score, their threshold: inf never fires, -inf always."""
    folder = probes_folder(run, settings)
    names = [f"{side}.{kind}" for side in SIDES for kind in KINDS]
    save_layers(folder / WEIGHTS, {name: [(torch.zeros(1, 16), torch.zeros(1))] for name in names})
    scores = {"base": (base,), "rerouted": (rerouted,)}
    probes = {
        side: {kind: FittedProbe(auc=0.5, borderline=scores[side], harmful=()) for kind in KINDS} for side in SIDES
    }
    whole = HarmfulnessProbes(step=run.record().step, block=1, false_alarms=0.0, rows={}, probes=probes)
    write_whole(folder / PROBES, whole.model_dump_json())
