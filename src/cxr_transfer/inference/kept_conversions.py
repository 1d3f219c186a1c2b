"""The converted network of a checkpoint: taken from the cache, or made and kept there.

Of a model that ships its graph it is put together; of any other it is converted, which needs torch.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from cxr_transfer.errors import ModelError
from cxr_transfer.export.metadata import ExportMetadata, kept_conversion, read_export_metadata
from cxr_transfer.export.shipped_graph import put_together, ships_graph
from cxr_transfer.extras import require
from cxr_transfer.files import cache_folder, writable_cache
from cxr_transfer.models.folder import sha256
from cxr_transfer.models.metadata import Checkpoint, check_hash, checkpoint_files, read_card
from cxr_transfer.models.released import weights_at_hand
from cxr_transfer.openvino_runtime import exclusive

_log = logging.getLogger(__name__)


def converted_network(checkpoint: Path) -> tuple[Path, Path, ExportMetadata, str]:
    """Return the graph of a checkpoint, made now where it was not kept, its weights, its card.

    The last is a warning where the graph could not be kept for the next time.
    """
    card_path, weights = checkpoint_files(checkpoint)
    card = read_card(card_path)
    # A card may name any weights: what is kept of those is taken only where these are here.
    whole = weights_at_hand(card, weights)
    check_hash(card, sha256(whole), whole)
    with exclusive():  # several threads that open it convert it once
        # A cache that cannot be written may have it all the same.
        kept = kept_conversion(card, cache_folder())
        converted = _read_kept(kept, card)
        if converted:
            _log.debug("%s: its converted network is taken from the cache", card.name)
            return kept, weights, converted, ""
        cache, note = writable_cache()
        kept = kept_conversion(card, cache)
        # What this process made before, where it is the process's own folder.
        converted = _read_kept(kept, card) if note else None
        if converted is None and ships_graph(card_path):
            _log.debug("%s: its graph is put together, at its first use", card.name)
            converted = put_together(card, card_path.parent, whole, kept)
        if converted is None:
            require("torch", "converting a checkpoint at its first use")
            from cxr_transfer.export.openvino import convert

            _log.info("%s: converting the network, at its first use", card.name)
            converted = convert(checkpoint, kept)
        return kept, weights, converted, note


def _read_kept(kept: Path, card: Checkpoint) -> ExportMetadata | None:
    """Return what is kept of a checkpoint's conversion; None where it has to be made anew."""
    with suppress(ModelError):  # Not there yet, or damaged: what is kept is ours to make anew.
        converted = read_export_metadata(kept)
        # It is kept by its weights alone: another checkpoint may have the same ones, and take its
        # images in another way or go by another name.
        return converted if converted.card == card else None
    return None
