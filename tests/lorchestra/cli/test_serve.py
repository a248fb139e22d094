"""What a ComfyUI publishes is published at the door, at its start and later."""

from __future__ import annotations

from pathlib import Path

from support.service import Caller, Door

from lorchestra.cli.serve import Source
from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.publications import Publications


def test_what_is_published_later_is_taken_and_what_was_removed_stays_away(tmp_path: Path) -> None:
    with Door(tmp_path / "comfyui") as comfyui:
        caller = Caller(comfyui.service, host=comfyui.url.removeprefix("http://"))

        def publish(name: str, steps: int) -> None:
            body = {"workflow": demo_prompt([], steps=steps)}
            assert comfyui.call(caller.ask("PUT", f"/workflows/{name}", body))[0] == 201

        publish("portrait", 1)
        publish("portrait", 2)
        here = Publications(tmp_path / "door")
        source = Source(comfyui.url, here)
        assert source.take() == ["portrait@1", "portrait@2"]
        assert source.take() == []
        publish("portrait", 3)
        publish("other", 1)
        here.remove("portrait@1")
        assert source.take() == ["other@1", "portrait@3"]
        assert here.find_versions("portrait") == [2, 3]
        assert Source(comfyui.url, here).take() == ["portrait@1"]
