"""Print the project's dependencies and its `dev` extra, one per line, for pip to install."""

from __future__ import annotations

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
torch_free = [d for d in project["dependencies"] if not d.startswith("torch")]
print("\n".join(torch_free + project["optional-dependencies"]["dev"]))
