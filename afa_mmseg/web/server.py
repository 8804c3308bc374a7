"""Server of the page: allowed paths and hosts, bounded requests, temporary files."""

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from typing import Any, Optional
from unittest import mock

import fastapi
import gradio as gr
import uvicorn
from PIL import Image as PILImage
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .style import CSS, theme
from .uploads import Limits

#: Paths that browsers request. Gradio serves more: files of other servers, recordings, an API.
PATHS = re.compile(
    r'/(|config|theme\.css|favicon\.ico|assets/.*|static/.*|'
    r'gradio_api/(app_id|upload|upload_progress|heartbeat/\w+|queue/(join|data)|run/predict|file=/.*))'
)
UPLOADS = '/gradio_api/upload'
#: Bytes of a request other than an upload, and around the file in an upload.
MAX_REQUEST, MAX_ENVELOPE = 500_000, 10_000
LOOPBACK = ('127.0.0.1', 'localhost', '::1')


class Gate:
    """ASGI middleware that passes on known paths and requests of bounded, declared size."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(scope) or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Optional[PlainTextResponse]:
        if scope['type'] != 'http':
            return None
        if not PATHS.fullmatch(scope['path']):
            return PlainTextResponse('not part of this page', 404)
        headers = Headers(scope=scope)
        if 'transfer-encoding' in headers:  # browsers declare the length
            return PlainTextResponse('length required', 411)
        limit = self.max_bytes + MAX_ENVELOPE if scope['path'] == UPLOADS else MAX_REQUEST
        length = headers.get('content-length', '0')
        is_allowed = length.isdecimal() and int(length) <= limit
        return None if is_allowed else PlainTextResponse('request too large', 413)


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Keep the files of Gradio (uploads, drawn images) in a folder of their own, deleted at the end."""
    names = ('GRADIO_TEMP_DIR', 'GRADIO_EXAMPLES_CACHE')
    with (
        tempfile.TemporaryDirectory(prefix='afa-web-') as folder,
        mock.patch.dict(os.environ, dict.fromkeys(names, folder)),
    ):
        yield


def build_app(page: gr.Blocks, limits: Limits, host: str) -> ASGIApp:
    """Build an ASGI application of the page behind a `Gate`.

    On the loopback, the Host header must name it, which keeps out pages of other sites (DNS rebinding).
    """
    PILImage.MAX_IMAGE_PIXELS = limits.max_pixels  # also for images opened by Gradio
    app: Any = gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None), page, path='/', server_name=host, max_file_size=limits.max_bytes,
        theme=theme(), css=CSS, footer_links=[], run_history=False, ssr_mode=False, show_error=True,
    )  # fmt: skip
    page.has_launched = True  # makes Gradio check the folders of files
    app.add_middleware(Gate, max_bytes=limits.max_bytes)
    if host in LOOPBACK:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=['127.0.0.1', 'localhost', '[::1]'], www_redirect=False)
    return app


def listen(host: str, port: int) -> socket.socket:
    """Bind a port of an address of this machine; 0 for a free one.

    Raises:
        ValueError: The port is in use or not allowed, or the address is not of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ':' in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, 'strerror', None) or error).split(' (')[0].rstrip('.')  # repeats the address
        raise ValueError(f'cannot listen on {host}, port {port}: {reason}. Choose another with --port') from error


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Build the server; `run(sockets=[...])` serves until Ctrl-C, SIGTERM or `should_exit`."""
    return uvicorn.Server(uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=1))
