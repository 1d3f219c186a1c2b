"""Run by the tests as a process of its own: a small training into a folder, then its digest.

A second word, "fitted", has the head fitted instead of trained; "back" spoils the second stage, so
that it goes back to the weights that it began with.
"""

import hashlib
import sys
from pathlib import Path

import torch

from cxr_transfer.models.simple_cnn import simple_cnn
from cxr_transfer.training.device import Execution
from cxr_transfer.training.trainer import train_stages
from miniature import SIDE, make_images, make_recipe


def main():
    folder = Path(sys.argv[1])
    head = {"fit": "logistic"} if sys.argv[2:] == ["fitted"] else {}
    rate = {"learning_rate": 0.5} if sys.argv[2:] == ["back"] else {}
    recipe = make_recipe(stages=[("head", ["head"], head), ("all", ["*"], rate)], max_epochs=4)
    torch.manual_seed(1)
    network = simple_cnn(3, size=(SIDE, SIDE))
    trained = train_stages(
        recipe,
        network,
        make_images(46, seed=1),
        make_images(20, seed=2),
        folder=folder,
        seed=7,
        execution=Execution(device="cpu", precision="float32"),
        log=lambda line: print(line, flush=True),
    )
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    for row in trained.history:
        digest.update(repr({k: v for k, v in row.items() if k != "seconds"}).encode())
    print("digest", digest.hexdigest())


if __name__ == "__main__":
    main()
