"""Pack memory alone, GPU by GPU, where that is nearly full.

Bin completion (Korf, AAAI 2002; Fukunaga and Korf, Journal of Artificial Intelligence Research 28,
2007), depth-first: of the models that are left, the one that is hardest to place goes on a GPU with
a set of others, and nothing more comes there. GPUs may leave as much unused together as they have
more than all models take. So a set that leaves more unused on one GPU is none, and where memory is
nearly full, few sets are left. Those that leave least come first, of these the ones of the largest
models.

A first choice that was wrong is found out late. So few sets are tried of each GPU at first, and
after some nodes it all begins anew, with more sets, more nodes and another order.
"""

import math
import random

from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Copies, Instance
from kvplace.solver.instance.rule_penalties import Costs

MOST_GPUS = 300
"""GPUs above which none are packed so: each is one call deeper."""
NODES, WIDTHS = 60, (2, 3, 4, 6, 8, 12)
"""Nodes of the first run, or four per GPU, doubled every few; and sets tried per node."""
POWERS = (0.0, 1.0, 0.5)
"""How much it counts that few GPUs are left for a model, in turn."""
SHAKEN, UNLIKELY = 0.7, 0.2
"""Least factor on sizes where orders are shaken, and chance of an option that takes more room."""
SETS, STEPS = 24, 30_000
"""Sets looked for per node and GPU, and models looked at for that."""


class Completion:
    """A search for an assignment that memory has room for, which each call brings further.

    Parameters
    ----------
    instance
        Any problem; what is preferred is not looked at.
    seed
        Of the orders.
    watch
        Ends it early.

    Attributes
    ----------
    tried_all
        Whether the last run left nothing out, so that there is no such assignment.
    """

    def __init__(self, instance: Instance, seed: int, watch: Watch) -> None:
        self._instance, self._watch = instance, watch
        self._chance = random.Random(seed)  # noqa: S311 - a search, not a secret
        self._nodes, self._turn, self.tried_all = 0, 0, not all(instance.options)
        self._taken = taken = [o.size + o.keep for row in instance.options for o in row]
        self._options = [
            sorted(row, key=lambda o: (taken[o.row] * o.shards, o.shards))
            for row in instance.options
        ]
        masks = [list(map(bool, mask)) for mask in instance.masks]
        whole = [True] * instance.g
        self._allowed = [masks[of] for of in instance.mask_of] if masks else [whole] * instance.n
        self._domain = list(instance.domain_of) or list(range(instance.g))
        self._ruled = list(map(bool, instance.rules_of))
        # Of a part of the fleet that holds nothing, memory and masks alone tell GPUs apart.
        split = max(instance.degree, default=1) > 1
        labels = [tuple(map(int, plan.labels)) for plan in instance.blueprints]
        labels = [of for of in labels if len(set(of)) < instance.g]
        self._parts = sorted({*labels, *([tuple(self._domain)] if split else [])})
        self._mask_at = [tuple(mask[g] for mask in masks) for g in range(instance.g)]

    def complete(self, nodes: float) -> Assignment | None:
        """Return an assignment, or None where so many GPUs and more were filled in vain."""
        instance, most = self._instance, self._nodes + nodes
        if instance.g > MOST_GPUS:
            return None
        while not self.tried_all and self._nodes <= most and not self._watch.stop:
            if self._run(self._turn):
                found = Assignment(instance, [self._copies(j) for j in range(instance.n)])
                return found if found.valid else None
            self._turn, self._nodes = self._turn + 1, self._nodes + 1
        return None

    def _run(self, turn: int) -> bool:
        """Search once, the further the later; return whether a way was found."""
        instance, chance = self._instance, self._chance
        round_, self._power = turn // len(POWERS), POWERS[turn % len(POWERS)]
        self._left = max(NODES, 4 * instance.g) << min(round_ // 2, 8)
        self._width = WIDTHS[min(round_ // 2, len(WIDTHS) - 1)]
        self._option = []
        for options in self._options:
            at = 0
            while turn and at + 1 < len(options) and chance.random() < UNLIKELY:
                at += 1
            self._option.append(options[at])
        self._size = [self._taken[option.row] for option in self._option]
        self._lacking = [option.shards for option in self._option]
        unit = max(1, math.gcd(*self._size))
        kept = any(self._taken[option.row] > option.size for option in self._option)
        self._room = [(memory - (not kept)) // unit * unit for memory in instance.memory]
        self._budget = sum(self._room) - sum(map(int.__mul__, self._size, self._lacking))
        self._weight = [
            size * (chance.uniform(SHAKEN, 1.0) if round_ else 1.0) for size in self._size
        ]
        self._order = sorted(range(instance.n), key=lambda j: (-self._weight[j], j))
        # Models of one type are taken in order.
        self._plain = not any(self._ruled) and max(self._lacking) == 1
        self._type: list[object] = [
            j if self._ruled[j] or option.shards > 1
            else (option.size, option.keep, instance.mask_of[j] if instance.masks else 0)
            for j, option in enumerate(self._option)
        ]  # fmt: skip
        self._narrow = [
            j for j, option in enumerate(self._option)
            if self._ruled[j] or option.shards > 1 or not all(self._allowed[j])
        ]  # fmt: skip
        self._held: list[list[int]] = [[] for _ in self._option]
        self._open = [True] * instance.g
        self._touched = [[0] * (max(of) + 2) for of in self._parts]
        self._costs = Costs(instance.blueprints, instance.rules_of)
        self._failed: set[object] = set()
        self.tried_all = all(len(options) == 1 for options in self._options)
        return self._budget >= 0 and self._fill()

    def _copies(self, j: int) -> Copies:
        """Return the GPUs of the copies of a model."""
        domain, degree = self._domain, self._option[j].degree
        gpus = sorted(self._held[j], key=lambda g: (domain[g], g))
        return tuple(tuple(gpus[at : at + degree]) for at in range(0, len(gpus), degree))

    def _fill(self) -> bool:
        """Fill one GPU more, and all others after it; return whether nothing is left then."""
        self._nodes, self._left = self._nodes + 1, self._left - 1
        if self._left < 0 or self._watch.stop:
            self._left, self.tried_all = -1, False
            return False
        pivot = self._hardest()
        if pivot is None:
            return not any(self._lacking)
        state = (tuple(self._lacking), tuple(self._open)) if self._plain else None
        if state in self._failed:
            return False
        seen, found = set(), []
        for g in self._gpus(pivot):
            parts = zip(self._parts, self._touched, strict=True)
            mark = tuple([of[g] if count[of[g]] else -2 for of, count in parts])
            if (self._room[g], self._mask_at[g], mark) not in seen:
                seen.add((self._room[g], self._mask_at[g], mark))
                sets = enumerate(self._sets(pivot, g))
                found += [(unused, at, g, models) for at, (unused, models) in sets]
        found.sort()
        self.tried_all &= len(found) <= self._width
        for unused, _, g, models in found[: self._width]:
            self._place(g, models, unused)
            if self._costs.broken <= 0 and self._fill():
                return True
            self._take(g, models, unused)
            if self._left < 0:
                return False
        if state is not None:
            self._failed.add(state)
        return False

    def _hardest(self) -> int | None:
        """Return the model to be placed next, None where all are placed or one has no place.

        It is the largest, and the larger the fewer GPUs are left for it.
        """
        pivot = next((j for j in self._order if self._lacking[j]), None)
        if pivot is None:
            return None
        most, opened = self._weight[pivot], sum(self._open)
        for j in self._narrow:
            if self._lacking[j]:
                spare = len(self._gpus(j)) - self._lacking[j]
                if spare < 0:
                    return None
                hard = self._weight[j] * (opened / (spare + 1)) ** self._power
                if hard > most:
                    pivot, most = j, hard
        return pivot

    def _gpus(self, j: int) -> list[int]:
        """Return the GPUs that may hold the next shard of a model."""
        return [g for g, is_open in enumerate(self._open) if is_open and self._may(j, g)]

    def _may(self, j: int, g: int) -> bool:
        """Whether memory, link domains and rules allow a shard on a GPU, beside what is placed."""
        option, held = self._option[j], self._held[j]
        if not self._allowed[j][g] or self._size[j] > self._room[g]:
            return False
        if option.degree > 1:
            domains = [self._domain[h] for h in (*held, g)]
            begun = sum([-domains.count(of) % option.degree for of in set(domains)])
            if begun >= self._lacking[j]:
                return False
        return self._keep_rules([j], g)

    def _keep_rules(self, models: list[int], g: int) -> bool:
        """Whether rules allow the last shards of some models on a GPU."""
        last = [j for j in models if self._ruled[j] and self._lacking[j] == 1]
        if not last:
            return True
        for j in last:
            self._held[j].append(g)
            self._costs.update(j, (), self._copies(j))
        kept = self._costs.broken <= 0
        for j in last:
            self._costs.update(j, self._copies(j), ())
            self._held[j].pop()
        return kept

    def _place(self, g: int, models: tuple[int, ...], unused: int) -> None:
        """Put a shard of each of some models on a GPU, and nothing more from then on."""
        self._open[g], self._budget = False, self._budget - unused
        for of, count in zip(self._parts, self._touched, strict=True):
            count[of[g]] += 1
        for j in models:
            self._held[j].append(g)
            self._lacking[j] -= 1
            if self._ruled[j] and not self._lacking[j]:
                self._costs.update(j, (), self._copies(j))

    def _take(self, g: int, models: tuple[int, ...], unused: int) -> None:
        """Reverse `_place`."""
        self._open[g], self._budget = True, self._budget + unused
        for of, count in zip(self._parts, self._touched, strict=True):
            count[of[g]] -= 1
        for j in models:
            if self._ruled[j] and not self._lacking[j]:
                self._costs.update(j, self._copies(j), ())
            self._held[j].pop()
            self._lacking[j] += 1

    def _sets(self, pivot: int, g: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return bytes left unused, and models, of sets that fill a GPU and hold one model."""
        room, size, kind = self._room[g] - self._size[pivot], self._size, self._type
        others = [
            j for j in self._order
            if self._lacking[j] and j != pivot and size[j] <= room and self._may(j, g)
        ]  # fmt: skip
        rest = [0]
        for j in reversed(others):
            rest.append(rest[-1] + size[j])
        rest.reverse()
        found: list[tuple[int, tuple[int, ...]]] = []
        chosen, least, steps = [pivot], min([size[j] for j in others], default=0), STEPS

        def grow(at: int, room: int) -> bool:
            """Add models from one on; return whether it was cut short."""
            nonlocal steps
            if room <= self._budget and self._worthwhile(g, chosen, others, room, least):
                found.append((room, tuple(chosen)))
                if len(found) == SETS:
                    return True
            passed: object = None
            for i in range(at, len(others)):
                j = others[i]
                if room - rest[i] > self._budget:
                    return False
                steps -= 1
                if steps < 0:
                    return True
                if size[j] > room or kind[j] == passed:
                    continue
                chosen.append(j)
                if grow(i + 1, room - size[j]):
                    return True
                passed = kind[chosen.pop()]
            return False

        if grow(0, room):
            self.tried_all = False
        return found

    def _worthwhile(
        self, g: int, chosen: list[int], others: list[int], room: int, least: int
    ) -> bool:
        """Whether a set keeps the rules, leaves a byte free, and could not have a model more."""
        if self._plain and least <= room:
            left = set(others).difference(chosen)
            if any(self._size[j] <= room for j in left):
                return False
        free = self._instance.memory[g] - sum([self._option[j].size for j in chosen])
        return free >= 1 and self._keep_rules(chosen, g)
