import sys
from datetime import UTC, datetime

import pytest

from engramos.errors import ImportFailedError, MissingExtraError
from engramos.importers.pdf import Pdf
from engramos.messages import Document, Problem


def pdf_bytes(pages: list[str], information: str = "", trailer: str = "") -> bytes:
    """Return a PDF with one line of text a page, made by hand; objects 1 to 4 are fixed, two follow a page."""
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< {information} >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        fonts = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {fonts} /Contents {6 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    root = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R {trailer} >>\n"
    return data + f"{head}{root}startxref\n{len(data)}\n%%EOF\n".encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "letter.pdf"


def test_pages_are_joined_by_form_feeds_and_the_file_names_title_and_time(path):
    path.write_bytes(pdf_bytes(["Dear Zoe", "Yours, Max"], "/Title (A letter) /CreationDate (D:20200102030405Z)"))
    at = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert list(Pdf().read(path)) == [
        Document("Dear Zoe\fYours, Max", "A letter", at=at, document_id="letter.pdf"),
    ]


def test_a_page_without_text_is_a_problem_and_the_rest_is_read(path):
    path.write_bytes(pdf_bytes(["One", "Two", "", "Four"], "/CreationDate (someday)"))
    problem, document = Pdf().read(path)
    assert isinstance(problem, Problem)
    assert problem.position == "page 3"
    assert (document.text, document.title, document.at) == ("One\fTwo\fFour", "letter", None)


def test_a_pdf_of_scans_is_refused(path):
    path.write_bytes(pdf_bytes(["", ""]))
    with pytest.raises(ImportFailedError, match="none of its 2 pages"):
        list(Pdf().read(path))


def test_an_encrypted_pdf_is_refused(path):
    from pypdf import PdfReader, PdfWriter

    path.write_bytes(pdf_bytes(["Secret"]))
    writer = PdfWriter(clone_from=PdfReader(path))
    writer.encrypt("word", algorithm="RC4-128")
    writer.write(path)
    with pytest.raises(ImportFailedError, match="encrypted"):
        list(Pdf().read(path))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_damaged_pdf_is_refused_or_reported(share, path):
    data = pdf_bytes(["One", "Two"])
    path.write_bytes(data[: int(len(data) * share)] + b"\n%%EOF\n")
    try:
        records = list(Pdf().read(path))
    except ImportFailedError:
        return
    assert isinstance(records[-1], Document)


def test_without_pypdf_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdf", None)
    path.write_bytes(pdf_bytes(["One"]))
    with pytest.raises(MissingExtraError, match=r"engramos\[pdf\]"):
        list(Pdf().read(path))
