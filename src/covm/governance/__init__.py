"""Decisions that cooperatives make together: an application on the public API of `covm.federation`.

Its types are registered by whoever uses them: `FederationService(identity, config, types=[Proposal])`.
"""

from covm.governance.proposal import Proposal

__all__ = ["Proposal"]
