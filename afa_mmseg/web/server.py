"""Serving the page: to this machine unless told otherwise, and nothing but the page."""

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import fastapi
import gradio as gr
import uvicorn
from PIL import Image as PILImage
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .style import CSS, theme
from .uploads import Limits

#: What browsers ask of the page. Gradio knows more: fetching other servers' files, recordings, an API.
PATHS = re.compile(
    r'/(|config|theme\.css|favicon\.ico|assets/.*|static/.*|'
    r'gradio_api/(app_id|upload|upload_progress|heartbeat/\w+|queue/(join|data)|run/predict|file=/.*))'
)
UPLOADS = '/gradio_api/upload'
#: Bytes of a request that is no upload, and what surrounds the file in one that is.
MAX_REQUEST, MAX_ENVELOPE = 500_000, 10_000
TOO_LARGE = PlainTextResponse('larger than this page takes', 413)
LOOPBACK = ('127.0.0.1', 'localhost', '::1')


class Gate:
    """Lets through what the page needs: known paths, requests of bounded size.

    Args:
        app: What is behind it.
        max_bytes: Of an uploaded file.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        path = scope['path']
        if not PATHS.fullmatch(path):
            return await PlainTextResponse('not part of this page', 404)(scope, receive, send)
        limit = self.max_bytes + MAX_ENVELOPE if path == UPLOADS else MAX_REQUEST
        length = Headers(scope=scope).get('content-length', '0')
        if not length.isdecimal() or int(length) > limit:
            return await TOO_LARGE(scope, receive, send)
        return await _with_limit(self.app, limit, scope, receive, send)


async def _with_limit(app: ASGIApp, limit: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request on until it is longer than it may be; then the application sees the visitor leave."""
    received = 0

    async def receive_some() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get('body', b''))
        return message if received <= limit else {'type': 'http.disconnect'}

    async def send_unless_refused(message: Message) -> None:
        if received <= limit:
            await send(message)

    with contextlib.suppress(ClientDisconnect):
        await app(scope, receive_some, send_unless_refused)
    if received > limit:
        await TOO_LARGE(scope, receive, send)


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Keep what Gradio writes (uploads, drawn pictures) in a folder of its own, deleted at the end."""
    before = {name: os.environ.get(name) for name in ('GRADIO_TEMP_DIR', 'GRADIO_EXAMPLES_CACHE')}
    with tempfile.TemporaryDirectory(prefix='afa-web-') as folder:
        os.environ.update(dict.fromkeys(before, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def build_app(page: gr.Blocks, limits: Limits, host: str) -> ASGIApp:
    """Make the page an ASGI application behind a `Gate`.

    On the loopback, requests must name it as their host: pages of other sites cannot ask for this one.

    Args:
        page: What `build_page` gave.
        limits: Of what visitors upload.
        host: What the server listens on.
    """
    PILImage.MAX_IMAGE_PIXELS = limits.max_pixels  # for whatever of Gradio opens pictures
    app: Any = gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None), page, path='/', server_name=host, max_file_size=limits.max_bytes,
        theme=theme(), css=CSS, footer_links=[], run_history=False, ssr_mode=False, show_error=True,
    )  # fmt: skip
    page.has_launched = True  # from then on Gradio looks at where files lie
    app.add_middleware(Gate, max_bytes=limits.max_bytes)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=['127.0.0.1', 'localhost', '[::1]'], www_redirect=False)
    return app


def listen(host: str, port: int) -> socket.socket:
    """Take a port, before anything slow is done.

    Args:
        host: Name or address of this machine.
        port: Its number; 0 for a free one.

    Raises:
        ValueError: It is in use, not allowed, or there is no such address here.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ':' in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, 'strerror', None) or error).split(' (')[0].rstrip('.')  # repeats the address
        raise ValueError(f'cannot listen on {host}, port {port}: {reason}. Choose another with --port') from error


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Make the server; `run(sockets=[...])` serves until Ctrl-C, SIGTERM or `should_exit`."""
    return uvicorn.Server(uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=1))
