"""Arms ranked over datasets as a person reads them in a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from regulab.statistics.datasets import ByDataset
from regulab.wording import NAME_LIMIT, named, one_line, quoted, visible


def print_ranks(ranked: ByDataset, console: Console) -> None:
    """A row per dataset with means and ranks, the average ranks, then the notes; arm by arm where it is too wide."""
    title = (
        f"{ranked.metric}, {ranked.epoch} epoch, mean over seeds (rank) on {len(ranked.datasets)} datasets"
    )
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("dataset")
    for arm in ranked.arms:
        table.add_column(Text(one_line(arm, NAME_LIMIT)), justify="right", no_wrap=True)
    for one, ranks in zip(ranked.datasets, ranked.ranking.ranks, strict=True):
        cells = [_cell(ranked, mean, rank) for mean, rank in zip(one.means, ranks, strict=True)]
        table.add_row(Text(one_line(one.name, NAME_LIMIT)), *cells)
    table.add_section()
    table.add_row("average rank", *(f"{rank:.2f}" for rank in ranked.ranking.average))
    if Measurement.get(console, console.options.update(max_width=10_000), table).minimum <= console.width:
        table.title = Text(title)
        console.print(table)
    else:
        console.print(Text(title))
        _print_stacked(ranked, console)
    for note in ranked.notes:
        console.print(visible(note, isolates=True), markup=False, soft_wrap=not console.is_terminal)


def _print_stacked(ranked: ByDataset, console: Console) -> None:
    for place, arm in enumerate(ranked.arms):
        console.print(Text(f"\n{named(arm)}: average rank {ranked.ranking.average[place]:.2f}"))
        for one, ranks in zip(ranked.datasets, ranked.ranking.ranks, strict=True):
            console.print(Text(f"  {quoted(one.name)}: {_cell(ranked, one.means[place], ranks[place])}"))


def _cell(ranked: ByDataset, mean: float | None, rank: float) -> str:
    if mean is None:
        return f"diverged ({rank:g})"
    return f"{mean:.2f} ({rank:g})" if ranked.metric.endswith("accuracy") else f"{mean:.4g} ({rank:g})"
