"""A Slurm of one node for tests: munged, slurmctld and slurmd on free ports, all they write in one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers import free_port

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sinfo", "sbatch", "scancel")
CPUS, MEMORY_MB = 2, 4000

_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=200000,batch_sched_delay=0
KillWait=2
ReturnToService=2
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """What of Slurm and MUNGE is not installed."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """The variables that lead Slurm's commands to the node, which is up; every job ends with it."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = _CONFIGURATION.format(
        host=host, folder=folder, user=getpass.getuser(), controller_port=free_port(), node_port=free_port(),
        cpus=CPUS, memory=MEMORY_MB,
    )  # fmt: skip
    (folder / "slurm.conf").write_text(configuration)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run([_program("mungekey"), "--create", "--keyfile", folder / "munge.key"], check=True)
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed")]
    with ExitStack() as started:
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
            ["slurmctld", "-D", "-L", str(folder / "slurmctld.log")],
            ["slurmd", "-D", "-N", host, "-L", str(folder / "slurmd.log")],
        ):
            _start(command, environment, folder, started)
        started.callback(_end_jobs, environment)
        _wait_until_idle(environment, folder)
        yield {"SLURM_CONF": environment["SLURM_CONF"]}


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def _start(command: list[str], environment: dict[str, str], folder: Path, started: ExitStack) -> None:
    with (folder / f"{command[0]}.out").open("wb") as output:
        process = started.enter_context(
            subprocess.Popen([_program(command[0]), *command[1:]], env=environment, stdout=output, stderr=output)
        )
    started.callback(process.terminate)


def _state(environment: dict[str, str]) -> str:
    asked = subprocess.run(["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True)
    return asked.stdout.strip()


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if _state(environment) == "idle":
            return
        time.sleep(0.2)
    said = "\n".join(file.read_text(errors="replace")[-1500:] for file in sorted(folder.glob("*.log")))
    raise RuntimeError(f"Slurm did not start (node {_state(environment)!r}):\n{said}")


def _end_jobs(environment: dict[str, str]) -> None:
    """Ask for an end of all jobs, and see it: what slurmd started would outlive it."""
    subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, capture_output=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _state(environment) not in ("idle", ""):
        time.sleep(0.2)
