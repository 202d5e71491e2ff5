"""A page: one HTML file that needs no network, with figures, facts and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ page.title }}</title>
<style>
  :root { color-scheme: light; }
  body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
         max-width: 74rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
  .lead { color: #555; margin-top: .2rem; overflow-wrap: anywhere; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0; }
  th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top;
           border-bottom: 1px solid #ddd; overflow-wrap: break-word; max-width: 30rem; }
  .number { text-align: right; white-space: nowrap; }
  .scroll { max-height: 28rem; overflow: auto; }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1.5rem; }
  figure { margin: 0; } figure svg, figure img { width: 100%; height: auto; }
  figcaption { color: #555; font-size: .9rem; overflow-wrap: anywhere; }
  h3 { font-size: 1rem; font-weight: normal; margin: 1.2rem 0 .4rem; }
  .strip { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .8rem; }
  .card { padding: .5rem; border: 1px solid #ddd; } .strong { border: 3px solid #1a1a1a; }
  .mark { display: inline-block; padding: 0 .4rem; margin: 0 .3rem .3rem 0; border-left: .7rem solid;
          font-size: .85rem; overflow-wrap: anywhere; }
  footer { color: #777; font-size: .85rem; margin-top: 3rem; }
</style>
</head>
<body>
<h1>{{ page.title }}</h1>
<p class="lead">{{ page.lead }}</p>
{% for section in page.sections %}
<section>
<h2>{{ section.title }}</h2>
{% if section.text %}
<p>{{ section.text }}</p>
{% endif %}
{% if section.facts %}
<table>
{% for name, value in section.facts.items() %}
<tr><th>{{ name }}</th><td class="number">{{ value }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% if section.figures %}
<div class="figures">
{% for caption, svg in section.figures.items() %}
<figure>{{ svg | safe }}<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
{% for strip in section.strips %}
<h3>{{ strip.title }}</h3>
<div class="strip">
{% for card in strip.cards %}
<figure class="card{{ ' strong' if card.strong }}">
{% for text, colour in card.marks.items() %}
<span class="mark" style="border-color: {{ colour }}">{{ text }}</span>
{% endfor %}
{% if card.image %}
<img src="{{ card.image }}" alt="{{ card.name }}">
{% endif %}
<figcaption><b>{{ card.name }}</b> {{ card.text }}</figcaption>
</figure>
{% endfor %}
</div>
{% endfor %}
{% if section.rows %}
<div class="scroll"><table>
<thead><tr>
{% for name in section.header %}
<th{{ ' class=number' if name in section.numbers }}>{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in section.rows %}
<tr>
{% for cell in row %}
<td{{ ' class=number' if section.header[loop.index0] in section.numbers }}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
</section>
{% endfor %}
<footer>{{ page.footer }}</footer>
</body>
</html>
"""


@dataclass(frozen=True)
class Card:
    """Hold a stimulus as people see it.

    Parameters
    ----------
    name : str
        Its id.
    text : str
        Its caption.
    image : str
        A ``data:`` URI; empty where there is only the text.
    marks : mapping of str to str
        What is said of it, and a colour.
    strong : bool
        Whether it stands out.
    """

    name: str
    text: str = ""
    image: str = ""
    marks: Mapping[str, str] = field(default_factory=dict[str, str])
    strong: bool = False


@dataclass(frozen=True)
class Strip:
    """Hold cards side by side, with a line above them."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Section:
    """Hold a part of a page: text, facts, figures, strips of cards, and a table, in this order.

    Parameters
    ----------
    title : str
        Heading.
    text : str
        A paragraph.
    facts : mapping of str to str
        Name and value.
    figures : mapping of str to str
        Caption and SVG, as `figure` makes it.
    strips : sequence of Strip
        Cards, three side by side.
    header : sequence of str
        Names of the table's columns.
    rows : sequence of sequence of str
        Its cells.
    numbers : sequence of str
        Columns aligned right.
    """

    title: str
    text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    figures: Mapping[str, str] = field(default_factory=dict[str, str])
    strips: Sequence[Strip] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """Hold a page.

    Parameters
    ----------
    title : str
        Heading.
    lead : str
        What it is about, in a line.
    sections : sequence of Section
        Its parts.
    footer : str
        How it was made.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    footer: str = ""

    def html(self) -> str:
        """Write the page as HTML; every text is escaped."""
        from jinja2 import Environment

        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(TEMPLATE).render(page=self)
