"""Every value that a trainer's source writes as the base model."""

from __future__ import annotations

import pytest

from lorchestra.architectures.claims import BASE_MODELS, NETWORK_MODULES, find_architectures, normal
from lorchestra.architectures.names import ARCHITECTURES

WRITERS = {
    "sd-scripts": {
        "sd_v1": "sd15", "sd_v1_v": "sd15", "sd_v2": "sd21", "sd_v2_v": "sd21", "sdxl_base_v1-0": "sdxl",
        "flux1": "flux1_dev", "chroma": "chroma", "lumina2": "lumina2", "hunyuan-image-2.1": "hunyuan_image21",
        "anima": "anima", "stable-diffusion-v1/lora": "sd15", "stable-diffusion-v2-768-v/lora": "sd21",
        "stable-diffusion-xl-v1-base/lora": "sdxl", "stable-diffusion-3-medium": "sd3_medium",
        "stable-diffusion-3-5-medium": "sd35_medium", "stable-diffusion-3-5-large": "sd35_large",
        "flux-1-dev": "flux1_dev", "flux-1-schnell": "flux1_schnell", "flux-1": "flux1_dev", "lumina-2": "lumina2",
        "anima-preview": "anima",
    },
    "musubi-tuner": {
        "hunyuan_video": "hunyuan_video", "wan": "wan21_t2v_14b", "framepack": "hunyuan_video",
        "flux_kontext": "flux1_dev", "flux_2_dev": "flux2_dev", "flux_2_klein_4b": "flux2_klein_4b",
        "flux_2_klein_9b": "flux2_klein_9b", "qwen_image": "qwen_image", "qwen_image_edit": "qwen_image",
        "qwen_image_layered": "qwen_image", "qwen-image-2.1": "qwen_image21",
        "Qwen-Image-2512": "qwen_image", "kandinsky5": "kandinsky5_lite_video",
        "hunyuan_video_1_5": "hunyuan_video15", "z_image": "z_image", "hidream_o1_image": "hidream_o1",
        "ideogram4": "ideogram4", "krea2": "krea2", "wan2.1": "wan21_t2v_14b", "Flux.2-klein-9b": "flux2_klein_9b",
        "Qwen-Image-Edit-2511": "qwen_image", "hunyuan-video-1.5": "hunyuan_video15", "HiDream-O1-Image": "hidream_o1",
    },
    "ai-toolkit": {
        "sd_2.1": "sd21", "sdxl_1.0": "sdxl", "sd_3": "sd3_medium", "pixart": "pixart_alpha", "auraflow": "auraflow",
        "flux.1": "flux1_dev", "ssd": "ssd1b", "vega": "segmind_vega", "wan_2.1": "wan21_t2v_14b",
        "wan_2.2_14b": "wan21_t2v_14b", "wan_2.2_5b": "wan22_5b", "flux.1_kontext": "flux1_dev", "flux2": "flux2_dev",
        "ltx2": "ltx2_19b", "chroma_radiance": "chroma", "hidream_i1": "hidream_i1", "omnigen2": "omnigen2",
        "zimage": "z_image", "minimax_h3_ref2va": "minimax_h3", "mageflow_edit": "mage_flow",
    },
    "OneTrainer": {
        "sdxl_": "sdxl", "Anima/lora": "anima", "Chroma1/lora": "chroma", "Ernie/lora": "ernie_image",
        "Flux.2/lora": "flux2_dev", "Flux.1-fill-dev/lora": "flux1_fill", "hidream-i1/lora": "hidream_i1",
        "hunyuan-video/lora": "hunyuan_video", "Ideogram/lora": "ideogram4", "Krea-2/lora": "krea2",
        "pixart-sigma/lora": "pixart_sigma", "Qwen-Image/lora": "qwen_image", "Z-Image/lora": "z_image",
        "stable-diffusion-v1-inpainting/lora": "sd15", "stable-diffusion-v2-depth/lora": "sd21",
        "stable-diffusion-v3-medium/lora": "sd3_medium", "stable-cascade-v1-prior/lora": "cascade_c",
    },
    "SimpleTuner": {
        "sd1x-1.5/lora": "sd15", "sdxl-base-1.0/lora": "sdxl", "sdxl-refiner-1.0/lora": "sdxl_refiner",
        "sd3-large/lora": "sd35_large", "flux-krea/lora": "flux1_dev", "flux-schnell/lora": "flux1_schnell",
        "flux2-klein-4b/lora": "flux2_klein_4b", "wan-t2v-480p-1.3b-2.1/lora": "wan21_t2v_1_3b",
        "wan-i2v-14b-2.2-high/lora": "wan21_t2v_14b", "wan-ti2v-5b-2.2/lora": "wan22_5b",
        "wan_s2v-s2v-14b-2.2/lora": "wan22_s2v", "hunyuanvideo-t2v-480p/lora": "hunyuan_video15",
        "ltxvideo-0.9.5/lora": "ltxv_2b", "ltxvideo2-2.3-dev/lora": "ltx23_22b", "ace_step-base/lora": "ace_step",
        "ace_step-v15-turbo/lora": "ace_step15", "cosmos-2b/lora": "cosmos_predict2_2b",
        "kandinsky5_image-t2i-lite-sft/lora": "kandinsky5_lite_image",
    },
    "nobody knows": {
        "sana/lora": "", "kolors-1.0": "", "f-lite": "", "prx_pixel": "", "boogu_image.0.1": "", "zeta_chroma": "",
        "cosmos3-edge": "", "": "", "flux": "flux1_dev", "a flux.1 model": "",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "architecture"), [row for rows in WRITERS.values() for row in rows.items()], ids=lambda text: text or "-"
)
def test_the_first_architecture_is_the_one_that_is_meant(value: str, architecture: str) -> None:
    found = find_architectures(BASE_MODELS, value)
    assert (found[0] if found else "") == architecture


def test_the_tables_are_sound() -> None:
    ids = {architecture.id for architecture in ARCHITECTURES}
    for table in (BASE_MODELS, NETWORK_MODULES):
        words = [word for row in table for word in row.words]
        assert len(set(words)) == len(words)
        assert all(normal(word) == word for word in words)
        assert {name for row in table for name in row.architectures} <= ids


def test_flux_1_and_2_are_kept_apart() -> None:
    assert not {"flux2_dev"} & set(find_architectures(BASE_MODELS, "Flux.1-dev"))
    assert not {"flux1_dev"} & set(find_architectures(BASE_MODELS, "Flux.2-dev"))
