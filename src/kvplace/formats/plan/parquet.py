"""The Parquet form of a plan: one row per shard as in CSV, and the rest of the plan beside them.

The certificate is stated so that a million prices stay small: as two lists, or as the rule that
they follow.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, cast

from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.claim import Certificate
from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.formats.diagnostics import Report, kind_of
from kvplace.formats.fleet.asked import WindowPart
from kvplace.formats.plan.evidence import PlanCertificate, PlanRule, weights_by_window, worths_of
from kvplace.formats.plan.of_result import claims_of, rule_of, tree_of
from kvplace.formats.plan.rows import HEADER, table_of_columns
from kvplace.formats.plan.schema import HeadPart, plan_of_part
from kvplace.formats.plan.stated import Plan
from kvplace.formats.plan.table import PlanTable, table_of
from kvplace.formats.tables.arrow import ArrowColumns, write_parquet
from kvplace.formats.validation.fields import NumberOrInfinity
from kvplace.formats.validation.json_text import stated
from kvplace.formats.validation.models import built_list, validate
from kvplace.formats.validation.parts import Part, shell

KEY = "kvplace.plan"
"""Where in the file's metadata the rest of the plan is."""


class _PricesPart(Part):
    """Prices that prove the bound, model by model."""

    threshold: NumberOrInfinity
    prices: tuple[int | tuple[int, ...], ...]
    models: tuple[str, ...]
    worths: tuple[tuple[int, int], ...]
    scope: tuple[str, ...]
    types: tuple[str, ...] = ()
    weights: tuple[tuple[int, ...], ...] = ()
    windows: tuple[str, ...] = ()

    def certificate(self, method: str) -> PlanCertificate | str:
        """Return the certificate as JSON states it, or why it is none."""
        untyped = self.types and len(self.types) != len(self.worths)
        if len(self.models) != len(self.prices) or untyped:
            return "it does not have one price for each of its models, one type for each worth"
        if any(len(row) != 2 * len(self.windows) for row in self.weights):
            return "a weighting does not have two numbers for each window"
        return PlanCertificate(
            method=method,
            threshold=self.threshold,
            prices=dict(zip(self.models, self.prices, strict=True)),
            worths=worths_of(self.worths, self.types),
            scope=self.scope,
            weights=weights_by_window(self.windows, self.weights),
        )


def plan_bytes(result: Result) -> bytes:
    """Return the Parquet file of a result that has a placement."""
    table = table_of(result)
    ids, at = table.gpus
    columns: dict[str, object] = {
        "model": list(table.models),
        "replica": table.replicas,
        "shard": table.shards,
        "gpu": (at, list(ids)),
        "weights_bytes": table.weights_bytes,
        "load": table.loads,
    }
    return write_parquet(columns, {KEY: json.dumps(_head(result), allow_nan=False)})


def _head(result: Result) -> dict[str, Any]:
    """Return what a plan states besides its rows."""
    evidence, windows = result.proof.certificate, [w.name for w in result.problem.windows]
    data: dict[str, Any] | None = None
    if isinstance(evidence, RuleCertificate):
        data = stated(PlanRule, rule_of(result.problem, evidence))
    elif isinstance(evidence, Certificate):
        data = {
            "threshold": evidence.threshold if math.isfinite(evidence.threshold) else None,
            "prices": evidence.prices,
            "models": list(result.problem.names),
            "worths": evidence.worths,
            "scope": evidence.scope,
        }
        if evidence.weights:
            data |= {"types": evidence.types, "weights": evidence.weights, "windows": windows}
    claims, proof = claims_of(result), cast("Any", data)
    head = stated(HeadPart, replace(claims, proof="", certificate=proof, tree=tree_of(result)))
    del head["placements"]  # the rows are the placement
    return head


def read_plan_table(source: str) -> PlanTable:
    """Read a plan that was written by `plan_bytes`, or rows alone.

    Raises
    ------
    InputError
        The columns are not those of a plan, or an entry is missing or no number.
    """
    columns, report = ArrowColumns(source, HEADER), Report(source)
    return table_of_columns(columns, report, _read_head(columns.metadata.get(KEY.encode()), report))


def _read_head(text: bytes | None, report: Report) -> Plan | None:
    """Return what the metadata states, as a plan without GPUs; None where it states nothing."""
    if not text:
        return None
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"its metadata {KEY!r} is not JSON: {error}", report.source) from None
    if not isinstance(data, dict):
        report.stop((), f"its metadata {KEY!r} must be a mapping, not {kind_of(data)}")
    part = validate(shell(HeadPart, ("windows",)), data, (), report)
    given = data.get("certificate")
    evidence: PlanRule | _PricesPart | None = None
    if isinstance(given, dict) and "rule" in given:
        evidence = validate(PlanRule, given, ("certificate",), report)
    elif given is not None:
        evidence = validate(_PricesPart, given, ("certificate",), report)
    windows = built_list(WindowPart, data, "windows", report)
    report.refuse()
    assert part is not None
    plan = plan_of_part(part, windows=tuple(windows))
    if isinstance(evidence, _PricesPart):
        certificate = evidence.certificate(plan.bound_method)
        if isinstance(certificate, str):
            report.stop(("certificate",), certificate)
        return replace(plan, certificate=certificate)
    return replace(plan, certificate=evidence)
