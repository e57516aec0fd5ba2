"""`@NAME@`: replicas for the load of the last seconds, with spare capacity."""

import json

import weir
from weir import Proposal
from wit_world.exports import describe as about
from wit_world.exports import scaling


class Describe:
    def describe(self) -> about.Description:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "headroom": {"type": "number", "description": "Spare capacity as a share of the load.", "default": 0.3, "minimum": 0, "maximum": 10},
            },
        }
        return about.Description(
            name="@NAME@",
            version="0.1.0",
            summary="Replicas for the load of the last ten seconds, with spare capacity.",
            params_schema=json.dumps(schema),
            series=[about.SeriesNeed("offered", True)],
            state=None,
        )


class Scaling:
    def decide(self, input: scaling.Input) -> scaling.Proposal:
        headroom = json.loads(input.params).get("headroom", 0.3)
        capacity = weir.capacity_or(input)
        load = weir.measured(weir.column(input, "offered").mean(10))
        replicas = max(weir.replicas_for(load * (1 + headroom), capacity), 1)
        return (
            Proposal(replicas)
            .because("FollowsLoad", f"{weir.short(load)} records/s are offered, one replica can process {weir.short(capacity)}.")
            .number("load", load, "records/s")
            .number("capacity", capacity, "records/s")
            .answer()
        )
