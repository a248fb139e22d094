"""The data about base models: whole, consistent, and right where it can be checked by hand."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lorchestra.architectures.patterns import compact, expand
from lorchestra.architectures.signatures import AliasPattern, Signature, find_signature, from_json, read_signatures
from tools import collect_signatures as tool

IDS = (
    "ace_step ace_step15 anima auraflow cascade_b cascade_c cascade_c_lite chroma cogvideox_2b cogvideox_5b "
    "cosmos1_14b cosmos1_7b cosmos_predict2_14b cosmos_predict2_2b ernie_image flux1_dev flux1_fill flux1_schnell "
    "flux2_dev flux2_klein_4b flux2_klein_9b hidream_i1 hidream_o1 hunyuan_dit hunyuan_image21 hunyuan_video "
    "hunyuan_video15 hunyuan_video_i2v ideogram4 joyimage kandinsky5_lite_image kandinsky5_lite_video "
    "kandinsky5_pro_video koala_700m krea2 longcat_image ltx23_22b ltx2_19b ltxv_13b ltxv_2b lumina2 mage_flow "
    "minimax_h3 minimax_music3 mochi newbie omnigen2 ovis_image pixart_alpha pixart_sigma qwen_image qwen_image21 "
    "sd15 sd21 sd35_large sd35_medium sd3_medium sdxl sdxl_refiner seedvr2_3b segmind_vega ssd1b stable_audio svd "
    "wan21_camera_14b wan21_fun_control_14b wan21_humo_17b wan21_i2v_14b wan21_t2v_14b wan21_t2v_1_3b "
    "wan21_vace_14b wan21_vace_1_3b wan22_5b wan22_animate wan22_i2v_14b wan22_s2v z_image"
)


def test_ids() -> None:
    """Ids are part of what the command line prints, so none goes away unnoticed."""
    assert " ".join(signature.id for signature in read_signatures()) == IDS


@pytest.mark.parametrize("signature", read_signatures(), ids=lambda signature: signature.id)
def test_signature_is_consistent(signature: Signature) -> None:
    """The patterns overlap nowhere, are the shortest and sorted, and aliases lead to tensors, inside their shapes."""
    shapes = signature.shapes
    assert len(shapes) == signature.tensors == sum(len(list(pattern.names())) for pattern in signature.patterns)
    assert compact(shapes) == signature.patterns
    foreign = [name for alias in signature.aliases for name, _ in alias.pairs()]
    assert len(foreign) == len(set(foreign))
    for alias in signature.aliases:
        for _, native in alias.pairs():
            shape = shapes.get(f"{native}.weight") or shapes[native]
            if alias.offset:
                dimension, start, length = alias.offset
                assert 0 <= start < start + length <= shape[dimension]


@pytest.mark.parametrize(
    ("name", "comfy_class", "tensors", "tensor", "shape"),
    [
        ("sd15", "SD15", 686, "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", (320, 768)),
        ("sd15", "SD15", 686, "input_blocks.1.1.proj_in.weight", (320, 320, 1, 1)),
        ("sdxl", "SDXL", 1680, "middle_block.1.transformer_blocks.9.attn2.to_k.weight", (1280, 2048)),
        ("sdxl", "SDXL", 1680, "label_emb.0.0.weight", (1280, 2816)),
        ("flux1_dev", "Flux", 780, "double_blocks.18.img_attn.qkv.weight", (9216, 3072)),
        ("flux1_dev", "Flux", 780, "single_blocks.37.linear1.bias", (21504,)),
        ("flux2_klein_4b", "Flux2", 149, "single_blocks.19.linear1.weight", (27648, 3072)),
        ("wan21_t2v_14b", "WAN21_T2V", 1095, "blocks.39.ffn.0.weight", (13824, 5120)),
        ("wan21_t2v_14b", "WAN21_T2V", 1095, "blocks.39.modulation", (1, 6, 5120)),
        ("lumina2", "Lumina2", 399, "layers.25.attention.qkv.weight", (3840, 2304)),
        ("hunyuan_video", "HunyuanVideo", 856, "double_blocks.19.img_attn.qkv.weight", (9216, 3072)),
        ("stable_audio", "StableAudio", 302, "transformer.layers.23.self_attn.to_qkv.weight", (4608, 1536)),
        ("cosmos1_7b", "CosmosT2V", 570, "blocks.block27.blocks.1.block.attn.to_k.0.weight", (4096, 1024)),
    ],
)
def test_known_shapes(name: str, comfy_class: str, tensors: int, tensor: str, shape: tuple[int, ...]) -> None:
    signature = find_signature(name)
    assert signature is not None
    assert (signature.comfy_class, signature.tensors) == (comfy_class, tensors)
    assert signature.shapes[tensor] == shape


def test_last_blocks_are_the_last() -> None:
    """Depth tells look-alikes apart: Flux.1 has 19 and 38 blocks, HunyuanVideo 20 and 40."""
    flux, hunyuan = find_signature("flux1_dev"), find_signature("hunyuan_video")
    assert flux and hunyuan
    for block in ("double_blocks.19.img_attn.qkv.weight", "single_blocks.38.linear1.weight"):
        assert block not in flux.shapes and block in hunyuan.shapes


def test_unknown_id() -> None:
    assert find_signature("sd1") is None


def test_from_json() -> None:
    text = """{"comfyui": "1.0", "architectures": {"x": {"comfy_class": "X", "tensors": 3,
        "shapes": {"a.[0-1].weight": [4, 2], "b": [1]},
        "aliases": [["c.[0-1]", "a.[0-1]", [0, 2, 2], false], ["d", "b", null, true]]}}}"""
    (signature,) = from_json(json.loads(text))
    assert signature.shapes == {"a.0.weight": (4, 2), "a.1.weight": (4, 2), "b": (1,)}
    assert signature.aliases == (AliasPattern("c.[0-1]", "a.[0-1]", (0, 2, 2)), AliasPattern("d", "b", None, True))
    assert list(signature.aliases[0].pairs()) == [("c.0", "a.0"), ("c.1", "a.1")]


def test_shapes_cannot_be_changed() -> None:
    signature = read_signatures()[0]
    with pytest.raises(TypeError):
        signature.shapes["x"] = (1,)  # type: ignore[index]
    assert signature.shapes is signature.shapes


def test_needs_no_torch() -> None:
    code = (
        "import sys, lorchestra.architectures.signatures as s; s.read_signatures()[0].shapes; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_expand_of_all_patterns_has_no_brackets() -> None:
    for signature in read_signatures():
        for pattern in signature.patterns:
            assert not set(next(expand(pattern.text))) & set("[]{},")


def test_the_file_is_as_the_tool_writes_it() -> None:
    """Nobody edits the file by hand, and another run of the tool changes no line without a reason."""
    text = tool.FILE.read_text("utf-8")
    assert tool.to_text(json.loads(text)["comfyui"], from_json(json.loads(text))) == text


def test_the_tool_joins_aliases_by_their_first_number() -> None:
    """Only where both sides have the same number; the rest stays as it is."""
    target = tool.Target
    names = {
        "t.0.q": target("d.0.qkv", (0, 0, 2)),
        "t.1.q": target("d.1.qkv", (0, 0, 2)),
        "t.3.q": target("d.3.qkv", (0, 0, 2)),
        "t.0.out.0": target("d.0.proj"),
        "t.1.out.0": target("d.1.proj"),
        "t.4.mod": target("d.4.lin", None, True),
        "up.0.conv": target("out.3.conv"),
        "norm": target("final.1"),
        "layers.0.q": target("decoder.layers.0.q"),
        "layers.1.q": target("decoder.layers.1.q"),
    }
    patterns = tool.alias_patterns(names)
    assert patterns == (
        AliasPattern("layers.[0-1].q", "decoder.layers.[0-1].q"),
        AliasPattern("norm", "final.1"),
        AliasPattern("t.4.mod", "d.4.lin", None, True),
        AliasPattern("t.[0-1,3].q", "d.[0-1,3].qkv", (0, 0, 2)),
        AliasPattern("t.[0-1].out.0", "d.[0-1].proj"),
        AliasPattern("up.0.conv", "out.3.conv"),
    )
    assert {
        foreign: target(native, pattern.offset, pattern.swapped)
        for pattern in patterns
        for foreign, native in pattern.pairs()
    } == names
