"""`calm` in Python: up at once, down only when the load has been lower for a while."""

import json
import struct

import weir
from weir import Proposal
from wit_world.exports import describe as about
from wit_world.exports import scaling

VERSION = 1
MEMORY = struct.Struct("<Bq")
"""A version, and the Unix milliseconds since when fewer replicas would do."""


class Describe:
    def describe(self) -> about.Description:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "headroom": {"type": "number", "description": "Spare capacity as a share of the load.", "default": 0.3, "minimum": 0, "maximum": 10},
                "holdSeconds": {
                    "type": "number",
                    "description": "Seconds that the load has to be lower before replicas go.",
                    "default": 60,
                    "minimum": 0,
                    "maximum": 86400,
                },
            },
        }
        return about.Description(
            name="calm",
            version="0.1.0",
            summary="Up at once, down only when the load has been lower for a while.",
            params_schema=json.dumps(schema),
            series=[about.SeriesNeed("offered", True)],
            state=about.StateVersions(VERSION, []),
        )


class Scaling:
    def decide(self, input: scaling.Input) -> scaling.Proposal:
        params = json.loads(input.params)
        headroom, hold_seconds = params.get("headroom", 0.3), params.get("holdSeconds", 60)
        capacity = weir.capacity_or(input)
        load = weir.measured(weir.column(input, "offered").mean(10))
        wanted = max(weir.replicas_for(load * (1 + headroom), capacity), 1)
        desired = input.replicas.desired
        offered = f"{weir.short(load)} records/s are offered, one replica can process {weir.short(capacity)}."

        def propose(replicas: int, code: str, sentence: str) -> Proposal:
            return Proposal(replicas).because(code, sentence).number("load", load, "records/s").number("wanted", wanted, "1")

        if wanted >= desired:
            return propose(wanted, "AboveCapacity" if wanted > desired else "WithinBand", offered).answer()
        since = remembered(input.state, input.now)
        waited = (input.now - since) / 1000
        if waited >= hold_seconds:
            return propose(wanted, "BelowCapacity", offered).answer()
        sentence = f"The load has been lower for {weir.short(waited)} of {weir.short(hold_seconds)} s."
        return propose(desired, "Waiting", sentence).number("waited", waited, "s").remember(MEMORY.pack(VERSION, since)).answer()


def remembered(state: bytes, otherwise: int) -> int:
    if len(state) != MEMORY.size or state[0] != VERSION:
        return otherwise
    return MEMORY.unpack(state)[1]
