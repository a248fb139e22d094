"""Prints the folder and the Python of the ComfyUI that the tests use, a line each; nothing when there is none."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).absolute().parents[2]))

from lorchestra.demo.comfyui import find_comfyui

found = find_comfyui()
if found:
    print(found.root)
    print(found.python)
