"""How figures are shown."""

from rich.console import Console
from rich.table import Table

console = Console(width=110)


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right")
    return made
