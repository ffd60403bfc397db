"""Workbooks as Excel and LibreOffice write them, and such as nobody would: parts of a ZIP."""

import io
import zipfile
from collections.abc import Mapping

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """The parts as a ZIP."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return file.getvalue()


def relations(*targets: tuple[str, str]) -> str:
    """A part of relations: kind and target of each, with the ids rId1, rId2 and so on."""
    rows = "".join(
        f'<Relationship Id="rId{number}" Type="{OFFICE}/{kind}" Target="{target}"'
        + (' TargetMode="External"/>' if kind == "hyperlink" else "/>")
        for number, (kind, target) in enumerate(targets, 1)
    )
    return f'{HEAD}<Relationships xmlns="{PACKAGE}">{rows}</Relationships>'


def parts(
    *sheets: str, names: str = "", states: str = "", extra: Mapping[str, str | bytes] | None = None
) -> dict[str, str | bytes]:
    """The parts of a workbook with these sheets (their XML); named by letters, A and so on."""
    names = names or "ABCDEFGH"
    listed = "".join(
        f'<sheet name="{names[at]}" sheetId="{at + 1}" r:id="rId{at + 1}"'
        + (' state="hidden"/>' if states[at : at + 1] == "h" else "/>")
        for at in range(len(sheets))
    )
    kinds = [("worksheet", f"worksheets/sheet{at + 1}.xml") for at in range(len(sheets))]
    return {
        "[Content_Types].xml": f"{HEAD}<Types xmlns="
        '"http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(*kinds),
        **{f"xl/worksheets/sheet{at}.xml": text for at, text in enumerate(sheets, 1)},
        **(extra or {}),
    }


def sheet(data: str, *, before: str = "", after: str = "") -> str:
    """A sheet's XML around its rows."""
    return (
        f'{HEAD}<worksheet xmlns="{MAIN}" xmlns:r="{OFFICE}">{before}'
        f"<sheetData>{data}</sheetData>{after}</worksheet>"
    )


def inline(ref: str, text: str) -> str:
    """A cell with its text in place."""
    return f'<c r="{ref}" t="inlineStr"><is><t>{text}</t></is></c>'


def plain(*rows: str) -> str:
    """A sheet's XML of one column of texts."""
    return sheet(
        "".join(f'<row r="{at}">{inline(f"A{at}", text)}</row>' for at, text in enumerate(rows, 1))
    )


def excel() -> bytes:
    """A catalogue as Excel saves it: title over the table, filter, panes, links, dates, styles."""
    shared = [
        *("Autumn catalogue", "SKU", "Image", "Name", "Price", "Photographed", "Stock", "Sale"),
        *("00123", "https://cdn.example.com/a.jpg", "Shoe", "00124", "see photo", "Boot"),
        *("00125", "Sandal", "https://cdn.example.com/d.jpg"),
    ]
    strings = "".join(f'<si><t xml:space="preserve">{text}</t></si>' for text in shared)
    s = {text: at for at, text in enumerate(shared)}

    def text(ref: str, value: str) -> str:
        return f'<c r="{ref}" s="1" t="s"><v>{s[value]}</v></c>'

    heads = zip("ABCDEFG", shared[1:8], strict=True)
    rows = (
        f'<row r="1" spans="1:7" ht="21" customHeight="1">{text("A1", "Autumn catalogue")}'
        + "".join(f'<c r="{letter}1" s="1"/>' for letter in "BCDEFG")
        + '</row><row r="3" spans="1:7">'
        + "".join(text(f"{letter}3", value) for letter, value in heads)
        + f'</row><row r="4" spans="1:7">{text("A4", "00123")}'
        + text("B4", "https://cdn.example.com/a.jpg")
        + text("C4", "Shoe")
        + '<c r="D4"><v>49.899999999999999</v></c><c r="E4" s="2"><v>45600</v></c>'
        '<c r="F4"><v>12</v></c><c r="G4" t="b"><v>1</v></c></row>'
        f'<row r="5" spans="1:7">{text("A5", "00124")}{text("B5", "see photo")}{text("C5", "Boot")}'
        '<c r="D5"><f>D4*2</f><v>99.8</v></c><c r="E5" s="3"><v>45600.5</v></c>'
        '<c r="F5" t="e"><v>#N/A</v></c></row>'
        f'<row r="6" spans="1:7">{text("A6", "00125")}<c r="B6" t="str">'
        "<f>HYPERLINK(&quot;https://cdn.example.com/c.jpg&quot;,&quot;photo&quot;)</f>"
        f'<v>photo</v></c>{text("C6", "Sandal")}<c r="D6"><v>4006381333931</v></c></row>'
        '<row r="7" spans="1:7"><c r="A7"><v>126</v></c><c r="B7" t="e" vm="1">'
        "<f>_xlfn.IMAGE(&quot;https://cdn.example.com/d.jpg&quot;)</f><v>#VALUE!</v></c></row>"
        '<row r="8" spans="1:7"><c r="A8" s="1"/><c r="B8" s="1"/></row>'
    )
    before = (
        '<sheetPr filterMode="1"/><dimension ref="A1:G8"/><sheetViews><sheetView tabSelected="1" '
        'workbookViewId="0"><pane ySplit="3" topLeftCell="A4" activePane="bottomLeft" '
        'state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>'
    )
    after = (
        '<autoFilter ref="A3:G7"/><mergeCells count="1"><mergeCell ref="A1:G1"/></mergeCells>'
        '<hyperlinks><hyperlink ref="B5" r:id="rId1" display="see photo"/></hyperlinks>'
    )
    styles = (
        f'{HEAD}<styleSheet xmlns="{MAIN}"><fonts count="1"><font/></fonts><fills count="1">'
        '<fill/></fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/>'
        '</cellStyleXfs><cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="49"/>'
        '<xf numFmtId="14" applyNumberFormat="1"/><xf numFmtId="22" applyNumberFormat="1"/>'
        "</cellXfs></styleSheet>"
    )
    extra = {
        "xl/worksheets/_rels/sheet1.xml.rels": relations(
            ("hyperlink", "https://cdn.example.com/b.jpg")
        ),
        "xl/sharedStrings.xml": f'{HEAD}<sst xmlns="{MAIN}">{strings}</sst>',
        "xl/styles.xml": styles,
    }
    made = parts(
        plain("notes"), sheet(rows, before=before, after=after), plain("secret"), states="-h"
    )
    # Excel numbers parts as it likes: the visible catalogue is the first part, the second tab.
    notes, catalogue = made["xl/worksheets/sheet1.xml"], made["xl/worksheets/sheet2.xml"]
    made |= {"xl/worksheets/sheet1.xml": catalogue, "xl/worksheets/sheet2.xml": notes}
    made["xl/workbook.xml"] = (
        f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>'
        '<sheet name="Old" sheetId="3" state="hidden" r:id="rId3"/>'
        '<sheet name="Catalogue &amp; more" sheetId="1" r:id="rId1"/>'
        '<sheet name="Notes" sheetId="2" r:id="rId2"/></sheets></workbook>'
    )
    made["xl/_rels/workbook.xml.rels"] = relations(
        ("worksheet", "/xl/worksheets/sheet1.xml"),
        ("worksheet", "worksheets/sheet2.xml"),
        ("worksheet", "worksheets/sheet3.xml"),
        ("styles", "styles.xml"),
        ("sharedStrings", "sharedStrings.xml"),
    )
    return archive(made | extra)


def libreoffice() -> bytes:
    """As LibreOffice saves it: prefixes, links with `display`, styled rows to the very end."""
    cells = (
        '<row r="1" customFormat="false" ht="12.8" hidden="false" outlineLevel="0">'
        + inline("A1", "Bild")
        + inline("B1", "Artikelnummer")
        + inline("C1", "Preis")
        + '</row><row r="2" customFormat="false" ht="12.8">'
        + inline("A2", "Schuh")
        + '<c r="B2" s="0" t="n"><v>7</v></c><c r="C2" s="0" t="n"><v>1.5</v></c></row>'
        '<row r="3">' + inline("A3", "https://cdn.example.com/zwei.jpg") + "</row>"
        '<row r="1048576" customFormat="false" ht="12.8"><c r="A1048576" s="0"/></row>'
    )
    after = (
        '<hyperlinks><hyperlink ref="A2" r:id="rId1" display="https://cdn.example.com/eins.jpg"/>'
        '</hyperlinks><printOptions headings="false"/>'
    )
    extra = {
        "xl/worksheets/_rels/sheet1.xml.rels": relations(
            ("hyperlink", "https://cdn.example.com/eins.jpg")
        )
    }
    return archive(parts(sheet(cells, after=after), extra=extra))
