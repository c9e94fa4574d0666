"""What the verifiers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from modular_pluralism.errors import ContractError
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding
from modular_pluralism.table import Table


class Verifier(Table, ABC):
    """Something that a rule can be verified by without any model: the table of its settings in a contract."""

    _error = ContractError
    name: ClassVar[str]
    """What it is called in `verify = { NAME = … }`."""
    example: ClassVar[str]
    """Its table in a contract."""

    @abstractmethod
    def finding(self, candidate: Candidate) -> Finding:
        """Whether the candidate keeps the rule, with the reason."""
