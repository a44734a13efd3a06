"""Sizes of fleets for people, as JSON and as CSV."""

import math

from kvplace.report.summary import format_kvpr, what_binds, where_and_when
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell as Field
from kvplace.report.tables.scores import rows_csv, rows_json, rows_table
from kvplace.report.text import clean
from kvplace.size.answer import Cell, Size, Sizing
from kvplace.size.stock import Mix, Stock


def sized_table(found: Sizing, look: Look | None = None) -> str:
    """Return a sentence per growth, and a table of fleets by growths."""
    look = look or Look()
    goal = found.stock.problem.goal
    at_most = "≤" if look.blocks else "<="
    lines = [f"target: {goal.value} {at_most} {format_kvpr(found.target)} on every GPU"]
    for size in found.sizes:
        several = len(found.sizes) > 1 or size.growth != 1
        opening = f"at {size.growth:g} times the demand: " if several else ""
        lines.append(clean(opening + _sentence(found.stock, size)))
        lines += [f"  {clean(reason)}" for reason in (*size.reasons, size.late) if reason]
        lines += [f"  {clean(line)}" for line in _binding(size)]
    if found.table:
        lines += ["", rows_table(_grid(found), colour=look.colour, width=look.longest)]
    if found.stock.left_out:
        rules = ", ".join(f"rules[{index}]" for index in found.stock.left_out)
        lines += ["", f"left out: {rules}, for naming hosts or labels that are not on offer"]
    if not found.complete and not all(size.proved or size.reasons for size in found.sizes):
        lines += ["", "cut by the time limit or an interrupt: more time may find a smaller fleet"]
    return "\n".join(lines)


def _sentence(stock: Stock, size: Size) -> str:
    """Say what is enough and what is proved too few."""
    if size.reasons:
        return "no fleet is enough, however large:"
    if size.mix is None:
        return f"no fleet was found that is enough; {_least(stock, size)}"
    verb = "suffices" if sum(size.mix) == 1 else "suffice"
    worth = _worth(stock, size.mix)
    alone = f" ({worth})" if worth else ""
    return f"{stock.in_words(size.mix)}{alone} {verb}, {_less(stock, size, size.mix)}"


def _binding(size: Size) -> list[str]:
    """Return which pressure binds on the fleet, where and when."""
    if size.result is None or size.result.evaluation is None:
        return []
    problem, evaluation = size.result.problem, size.result.evaluation
    spread = where_and_when(problem, evaluation)
    return [f"there, {what_binds(problem, evaluation)} is what binds; {spread}"] if spread else []


def _worth(stock: Stock, mix: Mix) -> str:
    """Return what a mix is in GPUs and in money, as far as that is news."""
    several = stock.gpus(mix) != sum(mix)
    parts = [f"{stock.gpus(mix):,} GPUs"] if several else []
    if stock.priced:
        parts.append(f"{stock.cost(mix):,.2f} per hour")
    return ", ".join(parts)


def _less(stock: Stock, size: Size, mix: Mix) -> str:
    """Say how much less is proved too little."""
    if len(stock.kinds) == 1:
        fewer = sum(mix) - 1
        too_few = _nodes_too_few(stock, size)
        if size.proved:
            be = "is" if fewer == 1 else "are"
            return f"{fewer:,} {be} proved too few" if fewer else "which is the least"
        known = f"{too_few:,} {'is' if too_few == 1 else 'are'} proved too few" if too_few else ""
        return f"{known}; between them it is open" if known else "fewer may do"
    if size.proved:
        return "and nothing cheaper does" if stock.priced else "and no fewer GPUs do"
    return _least(stock, size)


def _nodes_too_few(stock: Stock, size: Size) -> int:
    """Return the most nodes of the only kind that are proved too few."""
    return math.ceil(size.least_cost / stock.prices[0] * (1 - 1e-9)) - 1


def _least(stock: Stock, size: Size) -> str:
    """Say what costs too little for sure."""
    if stock.priced:
        return f"what costs less than {size.least_cost:,.2f} per hour is proved too little"
    return f"fewer than {math.ceil(size.least_cost * (1 - 1e-9)):,} GPUs are proved too few"


def _grid(found: Sizing) -> list[dict[str, str]]:
    """Return a row per fleet with the max KVPR at each growth."""
    rows: dict[Mix, dict[str, str]] = {}
    growths = sorted({cell.growth for cell in found.table})
    for cell in found.table:
        row = rows.setdefault(cell.mix, _fleet(found.stock, cell.mix))
        row.update({f"x{g:g}": "-" for g in growths if f"x{g:g}" not in row})
        row[f"x{cell.growth:g}"] = _shown(cell, found.target)
    return list(rows.values())


def _fleet(stock: Stock, mix: Mix) -> dict[str, str]:
    """Return the cells that describe a fleet."""
    row = {"fleet": clean(stock.in_words(mix)), "GPUs": f"{stock.gpus(mix):,}"}
    if stock.priced:
        row["per hour"] = f"{stock.cost(mix):,.2f}"
    return row


def _shown(cell: Cell, target: float) -> str:
    """Return what a fleet is worth, with a mark where that is above the target."""
    if cell.result is None or cell.result.evaluation is None:
        impossible = cell.result is None or math.isinf(cell.result.bound)
        return "no plan" if impossible else "?"
    return f"{format_kvpr(cell.result.value)}{' ' if cell.result.value <= target else '!'}"


def sized_json(found: Sizing) -> str:
    """Return the sizing as an object with `sizes` and `table`."""
    stock = found.stock
    return rows_json(
        {
            "objective": stock.problem.goal.value,
            "target": found.target,
            "complete": found.complete,
            "priced": stock.priced,
            "kinds": [
                {
                    "like": kind[0].name,
                    "gpus": [
                        {"type": g.type, "memory_bytes": g.usable_bytes} for g in kind[0].gpus
                    ],
                    "price": price,
                }
                for kind, price in zip(stock.kinds, stock.prices, strict=True)
            ],
            "rules_left_out": list(stock.left_out),
            "sizes": [_size_data(stock, size) for size in found.sizes],
            "table": [_cell_data(stock, cell) for cell in found.table],
        }
    )


def _size_data(stock: Stock, size: Size) -> dict[str, object]:
    return {
        "growth": size.growth,
        "nodes": None if size.mix is None else list(size.mix),
        "gpus": None if size.mix is None else stock.gpus(size.mix),
        "cost": size.cost,
        "least_cost": size.least_cost,
        "proved": size.proved,
        "value": size.result.value if size.result else None,
        "bound": size.result.bound if size.result else None,
        "reasons": list(size.reasons),
        "late": size.late,
    }


def _cell_data(stock: Stock, cell: Cell) -> dict[str, object]:
    return {
        "nodes": list(cell.mix),
        "gpus": stock.gpus(cell.mix),
        "cost": stock.cost(cell.mix),
        "growth": cell.growth,
        "status": cell.result.status.value if cell.result else "infeasible",
        "value": cell.result.value if cell.result else None,
        "bound": cell.result.bound if cell.result else None,
    }


def sized_csv(found: Sizing) -> str:
    """Return one row per fleet and growth: ``fleet,gpus,cost,growth,value,bound,status,answer``."""
    answers = {(size.mix, size.growth) for size in found.sizes}
    rows: list[dict[str, Field]] = []
    for cell in found.table:
        data = _cell_data(found.stock, cell)
        value, bound = (cell.result.value, cell.result.bound) if cell.result else (None, None)
        rows.append(
            {
                "fleet": found.stock.in_words(cell.mix),
                "gpus": found.stock.gpus(cell.mix),
                "cost": found.stock.cost(cell.mix),
                "growth": cell.growth,
                "value": value,
                "bound": bound,
                "status": str(data["status"]),
                "answer": "yes" if (cell.mix, cell.growth) in answers else "",
            }
        )
    return rows_csv(rows) if rows else "fleet,gpus,cost,growth,value,bound,status,answer\n"
