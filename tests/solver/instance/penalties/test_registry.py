"""Every rule has its place in the solver and in files."""

from kvplace.core.rules.registry import rule_kinds
from kvplace.formats.fleet import rules as rules_in_files
from kvplace.solver.instance.penalties.registry import penalty_kinds


def test_every_kind_of_rule_is_known_to_the_solver_and_to_files():
    kinds = rule_kinds()
    assert set(penalty_kinds()) == {kind for kind, rule in kinds.items() if not rule.gpu_by_gpu}
    assert set(rules_in_files._KEYS) == set(kinds)
    for kind, (takes, needs) in rules_in_files._KEYS.items():
        assert set(needs) <= set(takes) <= {*kinds[kind].digested}
