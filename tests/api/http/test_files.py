"""The page's files: their headers, their size, and that nothing in them is from elsewhere."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import aiohttp

from babygun.api.http.files import VIEWS, Page, lean
from tests.support.api import RunningApi

FILES = {file.name: file.read_text() for file in files("babygun.api").joinpath("page").iterdir()}
TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
ADDRESSES = [view.replace("{id}", "019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8") for view in VIEWS]


WORKER = "stream.js"  # named by the script


async def loaded(api: RunningApi) -> list[str]:
    """The paths of all files that the page loads."""
    page = (await api.call("GET", "/", token="")).text
    named = set(re.findall(r'(?:src|href)="(/page/files/[^"]*)"', page))
    [script] = [path for path in named if path.endswith(".js")]
    assert f'new URL("{WORKER}", import.meta.url)' in (await api.call("GET", script, token="")).text
    return sorted({*named, script.rpartition("/")[0] + "/" + WORKER})


async def raw(api: RunningApi, path: str, accept: str) -> tuple[Any, bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(api.url + path, headers={"Accept-Encoding": accept}) as response,
    ):
        return response.headers, await response.read()


async def test_each_view_has_an_address_that_answers_the_page(api: RunningApi) -> None:
    page = (await api.call("GET", "/", token="")).text
    for path in ADDRESSES:
        answer = await api.call("GET", f"{path}?status=failed", token="")
        headers = answer.headers
        assert (answer.status, headers["Content-Type"], headers["Cache-Control"]) == (
            200,
            TYPES["html"],
            "no-cache",
        ), path
        assert answer.text == page, path
        known = {"If-None-Match": headers["ETag"]}
        assert (await api.call("GET", path, token="", headers=known)).status == 304, path


async def test_page_loads_every_file_and_each_of_them_comes_with_a_strict_policy(
    api: RunningApi,
) -> None:
    served = Page("").files
    paths = await loaded(api)
    assert {path.rpartition("/")[2] for path in paths} == set(served)
    for path in [*paths, "/"]:
        answer = await api.call("GET", path, token="")
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        if path != "/":
            name = path.rpartition("/")[2]
            assert answer.text == served[name].decode()
            assert answer.headers["Content-Type"] == TYPES[name.rpartition(".")[2]]
            assert "immutable" in answer.headers["Cache-Control"]


FORBIDDEN = {
    "an address elsewhere": r"https?://[a-z0-9]",
    "a way from text to HTML": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc",
    "a way from text to code": r"\beval\(|new Function|javascript:",
    "a style or a handler inside of HTML": r'<[^>]+\s(style|on\w+)="',
}


def test_page_holds_nothing_from_elsewhere_and_no_way_from_text_to_html() -> None:
    for name, whole in FILES.items():
        text = whole.replace("http://www.w3.org/2000/svg", "")
        for what, pattern in FORBIDDEN.items():
            assert not re.search(pattern, text), f"{name} has {what}"


def test_files_of_the_page_are_short_and_their_lines_too() -> None:
    for name, text in FILES.items():
        lines = text.splitlines()
        assert len(lines) <= 400, name
        assert name.endswith(".svg") or not [line for line in lines if len(line) > 100], name


def test_page_serves_every_script_and_style_sheet() -> None:
    script, styles = (Page("").files[name].decode() for name in ("main.js", "style.css"))
    for name, text in FILES.items():
        if name.endswith(".js"):
            assert f"const ${name.removesuffix('.js')} = " in script, name
        if name.endswith(".css"):
            assert lean(text, name) in styles, name


def test_scripts_stay_the_same_without_comments_and_indentation() -> None:
    """A literal of several lines would lose its indentation, a comment left swallow a line."""
    for name, text in FILES.items():
        if name.endswith(".js"):
            assert not re.search(r"(?<![:\\/\"'`])//", lean(text, name)), name
            assert not [line for line in text.splitlines() if line.count("`") % 2], name


DECLARED = re.compile(
    r"^(?:export )?(?:const|let|class|(?:async )?function) ([\w$]+)", re.MULTILINE
)


def test_module_declares_and_imports_each_name_once() -> None:
    """A browser refuses the whole script for a second one."""
    for module, text in FILES.items():
        if module.endswith(".js"):
            imported = ",".join(names for names, _ in IMPORT.findall(text)).split(",")
            names = [*DECLARED.findall(text), *filter(None, map(str.strip, imported))]
            assert not [name for name, times in Counter(names).items() if times > 1], module


IMPORT = re.compile(r'import (?:\* as \w+|\{([^}]*)\}) from "\./([^"]+)"')
EXPORT = re.compile(r"^export (?:async )?(?:const|let|function|class) ([\w$]+)", re.MULTILINE)


def test_modules_import_only_what_exists_and_is_used() -> None:
    imports = [
        (module, other, name.strip())
        for module, text in FILES.items()
        for names, other in IMPORT.findall(text)
        for name in names.split(",")
        if name.strip()
    ]
    assert imports
    for module, other, name in imports:
        assert name in EXPORT.findall(FILES[other]), f"{module} imports {name} from {other}"
        uses = re.findall(rf"(?<![\w$]){re.escape(name)}(?![\w$])", FILES[module])
        assert len(uses) > 1, f"{module} imports {name} and does not use it"


async def test_page_is_small_when_it_is_transferred(api: RunningApi) -> None:
    total = 0
    for path in [*await loaded(api), "/"]:
        headers, body = await raw(api, path, "gzip, deflate, br")
        assert headers["Content-Encoding"] == "gzip"
        total += len(body) + sum(len(name) + len(value) + 4 for name, value in headers.items())
        plain_headers, plain = await raw(api, path, "gzip;q=0")
        assert "Content-Encoding" not in plain_headers
        assert gzip.decompress(body) == plain
        assert headers["Vary"] == plain_headers["Vary"] == "Accept-Encoding"
    assert total < 75_000  # bytes, with all headers


async def test_file_of_another_version_is_ours_and_not_kept(api: RunningApi) -> None:
    """Behind a balancer, another version's process may have named it."""
    answer = await api.call("GET", "/page/files/0123456789abcdef/main.js", token="")
    ours = Page("").files["main.js"].decode()
    assert (answer.text, answer.headers["Cache-Control"]) == (ours, "no-store")


async def test_what_is_no_file_of_the_page_is_not_found(api: RunningApi) -> None:
    for path in [
        "/page/files/x/none.js",
        "/page/files/x/..%2Fpages.py",
        "/page/none",
        "/page/files/x/index.html",
    ]:
        (await api.call("GET", path, token="")).problem(404, "not-found")
