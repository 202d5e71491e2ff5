"""``vidsim store``: what is stored, what failed, and how to tidy up."""

from typing import Annotated

import typer

from vidsim.cli import show
from vidsim.cli.options import Json, Root
from vidsim.cli.root import DEFAULT_ROOT, root_of

app = typer.Typer(help="Look after the embedding store.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def info(root: Root = DEFAULT_ROOT, json: Json = False) -> None:
    """Show the tables: encoder, rows, layers, dimensions, size."""
    from vidsim.store import Store

    facts = Store(root_of(root)).info()
    if json:
        show.emit(facts)
        return
    rows: list[tuple[str, ...]] = []
    for table in facts["tables"]:
        widths = sorted(set(table["layers"].values()))
        rows.append(
            (
                table["encoder"],
                str(table["rows"]),
                str(len(table["layers"])),
                f"{widths[0]}" if len(widths) == 1 else f"{widths[0]}-{widths[-1]}",
                table["dtype"],
                f"{table['bytes'] / 1e6:.1f} MB" if table.get("bytes") is not None else "-",
                table["created"][:16].replace("T", " "),
                table["table"],
            )
        )
    headers = ("encoder", "rows", "layers", "dims", "dtype", "size", "created (UTC)", "table")
    show.table(headers, rows, right=("rows", "layers", "dims", "size"), prose=("created (UTC)",))
    for kind in ("stimuli", "judgments", "rsms"):
        if facts[kind]:
            typer.echo(f"{kind}: {', '.join(show.printable(name) for name in facts[kind])}")
    failed = facts["failures"]
    typer.echo("1 file stands in the failure ledger" if failed == 1 else f"{failed} files stand in the failure ledger")


@app.command()
def failures(root: Root = DEFAULT_ROOT, json: Json = False) -> None:
    """List the files that could not be used, with reasons."""
    from vidsim.store import Store

    entries = sorted(Store(root_of(root)).failures, key=lambda failure: failure.path)
    if json:
        for entry in entries:
            show.emit(
                {
                    "path": entry.path,
                    "id": entry.id,
                    "kind": entry.kind,
                    "reason": entry.reason,
                    "content": entry.content,
                    "scope": entry.scope,
                    "when": entry.when,
                }
            )
        return
    if not entries:
        typer.echo("no failures")
        return
    rows = [(entry.kind, entry.reason, show.place(entry.path)) for entry in entries]
    show.table(("kind", "reason", "path"), rows, prose=("reason",))
    typer.echo("they are tried again when they change, or with --retry")


@app.command()
def optimize(
    keep: Annotated[
        float, typer.Option(min=0, max=1e6, help="Hours for which old versions stay readable for running readers.")
    ] = 1.0,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Merge small fragments and drop old versions, to save space and time."""
    from datetime import timedelta

    from vidsim.store import Store

    report = Store(root_of(root)).optimize(keep=timedelta(hours=keep))
    if json:
        show.emit(report)
        return
    for name, change in report.items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in change.items()))
