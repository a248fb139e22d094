"""What happens to a LoRA that is missing or doesn't fit is one choice, and two inputs of prompts and workflows."""

from __future__ import annotations

from typing import Any

import pytest

VALUES = """() => Object.fromEntries(app.graph.nodes.find((node) => node.type === 'LorchestraLoraStack').widgets
    .filter(({ name }) => name === 'missing' || name === 'policy').map(({ name, value }) => [name, value]))"""
SHOWN = """() => Object.fromEntries(app.graph.nodes.find((node) => node.type === 'LorchestraLoraStack').widgets
    .filter(({ name, hidden }) => (name === 'missing' || name === 'policy') && !hidden)
    .map((one) => [one.label, one.options.getOptionLabel(one.value)]))"""
CHOOSE = """(value) => {
    const node = app.graph.nodes.find((node) => node.type === 'LorchestraLoraStack');
    const widget = node.widgets.find(({ name }) => name === 'policy');
    app.canvas.emitBeforeChange();
    widget.value = value;
    widget.callback?.(value, app.canvas, node);
    app.canvas.emitAfterChange();
}"""
BOTH, MISFIT, MISSING = "If a LoRA is missing or doesn't fit", "If a LoRA doesn't fit", "If a LoRA is missing"


class Choice:
    """The choice of the only LoRA Stack."""

    def __init__(self, face: Any) -> None:
        self.face, self.page = face, face.page
        self.is_nodes2 = face.renderer == "nodes2"

    def values(self) -> tuple[str, str]:
        """What is saved: `missing` and `policy`."""
        found = self.page.evaluate(VALUES)
        return found["missing"], found["policy"]

    def open(self, missing: str, policy: str) -> None:
        """Opens a workflow that was saved with these values."""
        self.face.add()
        workflow = self.face.workflow()
        (node,) = workflow["nodes"]
        values = node["widgets_values"]
        node["widgets_values"] = [values[0], missing, policy, *values[3:]]
        if "widgets_values_named" in node:
            node["widgets_values_named"] |= {"missing": missing, "policy": policy}
        self.page.evaluate("(workflow) => app.loadGraphData(workflow)", workflow)
        self.face.wait_for(lambda: self.face.editor.count() == 1)
        self.page.wait_for_timeout(300)

    def unfold(self) -> None:
        """Shows the advanced inputs. Nodes 2.0 hide them at first, and after undo, whatever the button says then."""
        while self.is_nodes2 and not self.drawn():
            self.page.get_by_role("button", name="advanced inputs").click()
            self.face.settle()

    def drawn(self) -> list[str]:
        """What Nodes 2.0 draw of the two."""
        widgets = self.page.get_by_test_id("node-widget").filter(has_text="If a LoRA")
        return [text.strip() for text in widgets.all_inner_texts()]

    def shown(self) -> dict[str, str]:
        """What people read: name → value; in Nodes 2.0 as it is on the screen."""
        self.unfold()
        found = self.page.evaluate(SHOWN)
        if self.is_nodes2:
            self.face.wait_for(lambda: [text.split("\n")[0] for text in self.drawn()] == list(found))
        return found

    def choose(self, value: str, words: str) -> None:
        """Chooses as a person does."""
        if self.is_nodes2:
            self.page.get_by_test_id("node-widget").filter(has_text="fit").get_by_role("combobox").click()
            self.page.get_by_role("option", name=words, exact=True).click()
        else:
            self.page.evaluate(CHOOSE, value)
        self.face.settle()


@pytest.fixture
def choice(face: Any) -> Choice:
    face.skip_in("1.27.10", "has no words for values")
    return Choice(face)


def test_a_new_node_has_one_choice(choice: Choice) -> None:
    choice.face.add()
    choice.face.screenshot("choice_folded")
    assert choice.drawn() == []
    assert choice.values() == ("error", "refuse")
    assert choice.shown() == {BOTH: "stop"}
    choice.choose("warn", "skip and warn")
    choice.face.screenshot("choice_new")
    assert choice.shown() == {BOTH: "skip and warn"}
    prompt = choice.face.prompt().values()
    inputs = next(node["inputs"] for node in prompt if node["class_type"] == "LorchestraLoraStack")
    assert (inputs["missing"], inputs["policy"]) == ("error", "warn")
    choice.face.press("Control+z")
    assert choice.shown() == {BOTH: "stop"}


def test_what_one_choice_cannot_say_is_shown_as_it_is(choice: Choice) -> None:
    choice.open("skip", "refuse")
    assert choice.values() == ("skip", "refuse")
    assert choice.shown() == {MISSING: "skip", MISFIT: "stop"}
    choice.face.screenshot("choice_apart")
    choice.choose("ignore", "skip silently")
    assert choice.shown() == {BOTH: "skip silently"}
    choice.face.press("Control+z")
    assert choice.shown() == {MISSING: "skip", MISFIT: "stop"}


def test_undo_and_redo_show_what_is_so(choice: Choice) -> None:
    """With advanced inputs folded: ComfyUI 1.49.6 takes unfolding for a step of its own."""
    choice.open("skip", "refuse")
    choice.page.evaluate(CHOOSE, "ignore")
    choice.face.settle()
    for keys, missing, shown in (
        ("Control+z", "skip", {MISSING: "skip", MISFIT: "stop"}),
        ("Control+y", "skip", {BOTH: "skip silently"}),
    ):
        choice.face.press(keys)
        assert choice.page.evaluate(SHOWN) == shown
        assert choice.values()[0] == missing


def test_stop_is_for_both_where_one_choice_is_shown(choice: Choice) -> None:
    choice.open("skip", "warn")
    assert choice.shown() == {BOTH: "skip and warn"}
    choice.choose("refuse", "stop")
    assert choice.shown() == {BOTH: "stop"}
    assert choice.values() == ("error", "refuse")


def test_what_an_app_shows_stays_shown(choice: Choice) -> None:
    """App mode shows no input that is hidden or, in some versions, advanced."""
    node = choice.face.add()
    workflow = choice.face.workflow()
    workflow["extra"]["linearData"] = {"inputs": [[node, "missing"], [node, "policy"]], "outputs": []}
    choice.page.evaluate("(workflow) => app.loadGraphData(workflow)", workflow)
    choice.face.wait_for(lambda: choice.face.editor.count() == 1)
    if choice.is_nodes2:
        choice.face.wait_for(lambda: len(choice.drawn()) == 2)
    assert choice.shown() == {MISSING: "stop", MISFIT: "stop"}
    choice.choose("warn", "skip and warn")
    assert choice.values() == ("error", "warn")
