"""Every language has every word of the face, of the nodes and of the settings, and no others."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.sentences import said_sentences

ROOT = Path(__file__).parents[2]
LOCALES = ROOT / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir())
CALL = re.compile(r"""\bt\(\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
"""Example: `t("{count} LoRAs", {count: 3})`."""
TABLES = (("values/easings.mjs", "label"), ("values/presets.mjs", "name"))
"""Tables whose values are translated where they are shown, by the key that holds them."""
SAID = re.compile(
    r"""(?:\b(?:label|title|text|placeholder|hint|tooltip|summary|detail|message)|"aria-(?:label|description)")\s*:"""
    r"""|\.(?:textContent|innerText|title|placeholder|ariaLabel)\s*=(?!=)"""
    r"""|\bsetAttribute\(\w+, "aria-(?:label|description)",|\btell\([\w.]+, "\w+",|\bnew Error\("""
)
"""Where people get to read what follows. Example: `title: open ? t("Close") : t("Open")`."""
WORD = re.compile(r"[^\W\d_]{2}")
PROSE = re.compile(r"[^\W\d_]{2,},? [a-z]+\b")
"""What looks like a sentence, wherever it stands. Example: `Add a LoRA`."""
NO_WORDS = re.compile(
    r"\blorchestra-|\[Lorchestra\]|\b(?:input,|button:)|^\s*[\w-]+:[^;]*;"  # CSS, and the console
    r"|^(?:Ctrl\+|Alt\+|Insert$|Delete$)"  # keys
    r"|\d:\d"  # schedules
    r"|^pi pi-"  # icons
    r"|^(?:<lora:…>|Runware|JSON)$"
)
ELSEWHERE = ("base/settings.mjs", "values/easings.mjs", "values/presets.mjs", "convert/loaders.mjs")
"""Translated by ComfyUI, or where they are shown; and the names that other packs give their nodes."""
NOT_SHOWN = {
    ("curve/widget.mjs", "from text"),  # a value of the node's
    ("convert/convert.mjs", "ComfyUI does not know the LoRA Stack"),
    ("publish/publish.mjs", "Publish as API"),  # a command's label, which ComfyUI translates
}
SHAPE = re.compile(r"^(?:#+ |- |\| ---|\| )", re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]+`")
PLACEHOLDER = re.compile(r"\{\w+\}")
SPECIAL = set("@|{}")
"""ComfyUI's own translations give these a meaning, so its tooltips and settings have to do without them."""
NAMED = {
    ("LorchestraLoraStack", "missing"): "If a LoRA is missing",
    ("LorchestraLoraStack", "policy"): "If a LoRA is missing or doesn't fit",
    ("LorchestraLoraStack", "pick_seed"): "seed",
    ("LorchestraStackFromRequest", "missing"): "If a LoRA is missing",
}
"""Inputs that people know by another name than prompts."""
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


class Code:
    """JavaScript without comments and regular expressions; the literals are numbers in quotes, `texts` has them."""

    COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
    STRING = re.compile(r""""((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'""")
    PATTERN = re.compile(r"/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
    KEPT = re.compile(r"aria-\w+|success|info|warn|error")
    """Literals that `SAID` looks for."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.texts: list[str] = []
        self.parts: list[str] = []
        self._read(0)
        self.text = "".join(self.parts)

    def _read(self, at: int, *, inner: bool = False) -> int:
        """Reads to the end, or to the brace that closes a template's expression; returns the place after it."""
        last = ""
        while at < len(self.source):
            sign = self.source[at]
            if inner and sign == "}":
                return at + 1
            if match := self.COMMENT.match(self.source, at):
                at = match.end()
            elif match := self.STRING.match(self.source, at):
                self.parts.append(self._literal(match[1] if match[1] is not None else match[2]))
                at, last = match.end(), '"'
            elif sign == "`":
                at, last = self._template(at + 1), '"'
            elif sign == "/" and last in set("(,=:[!&|?{};") and (match := self.PATTERN.match(self.source, at)):
                at, last = match.end(), "/"
            elif sign == "{":
                self.parts.append("{")
                at, last = self._read(at + 1, inner=True), "}"
                self.parts.append("}")
            else:
                self.parts.append(sign)
                at, last = at + 1, last if sign.isspace() else sign
        return at

    def _template(self, at: int) -> int:
        """`a ${b} c` becomes "0"+(b)."""
        said, slot = "", len(self.parts)
        self.parts.append("")
        while self.source[at] != "`":
            if self.source.startswith("${", at):
                self.parts.append("+(")
                at = self._read(at + 2, inner=True)
                self.parts.append(")")
                said += "…"
            else:
                width = 2 if self.source[at] == "\\" else 1
                said += self.source[at : at + width]
                at += width
        self.parts[slot] = self._literal(said)
        return at + 1

    def _literal(self, text: str) -> str:
        if self.KEPT.fullmatch(text):
            return f'"{text}"'
        self.texts.append(text)
        return f'"{len(self.texts) - 1}"'

    def expression(self, at: int) -> str:
        """From here to the comma, semicolon or bracket that ends it."""
        depth, end = 0, at
        while end < len(self.text):
            sign = self.text[end]
            depth += (sign in "([{") - (sign in ")]}")
            if depth < 0 or (depth == 0 and sign in ",;"):
                break
            end += 1
        return self.text[at:end]

    def untranslated(self) -> list[str]:
        """The literals that people read in English, whatever their language; as far as one can tell from the code."""
        translated = {int(number) for number in re.findall(r'\bt\(\s*"(\d+)"', self.text)}
        found = {number for number, text in enumerate(self.texts) if PROSE.search(text)}
        for match in SAID.finditer(self.text):
            said = self.expression(match.end())
            for one in re.finditer(r'"(\d+)"', said):
                compared = re.search(r"[=!]==\s*$|[\w\]]\[$|\w\($", said[: one.start()])
                if not compared and WORD.search(self.texts[int(one[1])]):
                    found.add(int(one[1]))
        return [self.texts[number] for number in sorted(found - translated) if not NO_WORDS.search(self.texts[number])]


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
    text = (ROOT / "js/base/settings.mjs").read_text(encoding="utf-8")
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
        names = {path.name for path in (LOCALES / language).iterdir()}
        assert names == {"main.json", "nodeDefs.json", "settings.json", "commands.json"}


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
def test_the_server_s_sentences_have_every_translation_and_no_others(language: str) -> None:
    sentences, code = read(language, "main.json")["lorchestraSentences"], said_sentences("lorchestra", "nodes")
    assert sorted(code - sentences.keys()) == []
    assert sorted(sentences.keys() - code) == []
    for english, translated in sentences.items():
        assert sorted(set(PLACEHOLDER.findall(translated))) == sorted(set(PLACEHOLDER.findall(english))), english
        assert translated.strip() or not english.strip(), english
        assert translated == english or language != "en"


def test_what_people_read_goes_through_t() -> None:
    found: set[tuple[str, str]] = set()
    for path in (ROOT / "js").rglob("*.*js"):
        name = path.relative_to(ROOT / "js").as_posix()
        if name not in ELSEWHERE:
            found |= {(name, text) for text in Code(path.read_text(encoding="utf-8")).untranslated()}
    assert sorted(found - NOT_SHOWN) == []
    assert sorted(NOT_SHOWN - found) == []  # no longer there


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('create("p", { text: t("Add"), class: "wide" }, t("Add a LoRA"))', []),
        ('create("p", { text: "Add" })', ["Add"]),
        ('create("p", {}, "Add a LoRA")', ["Add a LoRA"]),
        ('({ label: open ? t("Close") : "Open", run: () => go("far away") })', ["Open", "far away"]),
        ("({ title: `${t('File')}: Nothing` })", ["…: Nothing"]),
        ("({ title: `${t('File')}: ${name}` })", []),
        ('button.title = kind === "open" ? t("Close") : NAMES["open"]; // in the "open air"', []),
        ('setAttribute(button, "aria-label", name || "Nameless")', ["Nameless"]),
        ('tell(comfy.app, "warn", "Gone", [why])', ["Gone"]),
        ('if (/["/]/.test(text)) throw new Error("broken")', ["broken"]),
    ],
)
def test_that_would_find_what_does_not(source: str, found: list[str]) -> None:
    assert Code(source).untranslated() == found


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
            assert told["inputs"][name]["name"] == NAMED.get((id_, name), name)
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
def test_the_commands_have_every_word_and_no_others(language: str) -> None:
    code = (ROOT / "js/publish/publish.mjs").read_text(encoding="utf-8")
    id_, label = (literal(re.findall(pattern, code)[0]) for pattern in (r'const ID = ("[^"]+")', r'label: ("[^"]+")'))
    words, main = read(language, "commands.json"), read(language, "main.json")
    assert words == {id_.replace(".", "_"): {"label": main["lorchestra"][label]}}
    assert main["menuLabels"] == {label: main["lorchestra"][label]}


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


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_help_says_the_same_in_every_language(language: str) -> None:
    """The same headings, lists and tables in one order, and the same code in them."""
    pages = ROOT / "js/docs"
    english = {path.stem: path for path in pages.glob("*.md")}
    assert english.keys() == nodes_in_code().keys()
    for id_, path in english.items():
        other = pages / id_ / f"{language}.md"  # where ComfyUI looks for it
        said, meant = (page.read_text(encoding="utf-8") for page in (other, path))
        assert SHAPE.findall(said) == SHAPE.findall(meant), id_
        assert sorted(INLINE_CODE.findall(said)) == sorted(INLINE_CODE.findall(meant)), id_
        assert said.count("|") == meant.count("|"), id_
        assert read(language, "nodeDefs.json")[id_]["display_name"] == said.splitlines()[0].removeprefix("# ")
