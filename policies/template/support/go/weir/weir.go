// Package weir is what a scaling policy in Go is made with. It says the same as Weir's SDK in Rust, to the
// bit: a missing sample is NaN and never read as zero, and "the last n seconds" count back from the newest
// time of the window. `wit/scaling.wit` says what each part of an input means.
package weir

import (
	"encoding/json"
	"math"
	"strconv"

	"wit_component/weir_policy_describe"
	"wit_component/weir_policy_scaling"
	"wit_component/weir_policy_types"
	"wit_component/wit/types"
)

// Description is what a policy says about itself.
type Description = weir_policy_describe.Description

// SeriesNeed is a series that a policy reads.
type SeriesNeed = weir_policy_describe.SeriesNeed

// State tells the version of the state that `Remember` is given, from 1 on, and older ones that the policy
// can read as well. A new module is handed the state of the one before only when it says that it reads its
// version; a policy that remembers nothing needs none of this.
func State(version uint32, reads ...uint32) types.Option[weir_policy_describe.StateVersions] {
	return types.Some(weir_policy_describe.StateVersions{Version: version, Reads: reads})
}

// Refusal holds the replicas, and its word is recorded.
type Refusal = weir_policy_types.Refusal

// MaxReplicas is the most that the host takes for sane.
const MaxReplicas = 150_000

// Input is what a policy is handed.
type Input struct{ weir_policy_scaling.Input }

// ReadParams reads the params over what `into` holds, which are the defaults.
func (input Input) ReadParams(into any) *Refusal {
	if err := json.Unmarshal([]byte(input.Params), into); err != nil {
		return Refuse("InvalidParams", "The params do not fit: "+err.Error()+".")
	}
	return nil
}

// PerReplica is how many records a second one replica processes; false when it is neither declared nor learnt.
func (input Input) PerReplica() (float64, bool) {
	rate := input.Capacity.PerReplica.SomeOr(math.NaN())
	return rate, finite(rate) && rate > 0
}

// Column is the series of that name; without samples when the window has none.
func (input Input) Column(name string) Column {
	for _, series := range input.Window.Series {
		if series.Name == name {
			return Column{input.Window.Times, series.Values}
		}
	}
	return Column{}
}

// Column is one series with the window's times.
type Column struct {
	Times  []int64
	Values []float64
}

// Samples are the finite samples of the last seconds, the newest first, with their age in seconds.
func (column Column) Samples(seconds float64) func(yield func(value, age float64) bool) {
	return func(yield func(value, age float64) bool) {
		length := min(len(column.Times), len(column.Values))
		for at := length - 1; at >= 0; at-- {
			age := float64(column.Times[length-1]-column.Times[at]) / 1000
			if age > 0 && !(age < seconds) {
				return
			}
			if finite(column.Values[at]) && !yield(column.Values[at], age) {
				return
			}
		}
	}
}

// Latest is the newest value; false when nothing was measured.
func (column Column) Latest(seconds float64) (float64, bool) {
	for value := range column.Samples(seconds) {
		return value, true
	}
	return 0, false
}

// Mean is the mean; false when nothing was measured.
func (column Column) Mean(seconds float64) (float64, bool) {
	mean, count := 0.0, 0.0
	for value := range column.Samples(seconds) {
		count++
		mean += float64(value/count) - float64(mean/count)
	}
	return mean, count > 0 && finite(mean)
}

// Max is the largest value; false when nothing was measured.
func (column Column) Max(seconds float64) (float64, bool) {
	most := math.Inf(-1)
	for value := range column.Samples(seconds) {
		most = max(most, value)
	}
	return most, finite(most)
}

// Min is the smallest value; false when nothing was measured.
func (column Column) Min(seconds float64) (float64, bool) {
	least := math.Inf(1)
	for value := range column.Samples(seconds) {
		least = min(least, value)
	}
	return least, finite(least)
}

// Slope is the rise per second, by least squares; false with fewer than two samples.
func (column Column) Slope(seconds float64) (float64, bool) {
	meanValue, ok := column.Mean(seconds)
	if !ok {
		return 0, false
	}
	ages, count := 0.0, 0.0
	for _, age := range column.Samples(seconds) {
		ages += age
		count++
	}
	covariance, variance := 0.0, 0.0
	for value, age := range column.Samples(seconds) {
		time := ages/count - age
		covariance += float64(time * (value - meanValue))
		variance += float64(time * time)
	}
	slope := covariance / variance
	return slope, finite(slope)
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

// ReplicasFor is the fewest replicas that together process `load`; 0 for no load, MaxReplicas beyond it.
func ReplicasFor(load, perReplica float64) uint32 {
	quotient := load / perReplica
	whole := math.Round(quotient)
	rounded := math.Ceil(quotient)
	if math.Abs(quotient-whole) <= math.Abs(whole)*1e-9 {
		rounded = whole
	}
	if math.IsNaN(rounded) || rounded > MaxReplicas {
		return MaxReplicas
	}
	return uint32(max(rounded, 0))
}

// Short is a number as people write it in a sentence: whole from 100 on, one decimal from 10 on, else two.
func Short(value float64) string {
	size := math.Abs(value)
	switch {
	case math.IsNaN(value):
		return "nothing"
	case size >= 1e15 && value > 0:
		return "over 10^15"
	case size >= 1e15:
		return "under -10^15"
	}
	scale := 100.0
	if size >= 99.95 {
		scale = 1
	} else if size >= 9.995 {
		scale = 10
	}
	scaled := math.Round(size * scale)
	text := strconv.FormatFloat(scaled/scale, 'f', -1, 64)
	if value < 0 && scaled > 0 {
		return "-" + text
	}
	return text
}

// Proposal is what a policy answers.
type Proposal struct{ weir_policy_scaling.Proposal }

// Propose proposes that many replicas.
func Propose(replicas uint32) *Proposal {
	proposal := &Proposal{}
	proposal.Replicas = replicas
	proposal.Rationale.Code = "Proposed"
	return proposal
}

// Because says why: a stable CamelCase word for machines and one sentence for people.
func (proposal *Proposal) Because(code, sentence string) *Proposal {
	proposal.Rationale.Code, proposal.Rationale.Sentence = code, cut(sentence)
	return proposal
}

// Number adds a number that took part; one that is not finite is left out.
func (proposal *Proposal) Number(name string, value float64, unit string) *Proposal {
	if finite(value) && len(proposal.Rationale.Numbers) < 32 {
		proposal.Rationale.Numbers = append(proposal.Rationale.Numbers, weir_policy_types.NamedNumber{Name: name, Value: value, Unit: unit})
	}
	return proposal
}

// Remember gives the next decision on this object these bytes.
func (proposal *Proposal) Remember(state []byte) *Proposal {
	proposal.State = state
	return proposal
}

// Refuse is a refusal with a stable word and one sentence.
func Refuse(code, sentence string) *Refusal { return &Refusal{Code: code, Sentence: cut(sentence)} }

// CapacityUnknown refuses because nobody knows what one replica can process.
func CapacityUnknown() *Refusal {
	return Refuse("CapacityUnknown", "What one replica can process is neither declared nor learnt yet: set `spec.capacityPerReplica`, or wait until a saturated replica shows it.")
}

// NotEnoughSamples refuses because too little was measured of late.
func NotEnoughSamples() *Refusal {
	return Refuse("NotEnoughSamples", "Too few samples were measured of late to decide on.")
}

func cut(sentence string) string {
	if runes := []rune(sentence); len(runes) > 1024 {
		return string(runes[:1024])
	}
	return sentence
}
