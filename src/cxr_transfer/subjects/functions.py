"""A function of the user's own as a model: ``python:package.module:function``.

It is given images as the description says, as a float32 array, and returns numbers for each. To
name it on a command line is to let its code run.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.subjects.arrays import real_numbers
from cxr_transfer.text import for_terminal

PREFIX = "python:"


def open_function(subject: str) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]:
    """Import the function that a subject names.

    Args:
        subject: `PREFIX`, a module with its packages, ":" and the function. A module in the folder
            in which the command runs is found, too.

    Raises:
        UsageError: ``bad_function`` for another form, or where there is no such function.
        ModelError: ``bad_model`` where its module cannot be imported; from the function returned,
            where it raises.
    """
    module_name, _, attribute = subject.removeprefix(PREFIX).partition(":")
    if not attribute or not all(name.isidentifier() for name in module_name.split(".")):
        raise UsageError(
            "bad_function",
            f"Expected {PREFIX}package.module:function, but got {for_terminal(subject)}; name "
            "both.",
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        # Standard output is for answers: what the code prints goes where people read.
        with contextlib.redirect_stdout(io.StringIO()):
            function: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            function = getattr(function, name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(
            "bad_function",
            f"Expected the function of {for_terminal(subject)}, but {for_terminal(str(error))}; "
            "install its package, or run the command in the folder in which the module lies.",
        ) from None
    except (Exception, SystemExit) as error:  # whatever code of others raises
        raise _fault(subject, error) from error

    def answer(images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                outputs = function(images)
            if hasattr(outputs, "detach"):
                outputs = outputs.detach().cpu().numpy()
            return real_numbers(outputs)
        except (Exception, SystemExit) as error:  # whatever code of others raises
            raise _fault(subject, error) from error

    return answer


def _fault(subject: str, error: BaseException) -> ModelError:
    return ModelError(
        "bad_model",
        f"Expected {for_terminal(subject)} to take images and return numbers, but it raised "
        f"{type(error).__name__}: {for_terminal(str(error))[:300]}".rstrip(".: ")
        + ".",
    )
