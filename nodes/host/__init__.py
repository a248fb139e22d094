"""The only place that touches ComfyUI's internals: when ComfyUI changes, files change here alone."""
