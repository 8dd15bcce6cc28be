"""Scenario: everything that decides a run, as one frozen value; `load` reads it from TOML."""

from sfsim.scenario.codec_training import CodecTraining
from sfsim.scenario.gradient_gate import AdaptiveGate, AnyGate, StaticGate
from sfsim.scenario.graph import build_graph
from sfsim.scenario.loading import load
from sfsim.scenario.networks import AnyTopology, Graph, GraphLink, GraphML, NetworkTable, Star
from sfsim.scenario.parts import (
    FED_SERVER,
    MAIN_SERVER,
    ClientGroup,
    Codecs,
    Evaluation,
    FedServer,
    ModelCodec,
    Seeds,
    Server,
    Target,
)
from sfsim.scenario.scenario import Scenario, scenario_hash
from sfsim.scenario.schema import json_schema

__all__ = [
    "FED_SERVER",
    "MAIN_SERVER",
    "AdaptiveGate",
    "AnyGate",
    "AnyTopology",
    "ClientGroup",
    "CodecTraining",
    "Codecs",
    "Evaluation",
    "FedServer",
    "Graph",
    "GraphLink",
    "GraphML",
    "ModelCodec",
    "NetworkTable",
    "Scenario",
    "Seeds",
    "Server",
    "Star",
    "StaticGate",
    "Target",
    "build_graph",
    "json_schema",
    "load",
    "scenario_hash",
]
