"""A Ray cluster of several machines on this one, in a process of its own, that loses parts of it.

Run as a program: prints the address, then does what each line of its input asks, and says "done".
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager


def serve():
    import psutil
    from ray.cluster_utils import Cluster

    # Short, for sockets have short names; and none that another Ray on this machine uses.
    with tempfile.TemporaryDirectory(prefix="cxr", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        os.makedirs(f"{folder}/ray")
        node = {"object_store_memory": 200 * 1024 * 1024, "include_dashboard": False}
        # The head is not lost: it is where the driver is.
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **node})
        others = [cluster.add_node(num_cpus=2, **node)]
        print(json.dumps({"address": cluster.address}), flush=True)
        for line in sys.stdin:
            word, _, what = line.strip().partition(" ")
            if word == "machine":
                cluster.remove_node(others.pop(), allow_graceful=False)
            elif word == "process":
                lost = _pids(psutil.Process(), what)
                for pid in lost:
                    os.kill(pid, signal.SIGKILL)
                print(len(lost), flush=True)
                continue
            print("done", flush=True)
        cluster.shutdown()


def _pids(process, what):
    """Return the workers that run a stage, by the title that Ray gives them."""
    import psutil

    found = []
    for child in process.children(recursive=True):
        try:
            title = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and what in title:
            found.append(child.pid)
    return found


class MadeCluster:
    def __init__(self, process, address):
        self._process, self.address = process, address

    def lose(self, what):
        """Lose "machine", or "process NAME"; returns how many processes were lost."""
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline().strip()
        return int(line) if line.isdigit() else line


@contextmanager
def made_cluster(**environment):
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | environment,
    )
    try:
        address = ""
        while not address:
            line = process.stdout.readline()
            assert line, "the cluster did not start"
            if line.startswith("{"):
                address = json.loads(line)["address"]
        yield MadeCluster(process, address)
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


if __name__ == "__main__":
    serve()
