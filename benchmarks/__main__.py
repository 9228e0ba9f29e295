"""make bench: all benchmarks, or those named, as a table, as JSON and as docs/benchmarks.md.

Ratios are measured side by side in one run: machines are shared and noisy. Run it on an idle machine.
"""

import argparse
import json
import os
import platform
import re
import time
from pathlib import Path

from benchmarks.rows import Row, alone, measured
from engine.records.settings import ROOT

# Each is a module of this folder with measure(repeats) -> list[Row].
SECTIONS = (
    "training_step",
    "gpu",
    "captures",
    "projection",
    "generation",
    "chat",
    "pictures",
    "growth",
    "app",
    "ranks",
)
# Of several processes the first steps are looked past.
LEAST_REPEATS = 2
REPORT = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=4, help="how often each kind is timed")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--report", action="store_true", help="also write docs/benchmarks.md, these sections of it")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(SECTIONS)}")
    if options.repeats < LEAST_REPEATS:
        parser.error(f"--repeats is {options.repeats}: give {LEAST_REPEATS} or more")
    found: dict[str, list[Row]] = {}
    for name in options.sections or SECTIONS:
        found[name] = alone(measured, name, options.repeats)
        for row in found[name]:
            print(f"{row.name:<64}  {figures(row)}", flush=True)
        # After each: one that fails takes nothing with it that was measured before.
        if options.json:
            rows = [row._asdict() for section in found.values() for row in section]
            options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2))
        if options.report:
            about = ", ".join(f"{name} {value}" for name, value in machine().items())
            REPORT.write_text(report(REPORT.read_text() if REPORT.exists() else "", {name: found[name]}, about))


def figures(row: Row) -> str:
    return ", ".join(f"{value:.3g} {unit}" for unit, value in row.figures.items())


def machine() -> dict[str, str]:
    import torch

    from engine.compute.model.placement import multiplies_bfloat16

    instructions = torch.backends.cpu.get_cpu_capability() + (" with bfloat16" if multiplies_bfloat16() else "")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{os.cpu_count()} cores, {platform.machine()}, {instructions}",
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def report(old: str, found: dict[str, list[Row]], about: str) -> str:
    """The report with what was found, and of other sections what stood there: each says when and on what it ran. One
    that was skipped, as without a GPU, has no figures and replaces none."""
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", old, re.MULTILINE | re.DOTALL))
    for name, rows in found.items():
        if name in parts and not any(row.figures for row in rows):
            continue
        lines = [f"| {row.name} | {figures(row)} |" for row in rows]
        table = "\n".join(["| what | measured |", "|---|---|", *lines])
        parts[name] = f"Measured with {about}.\n\n{table}"
    sections = [f"## {name}\n\n{parts[name].strip()}\n" for name in SECTIONS if name in parts]
    return "\n".join(["# Benchmarks\n", "Written by `python -m benchmarks [SECTION ...] --report`.\n", *sections])


if __name__ == "__main__":
    main()
