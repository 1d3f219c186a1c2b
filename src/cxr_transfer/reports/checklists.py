"""The table of checklists, by their names on the command line."""

from __future__ import annotations

from cxr_transfer.reports.chai import CHAI
from cxr_transfer.reports.checklist import Checklist
from cxr_transfer.reports.claim_2024 import CLAIM_2024
from cxr_transfer.reports.stard_ai import STARD_AI
from cxr_transfer.reports.tripod_ai import TRIPOD_AI

CHECKLISTS: dict[str, Checklist] = {
    checklist.key: checklist for checklist in (CLAIM_2024, TRIPOD_AI, STARD_AI, CHAI)
}
