"""A program that has imported what commands need, and becomes the command that it is asked for.

Half of what a short command takes is the import of its libraries. A copy (``fork``) of this program
has them, and else does what ``cxr`` does: the same `main`, with words, environment and streams of
its own, to the end of the interpreter. That a command imports what it needs, and nothing heavy, is
tested where commands are started by themselves: test_light_install, test_package, tests/cli.

Each line on standard input is a request in JSON; each line on standard output its exit code.
"""

import gc
import importlib
import json
import os
import sys

IMPORTED = (
    "cxr_transfer.cli.accept",
    "cxr_transfer.cli.audit",
    "cxr_transfer.cli.evaluate",
    "cxr_transfer.cli.predict",
    "cxr_transfer.cli.study",
    "cxr_transfer.cli.train",
    "cxr_transfer.training.trainer",
    "matplotlib.backends.backend_pdf",
)


def main():
    for name in IMPORTED:
        importlib.import_module(name)
    # A copy has one thread of all, so no other may hold a lock meanwhile.
    assert len(os.listdir("/proc/self/task")) == 1, "a library has started threads"
    # Else the collector of a copy touches, and so copies, all that was imported.
    gc.freeze()
    answers = os.dup(1)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            os.close(answers)
            return become(**asked)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(answers, f"{status}\n".encode())
    return None


def become(words, folder, environment, out, err):
    """Go on as the command with these words."""
    for stream, path in ((0, os.devnull), (1, out), (2, err)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, stream)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    # What starts processes looks here for the program that they are of.
    sys.modules["__main__"].__file__ = words[0]
    from cxr_transfer.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
