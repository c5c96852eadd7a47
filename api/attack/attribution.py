"""Which layer stops an attack: found out by making it again with one layer alone.

A layer stops an attempt when the attempt succeeds without any layer and is denied with this one
alone. Several may: they overlap on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from toolrunner.api.attack.trial import Answer, run_fault
from toolrunner.plugins.corpus import Fault
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.root_host import box_uid, refusal

GUARDS = ("namespaces", "landlock", "seccomp", "rlimits")
_DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Guards:
    """How many attempts each layer stops by itself.

    ``together``: attempts that no layer stops alone. ``harmless``: attempts that fail without any.
    """

    alone: dict[str, int]
    together: int
    harmless: int

    @property
    def first(self) -> str:
        """The layer that stops the most; "process" where none is needed.

        A process of its own, of an ordinary user and with nothing inherited, is what is there
        without any layer.
        """
        most = max(self.alone, key=lambda guard: self.alone[guard], default="")
        if most and self.alone[most]:
            return most
        return "+".join(self.alone) if self.together else "process"

    def words(self) -> str:
        """Return it all as a clause."""
        parts = [f"{guard} alone stops {count}" for guard, count in self.alone.items() if count]
        parts += [f"{self.together} are stopped by several together"] * bool(self.together)
        parts += [f"{self.harmless} fail without any layer"] * bool(self.harmless)
        return ", ".join(parts)


def can_try_without_layers(layers: Layers) -> bool:
    """Tell whether a box is made without any layer: not where the attack would be root's."""
    return refusal(layers.without(*GUARDS), box_uid(0)) is None


def guards_of(fault: Fault, attempts: Iterable[str], settings: Settings, layers: Layers) -> Guards:
    """Find out what stops each of the attempts of a fault that has no variants."""

    def denied(*kept: str) -> set[str]:
        reduced = layers.without(*(guard for guard in GUARDS if guard not in kept))
        answers = run_fault(fault, settings, reduced, start="cold", degraded=True)
        return {name for answer in answers for name in _denied(answer)}

    wanted = set(attempts)
    harmless = denied() & wanted
    left = wanted - harmless
    present = [guard for guard in GUARDS if getattr(layers, guard)] if left else []
    stopped = {guard: denied(guard) & left for guard in present}
    together = left - set().union(*stopped.values())
    alone = {guard: len(names) for guard, names in stopped.items()}
    return Guards(alone, len(together), len(harmless))


def _denied(answer: Answer) -> Iterable[str]:
    """Return the attempts that failed; an attack that broke its own box has none."""
    return [name for name, (outcome, _) in answer.attempts.items() if outcome == _DENIED]
