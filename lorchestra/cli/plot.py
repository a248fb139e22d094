"""Pictures that a command writes: an .svg or a .png file."""

from __future__ import annotations

from pathlib import Path

from ..errors import FileProblem
from ..files.new_file import check_output, write_new
from ..schedule import plot


def plot_file(name: str, force: bool) -> Path:
    """The file that is to be written; raises `FileProblem` if it cannot be, before anything is computed for it."""
    output = Path(name)
    if output.suffix.lower() not in (".svg", ".png"):
        raise FileProblem(output, "a plot is an .svg or a .png; name the file so")
    check_output(output, (), "", force)
    return output


def write_plot(output: Path, picture: plot.Picture, force: bool) -> None:
    """Writes the picture; `force` replaces a file that is there."""
    data = plot.png(picture) if output.suffix.lower() == ".png" else plot.svg(picture).encode()
    write_new(output, data, force)
