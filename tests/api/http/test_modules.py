"""Modules put into one script."""

from __future__ import annotations

import pytest

from babygun.api.http.modules import bundle


def test_bundle_has_each_module_once_after_those_that_it_imports() -> None:
    start = 'import {\none,\n$two,\n} from "./b.js";\nimport * as c from "./c.js";\none();\n'
    b = 'import { three } from "./c.js";\nexport const one = three;\nexport function $two() {}\n'
    c = "export async function three() {}\nlet four = 4;\n"
    modules = {"start.js": start, "b.js": b, "c.js": c}
    assert bundle(modules, "start.js") == "\n".join(
        [
            "const $c = (() => {\nasync function three() {}\nlet four = 4;",
            "return { three };\n})();",
            "const $b = (() => {\nconst { three } = $c;\nconst one = three;\nfunction $two() {}",
            "return { one, $two };\n})();",
            "const $start = (() => {\nconst {\none,\n$two,\n} = $b;\nconst c = $c;\none();",
            "return {  };\n})();\n",
        ]
    )


@pytest.mark.parametrize(
    "text",
    [
        'import { a as b } from "./c.js";\n',
        'import a from "./c.js";\n',
        'import "./c.js";\n',
        "export default 1;\n",
        "export let changed = 1;\n",
        "export { a };\n",
    ],
)
def test_import_or_export_in_another_form_is_refused_with_its_file(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a\.js: not understood: (im|ex)port"):
        bundle({"a.js": text, "c.js": ""}, "a.js")


def test_modules_that_import_each_other_are_refused() -> None:
    to_b, to_a = 'import { x } from "./b.js";\n', 'import * as a from "./a.js";\n'
    with pytest.raises(ValueError, match=r"^a\.js imports itself, by way of others$"):
        bundle({"a.js": to_b, "b.js": to_a}, "a.js")
