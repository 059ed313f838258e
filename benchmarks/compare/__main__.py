"""Runs the comparison: rounds of all systems in turn, medians of the rounds, a table, a chart and a JSON file."""

import argparse
import json
import os
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from benchmarks.compare.chart import draw
from benchmarks.compare.environments import BUILD, known_systems
from benchmarks.compare.figures import SECTIONS, losses, medians
from benchmarks.compare.measuring import FULL, QUICK, System
from benchmarks.compare.server import redis_server
from benchmarks.measure import machine

console = Console(width=140)


def main() -> None:
    asked = _arguments()
    extent = QUICK if asked.quick else FULL
    with redis_server(asked.redis, tuple(asked.databases)) as server:
        systems = [System(name, server) for name in asked.systems]
        if asked.joins:
            systems = [system for system in systems if system.about["joins"]]
        surroundings = [machine(), server.describe(), f"load before the start {os.getloadavg()[0]:.1f}"]
        _introduce(systems, surroundings)
        begin = time.monotonic()
        rounds: dict[str, list[dict[str, float]]] = {system.name: [] for system in systems}
        for number in range(asked.rounds or (1 if asked.quick else 3)):
            for system in systems:
                console.print(f"[dim]{time.monotonic() - begin:5.0f} s  round {number + 1}: {system.name}[/]")
                rounds[system.name].append(system.join(extent) if asked.joins else system.round(extent))
    figures = {name: medians(its_rounds) for name, its_rounds in rounds.items()}
    _print_tables(figures, len(rounds[systems[0].name]))
    if not asked.joins:
        _write(systems, figures, rounds, surroundings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument(
        "--systems",
        type=lambda text: text.split(","),
        default=known_systems(),
        help=f"a list like heeler,huey; default: {','.join(known_systems())}",
    )
    parser.add_argument("--quick", action="store_true", help="one round, short cases: some minutes less, more noise")
    parser.add_argument("--joins", action="store_true", help="joins only: of the systems that have them, no chart")
    parser.add_argument("--rounds", type=int, help="of each figure the median of so many is printed (default: 3)")
    parser.add_argument("--redis", help="redis://host:port of a server to use; default: a private one is started")
    parser.add_argument(
        "--databases",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[14, 15],
        help="two empty databases of it, which are emptied again and again (default: 14,15)",
    )
    asked = parser.parse_args()
    if unknown := set(asked.systems) - set(known_systems()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known_systems())}")
    if len(asked.databases) != 2 or asked.databases[0] == asked.databases[1]:
        parser.error("--databases wants two numbers, as 14,15")
    return asked


def _introduce(systems: list[System], surroundings: list[str]) -> None:
    console.print("\n".join(surroundings), style="dim", highlight=False)
    for system in systems:
        versions = ", ".join(f"{package} {number}" for package, number in system.about["versions"].items())
        safety = "crash-safe" if system.about["crash safe"] else "NOT crash-safe"
        console.print(
            f"[bold]{system.name}[/] {versions} – {safety}\n  [dim]{system.about['setup']}[/]", highlight=False
        )


def _print_tables(figures: dict[str, dict[str, float]], rounds: int) -> None:
    for title, rows in SECTIONS.items():
        if not any(row.figure in its for row in rows for its in figures.values()):
            continue
        table = Table(title=f"{title} (median of {rounds})", title_justify="left", header_style="bold")
        table.add_column("")
        for name in figures:
            table.add_column(name, justify="right")
        for row in rows:
            values = {name: its[row.figure] for name, its in figures.items() if row.figure in its}
            if values:
                best = row.best(values) if row.is_contest else None
                cells = [row.shown(values.get(name)) for name in figures]
                bold = [f"[bold]{cell}[/]" if name == best else cell for name, cell in zip(figures, cells, strict=True)]
                table.add_row(row.label, *bold)
        console.print(table)
    if "heeler" in figures and (lost := losses(figures, "heeler")):
        console.print("Where another is better than Heeler:", style="bold")
        for sentence in lost:
            console.print(f"  {sentence}", highlight=False)


def _write(
    systems: list[System],
    figures: dict[str, dict[str, float]],
    rounds: dict[str, list[dict[str, float]]],
    surroundings: list[str],
) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    report = {
        "measured at": now,
        "surroundings": surroundings,
        "systems": {
            system.name: {**system.about, "medians": figures[system.name], "rounds": rounds[system.name]}
            for system in systems
        },
    }
    (BUILD / "results.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    (BUILD / "chart.svg").write_text(draw(figures, surroundings), encoding="utf-8")
    console.print(f"written: {BUILD / 'results.json'}, {BUILD / 'chart.svg'}", style="dim")


if __name__ == "__main__":
    main()
