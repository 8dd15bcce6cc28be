"""Parties: everybody who takes part in a run, as a protocol sees them."""

from __future__ import annotations

from dataclasses import dataclass

from sfsim.splitfed.client import Client
from sfsim.splitfed.fed_server import FedServer
from sfsim.splitfed.main_server import MainServer
from sfsim.splitfed.referee import Referee
from sfsim.splitfed.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Parties:
    """The parties of a run, who takes part when, and who measures."""

    clients: dict[str, Client]
    main_server: MainServer
    fed_server: FedServer
    schedule: Schedule
    referee: Referee
