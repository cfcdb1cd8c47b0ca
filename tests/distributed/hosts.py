"""Several hosts on one machine, to start Bloomery the way a cluster does.

A host is a set of namespaces: its own address on a bridge, its own name, processes, /dev/shm and sshd, with
keys that need no password. `login` is one more of them, the place to start launchers from; the files are the
machine's.

    with hosts(2) as cluster:
        cluster.login.check(["deepspeed", "--hostfile", str(cluster.hostfile()), "launch/train.py", ...])

    python -m tests.distributed.hosts 2 -- ssh host1 hostname -I      # runs a command on the login host

Nothing outlives the process that made the hosts, however that ends: the first process of each host is killed
with it, the kernel ends the others, and addresses, bridge and mounts go with the last of them. Nothing has a
name outside the namespaces, so any number of clusters stand side by side. A folder with keys stays in the
temporary folder after a SIGKILL; the next maker removes it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "pdsh": "pdsh",
}
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
NETWORK = "10.77.0"
PREFIX, LOCK = "bloomery-hosts-", "lock"

SSHD = """\
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/key.pub
PasswordAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
PidFile none
"""
SSH = """\
Host *
  IdentityFile /etc/ssh/key
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  LogLevel ERROR
"""
BOOT = """\
set -e
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount --bind "$1/ssh" /etc/ssh
mount --bind "$1/hosts" /etc/hosts
mkdir /run/sshd
hostname "$2"
ip link set lo up
echo ready
read connected
exec "$(command -v sshd)" -D -e
"""


@dataclass
class Host:
    """One host. Its processes see one another and no others; they are root, as their maker is."""

    name: str
    address: str
    folder: Path
    """The cluster's keys and tables."""
    maker: subprocess.Popen[str] | None = None
    """The process outside whose only child is the first process of the host."""

    @property
    def first(self) -> int:
        """The first process of the host, its sshd, by the pid it has outside."""
        assert self.maker is not None, f"{self.name} is off"
        return children(self.maker.pid)[0]

    def boot(self) -> None:
        """Make the namespaces and the first process, which waits for its network."""
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--uts", "--ipc", "--mount", "--pid"]
        command += ["--fork", "--kill-child=KILL", "--mount-proc", "sh", "-c", BOOT, "boot"]
        self.maker = subprocess.Popen(
            [*command, str(self.folder), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / f"{self.name}.log").open("w"),
            text=True,
            env=environment(),
        )
        assert self.maker.stdout is not None
        if self.maker.stdout.readline() != "ready\n":
            raise RuntimeError(f"{self.name}: {(self.folder / f'{self.name}.log').read_text()}")

    def connected(self) -> None:
        """Tell the first process that the network is there; returns when sshd listens."""
        assert self.maker is not None
        assert self.maker.stdin is not None
        self.maker.stdin.write("\n")
        self.maker.stdin.close()
        wait(lambda: "listening" in (self.folder / f"{self.name}.log").read_text(), f"{self.name}'s sshd")

    def end(self) -> None:
        """Kill the first process, and with it the host."""
        if self.maker is not None:
            self.maker.kill()
            self.maker.wait()
            self.maker = None

    def kill_processes(self) -> None:
        """SIGKILL for all that runs on the host but its sshd; the kernel closes their connections."""
        for pid in self.processes():
            _signal(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """All processes of the host but the first, by the pids that they have outside."""
        space, first = _pid_space(self.first), self.first
        numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in numbers if pid != first and _pid_space(pid) == space]

    def start(
        self, command: Sequence[str], variables: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command in this folder on the host; `options` are Popen's. Signal it with `send`."""
        enter = ["nsenter", f"--target={self.first}", "--net", "--uts", "--ipc", "--mount", "--pid"]
        enter += ["setpriv", "--pdeathsig", "KILL", "env", f"--chdir={options.pop('cwd', Path.cwd())}"]
        return subprocess.Popen([*enter, *command], text=True, env=environment(variables), **options)

    def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
        seconds: float = 900.0,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """A command's status and all it printed, stderr in stdout; after `seconds` it is killed."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        process = self.start(command, variables, **options)
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            send(process, signal.SIGKILL)
            process.kill()
            printed, _ = process.communicate()
            raise AssertionError(f"{command} had not ended after {seconds} s:\n{printed}") from None
        return subprocess.CompletedProcess(command, process.returncode, printed, "")

    def check(
        self, command: Sequence[str], variables: Mapping[str, str] | None = None, **options: Any
    ) -> str:
        """What a command printed; its status has to be 0."""
        done = self.run(command, variables, **options)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@dataclass
class Cluster:
    """A bridge with a login host and numbered hosts on it."""

    folder: Path
    login: Host
    hosts: list[Host] = field(default_factory=list)

    def hostfile(self, *slots: int) -> Path:
        """A hostfile in DeepSpeed's form of all hosts, with one slot each where no numbers are given."""
        path = self.folder / f"hostfile-{'-'.join(map(str, slots)) or 1}"
        numbers = slots or (1,) * len(self.hosts)
        lines = (f"{host.name} slots={count}" for host, count in zip(self.hosts, numbers, strict=True))
        path.write_text("\n".join(lines) + "\n")
        return path

    def power_on(self, host: Host) -> None:
        """Start a host and plug it into the bridge."""
        host.boot()
        if host is self.login:
            self._ip(host, "link", "add", "eth0", "type", "bridge")
        else:
            peer = ["peer", "name", "eth0", "netns", str(host.first)]
            # A hardware address of its own, so that a host that comes back is not looked for at the old one.
            hardware = ["address", f"02:00:00:00:00:{self.hosts.index(host) + 1:02x}"]
            self._ip(self.login, "link", "add", host.name, "type", "veth", *peer, *hardware)
            self._ip(self.login, "link", "set", host.name, "master", "eth0", "up")
        self._ip(host, "address", "add", f"{host.address}/24", "dev", "eth0")
        self._ip(host, "link", "set", "eth0", "up")
        host.connected()

    def power_off(self, host: Host) -> None:
        """Lose the host at once, as in a power cut: its peers do not even hear that connections close."""
        self._ip(self.login, "link", "delete", host.name)
        host.end()

    def cut(self, host: Host) -> None:
        """Pull the host's cable: it runs on, and neither side hears of it."""
        self._ip(self.login, "link", "set", host.name, "down")

    def restore(self, host: Host) -> None:
        """Plug the cable in again."""
        self._ip(self.login, "link", "set", host.name, "up")

    def _ip(self, host: Host, *arguments: str) -> None:
        # Only the network is entered, so that pids and files are those of this process.
        command = ["nsenter", f"--target={host.first}", "--net", "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def hosts(count: int) -> Iterator[Cluster]:
    """`count` hosts named host1, host2, ... and the login host; RuntimeError where it cannot be had."""
    _remove_orphans()
    with TemporaryDirectory(prefix=PREFIX) as name, Path(name, f"{LOCK}.new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = Path(name)
        Path(lock.name).rename(folder / LOCK)  # held from the moment at which another maker can find it
        numbered = [Host(f"host{n}", f"{NETWORK}.{n}", folder) for n in range(1, count + 1)]
        cluster = Cluster(folder, Host("login", f"{NETWORK}.254", folder), numbered)
        _write_tables(cluster)
        try:
            for host in (cluster.login, *cluster.hosts):
                cluster.power_on(host)
            yield cluster
        finally:
            for host in (*cluster.hosts, cluster.login):
                host.end()


def _remove_orphans() -> None:
    """Remove the folders of makers that were killed: nobody holds their locks."""
    for lock in Path(gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with lock.open("w") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(lock.parent, ignore_errors=True)


def _write_tables(cluster: Cluster) -> None:
    """Keys, ssh's and sshd's configuration, and the table of names."""
    ssh = cluster.folder / "ssh"
    ssh.mkdir()
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ssh / name)], check=True)
    (ssh / "sshd_config").write_text(SSHD)
    (ssh / "ssh_config").write_text(SSH)
    names = [f"{host.address} {host.name}" for host in (cluster.login, *cluster.hosts)]
    (cluster.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))


@cache
def why_not() -> str | None:
    """Why this machine cannot have hosts; None where it can."""
    if sys.platform != "linux":
        return "hosts are made of Linux namespaces"
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{SBIN}") is None:
            return f"{tool} is missing (apt-get install {package})"
    if os.geteuid() != 0:
        return "making network namespaces with their own sshd needs root"
    try:
        with hosts(1) as cluster:
            cluster.login.check(["ssh", "host1", "true"], seconds=300)
    except (RuntimeError, AssertionError) as error:
        return f"namespaces cannot be made here: {error}"
    return None


def send(process: subprocess.Popen[str], number: int) -> None:
    """A signal for a command that `Host.start` started: the process of the host, not the one outside."""
    for pid in children(process.pid):
        _signal(pid, number)


def children(pid: int) -> list[int]:
    """The children of a process; none where it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, with the system's tools and this Python's on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:{SBIN}"
    return {**os.environ, "PATH": path, **(variables or {})}


def _pid_space(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended by itself


def wait(condition: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: nothing for {seconds} s")
        time.sleep(0.02)


def main() -> None:
    """Make hosts, run a command on the login host, remove them."""
    count, command = int(sys.argv[1]), sys.argv[2:]
    if command[:1] == ["--"]:
        command = command[1:]
    with hosts(count) as cluster:
        print(f"{cluster.hostfile()}: {cluster.hostfile().read_text().split()}", flush=True)
        raise SystemExit(cluster.login.start(command or ["bash"]).wait())


if __name__ == "__main__":
    main()
