"""The structure of a PDF: what is a heading, a paragraph or a picture, for who has it read aloud.

Comes in: a canvas of reportlab, which draws. Goes out: marks between what it draws, and the tree in
which they are named (ISO 32000-1, 14.7 and 14.8). Knows nothing of what a page says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Tags:
    """Marks what is drawn on a canvas, in the order in which it is to be read.

    Args:
        canvas: Canvas of reportlab.
    """

    def __init__(self, canvas: Any) -> None:  # noqa: ANN401 - reportlab has no types
        from reportlab.pdfbase import pdfdoc

        self._canvas, self._pdf = canvas, pdfdoc
        self._file = canvas._doc
        self._root = pdfdoc.PDFDictionary({"Type": pdfdoc.PDFName("StructTreeRoot")})
        self._whole = self._element("Document", self._root)
        self._pages: list[list[Any]] = []
        self._on_page: list[Any] = []

    @contextmanager
    def marked(self, role: str | None, alt: str = "") -> Iterator[None]:
        """Mark what is drawn meanwhile.

        Args:
            role: "H1", "H2", "P" or "Figure"; None for decoration, which is not read.
            alt: What is read instead of a picture.
        """
        if role is None:
            self._canvas._code.append("/Artifact BMC")
        else:
            element = self._element(role, self._whole)
            element["K"] = len(self._on_page)
            if alt:
                element["Alt"] = self._pdf.PDFString(alt)
            self._canvas._code.append(f"/{role} <</MCID {len(self._on_page)}>> BDC")
            self._on_page.append(element)
        yield
        self._canvas._code.append("EMC")

    def end_page(self) -> None:
        """Name what was marked on the page that the canvas has just ended."""
        page = self._file.Pages.pages[-1]
        # Keys of a page that reportlab does not know by itself.
        page.__NoDefault__ = [*page.__NoDefault__, "StructParents", "Tabs"]
        page.StructParents, page.Tabs = len(self._pages), self._pdf.PDFName("S")
        for element in self._on_page:
            element["Pg"] = self._file.Reference(page)
        self._pages.append([self._file.Reference(element) for element in self._on_page])
        self._on_page = []

    def finish(self) -> None:
        """Put the tree into the file; to be called before it is saved."""
        array = self._pdf.PDFArray
        elements = [element for page in self._pages for element in page]
        self._whole["K"] = array(elements)
        self._root["K"] = self._file.Reference(self._whole)
        numbered = [part for place, page in enumerate(self._pages) for part in (place, array(page))]
        self._root["ParentTree"] = self._pdf.PDFDictionary({"Nums": array(numbered)})
        self._root["ParentTreeNextKey"] = len(self._pages)
        catalog = self._file.Catalog
        catalog.StructTreeRoot = self._root
        catalog.MarkInfo = self._pdf.PDFDictionary({"Marked": "true"})

    def _element(self, role: str, parent: object) -> Any:  # noqa: ANN401 - reportlab has no types
        named = {"Type": self._pdf.PDFName("StructElem"), "S": self._pdf.PDFName(role)}
        return self._pdf.PDFDictionary(named | {"P": self._file.Reference(parent)})
