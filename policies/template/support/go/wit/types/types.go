// Package types has what Go lacks and the contract uses: values that may be absent, and results. The
// generated bindings ask for these names.
package types

// Option is a value that may be absent.
type Option[T any] struct {
	value T
	some  bool
}

// Some is a value.
func Some[T any](value T) Option[T] { return Option[T]{value, true} }

// None is no value.
func None[T any]() Option[T] { return Option[T]{} }

// SomeOr is the value, or `otherwise` when there is none.
func (option Option[T]) SomeOr(otherwise T) T {
	if option.some {
		return option.value
	}
	return otherwise
}

// What an Option is.
const (
	OptionNone = iota
	OptionSome
)

// Tag is OptionNone or OptionSome.
func (option Option[T]) Tag() uint8 {
	if option.some {
		return OptionSome
	}
	return OptionNone
}

// Some is the value; the zero value when there is none.
func (option Option[T]) Some() T { return option.value }

// IsSome says whether there is a value.
func (option Option[T]) IsSome() bool { return option.some }

// What a Result is.
const (
	ResultOk = iota
	ResultErr
)

// Result is a value or a reason why there is none.
type Result[T, E any] struct {
	ok  T
	err E
	tag uint8
}

// Ok is a value.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{ok: value, tag: ResultOk} }

// Err is a reason.
func Err[T, E any](reason E) Result[T, E] { return Result[T, E]{err: reason, tag: ResultErr} }

// Tag is ResultOk or ResultErr.
func (result Result[T, E]) Tag() uint8 { return result.tag }

// Ok is the value.
func (result Result[T, E]) Ok() T { return result.ok }

// Err is the reason.
func (result Result[T, E]) Err() E { return result.err }
