"""How cards, and models on them, are shown."""

from collections.abc import Sequence
from typing import TypeVar

from cli.quantities import size
from cli.tables import Column, Table, View, facts, printable
from schemas.advice import Compatibility, Flag, GpuProfile, Largest, Recommendation

R = TypeVar("R")

PROFILES: View[GpuProfile] = View(
    "gpu",
    lambda gpu: gpu.type,
    (
        Column("TYPE", lambda gpu: gpu.type),
        Column("NAME", lambda gpu: gpu.name),
        Column("MEMORY", lambda gpu: size(gpu.memory)),
        Column("BANDWIDTH", lambda gpu: _bandwidth(gpu)),
        Column("FOR", lambda gpu: gpu.segment),
        Column("MACHINES", lambda gpu: str(len(gpu.nodes)) if gpu.nodes else "-"),
        Column("CAPABILITY", lambda gpu: gpu.capability or "-", wide=True),
        Column("DTYPES", lambda gpu: ",".join(gpu.dtypes) or "-", wide=True),
        Column("ALIASES", lambda gpu: ",".join(gpu.aliases) or "-", wide=True),
    ),
)
COMPARED: View[Compatibility] = View(
    "gpu",
    lambda found: found.gpu.type,
    (
        Column("TYPE", lambda found: found.gpu.type),
        Column("VERDICT", lambda found: found.fit.verdict),
        Column("GPUS", lambda found: str(found.fit.least_gpus or "-")),
        Column("WEIGHTS", lambda found: size(found.fit.weights)),
        Column("LEFT", lambda found: size(max(found.fit.room, 0))),
        Column("TOKENS", lambda found: f"{found.fit.tokens:,}"),
        Column("MACHINES", lambda found: str(len(found.gpu.nodes)) if found.gpu.nodes else "-"),
        Column("NAME", lambda found: found.gpu.name, wide=True),
        Column("SPLIT", lambda found: _split(found), wide=True),
    ),
)
FLAGS: View[Flag] = View(
    "flag",
    lambda flag: flag.name,
    (
        Column("FLAG", lambda flag: flag.name),
        Column("VALUE", lambda flag: flag.value),
        Column("WHY", lambda flag: flag.reason),
    ),
)
LARGEST: View[Largest] = View(
    "size",
    lambda largest: largest.stored,
    (
        Column("STORED IN", lambda largest: largest.stored),
        Column("PARAMETERS", lambda largest: f"about {largest.parameters / 1e9:.0f} B"),
    ),
)


def recommendation_text(found: Recommendation, *, colour: bool) -> str:
    parts = [
        facts(_card(found.gpu)),
        _titled("One card holds", LARGEST, found.largest, colour),
        _titled("Tell vLLM", FLAGS, found.flags, colour),
    ]
    return "\n\n".join(part for part in parts if part)


def compatibility_text(found: Compatibility, *, colour: bool) -> str:
    fit = found.fit
    card = f"{fit.gpus} x {printable(found.gpu.name)}"
    head = facts(
        [
            ("Engine", found.support.engine),
            ("Architecture", found.support.architecture),
            ("Support", found.support.reason),
            ("Needs", f"{fit.least_gpus} of these GPUs, at least" if fit.least_gpus else ""),
        ]
    )
    told = f"Tell {found.support.engine}"
    parts = [
        f"{fit.verdict}: {card}, {_split(found)}",
        head,
        _listed("Arithmetic, for the fullest GPU", fit.arithmetic),
        _titled(told, FLAGS, found.flags, colour),
        _listed("Notes", fit.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def _card(gpu: GpuProfile) -> list[tuple[str, str]]:
    return [
        ("Type", gpu.type),
        ("Name", gpu.name),
        ("Memory", size(gpu.memory)),
        ("Bandwidth", _bandwidth(gpu)),
        ("Capability", gpu.capability),
        ("Computes in", ", ".join(gpu.dtypes)),
        ("Machines", ", ".join(gpu.nodes)),
    ]


def _bandwidth(gpu: GpuProfile) -> str:
    return f"{gpu.bandwidth / 1e9:,.0f} GB/s" if gpu.bandwidth else "-"


def _split(found: Compatibility) -> str:
    fit = found.fit
    return f"tensor parallel {fit.tensor_parallel}, pipeline parallel {fit.pipeline_parallel}"


def _titled(title: str, view: View[R], rows: Sequence[R], colour: bool) -> str:
    return _listed(title, Table(view, colour=colour).lines(rows)) if rows else ""


def _listed(title: str, lines: Sequence[str]) -> str:
    """A block of lines below a title; nothing of no lines."""
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)]) if lines else ""
