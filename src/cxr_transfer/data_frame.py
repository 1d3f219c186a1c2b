"""Rows become a pandas table, where pandas is installed and somebody asks for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cxr_transfer.errors import MachineError

if TYPE_CHECKING:
    import pandas


def data_frame(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None
) -> pandas.DataFrame:
    """Return rows as a table.

    Args:
        rows: Rows of the table, column to value.
        columns: Columns in their order; None takes those of the rows.

    Raises:
        MachineError: ``missing_package`` without pandas.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MachineError(
            "missing_package",
            "Expected pandas for a table, but it is not installed: pip install pandas.",
        ) from None
    return pd.DataFrame(list(rows), columns=None if columns is None else list(columns))
