"""Take the pictures of runs on a cluster, and a log of what Slurm said, with a real Slurm on this machine.

Needs Debian's slurm-wlm and munge, and root, as tests/cluster does. Takes about five minutes on two cores.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, expect
from take import FOLDER, scheme_page, served, shoot

from engine.records.cluster_jobs import read_job
from engine.records.runs import Run, open_run
from engine.records.settings import ROOT

sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "cluster")]
from slurm_here import Slurm, install, record_lines

TABLE = """[small-cluster]
partition = "small"
gpus = 0
cpus = 2
memory_gb = 4
hours = 1
notice_seconds = 60

[whole-node]
partition = "small"
gpus = 0
cpus = 4
memory_gb = 6
hours = 1
"""


def main() -> None:
    if reason := install():
        raise SystemExit(reason)
    folder = Path(tempfile.mkdtemp())
    (folder / "slurm").mkdir()
    (folder / "clusters.toml").write_text(TABLE)
    slurm = Slurm(folder / "slurm")
    slurm.start()
    try:
        with served(folder / "runs") as (browser, url, runs):
            _take(browser, url, runs, slurm)
    finally:
        slurm.stop()


def _take(browser: Browser, url: str, runs: Path, slurm: Slurm) -> None:
    said: list[str] = []
    run = _sent(said, runs, "quick", "--name", "quick, on the cluster", "--cluster", "small-cluster")
    job = read_job(run)
    assert job is not None
    said += [_LOOK, *record_lines(slurm, job.job, until="RUNNING")]
    _wait_for_step(run, 1)
    said += ["", "# Shortly before its time is up, Slurm sends SIGUSR2.", f"$ scancel --signal=USR2 {job.job}"]
    slurm.says("scancel", "--signal=USR2", job.job)
    reached = run.record().step
    lines = record_lines(slurm, job.job, until="PENDING")
    said += [_LOOK, *[line for line in lines if "PENDING" in line]]
    said += [line for line in record_lines(slurm, job.job, until="RUNNING") if "RUNNING" in line]
    said.append("")
    waiting = _sent(said, runs, "default", "--name", "default, waits", "--cluster", "whole-node", "--hours", "0.5")
    _wait_for_step(run, 40)
    said += [*_runs(runs, run, waiting)]
    page = scheme_page(browser, "light")
    page.goto(f"{url}/runs")
    expect(page.get_by_text("PENDING").first).to_be_visible(timeout=60_000)
    shoot(page, "cluster-runs")
    page.goto(f"{url}/runs?run={run.id}")
    shoot(page, "cluster-run")
    page.goto(f"{url}/train?preset=quick")
    page.get_by_role("combobox", name="Where to run").click()
    page.get_by_role("option", name="Cluster small-cluster").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled(timeout=180_000)
    shoot(page, "cluster-train")
    said += ["", "# The other run's job is cancelled behind the workbench's back.", f"$ scancel {_job(waiting)}"]
    subprocess.run(["scancel", _job(waiting)], check=True)
    said += [_LOOK, *record_lines(slurm, job.job, until="COMPLETED", seconds=600)[-1:]]
    said += ["", *_runs(runs, run, waiting)]
    events = [event for event in run.events()[0] if event.kind == "status"]
    said += ["", "# Its events", *[f"step {one.step}: {one.status} {one.message}".rstrip() for one in events]]
    print(f"told at step {reached}")
    (FOLDER / "slurm.txt").write_text("\n".join(said) + "\n")


def _sent(said: list[str], runs: Path, *arguments: str) -> Run:
    said.append("$ python -m engine submit " + " ".join(f'"{one}"' if " " in one else one for one in arguments))
    done = _engine("submit", *arguments, "--runs", str(runs))
    said += [done, ""]
    return open_run(runs, done)


def _runs(runs: Path, *shown: Run) -> list[str]:
    rows = {row["id"]: row for row in json.loads(_engine("runs", "--json", "--runs", str(runs)))}
    said = ["$ python -m engine runs"]
    for row in (rows[run.id] for run in shown):
        place = row["cluster"] or row["error"]
        said.append(f"{row['id']}  {row['status']:<11}  {row['step']:>4}/{row['steps']:<4}  {place}".rstrip())
    return said


def _engine(*arguments: str) -> str:
    command = [sys.executable, "-m", "engine", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def _job(run: Run) -> str:
    job = read_job(run)
    return job.job if job else ""


def _wait_for_step(run: Run, step: int) -> None:
    while run.record().step < step:
        time.sleep(0.5)


_LOOK = '$ squeue -h -r -t all -o "%i %T %r %N" -j JOB    # each new line'

if __name__ == "__main__":
    main()
