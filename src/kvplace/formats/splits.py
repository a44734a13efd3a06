"""What this version does not place yet."""

from collections.abc import Sequence

from kvplace.core.model import Model, Replicas
from kvplace.formats.report import Report, shown

__all__ = ["refuse_splits"]


def refuse_splits(models: Sequence[Model | None], report: Report) -> None:
    """Note each model that asks for tensor parallel or for replicas other than 1.

    The core knows both; the solvers of this version place one undivided replica per model.
    """
    for index, model in enumerate(models):
        if model is None:
            continue
        wanted = []
        if model.tensor_parallel != (1,):
            degrees = " or ".join(map(str, model.tensor_parallel))
            wanted.append(("tensor_parallel", f"tensor parallel degree {degrees}"))
        if model.replicas != Replicas():
            low, high = model.replicas.min, model.replicas.max
            span = f"{low}" if low == high else f"{low} to {high}"
            wanted.append(("replicas", f"{span} replicas"))
        if wanted:
            asked = " and ".join(words for _, words in wanted)
            message = (
                f"{shown(model.name)} asks for {asked}; this version places one undivided replica "
                "of each model only, so write 1 or leave the key out"
            )
            report.add(("models", index, wanted[0][0]), message)
