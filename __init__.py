"""ComfyUI-Lorchestra: the door through which ComfyUI comes in. Everything is imported behind it."""

WEB_DIRECTORY = "./js"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint():
    """Called by ComfyUI once at its start; gives it the extension with our nodes."""
    import logging

    try:
        from .nodes import Lorchestra
    except Exception:
        logging.exception("Lorchestra could not be loaded")  # ComfyUI itself logs only the message
        raise
    return Lorchestra()
