"""What the face computes by itself is what Python computes: limits, words, stacks, schedules. Node, and no browser."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support import exif_files, node_js
from support.png_files import BROKEN, WITHOUT, picture

from lorchestra import limits
from lorchestra.errors import DialectError, ScheduleError, StackError
from lorchestra.exchange import DIALECTS, Dialect, parse_stack, pictures, png, read_any, read_stack
from lorchestra.fit import badge
from lorchestra.fit.block_layout import Block, find_layout
from lorchestra.models.base import architecture_ids, base_by_name
from lorchestra.schedule import EASINGS, PRESETS, Curve, Keyframe, Moment, Schedule
from lorchestra.schedule.curve import ADDRESSINGS, MAX_KEYFRAMES
from lorchestra.schedule.presets import NUMBERED
from lorchestra.schedule.reading import MAX_TEXT as MAX_SCHEDULE
from lorchestra.schedule.steps import MAX_SIGMA, MAX_STEPS
from lorchestra.stack import DEFAULT_WEIGHT, PICKS, Entry, Stack
from lorchestra.stack.blocks import compose, factor_of

CASES = json.loads((Path(__file__).parent / "stacks.json").read_text(encoding="utf-8"))
TYPED = [
    "0:0, 0.3:1 ease, 1:0.2", "30%:1", "12.5%:.5, 1/3:1", " 0 : 1 , 1 / 2 : 3 linear", "-0", "0:-0, 1:+1", "0.8",
    "bell", "step 3:1 hold, 5:0", "SIGMAS 14.6:0, sigma 7:1e-3", "steps 1:0, step 2:1",
    "fade_in * step 1:0 HOLD, 2:1",
    "0:1 Ease In, 1:0 ease_in-out", "0.5:0.2, 0.5:1", "First Half*2", "progress 0:1, 0.30000000000000004:1e-5",
    "", "0.5:", "0:0,", "1:1,0:0", "2:1", "0:101", "0:1 foo", "step 0:1", "0:0,0:1,0:2", "0.5%", "50%", "0:1%",
    "1/0:1", "0:0 * ", "sigma 1:1, 2:0", "0:1, step 2:1", "0:20 * 0:20", "1.00000000000000000001:1",
    "-0.5:1", "+0.5:1", "1/2",
    "step 50%:1", "0:1 1:1", "0:1 hold hold", "\N{NO-BREAK SPACE}0:1", "0:1\n,\t1:0", "1" * 500,
    "0.1/0.3:1", "1e2/400:1",
    "Fade-in  over 30%", "only the LAST 07 % * 2", "only the first 1 step", "fade in over 0 %", "fade in over 100 %",
    "fade in over 30", "only the first 10001 steps", "fade in over % 30",
]  # fmt: skip

pytestmark = pytest.mark.skipif(node_js.NODE is None, reason="no Node was found")


def evaluate(module: str, body: str, value: Any = None) -> Any:
    return node_js.evaluate(f"values/{module}", body, value)


def test_limits() -> None:
    found = evaluate("limits", "return {...values}")
    assert found["MAX_STACKS"] < 5000  # of the server's; below it
    del found["MAX_STACKS"]
    assert found == {
        "WEIGHT_LIMIT": limits.WEIGHT_LIMIT,
        "DEFAULT_WEIGHT": DEFAULT_WEIGHT,
        "MAX_ROWS": limits.MAX_ROWS,
        "MAX_GROUPS": limits.MAX_GROUPS,
        "MAX_GROUP_NAME": limits.MAX_GROUP_NAME,
        "MAX_TEXT": limits.MAX_TEXT,
        "MAX_SCHEDULE": MAX_SCHEDULE,
        "MAX_KEYFRAMES": MAX_KEYFRAMES,
        "MAX_STEPS": MAX_STEPS,
        "MAX_SIGMA": MAX_SIGMA,
    }


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.id)
def test_what_python_recognises_may_be_rows(dialect: Dialect) -> None:
    entry = Entry(
        "styles/pixel.safetensors", model=0.5, air="urn:air:sdxl:lora:civitai:1@2", sha256="0" * 64, expert="low"
    )
    options = {"allow_names": True} if "allow_names" in dialect.write_options else {}
    text = dialect.write(Stack((entry, replace(entry, lora="b", air="civitai:1@3", sha256="1" * 64))), **options).text
    assert read_any(text).stack.entries
    assert evaluate("pasted", "return values.mayBeRows(value)", text) is True


@pytest.mark.parametrize(
    "text",
    [
        '{"nodes": [{"type": "LoadLoraModel", "inputs": []}], "links": []}',
        '{"3": {"class_type": "KSampler", "inputs": {}}}', '{"input": {"prompt": "x"}}', '{"resources": [1]}',
        '{"steps": 20}', '{"steps": [{"a": 1}]}', '[{"path": "x"}]', '[{"file": "a", "line": 1}]',
        '{"lora": {"rank": 4}}', '{"loras": {"a": 1}}', "Steps: many", "Steps to follow: 1, 2",
        '{"name": "a", "version": "1"}', '[{"type": "div", "id": 1}]', "load_lora_weights", '{"model": {"name": "x"}}',
    ],
)  # fmt: skip
def test_what_people_paste_besides(text: str) -> None:
    assert evaluate("pasted", "return values.mayBeRows(value)", text) is False


SIGNED = [
    picture(parameters=text, Comment="x")
    for text in ("a <lora:b:1>\nSteps: 1", "é", "猫 <lora:b:1>", "")
]  # fmt: skip
SIGNED += [
    picture(True, parameters="a" * 5000),
    picture(True, parameters="猫" * 5000),
    picture(),
    picture(workflow="{}"),
]
SIGNED += [png.SIGNATURE + body for body in (*BROKEN.values(), *WITHOUT)]


def test_pictures() -> None:
    """The same text is found, and what Python refuses is damaged."""
    told: list[Any] = []
    for data in SIGNED:
        try:
            told.append({"kind": "parameters", "text": png.find_parameters(io.BytesIO(data[8:]))})
        except DialectError as error:
            kinds = {"canvas": "comfyui", "nothing about": "none"}
            told.append({"kind": next((kind for words, kind in kinds.items() if words in str(error)), "damaged")})
    assert {one["kind"] for one in told} == {"parameters", "comfyui", "none", "damaged"}
    body = "return Promise.all(value.map((one) => values.findParameters(new Uint8Array(Buffer.from(one, 'base64')))))"
    assert evaluate("png", body, [base64.b64encode(data).decode() for data in SIGNED]) == told
    assert evaluate("png", "return values.findParameters(new Uint8Array([1, 2, 3]))") == {"kind": "damaged"}


IN_EXIF = [
    exif_files.picture(form, comment)
    for form in ("JPEG", "WEBP")
    for comment in (None, exif_files.unicode("é <lora:b:1>"), exif_files.unicode("猫 Steps: 1", "le"), b"ASCII\0\0\0a")
]
IN_EXIF += [exif_files.picture(form, t271="workflow:{}") for form in ("JPEG", "WEBP")]
IN_EXIF += [*exif_files.BROKEN.values(), *exif_files.WITHOUT]


def test_pictures_with_exif() -> None:
    """The same for JPEG and WebP."""
    told: list[Any] = []
    for data in IN_EXIF:
        try:
            told.append({"kind": "parameters", "text": pictures.find_parameters(data[:12], io.BytesIO(data[12:]))})
        except DialectError as error:
            kinds = {"canvas": "comfyui", "nothing about": "none"}
            told.append({"kind": next((kind for words, kind in kinds.items() if words in str(error)), "damaged")})
    assert {one["kind"] for one in told} == {"parameters", "comfyui", "none", "damaged"}
    body = "return Promise.all(value.map((one) => values.findParameters(new Uint8Array(Buffer.from(one, 'base64')))))"
    assert evaluate("pictures", body, [base64.b64encode(data).decode() for data in IN_EXIF]) == told
    assert evaluate("pictures", "return values.findParameters(new Uint8Array([1, 2, 3]))") == {"kind": "damaged"}


def test_verdict_words() -> None:
    assert evaluate("verdicts", "return values.STATES") == list(badge.STATES)


def test_presets_and_easings() -> None:
    presets = evaluate("presets", "return values.PRESETS.map(({name, text}) => [name, text])")
    assert presets == [[preset.name, Schedule.parse(preset.text).to_text()] for preset in PRESETS]
    easings = evaluate("easings", "return values.EASINGS.map(({word, short}) => [word, short])")
    assert sorted(easings) == sorted([easing.word, easing.short] for easing in EASINGS)


def test_presets_with_a_number() -> None:
    """What the menu writes for a number is what Python makes of the name with it, and the menu knows it again."""
    known = evaluate("presets", "return values.NUMBERED")
    assert [(one["name"], one["most"]) for one in known] == [(preset.name, preset.most) for preset in NUMBERED]
    body = """return value[1].map((number) => {
        const text = values.numberedText(value[0], number);
        const found = values.numberedIn(text);
        const typed = values.readSchedule(value[0].name.replace('{number}', number));
        return [text, values.writeSchedule(typed), values.numberedText(found.preset, found.number)];
    })"""
    for preset, one in zip(NUMBERED, known, strict=True):
        numbers = [*range(1, 100), *((1000, MAX_STEPS) if preset.most == MAX_STEPS else ())]
        written = evaluate("schedule", body, [one, numbers])
        assert written == [[Schedule.parse(preset.of(number).name).to_text()] * 3 for number in numbers], preset.name


def rewritten(texts: list[str], lora: str = "") -> list[str]:
    """The stacks as the face writes them, with one more row."""
    body = """return value[0].map((text) => {
        const stack = values.readStack(text);
        return values.writeStack(stack, [...stack.rows, ...(value[1] ? [{lora: value[1], model: 2}] : [])]);
    })"""
    return evaluate("stack", body, [texts, lora])


def test_what_python_reads_is_read_and_written_as_the_same_stack() -> None:
    texts = [text for text, _ in CASES["good"]]
    for text, written, longer in zip(texts, rewritten(texts), rewritten(texts, "new"), strict=True):
        assert parse_stack(written) == parse_stack(text)
        entries = parse_stack(longer).entries
        assert entries[-1].triple == ("new", 2, 2)
        assert entries[:-1] == parse_stack(text).entries


@pytest.mark.parametrize("text", [text for text, _ in CASES["bad"]])
def test_what_the_face_refuses_python_refuses(text: str) -> None:
    with pytest.raises(StackError):
        parse_stack(text)


def test_groups() -> None:
    """The face shows the weights and the picks that Python computes."""
    chance = random.Random(5)
    numbers = [0, 1, -1, 0.7, 0.8, 0.1, 1 / 3, 1e-7, 2.5e-300, 100, -99.9, 0.30000000000000004]
    cases: list[Any] = []
    for seed in [*range(40), 2**53 - 1, 2**64 - 1]:
        groups = [
            {"name": name, "on": chance.random() < 0.8, "factor": chance.choice(numbers[:8]), "pick": pick}
            for name, pick in zip(("a", "é\N{CAT FACE}", "__proto__"), PICKS, strict=True)
        ]
        rows = [
            {
                "lora": chance.choice(("x", "y/ü", "z")),
                "on": chance.random() < 0.8,
                "model": chance.choice(numbers),
                "clip": chance.choice((None, 0, 0.35)),
                "group": chance.choice([None, *(group["name"] for group in groups)]),
            }
            for _ in range(chance.randrange(8))
        ]
        cases.append([{"groups": groups, "loras": rows}, str(seed)])
    body = """return value.map(([data, seed]) => {
        const stack = values.readStack(JSON.stringify(data));
        if (stack.error) throw new Error(stack.error);
        const sent = values.readStack(values.promptText(JSON.stringify(data)));
        const acts = (row) => row.on !== false && (row.model !== 0 || row.clip);
        const kept = (rows) => rows.filter(acts).map(({lora, model, clip}) => [lora, model, clip ?? null]);
        return [groups.flat(stack, seed).map(({on, model, clip}) => [on !== false, model ?? 0.75, clip ?? null]),
                kept(groups.flat(sent, seed))];
    })"""
    url = json.dumps((node_js.JS / "values/groups.mjs").as_uri())
    body = f"return import({url}).then((groups) => {{{body}}})"
    for (data, seed), (rows, sent) in zip(cases, evaluate("stack", body, cases), strict=True):
        stack = parse_stack(data).with_seed(int(seed))
        assert rows == [[entry.on, entry.model, entry.clip] for entry in stack.entries], (data, seed)
        assert sent == [[entry.lora, entry.model, entry.clip] for entry in stack.entries if entry.active], (data, seed)


NAMES = ["a", "b c", "styles/pixel", "x.v1", "a,b", "é", "\N{NO-BREAK SPACE}a", "a@b", "civitai", "air", "a\\b", "a&b",
         "a=b", " a"]  # fmt: skip
PARTS = [":1", ":0.5", ":-.25", ":+1.", ":0", ":-0", ":100", ":101", ":8", ":010", ":1e1", ":", ":x", ":te=1", ":dyn=4",
         ":0,8", ":1@0,0.5@1", ":5-15", ": 1", ":１", ":lbw=ALL"]  # fmt: skip
AROUND = ["", " ", ",", "\n", "\v", "\N{NO-BREAK SPACE}", "\x1c", "\ufeff", "[", "]", ":", "|", "(", ")", "0.5", "\\",
          "<fromto[0.5]:", ">", "words", '"', "{", "<lora:b:0.5>", "&lt;"]  # fmt: skip


def many_texts(count: int) -> list[str]:
    """Texts of tags of every kind, the same ones each time; a half of them are plain."""
    chance = random.Random(11)
    texts: list[str] = []
    for number in range(count):
        around, parts, names = (AROUND[:5], PARTS[:7], NAMES[:5]) if number % 2 else (AROUND, PARTS, NAMES)
        text = ""
        for _ in range(chance.choice((1, 1, 2, 3))):
            few = chance.choices(parts, k=chance.choice((0, 1, 1, 2, 3)))
            tag = f"<{chance.choice(('lora', 'lora', 'lyco', 'LoRA'))}:{chance.choice(names)}{''.join(few)}>"
            text += chance.choice(around) + tag + chance.choice(around)
        texts.append(text)
    return texts


def test_texts_of_tags_are_read_as_python_does_or_left_to_it() -> None:
    """The node applies what `read_stack` reads, so the face shows just that, or asks for it."""
    texts = [*many_texts(4000), *CASES["asked"], *(text for key in ("good", "bad") for text, _ in CASES[key])]
    body = """return value.map((text) => {
        const stack = values.readStack(text);
        return [stack.asks, stack.error, stack.rows];
    })"""
    shown = {"rows": 0, "asked": 0, "refused": 0}
    for text, (asks, error, rows) in zip(texts, evaluate("stack", body, texts), strict=True):
        if asks:
            shown["asked"] += 1
        elif error:
            shown["refused"] += 1
            with pytest.raises(StackError):
                read_stack(text)
        else:
            shown["rows"] += 1
            reading = read_stack(text)
            assert reading.losses == (), text
            assert reading.stack.entries == parse_stack(rows).entries, text
    assert min(shown["rows"], shown["asked"]) > 1000 and shown["refused"] >= len(CASES["bad"])


@pytest.mark.parametrize("architectures", [architecture_ids()[start::4] for start in range(4)], ids=range(4))
def test_weights_per_block_as_bars(architectures: tuple[str, ...]) -> None:
    """What bars make of a row's patterns means the same on every layer of every model, and patterns mean the same."""
    chance = random.Random(5)
    cases: list[Any] = []
    for architecture in architectures:
        layout = find_layout(base_by_name(architecture), None)
        assert layout is not None
        told = layout.to_json()["blocks"]
        for _ in range(4):
            blocks = _some_blocks(chance, layout.blocks)
            cases.append((told, blocks, [kind.labels for block in layout.blocks for kind in block.kinds]))
    body = """return value.map(([told, blocks, layers]) => {
        const groups = values.groupsOf(told);
        const bars = groups.flatMap((group) => group.bars.map(({ id }) => id));
        const composed = new values.BarValues(groups, told, blocks).toBlocks();
        return [bars, composed, layers.map((labels) => values.factorOf(blocks, labels))];
    })"""
    for (_, blocks, layers), (bars, composed, factors) in zip(cases, evaluate("blocks", body, cases), strict=True):
        assert len(set(bars)) == len(bars)
        assert factors == [factor_of(blocks, labels) for labels in layers]
        assert [factor_of(composed, labels) for labels in layers] == pytest.approx(factors, rel=1e-12), blocks


def _some_blocks(chance: random.Random, blocks: Sequence[Block]) -> dict[str, float]:
    """Patterns that mean something on a model, and some that do not."""
    names = sorted({block.name for block in blocks} | {block.encoder for block in blocks if block.encoder})
    patterns: list[str] = []
    for _ in range(chance.randint(1, 6)):
        words = [
            chance.choice([*names, "attn", "FF", "other", "audio", "early", "late", "*", "text_encoder", "blocks"])
        ]
        if chance.random() < 0.4:
            words[0] += chance.choice([".0", ".1-3", ".0,2", ".0-99", ".7"]) * (words[0] != "*")
        if chance.random() < 0.2:
            words.append(chance.choice(["attn", "mlp", "video"]))
        patterns.append(" ".join(words))
    return {pattern: chance.choice([0.0, 0.5, 0.25, 2.0, -1.0, chance.random()]) for pattern in patterns}


def test_the_fewest_patterns() -> None:
    chance = random.Random(3)
    cases = [[chance.choice([0.0, 0.5, 1.0]) for _ in range(chance.randint(0, 12))] for _ in range(200)]
    found = evaluate("blocks", "return value.map((one) => Object.entries(values.compose('input', one)))", cases)
    assert [dict(one) for one in found] == [compose("input", one) for one in cases]


def many_schedules(count: int) -> list[Schedule]:
    """Schedules of every kind, the same ones each time."""
    chance = random.Random(7)
    return [Schedule(tuple(_curve(chance) for _ in range(chance.choice((1, 1, 1, 2, 3))))) for _ in range(count)]


def _curve(chance: random.Random) -> Curve:
    addressing = chance.choice(ADDRESSINGS)
    low, high = addressing.lowest, {"progress": 1, "step": 30, "sigma": 15}[addressing.by]
    places = [
        chance.choice((chance.uniform(low, high), low, high, 1, 1 / 3, 2 / 3 + low, 1e-7 + low)) for _ in range(5)
    ]
    keyframes: list[Keyframe] = []
    for place in sorted({min(max(place, low), high) for place in places}, reverse=addressing.forward < 0):
        for _ in range(chance.choice((1, 1, 1, 2))):
            weight = chance.choice((0.0, 1.0, -0.0, chance.uniform(-4, 4), round(chance.uniform(-4, 4), 2), 1e-6))
            keyframes.append(Keyframe(place, weight, chance.choice(EASINGS).word))
    return Curve(tuple(keyframes), addressing.by)


def _samples(schedule: Schedule) -> list[list[tuple[float, float]]]:
    result: list[list[tuple[float, float]]] = []
    for curve in schedule.curves:
        places = [keyframe.position for keyframe in curve.keyframes]
        between = [a + (b - a) * share for a, b in pairwise(places) for share in (0.1, 0.37, 0.5, 0.9)]
        sign = curve.addressing.forward
        result.append([(at, curve.at_place(sign * at)) for at in {*places, *between, curve.addressing.lowest}])
    return result


def test_texts_and_weights_of_schedules() -> None:
    cases = [(schedule.to_text(), _samples(schedule)) for schedule in many_schedules(400)]
    body = """return value.map(([text, curves]) => {
        const found = values.readSchedule(text);
        const weights = found.map((curve, index) => curves[index].map(([at]) => values.weightAt(curve, at)));
        return [values.writeSchedule(found), weights];
    })"""
    answers = evaluate("schedule", body, cases)
    assert len(answers) == 400
    for (text, curves), (written, weights) in zip(cases, answers, strict=True):
        assert written == text
        for expected, got in zip(curves, weights, strict=True):
            assert got == pytest.approx([weight for _, weight in expected], abs=1e-6), text


def python_text(text: str) -> str | None:
    try:
        return Schedule.parse(text).to_text()
    except ScheduleError:
        return None


def test_typed_text_means_the_same_or_is_left_to_python() -> None:
    body = """return value.map((text) => {
        const found = values.readSchedule(text);
        return found && values.writeSchedule(found);
    })"""
    for text, found in zip(TYPED, evaluate("schedule", body, TYPED), strict=True):
        assert found in (None, python_text(text)), text
        if re.fullmatch(r"[0-9]:[0-9.], [0-9]:[0-9.]|0\.8|bell|30%:1", text):
            assert found is not None, text


@pytest.mark.parametrize(
    "text",
    [
        "0:0, 0.3:1 ease-in, 1:0.2",
        "0:1 hold, 0.5:0",
        "0:0 hold, 0.2:1 hold, 0.5:0",
        "middle third",
        "0.5:0.2, 0.5:1",
        "0.8",
    ],
)
def test_mirrored_is_the_same_from_the_other_end(text: str) -> None:
    body = "return values.writeSchedule([values.mirroredCurve(values.readSchedule(value)[0], 0, 1)])"
    mirrored = Schedule.parse(evaluate("schedule", body, text))
    original = Schedule.parse(text)
    for index in range(1, 100):
        at = (index + 0.3) / 101  # at a jump itself the two ends differ
        assert mirrored.at(Moment(1 - at)) == pytest.approx(original.at(Moment(at)))


@pytest.mark.parametrize(
    ("text", "index", "to", "expected"),
    [
        ("0:0, 0.5:1, 1:0", 1, {"at": 2}, "0:0, 1:1, 1:0"),
        ("0:0, 0.5:1, 1:0, 1:1", 1, {"at": 2}, "0:0, 0.99:1, 1:0, 1:1"),
        ("0:0, 0.5:1, 1:0", 1, {"at": -1, "weight": 300}, "0:0, 0:100, 1:0"),
        ("0:0, 0.5:1, 1:0", 0, {"easing": "cosine"}, "0:0 cosine, 0.5:1, 1:0"),
        ("sigma 14:0, 7:1, 7:0", 0, {"at": 3}, "sigma 7.01:0, 7:1, 7:0"),
        ("step 1:0, 5:1", 1, {"at": 0}, "step 1:0, 1:1"),
    ],
)
def test_points_never_pass_each_other(text: str, index: int, to: dict[str, Any], expected: str) -> None:
    body = "return values.writeSchedule([values.movePoint(values.readSchedule(value[0])[0], value[1], value[2])])"
    assert evaluate("schedule", body, [text, index, to]) == expected == python_text(expected)
