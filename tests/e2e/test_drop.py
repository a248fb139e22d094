"""Pictures that are dropped on a LoRA Stack, on its list and on its title: their LoRAs become rows."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from support import exif_files
from support.exchange import Exchange
from support.png_files import picture

WARM = "lorchestra-demo/warm.safetensors"
INFOTEXT = (
    "a cat <lora:warm:0.7>\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8, " + 'Lora hashes: "warm: 0123456789ab"'
)
SWARM = json.dumps({"sui_image_params": {"loras": ["gone"], "loraweights": ["0.5"]}})
DROP = """([id, files, onList]) => {
    const data = new DataTransfer();
    for (const [name, type, body] of files) {
        const bytes = Uint8Array.from(atob(body), (sign) => sign.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
    }
    const node = app.canvas.graph.getNodeById(id);
    let target, x, y;
    if (onList) {
        target = node.widgets.find((one) => one.name === "loras").element;
        ({ x, y } = target.getBoundingClientRect());
    } else {
        const box = app.canvas.canvas.getBoundingClientRect(), { scale, offset } = app.canvas.ds;
        x = box.x + (node.pos[0] + 60 + offset[0]) * scale; y = box.y + (node.pos[1] - 12 + offset[1]) * scale;
        target = document.elementFromPoint(x, y);
    }
    const event = (name) => new DragEvent(name, {
        dataTransfer: data, bubbles: true, cancelable: true, clientX: x + 5, clientY: y + 5,
    });
    const over = event("dragover");
    target.dispatchEvent(over);
    target.dispatchEvent(event("drop"));
    return over.defaultPrevented;
}"""


@pytest.fixture
def exchange(face: Any, pack_folder: str) -> Exchange:
    return Exchange(face, pack_folder)


def drop(exchange: Exchange, node: int, *files: bytes, on_list: bool = True, kind: str = "png") -> bool:
    """Drops files; whether the list said that it takes them."""
    given = [
        [f"{number}.{kind}", f"image/{kind}", base64.b64encode(data).decode()] for number, data in enumerate(files)
    ]
    return exchange.page.evaluate(DROP, [node, given, on_list])


def test_the_loras_of_a_picture_become_rows(exchange: Exchange) -> None:
    node = exchange.face.add()
    rows: list[dict[str, Any]] = [{"lora": WARM, "model": 0.7, "hash": "0123456789ab"}]
    assert drop(exchange, node, picture(parameters=INFOTEXT))
    exchange.wait_for_rows(rows)
    assert "left behind" in exchange.toasts()
    rows.append({"lora": "gone", "model": 0.5})
    drop(exchange, node, picture(True, parameters=SWARM), on_list=False)
    exchange.wait_for_rows(rows)
    exchange.close_toasts()
    exchange.face.press("Control+z")
    exchange.wait_for_rows(rows[:1])


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_loras_of_other_pictures(exchange: Exchange, kind: str) -> None:
    """As AUTOMATIC1111 writes them into the EXIF."""
    node = exchange.face.add()
    assert drop(exchange, node, exif_files.picture(kind.upper(), exif_files.unicode(INFOTEXT)), kind=kind)
    exchange.wait_for_rows([{"lora": WARM, "model": 0.7, "hash": "0123456789ab"}])
    drop(exchange, node, exif_files.picture(kind.upper()), kind=kind)
    assert "It says nothing about LoRAs" in exchange.toasts()


def test_what_holds_no_loras_is_told_or_left_to_comfyui(exchange: Exchange) -> None:
    node = exchange.face.add()
    drop(exchange, node, picture())
    assert "It says nothing about LoRAs" in exchange.toasts()
    drop(exchange, node, picture(parameters="a cat\nSteps: 20, Seed: 1"))
    assert "There are no LoRAs in the text" in exchange.toasts()
    drop(exchange, node, b"no picture")
    assert "It is damaged" in exchange.toasts()
    assert exchange.rows(node) == []
    workflow = exchange.face.workflow()
    opened = {**workflow, "nodes": [{**workflow["nodes"][0], "title": "from a picture"}]}
    drop(exchange, node, picture(workflow=json.dumps(opened)))
    exchange.page.wait_for_function("() => app.graph.nodes.some((one) => one.title === 'from a picture')")
