// Package policy is `@NAME@`: replicas for the load of the last seconds, with spare capacity.
package policy

import (
	"fmt"

	"wit_component/weir"
)

// Describe says what the policy is.
func Describe() weir.Description {
	return weir.Description{
		Name:    "@NAME@",
		Version: "0.1.0",
		Summary: "Replicas for the load of the last ten seconds, with spare capacity.",
		ParamsSchema: `{"type": "object", "additionalProperties": false, "properties": {
			"headroom": {"type": "number", "description": "Spare capacity as a share of the load.", "default": 0.3, "minimum": 0, "maximum": 10}}}`,
		Series: []weir.SeriesNeed{{Name: "offered", Required: true}},
	}
}

// Decide says how many replicas there should be.
func Decide(input weir.Input) (*weir.Proposal, *weir.Refusal) {
	params := struct{ Headroom float64 }{Headroom: 0.3}
	if refusal := input.ReadParams(&params); refusal != nil {
		return nil, refusal
	}
	capacity, ok := input.PerReplica()
	if !ok {
		return nil, weir.CapacityUnknown()
	}
	load, ok := input.Column("offered").Mean(10)
	if !ok {
		return nil, weir.NotEnoughSamples()
	}
	replicas := max(weir.ReplicasFor(load*(1+params.Headroom), capacity), 1)
	return weir.Propose(replicas).
		Because("FollowsLoad", fmt.Sprintf("%s records/s are offered, one replica can process %s.", weir.Short(load), weir.Short(capacity))).
		Number("load", load, "records/s").
		Number("capacity", capacity, "records/s"), nil
}
