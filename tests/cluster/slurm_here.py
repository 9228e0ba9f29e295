"""A real Slurm on this machine's loopback, without systemd: munged, slurmctld and one slurmd, all in one folder.

Nothing global is touched: ports, keys, sockets and logs are its own. No fixtures.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock
from forking import INTERPRETER, interpreter
from making import wait_for

from engine.records.settings import Settings

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")
PACKAGES = ("slurm-wlm", "munge")
NODE = "node1"
# Of the node, whatever the machine has: jobs of tests are small.
CPUS, MEMORY_MB = 4, 8000


def install() -> str:
    """Debian's packages, where apt is there and we may. Returns why there is no Slurm, '' where there is one."""
    os.environ["PATH"] = os.environ["PATH"] + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return "" if os.geteuid() == 0 else "Slurm is installed, but only root can start its daemons."
    if shutil.which("apt-get") is None:
        return f"{', '.join(missing)} are not installed, and there is no apt-get to install {', '.join(PACKAGES)}."
    if os.geteuid() != 0:
        return f"{', '.join(missing)} are not installed, and only root can install {', '.join(PACKAGES)}."
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Two processes of tests may come here at once.
    with FileLock(Path(tempfile.gettempdir()) / "workbench-apt-get.lock"):
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(["apt-get", *command], capture_output=True, text=True, env=environment, timeout=600)
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"apt-get did not install {', '.join(missing)}: {done.stderr.strip()[-300:]}" if missing else ""


@dataclass
class Slurm:
    """Its daemons by name, and its folder."""

    folder: Path
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        (self.folder / "slurm.conf").write_text(self._configuration())
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        self._begin(
            "munged",
            ["--foreground", "--force", *(f"--{name}={self.folder / file}" for name, file in _MUNGE.items())],
        )
        wait_for((self.folder / "munge.sock").exists, seconds=20, what="munged")
        self.begin_controller()
        self.begin_node()

    def begin_controller(self) -> None:
        self._begin("slurmctld", ["-D"])
        wait_for(lambda: self.says("sinfo", "-h").returncode == 0, seconds=40, what="slurmctld", pause=0.2)

    def begin_node(self) -> None:
        self._begin("slurmd", ["-D", "-N", NODE])
        wait_for(lambda: self.node_state() in ("idle", "mix", "alloc"), seconds=60, what="the node", pause=0.2)

    def end_controller(self) -> None:
        self._end("slurmctld")

    def lose_node(self) -> None:
        """As when a node loses its power: its daemon and all that it began are gone at once."""
        daemon = self.processes.pop("slurmd")
        begun = [one for one in psutil.process_iter() if _is_step(one, self.folder)]
        # Whoever watches a job goes before it: it would still tell the controller that the job has failed.
        family = [*begun, *(child for one in begun for child in one.children(recursive=True))]
        daemon.kill()
        daemon.wait()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def says(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def node_state(self) -> str:
        return self.says("sinfo", "-h", "-N", "-o", "%t").stdout.strip()

    def line(self, job: str) -> str:
        """What squeue says of a job: '12 RUNNING None node1'."""
        return self.says("squeue", "-h", "-r", "-t", "all", "-o", "%i %T %r %N", "-j", job).stdout.strip()

    def cancel_all(self) -> None:
        self.says("scancel", "--user", "root")

    def stop(self) -> None:
        with suppress(OSError, subprocess.TimeoutExpired):
            self.cancel_all()
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)
        for process in [one for one in psutil.process_iter() if _is_step(one, self.folder)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        os.environ.pop("SLURM_CONF", None)

    def logs(self) -> str:
        return "\n".join(
            f"{name}: {(self.folder / name).read_text(errors='replace')[-2000:]}"
            for name in ("slurmctld.log", "slurmd.log", "munged.out", "slurmctld.out", "slurmd.out")
            if (self.folder / name).exists()
        )

    def _begin(self, name: str, options: list[str]) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            # Away from this process's own group: what ends a test must not end a daemon in its midst.
            self.processes[name] = subprocess.Popen(
                [name, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _configuration(self) -> str:
        host, folder = socket.gethostname().split(".")[0], self.folder
        controller, node = _free_ports(2)
        # The shortest time that Slurm takes for its credentials: so long a job that is queued again waits.
        return f"""
ClusterName=workbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=10
MessageTimeout=5
TCPTimeout=2
KillWait=10
JobRequeue=1
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName={NODE} NodeAddr=127.0.0.1 NodeHostname={host} Port={node} CPUs={CPUS} RealMemory={MEMORY_MB} State=UNKNOWN
PartitionName=small Nodes=ALL Default=YES MaxTime=60 State=UP
"""


_MUNGE = {
    "key-file": "munge.key",
    "socket": "munge.sock",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munge.seed",
}


def _is_step(process: psutil.Process, folder: Path) -> bool:
    """Whether slurmd of this folder's Slurm began it: slurmstepd, or what stands in its place before it has a name."""
    with suppress(psutil.Error):
        return process.name().startswith("slurmstepd") and process.environ().get("SLURM_CONF", str(folder)).startswith(
            str(folder)
        )
    return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def begin_jobs(settings: Settings, *, forked: bool) -> None:
    """How jobs of the cluster 'here' begin from now on, those that were sent with a Python of this table and begin
    once more too. forked: Slurm, sbatch, srun and submitit begin them as ever, but the process that is then the
    workbench's is forked with its libraries loaded, and so are the others of its team; what Slurm begins stands for it:
    signals, held back ones too, and an end by force reach it."""
    script, table = settings.runs.parent / "python", settings.runs.parent / "clusters.toml"
    begun = '"$@"'
    if forked:
        code = f"""
import os, runpy, sys
sys.argv[1:] = sys.argv[4:]
sys.executable = os.environ["{INTERPRETER}"] = "{interpreter()}"
runpy.run_module("submitit.core._submit", run_name="__main__", alter_sys=True)
"""
        begun = f"-u -c '{code}' \"$@\""
    new = script.with_suffix(".new")
    new.write_text(f'#!/bin/sh\nexec "{sys.executable}" {begun}\n')
    new.chmod(0o700)
    new.replace(script)
    if "\npython =" not in table.read_text():
        with table.open("a") as file:
            file.write(f'python = "{script}"\n')


def record_lines(slurm: Slurm, job: str, *, until: str, seconds: float = 90) -> list[str]:
    """Each new line that squeue said of a job, until it contains a word."""
    lines: list[str] = []
    deadline = time.monotonic() + seconds
    while not (lines and until in lines[-1]):
        assert time.monotonic() < deadline, f"{until} was not reached: {lines}"
        line = slurm.line(job)
        if line and line not in lines[-1:]:
            lines.append(line)
        # Each look is a process.
        time.sleep(0.2)
    return lines
