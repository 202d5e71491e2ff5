"""``vidsim judgments simulate``: trials of judges who are known, to try an analysis or a design on."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from vidsim.cli import show
from vidsim.cli.judgments.names import check_name
from vidsim.cli.options import Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.spaces import find_space
from vidsim.errors import VidsimError
from vidsim.report.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from vidsim.data.judgments.judgments import Judgments

DIMS = 5
TEMPERATURE = 0.35
"""With these, 24,096 trials of 200 stimuli are about as reliable (0.49) as those of the paper."""

Stimuli = Annotated[
    int | None, typer.Option(min=3, max=20_000, help="How many stimuli of a random geometry, instead of a model.")
]
Dims = Annotated[int, typer.Option(min=1, max=100_000, help="Dimensions of the random geometry.")]
Temperature = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Noise of the choices, in the unit of the similarities; 0 for none. "
        f"{TEMPERATURE} by default for a random geometry.",
    ),
]
Lapse = Annotated[float, typer.Option(min=0, max=1, help="Share of answers given at random.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all that is drawn at random.")]


def simulate(
    trials: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="Trials, of random triplets.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Whose similarities: ENCODER:LAYER, a similarity matrix of the store by name, or a file."),
    ] = None,
    stimuli: Stimuli = None,
    dims: Dims = DIMS,
    temperature: Temperature = None,
    lapse: Lapse = 0.0,
    participants: Annotated[int, typer.Option(min=1, help="People who judge, each a block of equal size.")] = 1,
    participant_bias: Annotated[
        float, typer.Option(min=0, help="Spread over people of the log-odds of preferring a place on the screen.")
    ] = 0.0,
    individual: Annotated[
        float, typer.Option(min=0, help="Spread of what each person adds to the similarity of each pair.")
    ] = 0.0,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Write the trials to this .csv file.", show_default=False)] = None,
    name: Annotated[
        str | None, typer.Option(help="Keep the judgments in the store under this name.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what --out or --name names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Draw odd-one-out trials of simulated judges from a model's similarities or a random geometry."""
    start = time.perf_counter()
    if (model is None) == (stimuli is None):
        raise VidsimError("say whose similarities are judged: either --model, or --stimuli for a random geometry")
    if out is None and name is None:
        raise VidsimError("nothing would be kept; give --out FILE.csv, or --name to keep the judgments in the store")
    if model is not None and temperature is None:
        raise VidsimError("--model needs --temperature: how noisy choices are depends on the unit of its similarities")
    check_out(out, (".csv",), force=force)
    if name is not None:
        check_name(name, root_of(root), "judgments", force=force)
    from vidsim.data.simulate import planted_rsm
    from vidsim.data.simulate import simulate as draw

    rsm = find_space(model, root).rsm() if model is not None else planted_rsm(stimuli or 0, dims, seed)
    judgments = draw(
        rsm,
        trials=trials,
        temperature=TEMPERATURE if temperature is None else temperature,
        lapse=lapse,
        participants=participants,
        participant_bias=participant_bias,
        individual=individual,
        seed=seed,
    )
    if out is not None:
        table = screens(judgments)

        def write(file: BinaryIO) -> None:
            from pyarrow import csv

            csv.write_csv(table, file)

        write_out(out, write, force=force)
    if name is not None:
        from vidsim.store import Store

        Store(root_of(root), create=True).judgments.put(name, judgments.table())
    answer = {
        "trials": len(judgments),
        "stimuli": len(rsm),
        "participants": participants,
        "model": model,
        "dims": None if model is not None else dims,
        "temperature": TEMPERATURE if temperature is None else temperature,
        "lapse": lapse,
        "participant_bias": participant_bias,
        "individual": individual,
        "seed": seed,
        "out": None if out is None else str(out),
        "name": name,
        "seconds": round(time.perf_counter() - start, 3),
    }
    if json:
        show.emit(answer)
        return
    where = " and ".join(
        part for part in (out and str(out), name is not None and f"judgments {name!r} in {root_of(root)}") if part
    )
    typer.echo(
        f"{counted(len(judgments), 'trial')} of {len(rsm):,} stimuli by {counted(participants, 'participant')} at "
        f"temperature {answer['temperature']:g}: {show.printable(where)}"
    )


def screens(judgments: "Judgments") -> "pa.Table":
    """Lay judgments out as a plain table, stimuli in their places on the screen.

    Parameters
    ----------
    judgments : Judgments
        That know the place of the odd one.

    Returns
    -------
    pyarrow.Table
        Columns ``participant``, ``session``, ``trial``, ``stim1`` to ``stim3``, ``choice`` (ids) and ``response_time``
        (s).
    """
    import pyarrow as pa

    from vidsim.data.simulate import shown

    ids = pa.array(judgments.ids, pa.string())
    places = shown(judgments)
    columns = {name: judgments.details[name] for name in ("participant", "session", "trial")}
    columns |= {f"stim{place + 1}": ids.take(pa.array(places[:, place])) for place in range(3)}
    columns["choice"] = ids.take(pa.array(judgments.rows[:, 2]))
    return pa.table({**columns, "response_time": judgments.details["response_time"]})
