"""The nodes' inputs: every form of a stack, files that are missing or ambiguous, names that are not trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import load_unet, patched, same_bits

from lorchestra.demo.loras import layers, write_lora
from lorchestra.exchange import FORMS as WRITTEN


@pytest.fixture(scope="module")
def model() -> Any:
    """A small MODEL."""
    return load_unet(torch.float16)


@pytest.fixture
def two(loras: Path) -> Path:
    """Two LoRAs of the same name in different folders, with different numbers."""
    targets = layers("*attn1.to_q")
    write_lora(loras / "one" / "style.safetensors", targets, seed=1)
    write_lora(loras / "two" / "style.safetensors", targets, seed=2)
    write_lora(loras / "solo.safetensors", targets, seed=3)
    return loras


FORMS: tuple[Any, ...] = (
    '{"version": 1, "loras": [{"lora": "solo.safetensors", "model": 0.5}]}',
    {"version": 1, "loras": [{"lora": "solo.safetensors", "model": 0.5}]},
    {"__value__": [{"lora": "solo.safetensors", "model": 0.5}]},
    [{"lora": "solo", "model": 0.5}],
    "<lora:solo:0.5>",
    [{"model": "solo.safetensors", "weight": 0.5}],
    [("solo.safetensors", 0.5, 0.5)],
    json.dumps(json.dumps({"loras": [{"lora": "solo.safetensors", "model": 0.5}]})),
)


@pytest.mark.oldest
@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_every_form_gives_the_same_model(stack_node: Any, model: Any, two: Path, form: Any) -> None:
    """JSON as text or data, wrapped, Runware's array, tags, triples."""
    assert stack_node.validate_inputs(loras=form) is True
    out = stack_node.execute(model=model, loras=form).args
    expected = stack_node.execute(model=model, lora_stack=[("solo.safetensors", 0.5, 0.5)]).args
    assert same_bits(patched(out[0]), patched(expected[0]))
    assert out[2] == expected[2] == [("solo.safetensors", 0.5, 0.5)]


def test_same_name_in_two_folders(stack_node: Any, model: Any, two: Path) -> None:
    """The folder decides; the bare name is an error that names both; a part of a name finds nothing."""
    one = patched(stack_node.execute(model=model, loras="<lora:one/style:1>").args[0])
    other = patched(stack_node.execute(model=model, loras="<lora:two/style:1>").args[0])
    assert not same_bits(one, other)
    verdict = stack_node.validate_inputs(loras="<lora:style:1>")
    assert "one/style.safetensors" in verdict and "two/style.safetensors" in verdict and "row 1" in verdict
    for part in ("sol", "olo", "tyle", "one", "three/sol"):
        assert "was not found" in stack_node.validate_inputs(loras=f"<lora:{part}:1>", policy="refuse", missing="error")


def test_windows_separators_mean_the_same_file(stack_node: Any, two: Path) -> None:
    """A workflow from Windows names `one\\style.safetensors`."""
    assert stack_node.validate_inputs(loras=[{"lora": "one\\style.safetensors"}]) is True


@pytest.mark.parametrize(
    "name",
    ["../solo.safetensors", "/etc/passwd", "C:\\loras\\solo.safetensors", "one/../../secret", "..", "one/../solo"],
)
def test_names_never_leave_the_lora_folders(stack_node: Any, model: Any, two: Path, name: str) -> None:
    """Names come from prompts: what ComfyUI does not list does not exist, even where a file is there."""
    write_lora(two.parent / "solo.safetensors", layers("*attn1.to_q"))
    write_lora(two.parent / "secret.safetensors", layers("*attn1.to_q"))
    assert "was not found" in stack_node.validate_inputs(loras=[{"lora": name}], policy="refuse", missing="error")
    with pytest.raises(Exception, match="was not found"):
        stack_node.execute(model=model, loras=[{"lora": name}])


@pytest.mark.oldest
def test_missing_is_an_error_or_skipped(stack_node: Any, model: Any, two: Path) -> None:
    """All missing rows are named at once; `skip` applies the rest and says so."""
    stack = "<lora:gone:0.5> <lora:solo:0.5> <lora:lost:1>"
    verdict = stack_node.validate_inputs(loras=stack, policy="refuse", missing="error")
    head, *lines = verdict.split("\n")
    assert head.startswith("2 LoRAs were not found.")
    assert lines == ["row 1: gone was not found", "row 3: lost was not found"]
    assert stack_node.validate_inputs(loras=stack, policy="refuse", missing="skip") is True
    assert stack_node.validate_inputs(loras=stack, policy="warn", missing="error") is True
    assert stack_node.validate_inputs(loras=stack) is True  # the choices are not known: the run decides
    out, _, rows, report, _ = stack_node.execute(model=model, loras=stack, missing="skip").args
    assert "gone: not found; skipped" in report and "solo: weight 0.5" in report
    assert [row[0] for row in rows] == ["gone", "solo.safetensors", "lost"]
    assert out.patches


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "row 1"),
        ('{"loras": [{"lora": "solo"}, {"lora": "solo", "model": NaN}]}', "row 2"),
        ('{"loras": [{"lora": "solo", "model": 1e308}]}', "row 1"),
        ('{"loras": [{"lora": "solo", "model": "0.5"}]}', "row 1"),
        (json.dumps([{"lora": "solo"}] * 10_000), "row 1001"),
        ("masterpiece, <lora:solo:1>", "masterpiece"),
    ],
)
def test_bad_stacks_are_refused_when_queued(stack_node: Any, two: Path, text: str, part: str) -> None:
    """The sentence names the row; nothing is raised."""
    assert part in stack_node.validate_inputs(loras=text)


@pytest.mark.oldest
def test_rows_keep_what_other_packs_do_not_know(stack_node: Any, export_node: Any, model: Any, two: Path) -> None:
    """LORA_STACK rows are plain triples to others; AIR and unknown keys come back to us through them."""
    rows = [{"lora": "solo", "model": 0.5, "air": "civitai:1@2", "note": "mine"}]
    stack = stack_node.execute(model=model, loras=rows).args[2]
    name, weight, clip = stack[0]
    assert (name, weight, clip) == ("solo.safetensors", 0.5, 0.5) and isinstance(stack, list)
    theirs = [("one/style.safetensors", 1.0, 0.25), *stack]
    _, _, again, report, _ = stack_node.execute(model=model, loras="", lora_stack=theirs).args
    assert again == theirs and "all 10 modules fit" not in report.splitlines()[0]
    import folder_paths

    folder_paths.set_output_directory(str(two.parent / "out"))
    text = export_node.execute(lora_stack=stack, format="runware", filename_prefix="x/y", allow_names=False).args[0]
    assert json.loads(text) == [{"model": "civitai:1@2", "weight": 0.5}]
    assert (two.parent / "out" / "x" / "y_00001_.runware.json").read_text(encoding="utf-8") == text
    with pytest.raises(Exception, match=r"row 1.*AIR"):
        export_node.execute(lora_stack=theirs, format="runware", filename_prefix="x/y", allow_names=False)
    with pytest.raises(Exception, match="cannot be written"):
        export_node.execute(lora_stack=stack, format="runware", filename_prefix="../../y", allow_names=False)


@pytest.mark.oldest
def test_every_format_is_written(export_node: Any, two: Path) -> None:
    """All formats of the node give text and a file."""
    import folder_paths

    folder_paths.set_output_directory(str(two.parent / "out"))
    formats = next(item for item in export_node.define_schema().inputs if item.id == "format").options
    assert tuple(formats) == WRITTEN
    rows = [{"lora": "solo.safetensors", "model": 5.0, "clip": 0.25, "air": "civitai:1@2"}]
    for name in formats:
        out = export_node.execute(lora_stack=rows, format=name, filename_prefix="s", allow_names=True, clamp=True)
        written = out.ui["files"][0]
        assert (two.parent / "out" / written["filename"]).read_text(encoding="utf-8") == out.args[0]
        assert out.ui["text"][0].startswith(out.args[0].rstrip())


@pytest.mark.oldest
def test_clip_is_patched_with_its_own_weight(stack_node: Any, loras: Path, tmp_path: Path) -> None:
    """MODEL and CLIP of one checkpoint; the text encoder takes the clip weight."""
    import comfy.sd

    from lorchestra.demo.checkpoint import write_checkpoint

    checkpoint = write_checkpoint(tmp_path / "small.safetensors", vae=False)
    model, clip, _, _ = comfy.sd.load_checkpoint_guess_config(str(checkpoint), output_vae=False)
    targets = layers("*attn1.to_q", "text_model.*q_proj")
    for spelling in ("kohya", "diffusers-processor", "diffusers", "peft", "native"):
        write_lora(loras / f"{spelling}.safetensors", targets, spelling, seed=5, dtype=torch.float32)
    key = "clip_l.transformer.text_model.encoder.layers.3.self_attn.q_proj.weight"
    results = []
    for spelling in ("kohya", "diffusers-processor", "diffusers", "peft", "native"):
        rows = [{"lora": spelling, "model": 0.0, "clip": 0.5}]
        out_model, out_clip, _, report, _ = stack_node.execute(model=model, clip=clip, loras=rows).args
        assert out_model is model and len(out_clip.patcher.patches) == 12 and "model 0, clip 0.5" in report
        results.append(patched(out_clip.patcher)[key])
    assert all(torch.equal(results[0], other) for other in results[1:])
    assert not torch.equal(results[0], dict(clip.cond_stage_model.state_dict())[key])
    out_model, out_clip, _, report, _ = stack_node.execute(model=model, loras="<lora:kohya:1>").args
    assert out_clip is None and "12 text encoder modules are not used" in report


@pytest.mark.oldest
def test_one_odd_tag_spoils_nothing(stack_node: Any, model: Any, two: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tags that can be read are applied; what is lost stands in the report and in the log, with its place."""
    text = "<lora:solo:0.5> <lora:one/style:0,8>\n<lora:two/style:0.25:MINE>"
    assert stack_node.validate_inputs(loras=text) is True
    out, _, rows, report, _ = stack_node.execute(model=model, loras=text).args
    assert rows == [("solo.safetensors", 0.5, 0.5), ("two/style.safetensors", 0.25, 0.25)]
    expected = stack_node.execute(model=model, loras="<lora:solo:0.5> <lora:two/style:0.25>").args[0]
    assert same_bits(patched(out), patched(expected))
    for part in ("line 1, column 17, tag", "'<lora:one/style:0,8>'", "row 2, line 2, column 1, MINE"):
        assert part in report and part in caplog.text
    caplog.clear()
    assert "column 17" in stack_node.execute(model=model, loras=text, policy="ignore").args[3]
    assert "column 17" not in caplog.text


def test_weights_over_the_steps_in_brackets(stack_node: Any, model: Any, two: Path) -> None:
    """prompt-control's brackets and SwarmUI's groups become schedules, so the LoRAs are live."""
    report = stack_node.execute(model=model, loras="[<lora:solo:0.9>:<lora:solo:1.0>:0.2]").args[3]
    assert "0:0.9 hold, 0.2:1" in report and "Live" in report
    report = stack_node.execute(model=model, loras="<fromto[2]:<lora:solo>,>").args[3]
    assert "step 1:1 hold, 3:0" in report
