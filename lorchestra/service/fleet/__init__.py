"""Many ComfyUIs behind one door: a worker for each, a table that all share, and Celery that wakes the workers.

Needs the extra `lorchestra[serve]`; nothing else imports this room.
"""
