"""Draw docs/terminal.svg: what a terminal shows when a folder of clips is indexed and searched.

python docs/terminal.py FOLDER ID
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main(folder: Path, query: str) -> None:
    """Run the commands on a folder and draw what they print."""
    console = Console(record=True, width=100, file=io.StringIO())
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(folder, Path(place, "Videos"))
        for command in ("vidsim index Videos --encoder motion-energy", f"vidsim search {query} -n 5"):
            run = [sys.executable, "-c", "from vidsim.cli import main; main()", *command.split()[1:]]
            out = subprocess.run(run, capture_output=True, text=True, check=True, cwd=place).stdout
            console.print(Text(f"$ {command}", style="bold"))
            console.print(
                Text("\n".join(line.rstrip() for line in out.replace(f"{folder.resolve()}/", "").splitlines()))
            )
            console.print()
    # the reader's own monospaced font: a picture fetches nothing
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="vidsim"), flags=re.DOTALL)
    Path(__file__).with_name("terminal.svg").write_text(svg.replace("Fira Code, monospace", "monospace"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
