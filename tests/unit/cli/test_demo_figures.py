from pathlib import Path

import pytest

from heeler.cli.demo import standard_library
from heeler.cli.demo_figures import spread_of


@pytest.mark.parametrize(
    ("durations", "median", "p99"),
    [
        ([], 0.0, 0.0),
        ([3.0], 3.0, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 2.0, 4.0),
        ([float(n) for n in range(1, 201)], 100.0, 198.0),
    ],
)
def test_the_p99_is_what_99_of_100_do_not_exceed(durations: list[float], median: float, p99: float) -> None:
    spread = spread_of(reversed(durations))
    assert (spread.median, spread.p99) == (median, p99)


def test_the_standard_library_is_real_files_of_modules_once_each() -> None:
    files = list(standard_library())
    names = {file.name for file in files}
    assert len(files) == len(set(files)) > 300
    assert {"ast.py", "decoder.py", "base_events.py"} <= names
    assert all(isinstance(file, Path) and file.is_file() for file in files)
    assert not any("site-packages" in file.parts for file in files)
