"""Write the command-line reference from the commands' own help.

python docs/reference.py > docs/cli.md
"""

import os
import subprocess
import sys

VERBS = (
    *("", "index", "extract", "search", "align", "partition", "compare"),
    *("probe", "classify", "train", "report", "models"),
    *("calibrate", "oddoneout", "label"),
    *("judgments", "judgments import", "judgments inspect", "judgments reliability", "judgments design"),
    *("judgments power", "judgments simulate", "judgments next", "judgments embed"),
    *("store", "store info", "store failures", "store optimize", "doctor"),
)


def reference() -> str:
    """Return the reference in Markdown: the help of every verb."""
    parts = ["# Command line\n\nWritten by `python docs/reference.py > docs/cli.md`; a test keeps it current.\n"]
    environment = {**os.environ, "COLUMNS": "110", "TERMINAL_WIDTH": "110", "NO_COLOR": "1"}
    environment.pop("VIDSIM_ROOT", None)
    for verb in VERBS:
        command = [sys.executable, "-c", "from vidsim.cli import main; main()", *verb.split(), "--help"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        parts.append(f"## `{f'vidsim {verb}'.strip()}`\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(reference())
