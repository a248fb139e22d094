"""The embedded broker: a ticket comes whole, and once, whoever else writes and reads meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from lorchestra.service.fleet import broker


def test_many_send_and_many_take(tmp_path: Path) -> None:
    """Files in the folder that are no messages, and empty ones, end nobody."""
    (tmp_path / "messages").mkdir()
    (tmp_path / "messages/0_empty.base.x-1.msg").touch()
    app = broker.make_app(None, tmp_path)
    taken: list[str] = []
    sent, failed = threading.Event(), list[BaseException]()

    def send() -> None:
        for _ in range(60):
            broker.send(app, "base.x-1")
        broker.send(app, "any")

    def take() -> None:
        try:
            with broker.make_app(None, tmp_path).connection() as connection:
                queue = connection.SimpleQueue("base.x-1")
                while True:
                    is_over = sent.is_set()
                    try:
                        message = queue.get(timeout=0.2)
                    except queue.Empty:
                        if is_over:
                            return
                        continue
                    taken.append(message.headers["id"])
                    message.ack()
        except BaseException as error:
            failed.append(error)

    senders = [threading.Thread(target=send) for _ in range(3)]
    takers = [threading.Thread(target=take) for _ in range(3)]
    for thread in (*takers, *senders):
        thread.start()
    for thread in senders:
        thread.join(60)
    sent.set()
    for thread in takers:
        thread.join(60)
    assert not failed
    assert len(taken) == len(set(taken)) == 180
    assert len(list((tmp_path / "messages").glob("*.any.msg"))) == 3
