"""A stand-in for Hugging Face's hub: models in memory, the few routes that uploads and downloads use."""

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager

SHA = '0' * 39 + '1'


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the models in `server.models`: files by name, by id; downloaded names are noted."""

    def log_message(self, *args):
        pass

    def answer(self, content=b'{}', status=200, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {'Content-Length': str(len(content)), **headers}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    def do_GET(self):  # noqa: N802
        path, models = self.path.split('?')[0], self.server.models
        if match := re.fullmatch(r'/api/models/([^/]+/[^/]+)/tree/[^/]+', path):
            files = models[match[1]]
            tree = [dict(type='file', path=name, size=len(x), oid=digest(x)) for name, x in files.items()]
            self.answer(tree, Content_Type='application/json')
        elif match := re.fullmatch(r'/api/models/([^/]+/[^/]+?)(/revision/[^/]+)?', path):
            if match[1] not in models:
                self.answer(status=404, X_Error_Code='RepoNotFound')
            else:
                self.answer(dict(id=match[1], sha=SHA, siblings=[dict(rfilename=name) for name in models[match[1]]]))
        elif match := re.fullmatch(r'/([^/]+/[^/]+)/resolve/[^/]+/(.+)', path):
            content = models[match[1]].get(match[2])
            if content is None:
                self.answer(status=404, X_Error_Code='EntryNotFound')
            else:
                self.server.downloaded.add(match[2])
                self.answer(content, ETag=f'"{digest(content)}"', X_Repo_Commit=SHA)
        else:
            self.answer(status=404)

    do_HEAD = do_GET

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        if self.path == '/api/repos/create':
            settings = json.loads(body)
            name = f'{settings["organization"]}/{settings["name"]}'
            self.server.models.setdefault(name, {})
            self.answer(dict(url=f'{self.server.address}/{name}'))
        elif self.path == '/api/validate-yaml':  # of the model card
            self.answer(dict(errors=[], warnings=[]))
        elif '/preupload/' in self.path:
            files = [dict(path=x['path'], uploadMode='regular', shouldIgnore=False) for x in json.loads(body)['files']]
            self.answer(dict(files=files))
        elif match := re.match(r'/api/models/([^/]+/[^/]+)/commit/', self.path):
            for line in map(json.loads, body.splitlines()):
                if line['key'] == 'file':
                    content = base64.b64decode(line['value']['content'])
                    self.server.models[match[1]][line['value']['path']] = content
            address = f'{self.server.address}/{match[1]}/commit/{SHA}'
            self.answer(dict(commitUrl=address, commitOid=SHA, success=True))
        else:
            self.answer(status=404)


def digest(content):
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub_server():
    """Run the server; yield it with `address`, `models` and the names of `downloaded` files."""
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.address, server.models, server.downloaded = f'http://127.0.0.1:{server.server_port}', {}, set()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
