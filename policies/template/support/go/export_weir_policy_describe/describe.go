// Package export_weir_policy_describe is where the generated bindings look for `describe`.
package export_weir_policy_describe

import (
	"wit_component/policy"
	"wit_component/weir_policy_describe"
)

// Describe says what the policy is.
func Describe() weir_policy_describe.Description { return policy.Describe() }
