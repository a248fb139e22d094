"""What the inputs of nodes are in any workflow: the usual suspects, by the names of widgets and by where they lead.

A role has a name that callers know (`prompt`, `seed`); the same name is given to the input, with a number behind it
where there are several.
"""

from __future__ import annotations

from dataclasses import dataclass

from .interface import AUDIO, IMAGE, LORAS, MASK, VIDEO

PROMPT, NEGATIVE = "prompt", "negative_prompt"
SEED, STEPS, CFG, WIDTH, HEIGHT = "seed", "steps", "cfg", "width", "height"
DENOISE, BATCH_SIZE = "denoise", "batch_size"
LORA_STRENGTH, CONTROLNET_STRENGTH = "lora_strength", "controlnet_strength"
SIDES = ("left", "top", "right", "bottom")
"""Borders that are added to a picture, by nodes that have all four."""
MEASURES = frozenset({LORA_STRENGTH, CONTROLNET_STRENGTH, *SIDES})
"""Each node has its own: they are never joined."""
CHECKPOINT, DIFFUSION_MODEL, VAE = "checkpoint", "diffusion_model", "vae"


@dataclass(frozen=True, slots=True)
class Role:
    """One of the usual suspects."""

    name: str
    title: str
    description: str
    widgets: tuple[str, ...] = ()
    """Names of inputs that are it."""
    types: tuple[str, ...] = ()
    """Types of these inputs, where the types are known."""
    outputs: tuple[str, ...] = ()
    """What the node must give, one of these types; () if that does not matter."""
    is_partner: bool = False
    """True if it counts on nodes of ComfyUI's partners alone, whose other inputs nobody else has."""


_MAKERS = ("LATENT", "CONDITIONING", "IMAGE", "VIDEO", "MODEL")
_SEEDS = ("seed", "noise_seed", "model_seed", "pick_seed")

ROLES: tuple[Role, ...] = (
    Role(PROMPT, "Prompt", "What is to be made, in words."),
    Role(NEGATIVE, "Negative prompt", "What is to be avoided, in words."),
    Role(IMAGE, "Image", "An image to start from."),
    Role(MASK, "Mask", "Where the image is to be changed."),
    Role(VIDEO, "Video", "A video to start from."),
    Role(AUDIO, "Audio", "Sound to start from."),
    Role(LORAS, "LoRAs", "LoRAs with their weights, any number of them. Their order does not matter."),
    Role("lyrics", "Lyrics", "The words that are sung.", ("lyrics",), ("STRING",)),
    Role("tags", "Tags", "Style and instruments of the music.", ("tags",), ("STRING",)),
    Role(SEED, "Seed", "The same seed gives the same result.", _SEEDS, ("INT",)),
    Role(STEPS, "Steps", "How many steps are sampled.", ("steps",), ("INT",)),
    Role(CFG, "CFG", "How closely the prompt is followed.", ("cfg",), ("FLOAT",)),
    Role("guidance", "Guidance", "How closely the prompt is followed.", ("guidance", "guidance_scale"), ("FLOAT",)),
    Role("sampler", "Sampler", "The sampler.", ("sampler_name",), ("COMBO",)),
    Role("scheduler", "Scheduler", "How the noise is spread over the steps.", ("scheduler",), ("COMBO",)),
    Role(LORA_STRENGTH, "LoRA strength", "Weight of the LoRA."),
    Role(CONTROLNET_STRENGTH, "ControlNet strength", "How closely the ControlNet's picture is followed."),
    Role(DENOISE, "Denoise", "How much of the start is replaced: 1 is all of it.", (DENOISE,), ("FLOAT",)),
    Role(WIDTH, "Width", "Width in pixels.", ("width",), ("INT",), _MAKERS),
    Role(HEIGHT, "Height", "Height in pixels.", ("height",), ("INT",), _MAKERS),
    *(Role(side, side.capitalize(), f"Pixels that are added at the {side}.") for side in SIDES),
    Role("aspect_ratio", "Aspect ratio", "Width to height.", ("aspect_ratio", "ratio"), ("COMBO", "STRING")),
    Role("megapixels", "Megapixels", "Size in millions of pixels.", ("megapixels",), ("FLOAT",), ("INT",)),
    Role("resolution", "Resolution", "How large it is.", ("resolution",), ("COMBO",), is_partner=True),
    Role("size", "Size", "How large it is.", ("size", "size_preset", "image_size"), ("COMBO",), is_partner=True),
    Role("quality", "Quality", "How good it is.", ("quality",), ("COMBO",), is_partner=True),
    Role("length", "Length", "How many frames.", ("length", "num_frames"), ("INT",), ("LATENT", "CONDITIONING")),
    Role("duration", "Duration", "How long it is, in seconds.", ("duration", "seconds", "max_duration")),
    Role("speed", "Speed", "How fast it is spoken.", ("speech_rate", "speed"), ("INT", "FLOAT"), is_partner=True),
    Role("format", "Format", "Format of the file.", ("output_format",), ("COMBO",), is_partner=True),
    Role("sample_rate", "Sample rate", "Samples of the sound a second.", ("sample_rate",), ("COMBO",), is_partner=True),
    Role("fps", "FPS", "Frames a second.", ("fps", "frame_rate"), ("INT", "FLOAT", "FLOAT,INT")),
    Role(BATCH_SIZE, "Batch size", "How many at once.", (BATCH_SIZE,), ("INT",), ("LATENT",)),
    Role("number_of_images", "Number of images", "How many at once.", ("n", "number_of_images"), ("INT",), (), True),
    Role("generate_audio", "Generate audio", "Whether there is sound.", ("generate_audio",), ("BOOLEAN",), (), True),
    Role(CHECKPOINT, "Checkpoint", "File of the checkpoint.", ("ckpt_name",)),
    Role(DIFFUSION_MODEL, "Diffusion model", "File of the diffusion model.", ("unet_name",)),
    Role(VAE, "VAE", "File of the VAE.", ("vae_name",)),
)
"""All roles, in the order in which people are shown them. To add one: its row here; if it is found by more than a
widget's name, teach `inputs.py`."""

BY_NAME = {role.name: role for role in ROLES}
ORDER = {role.name: number for number, role in enumerate(ROLES)}
_BY_WIDGET = {widget: role for role in ROLES for widget in role.widgets}


def find_role(widget: str) -> Role | None:
    """The role that an input's name tells, or None."""
    return _BY_WIDGET.get(widget)


@dataclass(frozen=True, slots=True)
class Loader:
    """A class of nodes that loads what a caller may send."""

    class_type: str
    widget: str
    kind: str


LOADERS: tuple[Loader, ...] = (
    # ComfyUI, nodes.py, comfy_extras/nodes_audio.py and nodes_video.py
    Loader("LoadImage", "image", IMAGE),
    Loader("LoadImageMask", "image", MASK),
    Loader("LoadImageOutput", "image", IMAGE),
    Loader("LoadAudio", "audio", AUDIO),
    Loader("LoadVideo", "file", VIDEO),
    # Kosinkadink/ComfyUI-VideoHelperSuite, videohelpersuite/nodes.py
    Loader("VHS_LoadVideo", "video", VIDEO),
    Loader("VHS_LoadAudioUpload", "audio", AUDIO),
)
"""Loaders that are known without `/object_info`, which marks others by `image_upload` and its like."""

UPLOADS = (("image_upload", IMAGE), ("video_upload", VIDEO), ("audio_upload", AUDIO))

PRIMITIVES = (
    # ComfyUI, comfy_extras/nodes_primitive.py
    "PrimitiveInt", "PrimitiveFloat", "PrimitiveString", "PrimitiveStringMultiline", "PrimitiveBoolean",
    "SeedNode", "CustomCombo",
    # kijai/ComfyUI-KJNodes, nodes/nodes.py
    "INTConstant", "FloatConstant", "StringConstant", "StringConstantMultiline", "BOOLConstant",
    # cubiq/ComfyUI_essentials, misc.py
    "SimpleMathInt+", "SimpleMathFloat+",
)  # fmt: skip
"""Nodes whose one widget is what they give: what it is, is told by the input that it goes to, and by their title."""
