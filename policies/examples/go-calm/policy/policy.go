// Package policy is `calm` in Go: up at once, down only when the load has been lower for a while.
package policy

import (
	"encoding/binary"
	"fmt"

	"wit_component/weir"
)

// Describe says what the policy is.
func Describe() weir.Description {
	return weir.Description{
		Name:    "calm",
		Version: "0.1.0",
		Summary: "Up at once, down only when the load has been lower for a while.",
		ParamsSchema: `{"type": "object", "additionalProperties": false, "properties": {
			"headroom": {"type": "number", "description": "Spare capacity as a share of the load.", "default": 0.3, "minimum": 0, "maximum": 10},
			"holdSeconds": {"type": "number", "description": "Seconds that the load has to be lower before replicas go.", "default": 60, "minimum": 0, "maximum": 86400}}}`,
		Series: []weir.SeriesNeed{{Name: "offered", Required: true}},
		State:  weir.State(version),
	}
}

// Decide says how many replicas there should be.
func Decide(input weir.Input) (*weir.Proposal, *weir.Refusal) {
	params := struct{ Headroom, HoldSeconds float64 }{0.3, 60}
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
	wanted, desired := max(weir.ReplicasFor(load*(1+params.Headroom), capacity), 1), input.Replicas.Desired
	offered := fmt.Sprintf("%s records/s are offered, one replica can process %s.", weir.Short(load), weir.Short(capacity))
	propose := func(replicas uint32, code, sentence string) *weir.Proposal {
		return weir.Propose(replicas).Because(code, sentence).Number("load", load, "records/s").Number("wanted", float64(wanted), "1")
	}
	if wanted > desired {
		return propose(wanted, "AboveCapacity", offered), nil
	}
	if wanted == desired {
		return propose(wanted, "WithinBand", offered), nil
	}
	since := remembered(input.State, input.Now)
	waited := float64(input.Now-since) / 1000
	if waited >= params.HoldSeconds {
		return propose(wanted, "BelowCapacity", offered), nil
	}
	sentence := fmt.Sprintf("The load has been lower for %s of %s s.", weir.Short(waited), weir.Short(params.HoldSeconds))
	return propose(desired, "Waiting", sentence).Number("waited", waited, "s").Remember(memory(since)), nil
}

// A version, and the Unix milliseconds since when fewer replicas would do.
const version = 1

func memory(since int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{version}, uint64(since))
}

func remembered(state []byte, otherwise int64) int64 {
	if len(state) != 9 || state[0] != version {
		return otherwise
	}
	return int64(binary.LittleEndian.Uint64(state[1:]))
}
