// Package export_weir_policy_scaling is where the generated bindings look for `decide`.
package export_weir_policy_scaling

import (
	"wit_component/policy"
	"wit_component/weir"
	"wit_component/weir_policy_scaling"
	"wit_component/weir_policy_types"
	witTypes "wit_component/wit/types"
)

// Decide asks the policy.
func Decide(input weir_policy_scaling.Input) witTypes.Result[weir_policy_scaling.Proposal, weir_policy_types.Refusal] {
	proposal, refusal := policy.Decide(weir.Input{Input: input})
	if refusal != nil {
		return witTypes.Err[weir_policy_scaling.Proposal, weir_policy_types.Refusal](*refusal)
	}
	return witTypes.Ok[weir_policy_scaling.Proposal, weir_policy_types.Refusal](proposal.Proposal)
}
