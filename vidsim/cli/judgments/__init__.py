"""``vidsim judgments``: bring people's odd-one-out judgments in, look at them, and plan the next."""

import typer

from vidsim.cli.judgments import design, embed, import_, inspect, next_batch, power, reliability, simulate

app = typer.Typer(
    help="Import, inspect, plan and model people's odd-one-out judgments.", no_args_is_help=True, rich_markup_mode=None
)
app.command(name="import")(import_.import_)
app.command()(inspect.inspect)
app.command()(reliability.reliability)
app.command()(embed.embed)
app.command(name="next")(next_batch.next_batch)
app.command()(design.design)
app.command()(simulate.simulate)
app.command()(power.power)
