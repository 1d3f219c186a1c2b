"""``python -m cxr_transfer.cli``: where the command itself is not on the path."""

from cxr_transfer.cli import main

main()
