"""Every language has every word of the face, of the nodes and of the settings, and no others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCALES = ROOT / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir())
CALL = re.compile(r"""\bt\(\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
"""Example: `t("{count} LoRAs", {count: 3})`."""
TABLES = (("curve/easings.mjs", "label"), ("curve/presets.mjs", "name"))
"""Tables whose values are translated where they are shown, by the key that holds them."""
PLACEHOLDER = re.compile(r"\{\w+\}")
SPECIAL = set("@|{}")
"""ComfyUI's own translations give these a meaning, so its tooltips and settings have to do without them."""
NOT_TRANSLATED = "loractl's"
"""Its tooltip shows an @, which a translation cannot."""


def read(language: str, name: str) -> Any:
    """A file of a language; a key that is there twice is an error."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(items)) == len(items), f"a key is there twice in {language}/{name}"
        return dict(items)

    return json.loads((LOCALES / language / name).read_text(encoding="utf-8"), object_pairs_hook=pairs)


def literal(text: str) -> str:
    """The text that a string of JavaScript means."""
    return json.loads(text) if text[0] == '"' else text[1:-1].replace("\\'", "'")


def words_in_code() -> set[str]:
    """All that the face says by `t(…)`."""
    found: set[str] = set()
    for path in (ROOT / "js").rglob("*.*js"):
        if path.name != "words.mjs":  # whose examples are none of them
            found |= {literal(match) for match in CALL.findall(path.read_text(encoding="utf-8"))}
    for name, key in TABLES:
        table = (ROOT / "js" / name).read_text(encoding="utf-8")
        values = re.findall(rf'\b{key}: ("[^"]+")', table)
        assert values
        found |= {literal(value) for value in values}
    return found


def nodes_in_code() -> dict[str, Any]:
    """The texts of every node's schema; texts that are put together at run time are None."""
    return dict(_schemas())


def _schemas() -> Iterator[tuple[str, Any]]:
    for path in (ROOT / "nodes").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "schema":
                told = _keywords(call)
                inputs, outputs = (told[key].elts if key in told else [] for key in ("inputs", "outputs"))
                yield (
                    _text(told["node_id"]),
                    {
                        "display_name": _text(told["display_name"]),
                        "description": _text(told["description"]),
                        "inputs": {_text(one.args[0]): _text(_keywords(one)["tooltip"]) for one in inputs},
                        "outputs": [
                            (_text(_keywords(one)["display_name"]), _text(_keywords(one).get("tooltip")))
                            for one in outputs
                        ],
                    },
                )


def _keywords(call: Any) -> dict[str, Any]:
    return {keyword.arg: keyword.value for keyword in call.keywords}


def _text(node: Any) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def settings_in_code() -> dict[str, dict[str, Any]]:
    """The texts of every setting, by its id as translations have it."""
    text = (ROOT / "js/settings.mjs").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for block in re.split(r"\n  \w+: \{\n", text)[1:]:
        told = {key: literal(value) for key, value in re.findall(r'\n? {4}(\w+): ("(?:[^"\\]|\\.)*")', block)}
        options = [literal(value) for value in re.findall(r'text: ("[^"]+")', block)]
        found[told["id"].replace(".", "_")] = {**told, "options": options}
    assert len(found) > 3
    return found


def test_the_languages_are_there() -> None:
    assert {"en", "zh"} <= set(LANGUAGES)
    for language in LANGUAGES:
        assert {path.name for path in (LOCALES / language).iterdir()} == {"main.json", "nodeDefs.json", "settings.json"}


def test_locales_are_in_the_published_pack() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".comfyignore").read_text().splitlines()]
    assert "locales" not in ignored


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_face_has_every_word_and_no_others(language: str) -> None:
    words, code = read(language, "main.json")["lorchestra"], words_in_code()
    assert sorted(code - words.keys()) == []
    assert sorted(words.keys() - code) == []
    for english, translated in words.items():
        assert sorted(PLACEHOLDER.findall(translated)) == sorted(PLACEHOLDER.findall(english)), english
        assert translated.strip(), english
        assert translated == english or language != "en"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_nodes_have_every_word_and_no_others(language: str) -> None:
    words, code = read(language, "nodeDefs.json"), nodes_in_code()
    assert words.keys() == code.keys()
    for id_, node in code.items():
        told = words[id_]
        assert told["display_name"], id_
        assert told["description"], id_
        assert list(told["inputs"]) == list(node["inputs"]), id_
        assert list(told["outputs"]) == [str(number) for number in range(len(node["outputs"]))], id_
        for name, text in told["inputs"].items():
            assert text["name"] and text["tooltip"], f"{id_}.{name}"
        for number, (_, tooltip) in enumerate(node["outputs"]):
            assert told["outputs"][str(number)]["name"], id_
            assert ("tooltip" in told["outputs"][str(number)]) == (tooltip is not None), f"{id_}.{number}"


def test_english_is_what_the_nodes_say() -> None:
    words = read("en", "nodeDefs.json")
    for id_, node in nodes_in_code().items():
        told = words[id_]
        assert (told["display_name"], told["description"]) == (node["display_name"], node["description"])
        for name, tooltip in node["inputs"].items():
            assert told["inputs"][name]["name"] == name
            if tooltip is not None and NOT_TRANSLATED not in tooltip:
                assert told["inputs"][name]["tooltip"] == tooltip
        outputs = [(told["outputs"][key]["name"], told["outputs"][key].get("tooltip")) for key in told["outputs"]]
        assert outputs == node["outputs"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_settings_have_every_word_and_no_others(language: str) -> None:
    words, code = read(language, "settings.json"), settings_in_code()
    assert words.keys() == code.keys()
    sections = read(language, "main.json")["settingsCategories"]
    assert sections.keys() == {"Lorchestra", *(one["section"] for one in code.values())}
    for id_, one in code.items():
        told = words[id_]
        assert told["name"] and told["tooltip"]
        assert sorted(told.get("options", {})) == sorted(one["options"])
        if language == "en":
            assert (told["name"], told["tooltip"]) == (one["name"], one["tooltip"])
            assert all(key == value for key, value in told.get("options", {}).items())


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_comfyui_shows_itself_has_no_signs_with_a_meaning(language: str) -> None:
    def texts(data: Any) -> Iterator[str]:
        if isinstance(data, str):
            yield data
        else:
            for item in data.values():
                yield from texts(item)

    for name in ("nodeDefs.json", "settings.json"):
        for text in texts(read(language, name)):
            assert not SPECIAL & set(text), text
