"""A child interpreter that runs the Python blocks of one page, one after the other, as one typed them at a prompt.

Reads one request a line, {"code", "page", "line"}, and answers each with {"output", "error"}.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
import types


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, os.getcwd())
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    for request in sys.stdin:
        asked = json.loads(request)
        output = io.StringIO()
        error = None
        with contextlib.redirect_stdout(output):
            try:
                code = compile("\n" * (asked["line"] - 1) + asked["code"], asked["page"], "exec")
                exec(code, module.__dict__)
            except BaseException:
                error = traceback.format_exc()
        print(json.dumps({"output": output.getvalue(), "error": error}), file=answers, flush=True)


if __name__ == "__main__":
    main()
