"""Published workflows and their jobs over HTTP: handlers, written once, that know nothing of where they run.

A handler gets a `Request` and gives a `Response`; what runs the jobs is a `Backend`. Who serves HTTP (aiohttp in
ComfyUI) binds `routes.ROUTES`, and hands each request to `Service.answer`.
"""

from __future__ import annotations
