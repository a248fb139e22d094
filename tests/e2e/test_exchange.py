"""Rows come from the clipboard and go to it; nodes of other loaders become LoRA Stacks with their links and weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.exchange import LOADER_OUT, STACK, Exchange, around, saved_node

from lorchestra.demo.prompt import CHECKPOINT

pytestmark = pytest.mark.slow


WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
TWINS = ["one/twin.safetensors", "two/twin.safetensors"]
CHAIN = (
    """() => {
    const add = (kind, x, y, values = {}) => {
        const node = LiteGraph.createNode(kind);
        node.pos = [x, y]; app.graph.add(node);
        for (const [name, value] of Object.entries(values)) node.widgets.find((one) => one.name === name).value = value;
        return node;
    };
    const link = (from, output, to, input) =>
        from.connect(output, to, to.inputs.findIndex((slot) => slot.name === input));
    app.canvas.emitBeforeChange();
    const checkpoint = add("CheckpointLoaderSimple", 0, 100, { ckpt_name: CHECKPOINT });
    const both = add("LoraLoader", 400, 100, { lora_name: WARM, strength_model: 0.8, strength_clip: 0.5 });
    const only = add("LoraLoaderModelOnly", 400, 300, { lora_name: LINES, strength_model: -0.25 });
    const last = add("LoraLoader", 400, 500, { lora_name: TWIN, strength_model: 1, strength_clip: 1 });
    const sampler = add("KSampler", 900, 100);
    const text = add("CLIPTextEncode", 900, 400), other = add("CLIPTextEncode", 900, 600);
    link(checkpoint, 0, both, "model"); link(checkpoint, 1, both, "clip");
    link(both, 0, only, "model"); link(only, 0, last, "model"); link(both, 1, last, "clip");
    link(last, 0, sampler, "model"); link(last, 1, text, "clip"); link(last, 1, other, "clip");
    app.canvas.emitAfterChange();
    return Object.fromEntries(Object.entries({ checkpoint, both, only, last, sampler, text, other })
        .map(([name, node]) => [name, String(node.id)]));
}""".replace("CHECKPOINT", json.dumps(CHECKPOINT))
    .replace("WARM", json.dumps(WARM))
    .replace("LINES", json.dumps(LINES))
    .replace("TWIN", json.dumps(TWINS[0]))
)


SET_ORDER = "(value) => app.extensionManager.setting.set('Lorchestra.TagOrder', value)"


@pytest.fixture
def exchange(face: Any, pack_folder: str) -> Iterator[Exchange]:
    face.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    found = Exchange(face, pack_folder)
    found.close_toasts()
    face.page.evaluate(SET_ORDER, "te-first")
    yield found
    face.page.evaluate(SET_ORDER, "ask")
    found.close_toasts()


PASTED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "ours": (
        json.dumps({"version": 1, "loras": [{"lora": WARM, "on": False, "model": 0.5, "note": "kept"}]}),
        [{"lora": WARM, "on": False, "model": 0.5, "note": "kept"}],
    ),
    "runware": (
        '[{"model": "civitai:120096@135931", "weight": 0.7}]',
        [{"lora": "civitai:120096@135931", "model": 0.7, "air": "civitai:120096@135931"}],
    ),
    "tags": (
        "a cat <lora:warm:0.7> on a mat <lora:twin:1> <lora:gone:0.3:0.2>",
        [
            {"lora": WARM, "model": 0.7},
            {"lora": "twin", "model": 1},
            {"lora": "gone", "model": 0.2, "clip": 0.3},
        ],
    ),
    "rgthree": (
        json.dumps(
            [
                {"on": True, "lora": WARM, "strength": 0.8, "strengthTwo": 0.4},
                {"on": False, "lora": LINES, "strength": 1, "strengthTwo": None},
            ]
        ),
        [{"lora": WARM, "model": 0.8, "clip": 0.4}, {"lora": LINES, "on": False, "model": 1}],
    ),
    "LoRA-Manager": (
        json.dumps([{"name": "lines", "strength": "0.6", "clipStrength": 0.1, "active": False, "expanded": True}]),
        [{"lora": LINES, "on": False, "model": 0.6, "clip": 0.1}],
    ),
}


def test_rows_are_pasted_onto_a_selected_node_as_one_step(exchange: Exchange) -> None:
    node = exchange.face.add()
    rows: list[dict[str, Any]] = []
    steps = [rows]
    for text, fresh in PASTED.values():
        exchange.paste(node, text)
        rows = [*rows, *fresh]
        exchange.wait_for_rows(rows)
        steps.append(rows)
        if text == PASTED["tags"][0]:
            said = exchange.toasts()
            assert "“twin” is the name of 2 files. Choose one: one/twin.safetensors, two/twin.safetensors" in said
            assert "a cat" in said
    exchange.close_toasts()
    for before in reversed(steps[:-1]):
        exchange.face.press("Control+z")
        exchange.wait_for_rows(before)
    for after in steps[1:]:
        exchange.face.press("Control+y")
        exchange.wait_for_rows(after)
    assert len(exchange.face.rows()) == len([row for row in rows if row.get("on", True)])


def test_which_number_of_a_tag_is_the_model_s_is_asked_once(exchange: Exchange) -> None:
    face, text = exchange.face, "<lora:lines:0.5:0.25>"
    clip_first, model_first = ({"lora": LINES, "model": 0.25, "clip": 0.5}, {"lora": LINES, "model": 0.5, "clip": 0.25})
    face.page.evaluate(SET_ORDER, "ask")
    node = face.add()
    question = face.page.get_by_role("dialog", name="Which number is the model's?")
    exchange.paste(node, text)
    question.wait_for(state="visible")
    assert "lines:0.50:0.25" in question.inner_text()
    face.screenshot("tag-order")
    face.page.keyboard.press("Escape")
    question.wait_for(state="detached")
    assert exchange.rows() == []  # nothing was chosen, and nothing is pasted
    exchange.paste(node, text)
    question.get_by_role("button", name="The first: model 0.50, CLIP 0.25").press("Enter")
    exchange.wait_for_rows([model_first])
    exchange.paste(node, text)
    exchange.wait_for_rows([model_first, model_first])
    assert question.count() == 0
    # What A1111 wrote into a picture is as A1111 has it.
    infotext = f"a cat {text}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 8x8"
    exchange.paste(node, infotext)
    exchange.wait_for_rows([model_first, model_first, clip_first])
    face.press("Control+z")
    exchange.wait_for_rows([model_first, model_first])


def test_other_pastes_are_left_untouched(exchange: Exchange) -> None:
    node = exchange.face.add()
    exchange.paste(node, PASTED["rgthree"][0])
    exchange.wait_for_rows(PASTED["rgthree"][1])
    for text in ("hello [1]", '{"a": 1}', "[1, 2, 3]", '{"1": {"class_type": "KSampler", "inputs": {}}}', "<b>x</b>"):
        exchange.paste(node, text)
        assert exchange.rows() == PASTED["rgthree"][1]
    exchange.select(node)
    exchange.face.press("Control+c")
    exchange.face.press("Control+v")
    assert exchange.count(STACK) == 2  # the node, as ComfyUI does it
    for text, _ in PASTED.values():
        assert exchange.pure("values/pasted", "mayBeRows", text)
    workflow = exchange.face.workflow()
    assert not exchange.pure("values/pasted", "mayBeRows", json.dumps(workflow))
    assert not exchange.pure("values/pasted", "mayBeRows", json.dumps(exchange.face.prompt()))


def test_a_refused_or_unanswered_paste_is_said_and_keeps_the_rows(exchange: Exchange) -> None:
    node = exchange.face.add()
    exchange.paste(node, PASTED["ours"][0])
    exchange.wait_for_rows(PASTED["ours"][1])
    exchange.paste(node, '[{"lora": "a", "model": 1e9}]')
    assert "could not be pasted" in exchange.toasts()
    exchange.page.route("**/lorchestra/read", lambda route: route.fulfill(status=500, body="<html>"))
    exchange.paste(node, PASTED["rgthree"][0])
    assert "error 500" in exchange.toasts()
    exchange.page.unroute("**/lorchestra/read")
    assert exchange.rows() == PASTED["ours"][1]


def test_rows_are_pasted_beside_a_text_that_only_python_reads(exchange: Exchange) -> None:
    node = exchange.face.add()
    exchange.page.evaluate("app.graph.nodes[0].widgets[0].value = '<lora:warm:te=0.5:unet=1> <lora:x>:'")
    exchange.paste(node, PASTED["rgthree"][0])
    assert "could not be pasted" in exchange.toasts()  # there is a word around the tags
    exchange.page.evaluate("app.graph.nodes[0].widgets[0].value = '<lora:warm:te=0.5:unet=1> <lora:x:1:hr=2>'")
    exchange.paste(node, PASTED["rgthree"][0])
    exchange.page.wait_for_function("app.graph.nodes[0].widgets[0].value.startsWith('{')")
    assert "weights for a second pass" in exchange.toasts()  # which the text had, and no row has
    exchange.wait_for_rows(
        [{"lora": "warm", "model": 1, "clip": 0.5}, {"lora": "x", "model": 1}, *PASTED["rgthree"][1]]
    )


@pytest.mark.parametrize("dialect", ["json", "a1111", "runware", "rgthree", "lora-manager"])
def test_what_is_copied_can_be_pasted(exchange: Exchange, dialect: str) -> None:
    air = "civitai:120096@135931"
    rows = [{"lora": air, "model": 0.5, "air": air}] if dialect == "runware" else [{"lora": WARM, "model": 0.5}]
    exchange.clipboard("before")
    assert exchange.call("exchange/clipboard", "copyAs", rows, dialect) is True
    text = exchange.clipboard()
    assert text != "before"
    exchange.close_toasts()
    found = exchange.call("exchange/clipboard", "readPasted", text)
    assert found["rows"] == rows
    lost = exchange.call("exchange/clipboard", "copyAs", [{**rows[0], "schedule": "0:0, 1:1"}], dialect)
    assert lost is True
    assert ("schedule" in exchange.toasts()) == (dialect != "json")


def test_what_cannot_be_copied_is_said(exchange: Exchange) -> None:
    exchange.clipboard("before")
    assert exchange.call("exchange/clipboard", "copyAs", [{"lora": WARM, "model": 1}], "runware") is False
    assert "AIR" in exchange.toasts()
    assert exchange.clipboard() == "before"


def test_copying_without_the_clipboard_of_safe_pages(exchange: Exchange) -> None:
    copied = exchange.page.evaluate(
        """async (folder) => {
            const { writeToClipboard } = await import(`/extensions/${folder}/base/clipboard.mjs`);
            let text = null;
            const listen = () => { text = document.activeElement.value; };
            document.addEventListener("copy", listen, true);
            Object.defineProperty(navigator, "clipboard", { value: undefined, configurable: true });
            const done = await writeToClipboard("some text");
            delete navigator.clipboard;
            document.removeEventListener("copy", listen, true);
            return [done, text, document.querySelectorAll("body > textarea.lorchestra").length];
        }""",
        exchange.folder,
    )
    assert copied == [True, "some text", 0]


CLIPBOARDS = {
    "none": "undefined",  # of a page over plain http
    "refused": "{ readText: async () => { throw new DOMException('no', 'NotAllowedError'); } }",
}


@pytest.fixture(params=CLIPBOARDS)
def hidden_clipboard(exchange: Exchange, request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Takes the page's clipboard away; the browser's own keys still have it."""

    def hide() -> None:
        value = f"{{ value: {CLIPBOARDS[request.param]}, configurable: true }}"
        exchange.page.evaluate(f"() => {{ Object.defineProperty(navigator, 'clipboard', {value}); }}")

    yield hide
    exchange.page.evaluate("() => { delete navigator.clipboard; }")


def test_the_lists_menu_pastes_rows_as_one_step(exchange: Exchange) -> None:
    exchange.face.add()
    rows: list[dict[str, Any]] = []
    for text, fresh in (PASTED["rgthree"], PASTED["ours"]):
        exchange.clipboard(text)
        exchange.face.menu("Paste rows")
        rows = [*rows, *fresh]
        exchange.wait_for_rows(rows)
    exchange.clipboard("hello [1]")
    exchange.face.menu("Paste rows")
    assert "no LoRAs in the clipboard" in exchange.toasts()
    exchange.wait_for_rows(rows)
    exchange.face.press("Control+z")
    exchange.wait_for_rows(PASTED["rgthree"][1])


def test_a_clipboard_that_cannot_be_read_is_said_and_the_keys_paste(
    exchange: Exchange, hidden_clipboard: Callable[[], None]
) -> None:
    node = exchange.face.add()
    text, rows = PASTED["rgthree"]
    exchange.clipboard(text)
    hidden_clipboard()
    exchange.face.menu("Paste rows")
    assert "Press Ctrl+V" in exchange.toasts()
    assert exchange.rows() == []
    exchange.page.keyboard.press("Control+v")  # the list has the focus
    exchange.wait_for_rows(rows)
    exchange.select(node)
    exchange.face.press("Control+v")
    exchange.wait_for_rows([*rows, *rows])


def test_menus_copy_without_the_clipboard_of_safe_pages(
    exchange: Exchange, hidden_clipboard: Callable[[], None]
) -> None:
    exchange.face.add()
    rows = [{"lora": WARM, "model": 0.5, "note": "kept"}, {"lora": LINES, "on": False, "model": 1}]
    line = json.dumps(rows[1])
    exchange.face.type(json.dumps({"version": 1, "loras": rows, "collapsed": False}))
    exchange.face.editor.get_by_role("button", name="Show as list").click()
    for items, row, copied in (
        (("Copy",), 1, f'{{"version": 1, "loras": [\n  {line}\n]}}'),
        (("Copy as", "JSON"), None, json.dumps({"version": 1, "loras": rows})),
        (("Copy as", "<lora:…>"), None, "<lora:warm:0.5>"),
    ):
        exchange.clipboard("before")
        hidden_clipboard()
        exchange.face.menu(*items, row=row)
        assert f"Copied {'1 LoRA' if row else '2 LoRAs'}" in exchange.toasts()
        exchange.page.evaluate("() => { delete navigator.clipboard; }")
        text = exchange.clipboard()
        assert (json.loads(text) == json.loads(copied)) if copied.startswith("{") else copied in text
        if row:
            assert text == copied
    assert exchange.rows() == rows


def test_a_chain_of_core_loaders_becomes_one_stack(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN)
    before = exchange.face.prompt()
    for name in ("both", "only", "last"):
        assert exchange.menu(ids[name]) == {"content": "Convert 3 loaders to one LoRA Stack", "disabled": False}
    assert exchange.menu(ids["sampler"]) is None
    place = exchange.page.evaluate("(id) => [...app.graph.getNodeById(id).pos]", ids["both"])
    exchange.convert(ids["only"])
    rows = [
        {"lora": WARM, "model": 0.8, "clip": 0.5},
        {"lora": LINES, "model": -0.25, "clip": 0},
        {"lora": TWINS[0], "model": 1},
    ]
    assert exchange.rows() == rows
    assert exchange.links() == {
        "model": ["CheckpointLoaderSimple.MODEL"],
        "clip": ["CheckpointLoaderSimple.CLIP"],
        "MODEL": ["KSampler.model"],
        "CLIP": ["CLIPTextEncode.clip", "CLIPTextEncode.clip"],
    }
    prompt = exchange.face.prompt()
    stack = next(key for key, node in prompt.items() if node["class_type"] == STACK)
    assert prompt[ids["sampler"]]["inputs"]["model"] == [stack, 0]
    assert prompt[ids["text"]]["inputs"]["clip"] == [stack, 1]
    assert exchange.page.evaluate("(id) => [...app.graph.getNodeById(id).pos]", stack) == place
    assert exchange.count("LoraLoader") == exchange.count("LoraLoaderModelOnly") == 0
    exchange.face.press("Control+z")
    exchange.face.wait_for(lambda: exchange.face.prompt() == before)
    exchange.face.press("Control+y")
    exchange.wait_for_rows(rows)


def test_what_others_use_cuts_the_chain(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN)
    exchange.page.evaluate(
        """(ids) => {
            const sampler = LiteGraph.createNode("KSampler"); app.graph.add(sampler);
            app.graph.getNodeById(ids.both).connect(0, sampler, 0);
        }""",
        ids,
    )
    assert exchange.menu(ids["both"])["content"] == "Convert to LoRA Stack"
    exchange.convert(ids["last"])
    assert [row["lora"] for row in exchange.rows()] == [LINES, TWINS[0]]
    assert exchange.links()["model"] == ["LoraLoader.MODEL"]
    assert exchange.links()["clip"] == ["LoraLoader.CLIP"]
    first = next(
        iter(exchange.page.evaluate("app.graph.nodes.filter((one) => one.type === 'LoraLoader').map((one) => one.id)"))
    )
    exchange.convert(first)
    assert exchange.count(STACK) == 2
    assert exchange.count("LoraLoader") == 0


def test_text_encoders_that_others_use_in_between_cut_the_chain(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN)
    exchange.page.evaluate(
        """(ids) => {
            const text = LiteGraph.createNode("CLIPTextEncode"); app.graph.add(text);
            app.graph.getNodeById(ids.both).connect(1, text, 0);
        }""",
        ids,
    )
    exchange.convert(ids["both"])
    assert [row["lora"] for row in exchange.rows()] == [WARM, LINES]  # the model goes on alone, the text encoders too
    assert exchange.links()["CLIP"] == ["CLIPTextEncode.clip", "LoraLoader.clip"]
    assert exchange.links()["MODEL"] == ["LoraLoader.model"]


def test_title_colour_mode_and_group_stay(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN)
    exchange.page.evaluate(
        """(ids) => {
            const node = app.graph.getNodeById(ids.only);
            node.title = "My style"; node.color = "#322"; node.bgcolor = "#533"; node.mode = 4;
        }""",
        ids,
    )
    exchange.convert(ids["both"])
    kept = """app.graph.nodes.filter((one) => one.type === "LorchestraLoraStack")
        .map((one) => [one.title, one.color, one.bgcolor, one.mode])"""
    assert exchange.page.evaluate(kept) == [["My style", "#322", "#533", 0]]
    assert [row.get("on", True) for row in exchange.rows()] == [True, False, True]
    exchange.face.clear()
    ids = exchange.page.evaluate(CHAIN)
    exchange.page.evaluate(
        "(ids) => { for (const key of ['both', 'only', 'last']) app.graph.getNodeById(ids[key]).mode = 4; }", ids
    )
    exchange.convert(ids["both"])
    assert exchange.page.evaluate(kept)[0][3] == 4
    assert [row.get("on", True) for row in exchange.rows()] == [True, True, True]


def test_what_comes_through_a_link_cannot_be_converted(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN)
    exchange.page.evaluate(
        """(ids) => {
            const number = LiteGraph.createNode("PrimitiveFloat"); app.graph.add(number);
            const node = app.graph.getNodeById(ids.last);
            number.connect(0, node, node.inputs.findIndex((slot) => slot.name === "strength_model"));
        }""",
        ids,
    )
    assert exchange.menu(ids["last"]) == {
        "content": "Convert to LoRA Stack (strength_model comes through a link)",
        "disabled": True,
    }
    assert exchange.menu(ids["both"])["content"] == "Convert 2 loaders to one LoRA Stack"


def test_inside_a_subgraph(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN)
    exchange.page.evaluate(
        """(ids) => {
            const nodes = ["both", "only", "last"].map((key) => app.canvas.graph.getNodeById(ids[key]));
            const { subgraph, node } = app.canvas.graph.convertToSubgraph(new Set(nodes));
            app.canvas.openSubgraph(subgraph, node);
        }""",
        ids,
    )
    exchange.page.wait_for_timeout(300)
    inner = exchange.page.evaluate("app.canvas.graph.nodes.find((one) => one.type === 'LoraLoaderModelOnly').id")
    exchange.convert(inner)
    found = exchange.links()
    assert found == {"model": ["subgraph.0"], "clip": ["subgraph.1"], "MODEL": ["subgraph.0"], "CLIP": ["subgraph.1"]}
    assert len(exchange.rows()) == 3
    prompt = exchange.face.prompt()
    stack = next(key for key, node in prompt.items() if node["class_type"] == STACK)
    assert ":" in stack
    assert prompt[stack]["inputs"]["model"] == [ids["checkpoint"], 0]
    assert prompt[ids["sampler"]]["inputs"]["model"] == [stack, 0]
    assert prompt[ids["text"]]["inputs"]["clip"] == [stack, 1]


LOADERS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "rgthree's Power Lora Loader": (
        saved_node(
            2,
            "Power Lora Loader (rgthree)",
            ["model:MODEL", "clip:CLIP"],
            LOADER_OUT,
            [
                {},
                {"type": "PowerLoraLoaderHeaderWidget"},
                {"on": True, "lora": WARM, "strength": 0.8, "strengthTwo": 0.4},
                {"on": False, "lora": LINES, "strength": 1.5, "strengthTwo": None},
                {"on": True, "lora": "None", "strength": 1, "strengthTwo": None},
                {"on": True, "lora": "gone/away.safetensors", "strength": 0, "strengthTwo": None},
                {},
                "",
            ],
            title="Power Lora Loader (rgthree)",
        ),
        [
            {"lora": WARM, "model": 0.8, "clip": 0.4},
            {"lora": LINES, "on": False, "model": 1.5},
            {"lora": "gone/away.safetensors", "model": 0},
        ],
    ),
    "rgthree's Lora Loader Stack": (
        saved_node(
            2,
            "Lora Loader Stack (rgthree)",
            ["model:MODEL", "clip:CLIP"],
            LOADER_OUT,
            [WARM, 0.7, "None", 1, LINES, -1, "None", 1],
        ),
        [{"lora": WARM, "model": 0.7}, {"lora": LINES, "model": -1}],
    ),
    "LoRA-Manager's loader": (
        saved_node(
            2,
            "Lora Loader (LoraManager)",
            ["model:MODEL", "clip:CLIP", "lora_stack:LORA_STACK"],
            [*LOADER_OUT, "trigger_words:STRING", "loaded_loras:STRING"],
            [
                "<lora:warm:0.8> <lora:lines:0.5>",
                [
                    {"name": "warm", "strength": 0.8, "clipStrength": 0.8, "active": True, "expanded": False},
                    {"name": "lines", "strength": "0.50", "clipStrength": 0.2, "active": False},
                    {"name": "twin", "strength": 1, "active": True},
                ],
            ],
        ),
        [
            {"lora": WARM, "model": 0.8},
            {"lora": LINES, "on": False, "model": 0.5, "clip": 0.2},
            {"lora": "twin", "model": 1},
        ],
    ),
    "Custom-Scripts' loader, with a picture": (
        saved_node(
            2,
            "LoraLoader|pysssss",
            ["model:MODEL", "clip:CLIP"],
            [*LOADER_OUT, "example:STRING"],
            [{"content": WARM, "image": "warm.png", "title": WARM}, 0.8, 0.4, "[none]"],
        ),
        [{"lora": WARM, "model": 0.8, "clip": 0.4}],
    ),
    "the loader that queries tags": (
        saved_node(
            2,
            "LoraLoaderTagsQuery",
            ["model:MODEL", "clip:CLIP", "opt_prompt:STRING"],
            [*LOADER_OUT, "civitai_tags:STRING", "civitai_tags_list:LIST"],
            [WARM, 0.8, 0.4, True, True, False, True, False],
        ),
        [{"lora": WARM, "on": False, "model": 0.8, "clip": 0.4}],
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_of_packs_that_are_not_installed(exchange: Exchange, name: str) -> None:
    loader, rows = LOADERS[name]
    loader = json.loads(json.dumps({**loader, "color": "#223", "bgcolor": "#335"}))
    exchange.load(
        around(loader),
        [
            [1, 1, 0, 2, 0, "MODEL"],
            [2, 1, 1, 2, 1, "CLIP"],
            [3, 2, 0, 98, 0, "MODEL"],
            [4, 2, 1, 99, 0, "CLIP"],
        ],
    )
    assert exchange.menu(2) == {"content": "Convert to LoRA Stack", "disabled": False}
    exchange.convert(2)
    assert exchange.rows() == rows
    assert exchange.links() == {
        "model": ["CheckpointLoaderSimple.MODEL"],
        "clip": ["CheckpointLoaderSimple.CLIP"],
        "MODEL": ["ModelSamplingDiscrete.model"],
        "CLIP": ["CLIPTextEncode.clip"],
    }
    title, color, pos = exchange.page.evaluate(
        """(() => {
            const node = app.graph.nodes.find((one) => one.type === "LorchestraLoraStack");
            return [node.title, node.color, [...node.pos]];
        })()"""
    )
    assert (title, color, pos) == ("LoRA Stack", "#223", [600, 100])
    exchange.face.press("Control+z")
    exchange.face.wait_for(lambda: exchange.count(STACK) == 0 and exchange.count(loader["type"]) == 1)


def test_links_that_cannot_be_kept_are_told(exchange: Exchange) -> None:
    loader = json.loads(json.dumps(LOADERS["LoRA-Manager's loader"][0]))
    show = saved_node(3, "PreviewAny", ["source:*"], [])
    exchange.load(
        [*around(loader), show],
        [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 98, 0, "MODEL"], [3, 2, 2, 3, 0, "STRING"]],
    )
    exchange.convert(2)
    said = exchange.toasts()
    assert "trigger_words" in said
    assert "“twin” is the name of 2 files" in said
    assert exchange.links() == {"model": ["CheckpointLoaderSimple.MODEL"], "MODEL": ["ModelSamplingDiscrete.model"]}


STACKERS: dict[str, tuple[list[Any], list[dict[str, Any]]]] = {
    "CR LoRA Stack": (
        ["On", WARM, 0.8, 0.4, "Off", LINES, 1, 1, "On", "None", 1, 1],
        [{"lora": WARM, "model": 0.8, "clip": 0.4}, {"lora": LINES, "on": False, "model": 1}],
    ),
    "LoRA Stacker": (
        ["simple", 2, WARM, 0.8, 9, 9, LINES, 0.5, 9, 9, TWINS[0], 1, 9, 9, *["None", 1, 1, 1] * 46],
        [{"lora": WARM, "model": 0.8}, {"lora": LINES, "model": 0.5}],
    ),
    "easy loraStack": (
        [True, "advanced", 2, WARM, 9, 0.8, 0.4, LINES, 9, 0.5, 0.5, *["None", 1, 1, 1] * 8],
        [{"lora": WARM, "model": 0.8, "clip": 0.4}, {"lora": LINES, "model": 0.5}],
    ),
    "Sage_TripleQuickLoraStack": (
        [True, WARM, 0.8, False, LINES, 1, True, "None", 1],
        [{"lora": WARM, "model": 0.8}, {"lora": LINES, "on": False, "model": 1}],
    ),
    "CR LoRA Stack Model Only JK": (
        [True, WARM, 0.8, False, LINES, 1, *[False, "None", 1] * 4],
        [{"lora": WARM, "model": 0.8, "clip": 0}, {"lora": LINES, "on": False, "model": 1, "clip": 0}],
    ),
    "Lora Stacker (LoraManager)": (
        ["", {"__value__": [{"name": "warm", "strength": 0.8, "clipStrength": 0.4, "active": True}]}],
        [{"lora": WARM, "model": 0.8, "clip": 0.4}],
    ),
}


def _stacker(number: int, kind: str) -> dict[str, Any]:
    return saved_node(
        number, kind, ["lora_stack:LORA_STACK"], ["LORA_STACK:LORA_STACK", "show_help:STRING"], STACKERS[kind][0]
    )


@pytest.mark.parametrize("kind", STACKERS)
@pytest.mark.parametrize("clicked", ["stacker", "applier"])
def test_stackers_and_what_applies_them_become_one_stack(exchange: Exchange, kind: str, clicked: str) -> None:
    applier = saved_node(
        5,
        "CR Apply LoRA Stack",
        ["model:MODEL", "clip:CLIP", "lora_stack:LORA_STACK"],
        [*LOADER_OUT, "show_help:STRING"],
    )
    exchange.load(
        around(_stacker(3, "CR LoRA Stack"), _stacker(4, kind), applier),
        [
            [1, 1, 0, 5, 0, "MODEL"],
            [2, 1, 1, 5, 1, "CLIP"],
            [3, 3, 0, 4, 0, "LORA_STACK"],
            [4, 4, 0, 5, 2, "LORA_STACK"],
            [5, 5, 0, 98, 0, "MODEL"],
            [6, 5, 1, 99, 0, "CLIP"],
        ],
    )
    exchange.convert(3 if clicked == "stacker" else 5)
    assert exchange.rows() == [*STACKERS["CR LoRA Stack"][1], *STACKERS[kind][1]]
    assert exchange.links() == {
        "model": ["CheckpointLoaderSimple.MODEL"],
        "clip": ["CheckpointLoaderSimple.CLIP"],
        "MODEL": ["ModelSamplingDiscrete.model"],
        "CLIP": ["CLIPTextEncode.clip"],
    }
    assert exchange.page.evaluate("app.graph.nodes.length") == 4


def test_a_stacker_before_our_stack_gives_its_rows_to_it(exchange: Exchange) -> None:
    own = '{"version": 1, "loras": [{"lora": "own", "model": 1}], "mine": 2}'
    stack = saved_node(
        5,
        STACK,
        ["model:MODEL", "clip:CLIP", "lora_stack:LORA_STACK"],
        ["MODEL:MODEL"],
        [own, "error", "warn", "merge"],
    )
    other = saved_node(3, "Some Other Stacker", [], ["LORA_STACK:LORA_STACK"])
    exchange.load(
        around(other, _stacker(4, "CR LoRA Stack"), stack),
        [
            [1, 1, 0, 5, 0, "MODEL"],
            [2, 3, 0, 4, 0, "LORA_STACK"],
            [3, 4, 0, 5, 2, "LORA_STACK"],
            [4, 5, 0, 98, 0, "MODEL"],
        ],
    )
    exchange.convert(4)
    assert exchange.rows() == [*STACKERS["CR LoRA Stack"][1], {"lora": "own", "model": 1}]
    assert exchange.links() == {
        "model": ["CheckpointLoaderSimple.MODEL"],
        "lora_stack": ["Some Other Stacker.LORA_STACK"],
        "MODEL": ["ModelSamplingDiscrete.model"],
    }
    values = exchange.page.evaluate(
        "Object.fromEntries(app.graph.getNodeById(5).widgets.map((one) => [one.name, one.value]))"
    )
    assert json.loads(values["loras"])["mine"] == 2
    assert (values["missing"], values["policy"], values["mode"]) == ("error", "warn", "merge")
    exchange.face.press("Control+z")
    exchange.face.wait_for(lambda: exchange.count("CR LoRA Stack") == 1 and len(exchange.rows()) == 1)


def test_a_stacker_that_feeds_nothing_known_says_why_it_cannot(exchange: Exchange) -> None:
    loader = saved_node(5, "Efficient Loader", ["lora_stack:LORA_STACK"], ["MODEL:MODEL"])
    exchange.load(
        around(_stacker(3, "CR LoRA Stack"), _stacker(4, "LoRA Stacker"), loader), [[1, 4, 0, 5, 0, "LORA_STACK"]]
    )
    for node, reason in ((3, "its LORA_STACK output is not connected"), (4, "neither a LoRA Stack nor a known loader")):
        found = exchange.menu(node)
        assert found and found["disabled"]
        assert reason in found["content"]
    assert exchange.menu(5) is None  # it holds no LoRA


def test_comfyuis_two_lists_become_one_stack(exchange: Exchange) -> None:
    """They are newer than this ComfyUI, so they are nodes that are not known here."""
    named = {"loras": 1, "loras.0.lora_name": WARM, "loras.0.strength": 0.8, "loras.0.enabled": True}
    model = saved_node(
        2, "LoadLoraModel", ["model:MODEL"], ["MODEL:MODEL"], [1, WARM, 0.8, True], widgets_values_named=named
    )
    text = saved_node(3, "LoadLoraTextEncoder", ["clip:CLIP"], ["CLIP:CLIP"], [2, WARM, 0.4, True, LINES, 1, False])
    links = [
        [1, 1, 0, 2, 0, "MODEL"],
        [2, 1, 1, 3, 0, "CLIP"],
        [3, 2, 0, 98, 0, "MODEL"],
        [4, 3, 0, 99, 0, "CLIP"],
    ]
    exchange.load(around(model, text), links)
    assert exchange.menu(3) == {"content": "Convert 2 loaders to one LoRA Stack", "disabled": False}
    exchange.convert(3)
    assert exchange.rows() == [
        {"lora": WARM, "model": 0.8, "clip": 0.4},
        {"lora": LINES, "on": False, "model": 0, "clip": 1},
    ]
    assert exchange.links() == {
        "model": ["CheckpointLoaderSimple.MODEL"],
        "clip": ["CheckpointLoaderSimple.CLIP"],
        "MODEL": ["ModelSamplingDiscrete.model"],
        "CLIP": ["CLIPTextEncode.clip"],
    }


def test_loaders_that_stay_say_why(exchange: Exchange) -> None:
    nodes = [
        saved_node(2, "WanVideoLoraSelect", ["prev_lora:WANVIDLORA"], ["lora:WANVIDLORA"], [WARM, 1, False, True]),
        saved_node(3, "NunchakuFluxDiTLoader", [], ["MODEL:MODEL"]),
        saved_node(4, "NunchakuFluxLoraLoader", ["model:MODEL"], ["MODEL:MODEL"], [WARM, 1]),
        saved_node(5, "LTX2LoraLoaderAdvanced", ["model:MODEL"], ["model:MODEL"], [WARM, 1, 1, 1, 0.5, 1, 1]),
    ]
    exchange.load([*around(), *nodes], [[1, 3, 0, 4, 0, "MODEL"], [2, 1, 0, 5, 0, "MODEL"]])
    for node, reason in (
        (2, "take LoRAs only from their own pack's nodes"),
        (4, "its model is Nunchaku's"),
        (5, "its weight for audio is 0.5"),
    ):
        found = exchange.menu(node)
        assert found and found["disabled"]
        assert reason in found["content"]


def efficient(values: list[Any]) -> dict[str, Any]:
    outputs = ["MODEL:MODEL", "CONDITIONING+:CONDITIONING", "LATENT:LATENT", "VAE:VAE", "CLIP:CLIP"]
    more = ["", "", "none", "comfy", 64, 64, 1]
    return saved_node(
        2, "Efficient Loader", ["lora_stack:LORA_STACK"], outputs, [CHECKPOINT, "Baked VAE", -1, *values, *more]
    )


def test_a_checkpoints_loader_gives_its_lora_to_a_stack_behind_it(exchange: Exchange) -> None:
    decode = saved_node(5, "VAEDecode", ["samples:LATENT", "vae:VAE"], ["IMAGE:IMAGE"])
    links = [
        [1, 2, 0, 98, 0, "MODEL"],
        [2, 2, 4, 99, 0, "CLIP"],
        [3, 2, 2, 5, 0, "LATENT"],
        [4, 2, 3, 5, 1, "VAE"],
    ]
    exchange.load([*around(efficient([WARM, 0.8, 0.4])), decode], links)
    exchange.convert(2)
    assert exchange.rows() == [{"lora": WARM, "model": 0.8, "clip": 0.4}]
    assert exchange.links() == {
        "model": ["Efficient Loader.MODEL"],
        "clip": ["Efficient Loader.CLIP"],
        "MODEL": ["ModelSamplingDiscrete.model"],
        "CLIP": ["CLIPTextEncode.clip"],
    }
    loader = next(node for node in exchange.face.workflow()["nodes"] if node["type"] == "Efficient Loader")
    assert loader["widgets_values"][3:6] == ["None", 0.8, 0.4]
    assert {output["name"]: len(output["links"] or []) for output in loader["outputs"]} == {
        "MODEL": 1, "CONDITIONING+": 0, "LATENT": 1, "VAE": 1, "CLIP": 1,
    }  # fmt: skip
    assert exchange.menu(2) is None
    exchange.face.press("Control+z")
    exchange.face.wait_for(lambda: exchange.count(STACK) == 0 and exchange.menu(2) is not None)


def test_a_checkpoints_loader_that_encodes_prompts_with_its_lora_stays(exchange: Exchange) -> None:
    sampler = saved_node(5, "KSampler", ["model:MODEL", "positive:CONDITIONING"], ["LATENT:LATENT"])
    exchange.load(
        [*around(efficient([WARM, 0.8, 0.4])), sampler], [[1, 2, 0, 5, 0, "MODEL"], [2, 2, 1, 5, 1, "CONDITIONING"]]
    )
    found = exchange.menu(2)
    assert found == {
        "content": "Convert to LoRA Stack (its output CONDITIONING+ is in use, and holds what the LoRA has changed)",
        "disabled": True,
    }


def test_a_file_of_the_same_name_in_another_folder_is_offered_in_the_row(exchange: Exchange) -> None:
    ids = exchange.page.evaluate(CHAIN.replace(json.dumps(WARM), '"old/warm.safetensors"'))
    exchange.convert(ids["only"])
    said = exchange.toasts()
    assert f"Row 1: old/warm.safetensors is not there. The row offers {WARM}, which has the same file name." in said
    assert exchange.rows()[0]["lora"] == "old/warm.safetensors"
    row = exchange.face.row(0)
    offer = row.locator(".lorchestra-offer")
    offer.wait_for(state="visible")
    assert offer.inner_text().split() == ["Use", "this", WARM]
    assert exchange.face.row(1).locator(".lorchestra-offer").is_hidden()
    exchange.page.evaluate("(kind) => app.graph.nodes.find((node) => node.type === kind).setSize([700, 400])", STACK)
    exchange.face.settle()
    exchange.face.screenshot("offer")
    offer.click()
    exchange.wait_for_rows(
        [
            {"lora": WARM, "model": 0.8, "clip": 0.5},
            {"lora": LINES, "model": -0.25, "clip": 0},
            {"lora": TWINS[0], "model": 1},
        ]
    )
    offer.wait_for(state="hidden")
    exchange.face.press("Control+z")
    exchange.face.wait_for(lambda: exchange.rows()[0]["lora"] == "old/warm.safetensors")
