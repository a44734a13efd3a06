"""Where the nodes of a fleet are dialled."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvplace.export.layout import Engine, Host
from kvplace.export.runtimes.kvcached import address_of


@dataclass(frozen=True, slots=True)
class Addresses:
    """Nodes and their addresses.

    Parameters
    ----------
    hosts
        Nodes by name.
    given
        Addresses by the name of a node; a node without one is dialled by its name, and one that
        is alone is this machine.
    """

    hosts: Mapping[str, Host]
    given: Mapping[str, str]

    def of_node(self, node: str) -> str:
        """Return the address of a node.

        Raises
        ------
        InputError
            It is none that can be dialled.
        """
        return address_of(self.hosts[node], self.given, alone=len(self.hosts) == 1)

    def host_of(self, engine: Engine) -> Host:
        """Return the host of an engine."""
        return next(
            host for host in self.hosts.values()
            if any(gpu.id == engine.gpus[0] for gpu in host.node.gpus)
        )  # fmt: skip

    def of(self, engine: Engine) -> str:
        """Return the address of the node of an engine."""
        return self.of_node(self.host_of(engine).node.name)
