import base64

from vidsim.report.markdown import escape, markdown
from vidsim.report.page import Card, Page, Section, Strip

PIXEL = base64.b64encode(b"\x89PNG picture").decode()


def test_everything_of_a_page_is_there_and_escaped():
    strip = Strip("trial 3", (Card("clip_1", "two * people", f"data:image/png;base64,{PIXEL}", {"people": "red"}),))
    section = Section(
        "Models | people",
        "Text.",
        facts={"pairs": "10"},
        figures={"A plot": "<svg>1</svg>", "A photo": f'<img alt="" src="data:image/jpeg;base64,{PIXEL}">'},
        strips=(strip, Strip("no picture", (Card("clip 2"),))),
        header=("name", "rho"),
        rows=[("a_b", "0.1"), ("c|d\ne", "0.2")],
        numbers=("rho",),
    )
    text, files = markdown(Page("Title", "lead", [section], "made by"), "figures")
    assert files == {"01.svg": b"<svg>1</svg>", "02.jpeg": b"\x89PNG picture", "03.png": b"\x89PNG picture"}
    for line in (
        "# Title",
        r"## Models \| people",
        "| pairs | 10 |",
        "![A plot](figures/01.svg)",
        "![A photo](figures/02.jpeg)",
        "### trial 3",
        r"- **clip\_1** (people) two \* people",
        r"  ![clip\_1](figures/03.png)",
        "- **clip 2**",
        "| name | rho |",
        "| --- | ---: |",
        r"| a\_b | 0.1 |",
        r"| c\|d e | 0.2 |",
        "made by",
    ):
        assert line in text.split("\n"), line


def test_a_name_cannot_open_markup():
    assert escape("<script>`x`[y](z)\n# t") == r"\<script\>\`x\`\[y\](z) \# t"
