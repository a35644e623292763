"""Running the server: one process or several on one socket."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from models.errors import DataError
from models.store import database_at
from recallql import __version__
from recallql.auth.credentials import has_keys, needs_credential
from recallql.embedding.embeddings import source_of
from recallql.http.connections import RESERVED, ask_for_descriptors
from recallql.http.hosts import is_loopback
from recallql.http.protocol import Protocol
from recallql.settings import Settings

log = structlog.get_logger("recallql.serve")

START_TIMEOUT = 60
"""Seconds within which a process has to start when it replaces another: loading the code takes a few on a busy machine.
"""


class CannotServe(DataError):
    """The server can't start; the message is for the operator."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, and what all processes are told: `restarting` is set while they end to be replaced."""

    def __init__(self, app: str, *, workers: int, **named: Any) -> None:
        super().__init__(app, workers=workers, **named)
        self.restarting = multiprocessing.get_context("spawn").Event() if workers > 1 else threading.Event()


class Workers(Multiprocess):
    """Several processes. SIGHUP replaces them one after the other, and they tell their clients that they restart."""

    config: ServerConfig

    def restart_all(self) -> None:
        self.config.restarting.set()
        try:
            super().restart_all()
        finally:
            self.config.restarting.clear()


def _end_for_restart_on_hangup(config: ServerConfig, end: Callable[[], None]) -> None:
    """Has SIGHUP end the only process as SIGTERM does, but in the knowledge that another will be started."""

    def hang_up(*_: object) -> None:
        config.restarting.set()
        end()

    # `nohup` has it ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hang_up)


def bind(settings: Settings) -> socket.socket:
    """Opens the listening socket; raises `CannotServe` when it can't be opened."""
    host, port = settings.host, settings.port
    if not is_loopback(host) and not has_keys(settings):
        raise CannotServe(
            f"{host} is not a loopback address, and without a key RecallQL serves this machine only: make one with "
            "`recallql key create` or set RECALLQL_API_KEY, or use --host 127.0.0.1."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that asyncio sends small answers at once (it sets TCP_NODELAY on such sockets only).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise CannotServe(
            f"Cannot listen on port {port} of {host} ({error.strerror}): another program may be using it. "
            "Stop that one, or choose another with --port."
        ) from error
    return listening


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM; then requests in flight are finished first."""
    listening = bind(settings)
    ask_for_descriptors(settings.max_connections + RESERVED)
    # Before any worker starts, so that only one process migrates, and errors are reported here.
    database = database_at(settings.database_url)
    database.prepare()
    if settings.read_database_url:
        database_at(settings.read_database_url)
    for name, value in settings.model_dump().items():
        os.environ[f"RECALLQL_{name.upper()}"] = str(value)
    config = ServerConfig(
        "recallql.app:from_environment",
        factory=True,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        timeout_worker_healthcheck=START_TIMEOUT,
        ws="none",
        http=Protocol,
        proxy_headers=False,
        root_path=settings.root_path,
    )
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info(
        "serving; a credential is needed"
        if needs_credential(settings)
        else "serving; without a key, this machine only",
        url=f"http://{shown}:{port}/graphql",
        database=database.url,
        workers=settings.workers,
        embeddings=source_of(settings),
        version=__version__,
    )
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    # A signal that arrives before uvicorn handles it stops the server as soon as it has started. And uvicorn raises it
    # again once it has stopped; by then all is done, and the command ends well.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, end)
    if settings.workers > 1:
        config.load_app()
        listening.set_inheritable(True)
        Workers(config, sockets=[listening]).run()
    else:
        _end_for_restart_on_hangup(config, end)
        server.run(sockets=[listening])
    if not server.started and settings.workers == 1:
        raise CannotServe("The server could not start; see its log.")
